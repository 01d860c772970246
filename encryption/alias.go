package encryption

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/crmguard/crmguard/encryption/keystore"
)

// AddAlias says that a person was merged into another: from keeps its keys,
// which old snapshots need, and seals no more; erasing either erases both. The
// application reseals the fields of from under into in its own transaction
// (a Reader for from, a Writer for into). It is idempotent, and Unmerge takes it
// back.
func (v *Vault) AddAlias(ctx context.Context, tenant, from, into string) error {
	if err := v.checkMerge(ctx, tenant, from, into); err != nil {
		return err
	}
	_, err := v.update(ctx, func(tx keystore.Tx) error { return putAlias(ctx, tx, tenant, from, into) })
	return err
}

func putAlias(ctx context.Context, tx keystore.Tx, tenant, from, into string) error {
	state, err := tx.State(ctx)
	if err != nil {
		return err
	}
	have, err := tx.Owners(ctx, tenant, []string{from, into})
	if err != nil {
		return err
	}
	if slices.Contains(have.Aliases, keystore.AliasRow{Tenant: tenant, Alias: from, Owner: into}) {
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
	put := keystore.Rows{Aliases: []keystore.AliasRow{{Tenant: tenant, Alias: from, Owner: into}}}
	for _, owner := range []string{from, into} {
		i := slices.IndexFunc(have.Owners, func(row keystore.OwnerRow) bool { return row.Owner == owner })
		switch {
		case i < 0:
			put.Owners = append(put.Owners, keystore.OwnerRow{Tenant: tenant, Owner: owner, State: keystore.Live, Sequence: state.Sequence})
		case have.Owners[i].State != keystore.Live:
			return fmt.Errorf("%w: one of the two", ErrErased)
		}
	}
	return tx.Write(ctx, keystore.Change{Put: put, Narrows: true, Of: keystore.Scope{Tenant: tenant, Owners: []string{from, into}}})
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
// was merged into somebody else, ErrNoKey that it was never merged.
func (v *Vault) Unmerge(ctx context.Context, tenant, from, into string) error {
	if err := v.checkMerge(ctx, tenant, from, into); err != nil {
		return err
	}
	_, err := v.update(ctx, func(tx keystore.Tx) error { return takeAlias(ctx, tx, tenant, from, into) })
	return err
}

func (v *Vault) checkMerge(ctx context.Context, tenant, from, into string) error {
	if err := checkTenant(tenant); err != nil {
		return err
	}
	if err := errors.Join(checkPerson(from), checkPerson(into)); err != nil {
		return fmt.Errorf("encryption: merge of a person into another: %w", err)
	}
	if from == into {
		return fmt.Errorf("%w: merge of a person into the same one", ErrID)
	}
	_, err := v.tenant(ctx, tenant)
	return err
}

// takeAlias removes an alias while both of its ends live. An erasure is an
// Update, too: either it found the alias and both are erased, or it comes later
// and finds one person.
func takeAlias(ctx context.Context, tx keystore.Tx, tenant, from, into string) error {
	have, err := tx.Owners(ctx, tenant, []string{from, into})
	if err != nil {
		return err
	}
	states := map[string]keystore.OwnerState{}
	for _, row := range have.Owners {
		states[row.Owner] = row.State
	}
	for _, owner := range []string{from, into} {
		switch state, known := states[owner]; {
		case !known:
			return &KeyError{Op: "unmerge: one of the two was never part of a merge", Err: ErrNoKey}
		case state != keystore.Live:
			return fmt.Errorf("%w: one of the two, and with it the other; a merge is not taken back afterwards", ErrErased)
		}
	}
	i := slices.IndexFunc(have.Aliases, func(row keystore.AliasRow) bool { return row.Alias == from })
	switch {
	case i < 0:
		return nil // it was taken back before
	case have.Aliases[i].Owner != into:
		return fmt.Errorf("%w, and not into the one that was named", ErrMerged)
	}
	return tx.Write(ctx, keystore.Change{Remove: keystore.Rows{Aliases: have.Aliases[i : i+1]}, Narrows: true, Of: keystore.Scope{Tenant: tenant, Owners: []string{from, into}}})
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
	err := v.cfg.Keys.Snapshot(ctx, func(tx keystore.Tx) (err error) {
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

// mergeSet lists everyone who is one person with the owner, the owner too. It
// climbs to whom the owner was merged into, for that is where the data went,
// and takes the closure from there.
func mergeSet(ctx context.Context, tx keystore.Tx, tenant, owner string) ([]string, error) {
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
func aliasClosure(ctx context.Context, tx keystore.Tx, tenant, owner string) ([]string, error) {
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
