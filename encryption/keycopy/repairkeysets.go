package keycopy

import (
	"bytes"
	"context"
	"fmt"
	"slices"

	"github.com/crmguard/crmguard/encryption/internal/keyring"
	"github.com/crmguard/crmguard/encryption/keystore"
)

// keysets come first: the keys are wrapped with them.
func (r *repair) keysets(ctx context.Context) error {
	e, err := r.copies.newExaminer(ctx)
	if err != nil {
		return err
	}
	var tenants []string
	for id := range r.from.keysets {
		tenants = append(tenants, id[0])
	}
	slices.Sort(tenants)
	var put []keystore.KeysetRow
	var touched []string
	for _, tenant := range slices.Compact(tenants) {
		rows, err := r.keysetsOf(e, tenant)
		if err != nil {
			return err
		}
		if len(rows) > 0 {
			put, touched = append(put, rows...), append(touched, tenant)
		}
	}
	if len(put) == 0 {
		return nil
	}
	waits := false
	err = r.change(ctx, func(tx keystore.Tx, now keystore.State) (keystore.Change, error) {
		waits = false
		if now.Epoch != r.state.Epoch || now.KEK != r.state.KEK || !slices.Equal(now.Retiring, r.state.Retiring) {
			return keystore.Change{}, fmt.Errorf("%w: an epoch is being closed: call again afterwards", keyring.ErrRewrap)
		}
		change := keystore.Change{Put: keystore.Rows{Keysets: put}}
		for _, tenant := range touched {
			have, err := e.unchanged(ctx, tx, tenant)
			if err != nil {
				return keystore.Change{}, err
			}
			if opens(put, tenant) && !r.fence.stands(tenant, have, now) {
				waits = true // together: they are wrapped by one another
			}
		}
		if waits {
			return keystore.Change{}, nil
		}
		return change, nil
	})
	if err == nil && !waits {
		r.report.Keysets += len(put)
		r.copies.ring.Doubt()
	}
	return err
}

// opens reports whether values of the tenant may open with the keysets that did
// not without: under an older wrap keyset the newer keys are damaged one by one.
func opens(keysets []keystore.KeysetRow, tenant string) bool {
	return slices.ContainsFunc(keysets, func(k keystore.KeysetRow) bool {
		return k.Tenant == tenant && (k.Purpose == keyring.PurposeBranch || k.Purpose == keyring.PurposeWrap || k.Purpose == keyring.PurposeIndex)
	})
}

// unchanged returns the rows of a tenant, and answers errStale where a keyset of the tenant is another one than
// was examined: what is put depends on the branch key, and that on nothing less.
func (e *examiner) unchanged(ctx context.Context, tx keystore.Tx, tenant string) (keystore.Rows, error) {
	have, err := tx.Tenant(ctx, tenant)
	if err != nil {
		return have, err
	}
	for _, purpose := range keyring.PurposesOf(tenant) {
		was := e.keysets[[2]string{tenant, purpose}].row
		var is keystore.KeysetRow
		if i := slices.IndexFunc(have.Keysets, func(k keystore.KeysetRow) bool { return k.Purpose == purpose }); i >= 0 {
			is = have.Keysets[i]
		}
		if is.Version != was.Version || is.KEK != was.KEK || !bytes.Equal(is.Wrapped, was.Wrapped) {
			return have, keyring.ErrStale
		}
	}
	return have, nil
}

// keysetsOf says which keysets of a tenant to put. The branch key comes first:
// under the one that the store will have the others are judged, and wrapped.
func (r *repair) keysetsOf(e *examiner, tenant string) (put []keystore.KeysetRow, err error) {
	from := r.from.keysets[[2]string{tenant, keyring.PurposeBranch}]
	if from == nil {
		return nil, nil // a copy with holes
	}
	used := from.Row.KEK == r.state.KEK || slices.Contains(r.state.Retiring, from.Row.KEK)
	// Under the KEK of an epoch nothing changes a keyset before the next one.
	same := used && r.from.Epoch == r.state.Epoch
	have := e.keysets[[2]string{tenant, keyring.PurposeBranch}]
	branch := have.open
	if broken, exact := compareKeyset(have, from.Row); broken && used && (same || exact || e.servesStill(from, tenant)) {
		row := after(from.Row, have.row)
		put, branch = append(put, row), from.As(row)
	}
	if branch == nil {
		return put, nil // nothing of the tenant opens
	}
	for _, purpose := range keyring.PurposesOf(tenant)[1:] {
		id := [2]string{tenant, purpose}
		kept, have := r.from.keysets[id], e.keysets[id]
		if kept == nil {
			continue
		}
		if have.row.Purpose != "" {
			have.open, have.why = examineUnder(branch, have.row)
		}
		broken, _ := compareKeyset(have, kept.Row)
		home := from.SameKeys(branch)
		switch {
		case (broken || lacks(have.open, kept)) && home:
			// Each epoch makes a new branch key: under this one no keyset has changed since,
			// but for the wrap key that an epoch adds first. Keys that are wrapped by that one
			// come from the copy as well, and those that it lacks are damaged, one by one.
			put = append(put, after(kept.Row, have.row))
		case broken && !home && same:
			row, ok, err := r.across(kept, branch, have.row)
			if err != nil {
				return nil, err
			}
			if ok {
				put = append(put, row)
			}
		}
	}
	return put, nil
}

// servesStill reports whether a branch key of a copy is that of the store, whose row
// is lost: another keyset of the tenant opens under it, and all of them change at once.
func (e *examiner) servesStill(branch *keyring.Keyset, tenant string) bool {
	return slices.ContainsFunc(keyring.PurposesOf(tenant)[1:], func(purpose string) bool {
		open, _ := examineUnder(branch, e.keysets[[2]string{tenant, purpose}].row)
		return open != nil
	})
}

// lacks reports whether a keyset of a copy has all keys of that of the store and one
// more: an older copy brought the store's back.
func lacks(have, from *keyring.Keyset) bool {
	if have == nil || len(have.Roots) >= len(from.Roots) {
		return false
	}
	for _, r := range have.Roots {
		if key, ok := from.Root(r.ID); !ok || !bytes.Equal(key, r.Key) {
			return false
		}
	}
	return true
}

// compareKeyset says whether a keyset of the store is broken, and whether it was
// the very one of the copy: of the same version, KEK and epoch.
func compareKeyset(have examinedKeyset, from keystore.KeysetRow) (broken, exact bool) {
	found := have.row.Purpose != ""
	exact = found && have.row.Version == from.Version && have.row.KEK == from.KEK && have.row.Epoch == from.Epoch
	broken = !found || have.open == nil || !copyable(keystore.Rows{Keysets: []keystore.KeysetRow{have.row}}) || have.row.Version < from.Version || exact && !bytes.Equal(have.row.Wrapped, from.Wrapped)
	return broken, exact
}

// after is the row of a copy with a version that does not go back.
func after(from, have keystore.KeysetRow) keystore.KeysetRow {
	if have.Purpose != "" && !copyable(keystore.Rows{Keysets: []keystore.KeysetRow{have}}) {
		from.Version++ // none that anybody counted to
	} else if have.Version > from.Version {
		from.Version = have.Version + 1
	}
	return from
}

// across wraps a keyset of a copy by the branch key that the tenant has got since,
// while an epoch is half closed. An old wrap key does not come along: by then
// every key was wrapped by the new one, which the copy must have.
func (r *repair) across(kept, branch *keyring.Keyset, have keystore.KeysetRow) (row keystore.KeysetRow, ok bool, err error) {
	if branch.Row.KEK != r.state.KEK || kept.Row.Purpose == keyring.PurposeWrap && len(kept.Roots) == 1 {
		return row, false, nil
	}
	moved, err := keyring.MoveKeyset(kept, branch, r.state.Epoch)
	if err != nil {
		return row, false, err
	}
	row = moved.Row
	row.Version = max(row.Version, have.Version+1) // another one than in the copy
	return row, true, nil
}
