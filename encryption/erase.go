package encryption

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
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
	Scrubbed   bool      // the store's own files hold no deleted bytes any more
}

// Erase destroys the keys of a person for ever: tombstones stay, and no key
// can be made under them. Merged ids are one person: whichever of them is
// named, all of them go (Aliases lists them). It returns when no process opens
// or seals for them any more, a lease later. It is idempotent; a person
// without keys gets a tombstone too.
//
// What the keys sealed is then unreadable in the database and in its backups.
// Key copies stay readable until the epoch is closed; clear and index columns
// are not reached (ClearRows).
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
	if err := checkTenant(tenant); err != nil {
		return Receipt{}, err
	}
	if _, err := v.tenant(ctx, tenant); err != nil {
		return Receipt{}, err
	}
	receipt := Receipt{Tenant: tenant}
	var closure []string
	state, err := v.update(ctx, func(tx KeyTx) (err error) {
		receipt = Receipt{Tenant: tenant}
		closure, err = bury(ctx, tx, tenant, owner, &receipt)
		return err
	})
	if err != nil {
		return Receipt{}, err
	}
	receipt.Epoch = state.Epoch
	v.evict(tenant, closure) // this process stops at once, what it has handed out within the lease
	if !v.settled(receipt.Sequence) {
		receipt.At = v.cfg.Now().UTC()
		receipt.Unreadable = receipt.At.Add(v.cfg.Lease)
		if err := v.cfg.Wait(ctx, v.cfg.Lease); err != nil {
			return receipt, fmt.Errorf("encryption: erase: the keys are gone, but the lease of other processes is not over: %w", err)
		}
	}
	if receipt.Scrubbed, err = v.scrub(ctx); err != nil {
		return receipt, err
	}
	v.cfg.Observe(ctx, "encryption.erased", float64(receipt.Keys), slog.Int("owners", receipt.Owners))
	return receipt, nil
}

// scrub asks the store to forget deleted bytes, a few times while others read.
func (v *Vault) scrub(ctx context.Context) (bool, error) {
	scrubber, ok := v.cfg.Keys.(Scrubber)
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

// bury makes tombstones of all owners of the merge set, and deletes their key
// rows, in one transaction.
func bury(ctx context.Context, tx KeyTx, tenant, owner string, receipt *Receipt) ([]string, error) {
	state, err := tx.State(ctx)
	if err != nil {
		return nil, err
	}
	closure, err := mergeSet(ctx, tx, tenant, owner)
	if err != nil {
		return nil, err
	}
	have, err := tx.Owners(ctx, tenant, closure)
	if err != nil {
		return nil, err
	}
	var put []OwnerRow
	for _, o := range closure {
		i := slices.IndexFunc(have.Owners, func(row OwnerRow) bool { return row.Owner == o })
		if i >= 0 && have.Owners[i].State == Tombstone {
			receipt.Sequence = max(receipt.Sequence, have.Owners[i].Sequence)
			continue
		}
		receipt.Sequence = state.Sequence
		put = append(put, OwnerRow{Tenant: tenant, Owner: o, State: Tombstone, Sequence: state.Sequence})
	}
	receipt.Owners, receipt.Keys = len(closure), len(have.Keys)
	if len(put) == 0 && len(have.Keys) == 0 {
		return closure, nil
	}
	return closure, tx.Write(ctx, Change{Put: Rows{Owners: put}, Remove: Rows{Keys: have.Keys}, Narrows: true})
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
	err := v.cfg.Keys.Snapshot(ctx, func(tx KeyTx) error {
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
