package keyring

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/crmguard/crmguard/encryption/keystore"
)

// AddAlias does what Vault.AddAlias promises.
func (v *Ring) AddAlias(ctx context.Context, tenant, from, into string) error {
	from, into = Fold(from), Fold(into)
	if err := v.checkMerge(ctx, tenant, from, into); err != nil {
		return err
	}
	if from == into {
		return fmt.Errorf("%w: merge of a person into the same one", ErrID)
	}
	_, err := v.Update(ctx, func(tx keystore.Tx) error { return putAlias(ctx, tx, tenant, from, into) })
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
	if err := checkOwners(have, "merge"); err != nil {
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
	return tx.Write(ctx, keystore.Change{Put: put, Narrows: true, Keeps: true, Of: keystore.Scope{Tenant: tenant, Owners: []string{from, into}}})
}

// checkOwners refuses owners of whom whether they live is not known.
func checkOwners(rows keystore.Rows, op string) error {
	known := func(owner string) bool {
		return slices.ContainsFunc(rows.Owners, func(o keystore.OwnerRow) bool { return o.Owner == owner })
	}
	odd := func(o keystore.OwnerRow) bool { return o.State != keystore.Live && o.State != keystore.Tombstone }
	lost := slices.ContainsFunc(rows.Owners, odd) || slices.ContainsFunc(rows.Keys, func(k keystore.KeyRow) bool { return !known(k.Owner) }) ||
		slices.ContainsFunc(rows.Aliases, func(a keystore.AliasRow) bool { return !known(a.Alias) })
	if lost {
		return &KeyError{Op: op, Err: ErrOwnerLost}
	}
	return nil
}

// Unmerge does what Vault.Unmerge promises.
func (v *Ring) Unmerge(ctx context.Context, tenant, from, into string) error {
	from, into = Fold(from), Fold(into)
	if err := v.checkMerge(ctx, tenant, from, into); err != nil {
		return err
	}
	_, err := v.Update(ctx, func(tx keystore.Tx) error { return takeAlias(ctx, tx, tenant, from, into) })
	return err
}

func (v *Ring) checkMerge(ctx context.Context, tenant, from, into string) error {
	if err := CheckTenant(tenant); err != nil {
		return err
	}
	if err := errors.Join(CheckPerson(from), CheckPerson(into)); err != nil {
		return fmt.Errorf("encryption: merge of a person into another: %w", err)
	}
	_, err := v.Tenant(ctx, tenant)
	return err
}

// takeAlias removes an alias while both of its ends live. An erasure is an
// Update, too: either it found the alias and both are erased, or it comes later
// and finds one person. So an alias of which one end only is erased was made by
// nobody, nor was one of a person into the same one: it goes, too.
func takeAlias(ctx context.Context, tx keystore.Tx, tenant, from, into string) error {
	have, err := tx.Owners(ctx, tenant, []string{from, into})
	if err == nil {
		err = checkOwners(have, "unmerge")
	}
	if err != nil {
		return err
	}
	states := map[string]keystore.OwnerState{}
	for _, row := range have.Owners {
		states[row.Owner] = row.State
	}
	i := slices.IndexFunc(have.Aliases, func(row keystore.AliasRow) bool { return row.Alias == from })
	erased := states[from] == keystore.Tombstone || states[into] == keystore.Tombstone
	switch {
	case i < 0 && from == into:
		return fmt.Errorf("%w: merge of a person into the same one", ErrID)
	case len(states) < 2 && from != into:
		return &KeyError{Op: "unmerge: one of the two was never part of a merge", Err: ErrNoKey}
	case erased && (i < 0 || states[from] == states[into]):
		return fmt.Errorf("%w: one of the two, and with it the other; a merge is not taken back afterwards", ErrErased)
	case i < 0:
		return nil // it was taken back before
	case have.Aliases[i].Owner != into:
		return fmt.Errorf("%w, and not into the one that was named", ErrMerged)
	}
	return tx.Write(ctx, keystore.Change{Remove: keystore.Rows{Aliases: have.Aliases[i : i+1]}, Narrows: true, Of: keystore.Scope{Tenant: tenant, Owners: []string{from, into}}})
}

// Aliases does what Vault.Aliases promises.
func (v *Ring) Aliases(ctx context.Context, tenant, person string) ([]string, error) {
	if err := CheckTenant(tenant); err != nil {
		return nil, err
	}
	if err := CheckNamed(person); err != nil {
		return nil, err
	}
	if _, err := v.Tenant(ctx, tenant); err != nil {
		return nil, err
	}
	var all []string
	err := v.cfg.Keys.Snapshot(ctx, func(tx keystore.Tx) (err error) {
		all, err = mergeSet(ctx, tx, tenant, Fold(person))
		return err
	})
	if err != nil {
		return nil, StoreError(err)
	}
	for _, id := range slices.Clone(all) {
		all = append(all, Spellings(id)[1:]...)
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
