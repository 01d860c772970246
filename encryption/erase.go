package encryption

import (
	"context"
	"errors"
	"fmt"
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
	receipts, err := v.eraseAll(ctx, tenant, []string{owner})
	if len(receipts) == 0 {
		return Receipt{}, err
	}
	return receipts[0], err
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

// mergeSet lists everyone who is one person with the owner, the owner too. It
// climbs to whom the owner was merged into, for that is where the data went,
// and takes the closure from there.
func mergeSet(ctx context.Context, tx KeyTx, tenant, owner string) ([]string, error) {
	climbed := []string{owner}
	for {
		have, err := tx.Owners(ctx, tenant, climbed[len(climbed)-1:])
		if err != nil {
			return nil, err
		}
		if len(have.Aliases) == 0 {
			break
		}
		into := have.Aliases[0].Owner
		if slices.Contains(climbed, into) {
			break // AddAlias makes no circles; whoever did, its closure is the circle
		}
		climbed = append(climbed, into)
	}
	return aliasClosure(ctx, tx, tenant, climbed[len(climbed)-1])
}

// aliasClosure lists the owner and everyone merged into it, directly or not.
func aliasClosure(ctx context.Context, tx KeyTx, tenant, owner string) ([]string, error) {
	out := []string{owner}
	for i := 0; i < len(out); i++ {
		merged, err := tx.Merged(ctx, tenant, out[i])
		if err != nil {
			return nil, err
		}
		for _, row := range merged {
			if !slices.Contains(out, row.Alias) {
				out = append(out, row.Alias)
			}
		}
	}
	return out, nil
}

// AddAlias says that a person was merged into another: from keeps its keys,
// which old snapshots need, and seals no more; erasing either erases both. The
// application reseals the fields of from under into in its own transaction
// (a Reader for from, a Writer for into). It is idempotent.
func (v *Vault) AddAlias(ctx context.Context, tenant, from, into string) error {
	if err := checkTenant(tenant); err != nil {
		return err
	}
	if err := errors.Join(checkPerson(from), checkPerson(into)); err != nil {
		return fmt.Errorf("encryption: merge of a person into another: %w", err)
	}
	if from == into {
		return fmt.Errorf("%w: merge of a person into the same one", ErrID)
	}
	if _, err := v.tenant(ctx, tenant); err != nil {
		return err
	}
	_, err := v.update(ctx, func(tx KeyTx) error { return putAlias(ctx, tx, tenant, from, into) })
	return err
}

func putAlias(ctx context.Context, tx KeyTx, tenant, from, into string) error {
	state, err := tx.State(ctx)
	if err != nil {
		return err
	}
	have, err := tx.Owners(ctx, tenant, []string{from, into})
	if err != nil {
		return err
	}
	if slices.Contains(have.Aliases, AliasRow{Tenant: tenant, Alias: from, Owner: into}) {
		return nil
	}
	if len(have.Aliases) > 0 {
		return fmt.Errorf("%w: one of the two is part of another merge", ErrMerged)
	}
	closure, err := aliasClosure(ctx, tx, tenant, from)
	if err != nil {
		return err
	}
	if slices.Contains(closure, into) {
		return fmt.Errorf("%w: a circle", ErrMerged)
	}
	put := Rows{Aliases: []AliasRow{{Tenant: tenant, Alias: from, Owner: into}}}
	for _, owner := range []string{from, into} {
		i := slices.IndexFunc(have.Owners, func(row OwnerRow) bool { return row.Owner == owner })
		switch {
		case i < 0:
			put.Owners = append(put.Owners, OwnerRow{Tenant: tenant, Owner: owner, State: Live, Sequence: state.Sequence})
		case have.Owners[i].State != Live:
			return fmt.Errorf("%w: one of the two", ErrErased)
		}
	}
	return tx.Write(ctx, Change{Put: put, Narrows: true, Of: Scope{Tenant: tenant, Owners: []string{from, into}}})
}

// Aliases lists the other ids of the same person: everyone that was merged
// with it, directly or not, into it or it into them, sorted. An erasure covers
// all of them, so whoever searches or clears rows for a person does it for
// these, too. The list stays after the erasure.
func (v *Vault) Aliases(ctx context.Context, tenant, person string) ([]string, error) {
	if err := checkTenant(tenant); err != nil {
		return nil, err
	}
	if err := checkNamed(person); err != nil {
		return nil, err
	}
	if _, err := v.tenant(ctx, tenant); err != nil {
		return nil, err
	}
	var all []string
	err := v.cfg.Keys.Snapshot(ctx, func(tx KeyTx) (err error) {
		all, err = mergeSet(ctx, tx, tenant, person)
		return err
	})
	if err != nil {
		return nil, storeError(err)
	}
	all = slices.DeleteFunc(all, func(id string) bool { return id == person })
	slices.Sort(all)
	return all, nil
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
