package keyring

import (
	"bytes"
	"context"
	"errors"

	"github.com/tink-crypto/tink-go/v2/keyset"
	"github.com/tink-crypto/tink-go/v2/tink"

	"github.com/crmguard/crmguard/encryption/internal/format"
	"github.com/crmguard/crmguard/encryption/keystore"
)

// errUnbound is what a KEK is refused for that opens a keyset whoever's it is.
var errUnbound = errors.New("it opens what it wrapped as another tenant's, too, so whoever writes the key store could give one tenant the keys of another: hand in a KEK that binds associated data (Vault's transit: associated_data with a key of type aes256-gcm96; examples/kms has three that do)")

// bindsTenant proves that a KEK refuses what it wrapped when somebody names
// another tenant. It is asked where something is made (a tenant, an installation,
// the first keyset of an epoch), not for each tenant of an epoch, whose KEK is
// then known. That the KEK refuses because it is away is no proof: the
// caller has it open the same bytes afterwards.
func (v *Ring) bindsTenant(ctx context.Context, kek tink.AEADWithContext, row keystore.KeysetRow) error {
	if row.Tenant != "" && row.Version != 1 {
		return nil
	}
	v.cfg.Observe(ctx, "encryption.kek.calls", 1)
	if _, err := keyset.ReadWithContext(ctx, keyset.NewBinaryReader(bytes.NewReader(row.Wrapped)), kek, strangersAD(row)); err == nil {
		return errUnbound
	}
	return ctx.Err()
}

// strangersAD is what another tenant's keyset is wrapped with: as long, and
// different in one bit of the last byte of the tenant's name alone, or of the
// purpose where the keyset is the installation's. So a KEK is found that binds
// the length or the beginning of the data.
func strangersAD(row keystore.KeysetRow) []byte {
	if row.Tenant == "" {
		return format.KeysetAD("", changed(row.Purpose))
	}
	return format.KeysetAD(changed(row.Tenant), row.Purpose)
}

func changed(name string) string {
	last := len(name) - 1
	return name[:last] + string([]byte{name[last] ^ 1})
}
