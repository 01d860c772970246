package encryption

import (
	"context"
	"time"
)

// Receipt says what an erasure did in the key store.
type Receipt struct {
	Tenant     string    // whose
	Owners     int       // owners that are tombstones now: the person and everyone of the same merges
	Keys       int       // key rows that this call deleted
	Sequence   int64     // of the newest tombstone
	Epoch      int64     // older key copies stay readable until this epoch is closed
	At         time.Time // of the tombstone; zero when it was there before
	Unreadable time.Time // from then on no process opens or seals; zero when it was so before
	Unknown    bool      // the key store had never heard of any of them: nothing was ever sealed for this id
	Scrubbed   bool      // the store's own files hold no deleted bytes any more
}

// Erase destroys the keys of a person for ever: tombstones stay, and no key
// can be made under them. Merged ids are one person: whichever of them is
// named, all of them go (Aliases lists them). It returns when no process opens
// or seals for them any more, a lease later. It is idempotent; a person
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
