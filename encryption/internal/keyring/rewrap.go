package keyring

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/tink-crypto/tink-go/v2/keyset"

	"github.com/crmguard/crmguard/encryption/keystore"
)

// Rewrap is Rewrap of package keycopy.
type Rewrap struct {
	KEK     string
	Copy    func(ctx context.Context) error
	Destroy func(ctx context.Context, kek string) error
}

// RewrapReport is RewrapReport of package keycopy.
type RewrapReport struct {
	Epoch     int64
	Rewrapped int
	Repaired  int
	Fenced    int
	Old       []string
}

// RewrapKeys does what Vault.RewrapKeys promises. sound makes sure that nothing in
// the key store is damaged, and says how many rows it brought back for that, and how many
// indexes it fenced.
func (v *Ring) RewrapKeys(ctx context.Context, epoch Rewrap, sound func(ctx context.Context) (repaired, fenced int, err error)) (RewrapReport, error) {
	var report RewrapReport
	if epoch.Copy == nil || CheckID("KEK", epoch.KEK) != nil || strings.Contains(epoch.KEK, "\n") {
		return report, fmt.Errorf("%w: needs the name of a new KEK and Copy", ErrRewrap)
	}
	if !v.cfg.PermitsKEK(epoch.KEK) {
		return report, fmt.Errorf("%w: Config.KEKs does not permit the KEK %q: add it in every process that shares the key store first", ErrRewrap, epoch.KEK)
	}
	ctx = Insist(ctx)
	repaired, fenced, err := sound(ctx)
	report.Repaired, report.Fenced = repaired, fenced
	if err != nil {
		return report, err
	}
	first, err := v.firstBranch(ctx, epoch.KEK)
	if err != nil {
		return report, err
	}
	state, err := v.beginEpoch(ctx, epoch.KEK)
	if err != nil {
		return report, err
	}
	report.Epoch = state.Epoch
	tenants, err := v.Tenants(ctx)
	if err != nil {
		return report, err
	}
	for _, tenant := range tenants { // (a)
		if err := v.Retry(func() error { return v.newWrapKey(ctx, tenant, epoch.KEK, state.Epoch) }); err != nil {
			return report, err
		}
	}
	for _, tenant := range tenants { // (b), (c)
		n, err := v.rewrap(ctx, tenant)
		report.Rewrapped += n
		if err != nil {
			return report, err
		}
	}
	if err := epoch.Copy(ctx); err != nil { // (d)
		return report, fmt.Errorf("encryption: close epoch: first key copy: %w", err)
	}
	if err := v.Retry(func() error { return v.changeKEK(ctx, "", epoch.KEK, state.Epoch, first) }); err != nil { // (e)
		return report, err
	}
	for _, tenant := range tenants { // (e)
		if err := v.Retry(func() error { return v.changeKEK(ctx, tenant, epoch.KEK, state.Epoch, nil) }); err != nil {
			return report, err
		}
	}
	if _, err := v.scrub(ctx); err != nil {
		return report, err
	}
	if err := epoch.Copy(ctx); err != nil { // (f)
		return report, fmt.Errorf("encryption: close epoch: second key copy: %w", err)
	}
	if report.Old, err = v.endEpoch(ctx, epoch, state.Epoch); err != nil { // (g)
		return report, err
	}
	if err := epoch.Copy(ctx); err != nil { // the one before is of an epoch that is half closed
		return report, fmt.Errorf("encryption: close epoch: it is closed, but the key copy that says so was not written; write it (WriteCopy), and destroy what RewrapReport.Old names: %w", err)
	}
	v.cfg.Observe(ctx, "encryption.epoch.rewrapped", float64(report.Rewrapped))
	return report, err
}

// Retry repeats what was prepared from an older state.
func (v *Ring) Retry(f func() error) error {
	for range 5 {
		err := f()
		if !errors.Is(err, ErrStale) {
			return err
		}
		v.Doubt()
	}
	return fmt.Errorf("%w: keysets change all the time", ErrStore)
}

// beginEpoch marks the closing, or finds the mark of an interrupted one.
func (v *Ring) beginEpoch(ctx context.Context, name string) (keystore.State, error) {
	var out keystore.State
	_, err := v.Update(ctx, func(tx keystore.Tx) error {
		state, err := tx.State(ctx)
		if err != nil {
			return err
		}
		out = state
		if len(state.Retiring) > 0 {
			if state.KEK != name {
				return fmt.Errorf("%w: its closing under KEK %q is not finished; call RewrapKeys with that name first", ErrRewrap, state.KEK)
			}
			return nil
		}
		names, err := kekNames(ctx, tx)
		if err != nil {
			return err
		}
		for _, old := range names { // they are handed to Rewrap.Destroy in the end
			if !v.cfg.PermitsKEK(old) {
				return fmt.Errorf("%w: a keyset names the KEK %.300q, which Config.KEKs does not permit (Status says whose it is): it was planted, or the name is missing there; nothing was changed", ErrKeyset, old)
			}
		}
		if slices.Contains(names, name) || state.KEK == name {
			return fmt.Errorf("%w: the KEK %q is in use; a new epoch needs a new one", ErrRewrap, name)
		}
		out.Epoch, out.KEK, out.Retiring = state.Epoch+1, name, names
		next := out
		next.Sequence = 0
		return tx.Write(ctx, keystore.Change{Store: &next, Narrows: true, Keeps: true}) // what is lost meanwhile comes back from a copy of before
	})
	return out, err
}

// kekNames lists the KEKs that keysets name.
func kekNames(ctx context.Context, tx keystore.Tx) ([]string, error) {
	var names []string
	err := EachPage(ctx, tx, keystore.Page{Kind: keystore.KindKeyset, Limit: PageSize}, func(rows keystore.Rows) error {
		for _, row := range rows.Keysets {
			if row.KEK != "" && !slices.Contains(names, row.KEK) {
				names = append(names, row.KEK)
			}
		}
		return nil
	})
	slices.Sort(names)
	return names, err
}

// newWrapKey gives the tenant's wrap keyset a second key, as primary, under
// an id it never had. A keyset that has two, or whose branch key is under the new
// KEK, is past this step.
func (v *Ring) newWrapKey(ctx context.Context, tenant, kek string, epoch int64) error {
	k, err := v.LoadTenant(ctx, tenant)
	if err != nil {
		return err
	}
	branch, err := v.KeysetOf(ctx, k, PurposeBranch)
	if err != nil || branch.Row.KEK == kek {
		return err
	}
	open, err := v.KeysetOf(ctx, k, PurposeWrap)
	if err != nil || len(open.Roots) > 1 {
		return err
	}
	manager := keyset.NewManagerFromHandle(open.handle)
	id, err := addKey(manager, PurposeWrap, append(slices.Clone(open.Row.Former), open.Primary())...)
	if err == nil {
		err = manager.SetPrimary(id)
	}
	if err != nil {
		return fmt.Errorf("%w: %w", ErrKeyset, err)
	}
	fresh, err := rewrapped(branch, open.Row, manager, epoch)
	if err != nil {
		return err
	}
	return v.swapKeysets(ctx, tenant, kek, epoch, []*Keyset{fresh})
}

// rewrapped returns a changed keyset with its row, wrapped by the branch key.
func rewrapped(branch *Keyset, row keystore.KeysetRow, manager *keyset.Manager, epoch int64) (*Keyset, error) {
	handle, err := manager.Handle()
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrKeyset, err)
	}
	row.Epoch = epoch
	row.Version++
	return branchKey{branch}.wraps(row, handle)
}

// swapKeysets replaces keysets whose version is the one that was read.
func (v *Ring) swapKeysets(ctx context.Context, tenant, kek string, epoch int64, fresh []*Keyset) error {
	rows := rowsOf(fresh)
	_, err := v.Update(ctx, func(tx keystore.Tx) error {
		state, err := tx.State(ctx)
		if err != nil {
			return err
		}
		if state.Epoch != epoch || state.KEK != kek || len(state.Retiring) == 0 { // this process stood still meanwhile
			return fmt.Errorf("%w: another process has ended it", ErrRewrap)
		}
		now, err := tx.Tenant(ctx, tenant)
		if err != nil {
			return err
		}
		for _, row := range rows {
			if !slices.ContainsFunc(now.Keysets, func(have keystore.KeysetRow) bool {
				return have.Purpose == row.Purpose && have.Version == row.Version-1
			}) {
				return ErrStale
			}
		}
		return tx.Write(ctx, keystore.Change{Put: keystore.Rows{Keysets: rows}, Narrows: true, Keeps: true, Of: keystore.Scope{Tenant: tenant}})
	})
	if err == nil {
		v.KeepKeysets(ctx, tenant, fresh)
	}
	return err
}

// rewrap wraps every key row of the tenant with the primary wrap key, until a
// whole pass finds none of another.
func (v *Ring) rewrap(ctx context.Context, tenant string) (int, error) {
	total := 0
	for range 5 {
		n, err := v.rewrapPass(ctx, tenant)
		total += n
		if err != nil || n == 0 {
			return total, err
		}
	}
	return total, fmt.Errorf("%w: key rows keep appearing under the old wrap key", ErrRewrap)
}

func (v *Ring) rewrapPass(ctx context.Context, tenant string) (int, error) {
	open, err := v.Keyset(ctx, tenant, PurposeWrap)
	if err != nil {
		return 0, err
	}
	page := keystore.Page{Kind: keystore.KindKey, Tenant: tenant, Limit: PageSize}
	changed := 0
	for {
		var rows keystore.Rows
		err := v.cfg.Keys.Snapshot(ctx, func(tx keystore.Tx) (err error) {
			rows, err = tx.Page(ctx, page)
			return err
		})
		if err != nil {
			return changed, StoreError(err)
		}
		if page.After = rows.After(keystore.KindKey); page.After == nil {
			return changed, nil
		}
		var swap []swapKey
		for _, row := range rows.Keys {
			if WrapID(row.Wrapped) == open.Primary() {
				continue
			}
			raw, _, err := open.UnwrapKey(row)
			if err != nil {
				return changed, err
			}
			swap = append(swap, swapKey{row, open.WrapKey(raw, row.Tenant, row.Owner, row.KeyVersion)})
		}
		if len(swap) == 0 {
			continue
		}
		if _, err := v.Update(ctx, func(tx keystore.Tx) error { return swapKeys(ctx, tx, tenant, swap) }); err != nil {
			return changed, err
		}
		changed += len(swap)
	}
}

// swapKey replaces the wrapped bytes of a key row, if they are still the same.
type swapKey struct {
	old     keystore.KeyRow
	wrapped []byte
}

func swapKeys(ctx context.Context, tx keystore.Tx, tenant string, swap []swapKey) error {
	var owners []string
	for _, s := range swap {
		if !slices.Contains(owners, s.old.Owner) {
			owners = append(owners, s.old.Owner)
		}
	}
	now, err := tx.Owners(ctx, tenant, owners)
	if err != nil {
		return err
	}
	have := map[ownerID]map[uint32]keystore.KeyRow{}
	for _, row := range now.Keys {
		id := ownerID{row.Tenant, row.Owner}
		if have[id] == nil {
			have[id] = map[uint32]keystore.KeyRow{}
		}
		have[id][row.KeyVersion] = row
	}
	of, err := tx.Tenant(ctx, tenant)
	if err != nil {
		return err
	}
	var put []keystore.KeyRow
	for _, s := range swap {
		row := have[ownerID{tenant, s.old.Owner}][s.old.KeyVersion] // with the seals that were allotted meanwhile
		if !bytes.Equal(row.Wrapped, s.old.Wrapped) {
			continue
		}
		if buried(now, of, row) {
			return fmt.Errorf("%w: %w: since it began, a row says of a key that stands that its owner was erased or its key version destroyed: call RewrapKeys again, which settles it or names the key; nothing was deleted, and the old KEK is not destroyed", ErrRewrap, ErrDamaged)
		}
		row.Wrapped = s.wrapped
		put = append(put, row)
	}
	if len(put) == 0 {
		return nil
	}
	return tx.Write(ctx, keystore.Change{Put: keystore.Rows{Keys: put}})
}

// buried reports whether a row says that a key is gone for ever. That one row is no
// reason to delete the key, which an erasure would have taken along: the row may be
// what somebody planted. Nor may the key live on under the new wrap key, since it may
// be the key that was put back. Here nobody knows; whoever makes sure that nothing is
// damaged has the copies to tell.
func buried(owners, tenant keystore.Rows, key keystore.KeyRow) bool {
	return slices.ContainsFunc(owners.Owners, func(o keystore.OwnerRow) bool {
		return o.Owner == key.Owner && o.State == keystore.Tombstone
	}) || slices.ContainsFunc(tenant.KeyVersions, func(g keystore.KeyVersionRow) bool {
		return g.KeyVersion == key.KeyVersion && g.State == keystore.Destroyed
	})
}

// firstBranch makes the installation's branch key of the new epoch before
// anything is changed: that the new KEK serves is known then. It is nil where the
// installation is past that step.
func (v *Ring) firstBranch(ctx context.Context, kek string) (*Keyset, error) {
	k, err := v.LoadTenant(ctx, "")
	if err != nil {
		return nil, err
	}
	old, err := v.KeysetOf(ctx, k, PurposeBranch)
	if err != nil || old.Row.KEK == kek {
		return nil, err
	}
	return v.nextBranch(ctx, old, kek, old.Row.Epoch)
}

// changeKEK gives a tenant, or the installation, a new branch key under the new
// KEK, and wraps all its keysets by that; old wrap keys go. It happens in one
// change: whoever reads sees all of it or nothing. next is a branch key that was
// made for it already, or nil.
func (v *Ring) changeKEK(ctx context.Context, tenant, kek string, epoch int64, next *Keyset) error {
	k, err := v.LoadTenant(ctx, tenant)
	if err != nil {
		return err
	}
	old, err := v.KeysetOf(ctx, k, PurposeBranch)
	if err != nil {
		return err
	}
	var fresh []*Keyset
	branch := old
	if old.Row.KEK != kek {
		if branch = next; branch == nil || branch.Row.Version != old.Row.Version+1 || !slices.Contains(branch.Row.Former, old.Primary()) {
			if branch, err = v.nextBranch(ctx, old, kek, epoch); err != nil {
				return err
			}
		}
		branch.Row.Epoch = epoch
		fresh = append(fresh, branch)
	}
	for _, row := range k.Rows.Keysets {
		if row.Purpose == PurposeBranch {
			continue
		}
		open, err := v.KeysetOf(ctx, k, row.Purpose)
		if err != nil {
			return err
		}
		if branch == old && (row.Purpose != PurposeWrap || len(open.Roots) == 1) {
			continue // it is past this step
		}
		moved, err := MoveKeyset(open, branch, epoch)
		if err != nil {
			return err
		}
		fresh = append(fresh, moved)
	}
	if len(fresh) == 0 {
		return nil
	}
	return v.swapKeysets(ctx, tenant, kek, epoch, fresh)
}

// endEpoch destroys the KEKs that no keyset names, and takes the mark away.
func (v *Ring) endEpoch(ctx context.Context, epoch Rewrap, number int64) ([]string, error) {
	var retiring, names []string
	err := v.cfg.Keys.Snapshot(ctx, func(tx keystore.Tx) error {
		state, err := tx.State(ctx)
		if err != nil {
			return err
		}
		if state.Epoch != number {
			return nil
		}
		retiring = state.Retiring
		names, err = kekNames(ctx, tx)
		return err
	})
	if err != nil {
		return nil, StoreError(err)
	}
	for _, old := range retiring {
		if slices.Contains(names, old) {
			return nil, fmt.Errorf("%w: a keyset still names KEK %q", ErrRewrap, old)
		}
		if !v.cfg.PermitsKEK(old) { // whoever writes the key store must not choose what is destroyed
			return nil, fmt.Errorf("%w: the key store says that the KEK %.300q goes with the old epoch, which Config.KEKs does not permit: permit it, or mend the key store; it was not destroyed", ErrKeyset, old)
		}
		if epoch.Destroy != nil {
			if err := epoch.Destroy(ctx, old); err != nil {
				return nil, fmt.Errorf("encryption: close epoch: destroy KEK %q: %w", old, err)
			}
		}
	}
	_, err = v.Update(ctx, func(tx keystore.Tx) error {
		state, err := tx.State(ctx)
		if err != nil || state.Epoch != number || len(state.Retiring) == 0 {
			return err
		}
		state.Retiring, state.Sequence = nil, 0
		return tx.Write(ctx, keystore.Change{Store: &state})
	})
	return retiring, err
}
