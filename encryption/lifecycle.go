package encryption

import (
	"context"
	"time"

	"github.com/crmguard/crmguard/encryption/internal/keyring"
	"github.com/crmguard/crmguard/encryption/jobs"
	"github.com/crmguard/crmguard/encryption/keycopy"
	"github.com/crmguard/crmguard/encryption/keystore"
)

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

// AddAlias says that a person was merged into another: from keeps its keys,
// which old snapshots need, and seals no more; erasing either erases both. The
// application reseals the fields of from under into in its own transaction
// (a Reader for from, a Writer for into). It is idempotent, and Unmerge takes it
// back.
func (v *Vault) AddAlias(ctx context.Context, tenant, from, into string) error {
	return v.ring.AddAlias(ctx, tenant, from, into)
}

// Unmerge takes back what AddAlias said: from is a person of its own again,
// with the keys it had, and seals again, within the lease everywhere. Who was
// merged into from before stays so. It is idempotent.
//
// Nothing is resealed by it. What was moved under the keys of into, by the
// application or by Reseal, stays there until the application moves it back (a
// Reader for into, a Writer for from, in its own transaction; which rows those
// are, nobody else knows). Until then the erasure of into takes it along, and
// that of from does not reach it: so move first, then erase. A key copy of
// before brings the merge back with it.
//
// Erased persons are ErrErased: keys do not come back. ErrMerged says that from
// was merged into somebody else, ErrNoKey that it was never merged. A merge that no
// call makes (of a person into the same one, or with one who was erased alone) seals
// no more either: Unmerge takes it, too.
func (v *Vault) Unmerge(ctx context.Context, tenant, from, into string) error {
	return v.ring.Unmerge(ctx, tenant, from, into)
}

// Aliases lists the other ids of the same person: everyone that was merged
// with it, directly or not, into it or it into them, sorted. An erasure covers
// all of them, so whoever searches or clears rows for a person does it for
// these, too. A UUID is listed in small and in capital letters, the other spelling
// of the person's own, too: to the keys it is one id, to a column of text two. The
// list stays after the erasure.
func (v *Vault) Aliases(ctx context.Context, tenant, person string) ([]string, error) {
	return v.ring.Aliases(ctx, tenant, person)
}

// Ensure fetches or creates the keys of many persons in few transactions:
// before an import, and before a transaction in which keys must not be
// fetched. Persons that get no key are a [PersonsError], which names their
// positions: all others are ready.
func (v *Vault) Ensure(ctx context.Context, tenant string, persons ...string) error {
	return v.ring.Ensure(ctx, tenant, persons...)
}

// Receipt says what an erasure did in the key store.
type Receipt struct {
	Tenant     string    // whose
	Owners     int       // owners that are tombstones now: the person and everyone of the same merges
	Keys       int       // key rows that this call deleted
	Sequence   int64     // of the newest tombstone, which is this call's where it deleted keys
	Epoch      int64     // older key copies stay readable until this epoch is closed
	At         time.Time // of the tombstone; zero when it was there before
	Unreadable time.Time // from then on no process opens or seals; zero when it was so before
	Unknown    bool      // the key store had neither row, key nor merge of any of them: nothing was ever sealed for this id
	Scrubbed   bool      // the store's own files hold no deleted bytes any more
}

// Erase destroys the keys of a person for ever: tombstones stay, and no key
// can be made under them. Merged ids are one person: whichever of them is
// named, all of them go (Aliases lists them). It returns when no process opens
// or seals for them any more, a lease later, and at once where all was so before. It is idempotent; a person
// without keys gets a tombstone too, and Receipt.Unknown says that nobody had
// heard of the id: look whether it is spelt so.
//
// A UUID of 36 characters is one person in small and in capital letters, here as
// everywhere: no key is left or made under another spelling.
//
// What the keys sealed is then unreadable in the database and in its backups.
// Key copies stay readable until the epoch is closed, and one that was written
// before brings the keys back when it is restored: write a new one afterwards.
// Clear and index columns are not reached (ClearRows).
func (v *Vault) Erase(ctx context.Context, tenant, person string) (Receipt, error) {
	receipt, err := v.ring.Erase(ctx, tenant, person)
	return Receipt(receipt), err
}

// EraseRecord destroys the keys of a record owner r:<uuid>.
func (v *Vault) EraseRecord(ctx context.Context, tenant, owner string) (Receipt, error) {
	receipt, err := v.ring.EraseRecord(ctx, tenant, owner)
	return Receipt(receipt), err
}

// Eraser returns Erase in the shape that the erasure of a whole application
// takes: a Func of package privacy, whose Left is the length of WrappedKeys.
func (v *Vault) Eraser() func(ctx context.Context, tenant, person string) error {
	return v.ring.Eraser()
}

// WrappedKeys returns the wrapped key rows (65 bytes each) of a person and of
// everyone merged with that person: what a search for remains looks for in
// every file after the erasure. They are useless without the KEK.
func (v *Vault) WrappedKeys(ctx context.Context, tenant, person string) ([][]byte, error) {
	return v.ring.WrappedKeys(ctx, tenant, person)
}

// EraseMany is Erase for many persons, with one wait for all of them: a hundred
// take one lease and not a hundred. It returns a receipt for each, in their
// order; who is named twice, or merged with another of them, has two.
//
// It changes the store a hundred persons at a time. When it fails, the receipts
// are those of the persons whose keys are gone; it may be called again with all
// of them, and waits again where the lease may not be over.
func (v *Vault) EraseMany(ctx context.Context, tenant string, persons ...string) ([]Receipt, error) {
	receipts, err := v.ring.EraseMany(ctx, tenant, persons...)
	var out []Receipt
	for _, receipt := range receipts {
		out = append(out, Receipt(receipt))
	}
	return out, err
}

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
// and the key version is retired as before. Interrupted, it may be called again, and
// another process that goes on waits as long: whoever wrote the state that it finds,
// the active key version may have been meant until then.
// Once the first key is deleted there is no way back: the key version stays
// Deleting until a call finishes it. A holder that still answers then has cells
// of which some are lost; reseal the others, and give up those that Reseal lists.
// One that says it is destroyed, while keys of it stand, is asked for in the same
// way: the keys go if no holder needs them, and nothing changes otherwise.
func (v *Vault) DestroyKeyVersion(ctx context.Context, tenant string, keyVersion uint32, holders ...jobs.Holder) error {
	return v.ring.DestroyKeyVersion(ctx, tenant, keyVersion, holders...)
}

// ChangeLease changes the lease of the key store, for every process that shares
// it: from a millisecond to an hour. None has to be started anew.
//
// A longer lease holds at once. A shorter one is trusted at once, too, but
// erasures go on waiting for the old one, and so does this call, until no process
// can trust what it was granted under it. Interrupted, it may be called again, by
// any process; until then erasures wait longer than they had to, and Status says
// so. Another lease may be named instead at any time.
func (v *Vault) ChangeLease(ctx context.Context, lease time.Duration) error {
	return v.ring.ChangeLease(ctx, lease)
}

// ChangeLongestTransaction says what the longest transaction of all processes is from
// now on: what waits for those of others waits for that, in every process. Open raises
// it by itself (Config.LongestTransaction), and nothing lowers it but this. Call it
// when no process runs any more that was opened with a longer one; one of this vault's
// own is refused (ErrDefinition).
func (v *Vault) ChangeLongestTransaction(ctx context.Context, longest time.Duration) error {
	return v.ring.ChangeLongestTransaction(ctx, longest)
}

// RewrapKeys makes every older key copy useless: each tenant gets a new wrap
// key, every key row is wrapped anew (the keys themselves, and every sealed
// byte, stay as they are), a key copy is written, each tenant gets a new branch
// key under the new KEK, with all its keysets under that, but for the old wrap
// keys, which go, a second key copy replaces the first, the old KEK goes, and a
// last copy says so: it restores to the closed epoch. A process that has opened
// nothing yet asks KEKs three times a tenant for it. Do it at least once a window W:
// an erasure is final in key copies only then.
//
// It covers all tenants and the installation. It may be interrupted anywhere
// and called again with the same KEK name; another name is refused (ErrRewrap)
// until it is done, and so is a name that is already in use. Nothing begins and
// no key goes while a row of the key store is damaged. It is brought back first
// (RepairFromCopy) from the newest copy in the folders that this vault was told
// of (Copier, KeyCopy, WriteCopy); what that one has not is ErrRewrap, with a
// *DamagedError that names the rows. Where something comes back, it waits as
// RepairFromCopy does, and RewrapReport.Fenced says that RebuildIndexes is to be called.
func (v *Vault) RewrapKeys(ctx context.Context, epoch keycopy.Rewrap) (keycopy.RewrapReport, error) {
	report, err := v.ring.RewrapKeys(ctx, keyring.Rewrap(epoch), v.copies.Sound)
	return keycopy.RewrapReport(report), err
}

// Position writes a mark into the history of the key store and returns it as
// canonical JSON {"epoch","mark","sequence","store"}: what a data snapshot
// names, and what a key copy must cover. Take it after the snapshot has read
// its last row: every key that was committed before the call stands in front of
// the mark, and a copy that holds the mark holds those keys.
//
// The newest 20,000 positions are kept, two years of one an hour; who only
// wants to know how far the store is, as for an anchor outside, takes Head.
func (v *Vault) Position(ctx context.Context) ([]byte, error) {
	return v.ring.Position(ctx)
}

// Head returns where the key store is, in the form of Position, and writes
// nothing: the mark is that of the last change other than the creation of keys.
// What was created since stands behind it, so a data snapshot needs Position.
func (v *Vault) Head(ctx context.Context) ([]byte, error) {
	return v.ring.Head(ctx)
}
