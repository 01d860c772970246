package encryption

import (
	"context"
	"time"

	"github.com/crmguard/crmguard/encryption/keystore"
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
	Unknown    bool      // the key store had never heard of any of them: nothing was ever sealed for this id, or for another spelling of it
	Scrubbed   bool      // the store's own files hold no deleted bytes any more
}

// Erase destroys the keys of a person for ever: tombstones stay, and no key
// can be made under them. Merged ids are one person: whichever of them is
// named, all of them go (Aliases lists them). It returns when no process opens
// or seals for them any more, a lease later. It is idempotent; a person
// without keys gets a tombstone too, and Receipt.Unknown says that nobody had
// heard of the id: look whether it is spelt so.
//
// A UUID is erased in each spelling that the key store knows of it, in small and
// in capital letters, whichever is named.
//
// What the keys sealed is then unreadable in the database and in its backups.
// Key copies stay readable until the epoch is closed, and one that was written
// before brings the keys back when it is restored: write a new one afterwards.
// Clear and index columns are not reached (ClearRows).
func (v *Vault) Erase(ctx context.Context, tenant, person string) (Receipt, error) {
	if err := checkNamed(person); err != nil {
		return Receipt{}, err
	}
	return v.erase(ctx, tenant, person)
}

// EraseRecord destroys the keys of a record owner r:<uuid>.
func (v *Vault) EraseRecord(ctx context.Context, tenant, owner string) (Receipt, error) {
	if err := checkRecordOwner(owner); err != nil {
		return Receipt{}, err
	}
	return v.erase(ctx, tenant, owner)
}

// Eraser returns Erase in the shape that the erasure of a whole application
// takes: a Func of package privacy, whose Left is the length of WrappedKeys.
func (v *Vault) Eraser() func(ctx context.Context, tenant, person string) error {
	return func(ctx context.Context, tenant, person string) error {
		_, err := v.Erase(ctx, tenant, person)
		return err
	}
}

func (v *Vault) erase(ctx context.Context, tenant, owner string) (Receipt, error) {
	receipts, err := v.eraseAll(ctx, tenant, []string{owner})
	if len(receipts) == 0 {
		return Receipt{}, err
	}
	return receipts[0], err
}

// scrub asks the store to forget deleted bytes, a few times while others read.
func (v *Vault) scrub(ctx context.Context) (bool, error) {
	scrubber, ok := v.cfg.Keys.(keystore.Scrubber)
	if !ok {
		return false, nil
	}
	for range 5 {
		clean, err := scrubber.Scrub(ctx)
		if err != nil || clean {
			return clean, storeError(err)
		}
		if err := v.cfg.Wait(ctx, 20*time.Millisecond); err != nil {
			return false, err
		}
	}
	return false, nil
}

// WrappedKeys returns the wrapped key rows (65 bytes each) of a person and of
// everyone merged with that person: what a search for remains looks for in
// every file after the erasure. They are useless without the KEK.
func (v *Vault) WrappedKeys(ctx context.Context, tenant, person string) ([][]byte, error) {
	if err := checkTenant(tenant); err != nil {
		return nil, err
	}
	if err := checkNamedOwner(person); err != nil {
		return nil, err
	}
	var out [][]byte
	err := v.cfg.Keys.Snapshot(ctx, func(tx keystore.Tx) error {
		closure, err := mergeSet(ctx, tx, tenant, person)
		if err != nil {
			return err
		}
		rows, err := tx.Owners(ctx, tenant, closure)
		for _, key := range rows.Keys {
			out = append(out, key.Wrapped)
		}
		return err
	})
	return out, storeError(err)
}
