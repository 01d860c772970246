package encryption

import "context"

// AddTenant makes the keysets and the first key version of a tenant. Its
// KEK has opened again what it wrapped before anything is written. It is
// idempotent. An unknown tenant is an error everywhere else, so that a
// misspelt name never becomes a tenant. One whose keysets are lost while other rows
// of it are there is ErrDamaged: RepairFromCopy brings them back.
func (v *Vault) AddTenant(ctx context.Context, tenant string) error {
	return v.ring.AddTenant(ctx, tenant)
}

// Tenants lists the tenants of the key store in the order of their bytes.
func (v *Vault) Tenants(ctx context.Context) ([]string, error) {
	return v.ring.Tenants(ctx)
}
