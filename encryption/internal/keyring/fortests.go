package keyring

import (
	"sync/atomic"

	"github.com/tink-crypto/tink-go/v2/keyset"
	"github.com/tink-crypto/tink-go/v2/tink"

	"github.com/crmguard/crmguard/encryption/keystore"
)

// What stands here is for tests of the room around: nobody seals 2^31 times.

// HasSealed makes the ring believe that it has sealed so much under a person's
// key by itself.
func (v *Ring) HasSealed(tenant, owner string, keyVersion, n uint32) {
	v.counters.slot(keyName{tenant, owner, keyVersion}).Store(n)
}

// Left is what is left of what was allotted to the ring for a key.
func (v *Ring) Left(tenant, owner string, keyVersion uint32) *atomic.Int64 {
	return &v.counters.block(keyName{tenant, owner, keyVersion}).left
}

// BranchAEAD is a branch keyset as it wraps others.
func BranchAEAD(handle *keyset.Handle) (tink.AEAD, error) {
	open, err := openedKeyset(keystore.KeysetRow{Purpose: PurposeBranch}, handle)
	return branchKey{open}, err
}
