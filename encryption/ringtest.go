package encryption

import (
	"sync/atomic"

	"github.com/tink-crypto/tink-go/v2/keyset"
	"github.com/tink-crypto/tink-go/v2/tink"

	"github.com/crmguard/crmguard/encryption/keystore"
)

// What stands here is for tests of the room around: nobody seals 2^31 times.

// hasSealed makes the ring believe that it has sealed so much under a person's
// key by itself.
func (v *ring) hasSealed(tenant, owner string, keyVersion, n uint32) {
	v.counters.slot(keyName{tenant, owner, keyVersion}).Store(n)
}

// left is what is left of what was allotted to the ring for a key.
func (v *ring) left(tenant, owner string, keyVersion uint32) *atomic.Int64 {
	return &v.counters.block(keyName{tenant, owner, keyVersion}).left
}

// branchAEAD is a branch keyset as it wraps others.
func branchAEAD(handle *keyset.Handle) (tink.AEAD, error) {
	open, err := openedKeyset(keystore.KeysetRow{Purpose: purposeBranch}, handle)
	return branchKey{open}, err
}
