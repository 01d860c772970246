package encryption

import (
	"context"

	"github.com/crmguard/crmguard/encryption/keystore"
)

// Holder counts what still needs a key version of a tenant, and says
// where: a table (SealedTable.Holder), the rows of another package, the kept
// snapshots of a backup.
type Holder = func(ctx context.Context, tenant string, keyVersion uint32) (count int, where string, err error)

// KeyVersionRow is one key version of a tenant, as [Vault.KeyVersions] lists them.
type KeyVersionRow = keystore.KeyVersionRow

// KeyVersionState is the state of a key version.
type KeyVersionState = keystore.KeyVersionState

// The states of a key version, in their order.
const (
	Active     = keystore.Active     // seals and opens; one a tenant
	Retired    = keystore.Retired    // opens, never seals
	Destroying = keystore.Destroying // about to be destroyed: opens, and may go back to retired
	Deleting   = keystore.Deleting   // some of its keys are gone: opens the others, and only goes on
	Destroyed  = keystore.Destroyed  // no key is left; for ever
)

// NewKeyVersion begins a new key version of a tenant and retires the one
// that was active. Nothing is rewritten: what is sealed from now on carries
// the new key version, Reseal moves the rest. Other processes follow within
// the lease.
func (v *Vault) NewKeyVersion(ctx context.Context, tenant string) (uint32, error) {
	return v.ring.NewKeyVersion(ctx, tenant)
}

// KeyVersions lists every key version that the tenant ever had, oldest first.
func (v *Vault) KeyVersions(ctx context.Context, tenant string) ([]keystore.KeyVersionRow, error) {
	return v.ring.KeyVersions(ctx, tenant)
}

// DestroyKeyVersion deletes the keys of a retired key version once nothing
// needs it. Name every holder: tables, rows of other packages, streams, and the
// kept snapshots, which become unreadable for ever.
//
// What a holder has is said at once. Every holder must answer 0 twice: once this process has known for a lease and
// the longest transaction that the key version seals no more (it waits for that
// moment, by its own clock), and again a lease after the key version was marked.
// A table waits before it counts until all have ended who were writing to it
// (SealedTable.Holder), so a transaction that takes longer loses nothing either,
// provided that its statement came within LongestTransaction of the sealing.
//
// Otherwise it answers *InUseError (ErrInUse), which names the holder's place,
// and the key version is retired as before. Interrupted, it may be called again.
// Once the first key is deleted there is no way back: the key version stays
// Deleting until a call finishes it. A holder that still answers then has cells
// of which some are lost; reseal the others, and give up those that Reseal lists.
func (v *Vault) DestroyKeyVersion(ctx context.Context, tenant string, keyVersion uint32, holders ...Holder) error {
	return v.ring.DestroyKeyVersion(ctx, tenant, keyVersion, holders...)
}
