package encryption

import (
	"context"
	"errors"

	"github.com/tink-crypto/tink-go/v2/tink"
)

// errUnbound is what a KEK is refused for that opens a keyset whoever's it is.
var errUnbound = errors.New("it opens what it wrapped as another tenant's, too, so whoever writes the key store could give one tenant the keys of another: hand in a KEK that binds associated data (Vault's transit: associated_data with a key of type aes256-gcm96; examples/kms has three that do)")

// bindsTenant proves that a KEK refuses what it wrapped when somebody names
// another tenant. It is asked where something is made (a tenant, an installation,
// the first keyset of an epoch), not for each tenant of an epoch, whose KEK is
// then known. That the KEK refuses because it is away is no proof: the
// caller has it open the same bytes afterwards.
func (v *Vault) bindsTenant(ctx context.Context, kek tink.AEADWithContext, row KeysetRow) error {
	if row.Tenant != "" && row.Version != 1 {
		return nil
	}
	v.cfg.Observe(ctx, "encryption.kek.calls", 1)
	if _, err := kek.DecryptWithContext(ctx, row.Wrapped, keysetAD(neighbour(row.Tenant), row.Purpose)); err == nil {
		return errUnbound
	}
	return ctx.Err()
}

// neighbour is a name as long as this one that differs in one bit of its last
// byte, so that a KEK that binds the beginning of the data alone is found.
func neighbour(tenant string) string {
	if tenant == "" {
		return "x"
	}
	last := len(tenant) - 1
	return tenant[:last] + string([]byte{tenant[last] ^ 1})
}
