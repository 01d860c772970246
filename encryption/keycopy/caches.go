package keycopy

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/crmguard/crmguard/encryption/internal/keyring"
	"github.com/crmguard/crmguard/encryption/keystore"
)

// RepairFromCaches does what Vault.RepairFromCaches promises.
func (v *Copies) RepairFromCaches(ctx context.Context) (RepairReport, error) {
	var report RepairReport
	if err := v.ring.CatchUp(ctx); err != nil { // before any KEK is asked
		return report, err
	}
	cached := v.ring.CachedKeys()
	f := v.newFence(&report)
	f.update = v.updateDescended
	var refused []error // of tenants, which keep nobody else's keys from coming back
	err := f.until(ctx, func() error {
		refused = nil
		for _, tenant := range slices.Sorted(maps.Keys(cached)) {
			for keys := range slices.Chunk(cached[tenant], keyring.PageSize) {
				err := v.writeBack(keyring.Insist(ctx), tenant, keys, f)
				if err != nil && !ofTenant(ctx, err) {
					return err
				}
				if err != nil {
					refused = append(refused, err)
					break
				}
			}
		}
		if len(f.due) > 0 { // the fence makes everybody read afresh, and whoever reads that a key is gone has it no more
			v.ring.HoldKeys(cached)
		}
		return nil
	})
	if err != nil {
		return report, errors.Join(append(refused, err)...)
	}
	v.ring.HoldKeys(nil)
	v.cfg.Observe(ctx, "encryption.repaired", float64(report.Rows()))
	return report, errors.Join(refused...)
}

// updateDescended changes a store that this process need not recognise, as it need
// not for its keys to come back.
func (v *Copies) updateDescended(ctx context.Context, f func(keystore.Tx) error) error {
	_, err := v.cfg.Keys.Update(ctx, func(tx keystore.Tx) error {
		state, err := tx.State(ctx)
		if err == nil {
			err = v.ring.Descends(ctx, tx, state)
		}
		if err == nil {
			err = keyring.CheckLeaseOf(state)
		}
		if err != nil {
			return err
		}
		return f(tx)
	})
	return keyring.StoreError(err)
}

// ofTenant tells what is wrong with the keysets of one tenant from what stops
// everything: a store, a context, a KMS that does not answer in time.
func ofTenant(ctx context.Context, err error) bool {
	return ctx.Err() == nil && !errors.Is(err, context.DeadlineExceeded) && (errors.Is(err, keyring.ErrKeyset) || errors.Is(err, keyring.ErrKEK))
}

// writeBack brings back keys of one tenant.
func (v *Copies) writeBack(ctx context.Context, tenant string, keys []keyring.CachedKey, f *fence) error {
	for range keyring.SealAttempts {
		rows, err := v.cfg.Keys.Tenant(ctx, tenant)
		if err != nil {
			return keyring.StoreError(err)
		}
		if len(rows.Keysets) == 0 {
			return nil // its keysets are lost: a copy has them
		}
		wrap, err := v.ring.KeysetAmong(ctx, tenant, rows, keyring.PurposeWrap)
		if errors.Is(err, keyring.ErrKEK) && v.changedKeysets(ctx, rows) {
			continue // an epoch was closed meanwhile
		}
		if err != nil {
			return err
		}
		w := &cacheRepair{copies: v, tenant: tenant, keys: keys, wrap: wrap, fence: f}
		err = v.cfg.Keys.Snapshot(ctx, func(tx keystore.Tx) error { return w.compare(ctx, tx) })
		if err == nil && w.put.Len() > 0 {
			_, err = v.cfg.Keys.Update(ctx, func(tx keystore.Tx) error { return w.write(ctx, tx) })
		}
		if errors.Is(err, keyring.ErrStale) {
			continue
		}
		if err == nil {
			w.count(f.report)
		}
		return keyring.StoreError(err)
	}
	return fmt.Errorf("%w: keysets change all the time", keyring.ErrStore)
}

// cacheRepair compares keys in memory with the store.
type cacheRepair struct {
	copies *Copies
	tenant string
	keys   []keyring.CachedKey
	wrap   *keyring.Keyset
	fence  *fence

	put       keystore.Rows
	conflicts []DamagedRow
}

// write compares once more, where nothing can change any more.
func (w *cacheRepair) write(ctx context.Context, tx keystore.Tx) error {
	if err := w.compare(ctx, tx); err != nil || w.put.Len() == 0 {
		return err
	}
	return tx.Write(ctx, keystore.Change{Put: keyring.Restored(w.put), Narrows: true, Keeps: true, Returns: true, Of: keystore.Scope{Tenant: w.tenant}})
}

func (w *cacheRepair) compare(ctx context.Context, tx keystore.Tx) error {
	w.put, w.conflicts = keystore.Rows{}, nil
	state, err := tx.State(ctx)
	if err != nil {
		return err
	}
	if err := w.copies.ring.Descends(ctx, tx, state); err != nil {
		return err
	}
	tenant, err := tx.Tenant(ctx, w.tenant)
	if err != nil {
		return err
	}
	if !slices.ContainsFunc(tenant.Keysets, func(k keystore.KeysetRow) bool {
		return k.Purpose == keyring.PurposeWrap && k.Version == w.wrap.Row.Version && bytes.Equal(k.Wrapped, w.wrap.Row.Wrapped)
	}) {
		return keyring.ErrStale
	}
	var owners []string
	for _, key := range w.keys {
		owners = append(owners, key.Owner)
	}
	have, err := tx.Owners(ctx, w.tenant, slices.Compact(owners))
	if err != nil {
		return err
	}
	for _, key := range w.keys {
		w.one(key, tenant, have, state)
	}
	if w.put.Len() > 0 && !w.fence.stands(w.tenant, tenant, state) {
		w.put, w.conflicts = keystore.Rows{}, nil
	}
	return nil
}

func (w *cacheRepair) one(key keyring.CachedKey, tenant, have keystore.Rows, state keystore.State) {
	version, known := w.keyVersion(key.KeyVersion, tenant)
	owner := slices.IndexFunc(have.Owners, func(o keystore.OwnerRow) bool { return o.Owner == key.Owner })
	if version == nil || w.copies.ring.HasErased(w.tenant, key.Owner) || owner >= 0 && have.Owners[owner].State != keystore.Live {
		return
	}
	lives := func() {
		if owner < 0 && !slices.ContainsFunc(w.put.Owners, func(o keystore.OwnerRow) bool { return o.Owner == key.Owner }) {
			w.put.Owners = append(w.put.Owners, keystore.OwnerRow{Tenant: w.tenant, Owner: key.Owner, State: keystore.Live, Sequence: state.Sequence})
		}
	}
	row := slices.IndexFunc(have.Keys, func(k keystore.KeyRow) bool { return k.Owner == key.Owner && k.KeyVersion == key.KeyVersion })
	if row >= 0 {
		now, _, err := w.wrap.UnwrapKey(have.Keys[row])
		switch {
		case err != nil: // a copy may have it
		case bytes.Equal(now, key.Raw):
			w.bring(version, known)
			lives()
		default:
			w.conflicts = append(w.conflicts, DamagedRow{Kind: keystore.KindKey, Tenant: w.tenant, Owner: key.Owner, KeyVersion: key.KeyVersion, Reason: "it opens, and is another key than in memory", Digest: keyDigest(have.Keys[row].Wrapped)})
		}
		return
	}
	w.bring(version, known)
	lives()
	back := keystore.KeyRow{Tenant: w.tenant, Owner: key.Owner, KeyVersion: key.KeyVersion, Wrapped: w.wrap.WrapKey(key.Raw, w.tenant, key.Owner, key.KeyVersion)}
	if key.Allotted {
		back.Seals = 1 // restored says how many, since nobody knows
	}
	w.put.Keys = append(w.put.Keys, back)
}

// bring puts a key version that the store does not know.
func (w *cacheRepair) bring(version *keystore.KeyVersionRow, known bool) {
	if !known && !knownTo(w.put, version.KeyVersion) {
		w.put.KeyVersions = append(w.put.KeyVersions, *version)
	}
}

// keyVersion returns the row of a key version under which a key may come back:
// that of the store or, where it lacks it, that of memory, as one that seals no
// more. It is nil where either says that keys of it are gone, or the store that
// they are about to.
func (w *cacheRepair) keyVersion(id uint32, tenant keystore.Rows) (row *keystore.KeyVersionRow, known bool) {
	opens := func(state keystore.KeyVersionState) bool {
		return state == keystore.Active || state == keystore.Retired
	}
	memory := w.copies.ring.KnownKeyVersion(w.tenant, id)
	if w.copies.ring.HasDestroyed(w.tenant, id) || memory != nil && (memory.State == keystore.Deleting || memory.State == keystore.Destroyed) {
		return nil, false
	}
	if i := slices.IndexFunc(tenant.KeyVersions, func(g keystore.KeyVersionRow) bool { return g.KeyVersion == id }); i >= 0 {
		if !opens(tenant.KeyVersions[i].State) {
			return nil, false
		}
		return &tenant.KeyVersions[i], true
	}
	if memory == nil || !opens(memory.State) && memory.State != keystore.Destroying {
		return nil, false
	}
	memory.State = keystore.Retired
	return memory, false
}

func (w *cacheRepair) count(report *RepairReport) {
	report.KeyVersions += len(w.put.KeyVersions)
	report.Owners += len(w.put.Owners)
	report.Keys += len(w.put.Keys)
	report.Conflicts = append(report.Conflicts, w.conflicts[:min(len(w.conflicts), maxDamaged-min(maxDamaged, len(report.Conflicts)))]...)
}
