package encryption

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/crmguard/crmguard/encryption/keystore"
)

// sawMark is a change that this process knows to have been committed.
type sawMark struct {
	sequence int64
	mark     string
}

// sawMarks bounds how many are remembered.
const sawMarks = 256

// cachedKey is a key that this process has in memory.
type cachedKey struct {
	owner      string
	keyVersion uint32
	raw        []byte
	allotted   bool // the key store had counted its seals
}

// RepairFromCaches writes keys back that the key store has lost, and this process
// still has in memory: a failover to an asynchronous standby, or a recovery to a
// point in time, may lose the newest keys of rows that are committed elsewhere.
// Call it in every process that ran before, on the vault that it had: also on one
// that answers ErrRewound, which is when it is needed, and which opens and seals
// nothing all the same. Then Open afresh. It answers how many rows it wrote, and
// is nothing but a look where none is missing.
//
// It only adds: an owner, a key, and the key version of a key, as one that opens
// and does not seal. A key comes back under the wrap key that the store has now;
// never under a tombstone, never where this process or the store says that the
// key version is destroyed, or the store that it is about to be, never in place of a key that is there
// (RepairReport.Conflicts lists those that are other keys: what was sealed under
// the lost one does not open), and never into a store that holds nothing that
// this process saw committed (ErrRewound: restore a copy).
//
// What was lost in other rows does not come back: tenants, merges, index
// versions, new keysets, and erasures: replay the erasure ledger before anybody
// reads, since whoever was both created and erased in the part that was lost may
// come back. Nor do keys that no process has in memory (Config.CacheKeys), or
// that a change has narrowed meanwhile, for it may have been their erasure;
// RepairFromCopy may have those.
func (v *Vault) RepairFromCaches(ctx context.Context) (RepairReport, error) {
	var report RepairReport
	err := v.cfg.Keys.Snapshot(ctx, func(tx keystore.Tx) error { // before any KEK is asked
		state, err := tx.State(ctx)
		if err != nil {
			return err
		}
		return v.descends(ctx, tx, state)
	})
	if err != nil {
		return report, storeError(err)
	}
	cached := v.cachedKeys()
	tenants := make([]string, 0, len(cached))
	for tenant := range cached {
		tenants = append(tenants, tenant)
	}
	slices.Sort(tenants)
	for _, tenant := range tenants {
		for keys := range slices.Chunk(cached[tenant], pageSize) {
			if err := v.writeBack(insist(ctx), tenant, keys, &report); err != nil {
				return report, err
			}
		}
	}
	v.cfg.Observe(ctx, "encryption.repaired", float64(report.Rows()))
	return report, nil
}

// cachedKeys are the keys in memory of which nobody has said that something was
// taken away, by tenant and sorted.
func (v *Vault) cachedKeys() map[string][]cachedKey {
	v.mu.RLock()
	defer v.mu.RUnlock()
	out := map[string][]cachedKey{}
	for id, o := range v.owners {
		if o.state != keystore.Live || o.narrowed && !o.doubted {
			continue
		}
		for _, key := range o.keys {
			if key.err == nil {
				out[id.tenant] = append(out[id.tenant], cachedKey{id.owner, key.keyVersion, bytes.Clone(key.raw[:]), key.allotted || key.block.Load() != nil})
			}
		}
	}
	for _, keys := range out {
		slices.SortFunc(keys, func(a, b cachedKey) int {
			return bytes.Compare(keyOrder(a), keyOrder(b))
		})
	}
	return out
}

func keyOrder(k cachedKey) []byte { return fmt.Appendf(nil, "%s\x00%010d", k.owner, k.keyVersion) }

// writeBack brings back keys of one tenant.
func (v *Vault) writeBack(ctx context.Context, tenant string, keys []cachedKey, report *RepairReport) error {
	for range sealAttempts {
		rows, err := v.cfg.Keys.Tenant(ctx, tenant)
		if err != nil {
			return storeError(err)
		}
		if len(rows.Keysets) == 0 {
			return nil // its keysets are lost: a copy has them
		}
		wrap, err := v.keysetOf(ctx, &tenantKeys{tenant: tenant, rows: rows, open: map[string]*openKeyset{}}, purposeWrap)
		if err != nil {
			return err
		}
		w := &cacheRepair{vault: v, tenant: tenant, keys: keys, wrap: wrap}
		err = v.cfg.Keys.Snapshot(ctx, func(tx keystore.Tx) error { return w.compare(ctx, tx) })
		if err == nil && w.put.Len() > 0 {
			_, err = v.cfg.Keys.Update(ctx, func(tx keystore.Tx) error { return w.write(ctx, tx) })
		}
		if errors.Is(err, errStale) {
			continue
		}
		if err == nil {
			w.count(report)
		}
		return storeError(err)
	}
	return fmt.Errorf("%w: keysets change all the time", ErrStore)
}

// cacheRepair compares keys in memory with the store.
type cacheRepair struct {
	vault  *Vault
	tenant string
	keys   []cachedKey
	wrap   *openKeyset

	put       keystore.Rows
	conflicts []DamagedRow
}

// write compares once more, where nothing can change any more.
func (w *cacheRepair) write(ctx context.Context, tx keystore.Tx) error {
	if err := w.compare(ctx, tx); err != nil || w.put.Len() == 0 {
		return err
	}
	return tx.Write(ctx, keystore.Change{Put: restored(w.put), Narrows: true, Of: keystore.Scope{Tenant: w.tenant}})
}

func (w *cacheRepair) compare(ctx context.Context, tx keystore.Tx) error {
	w.put, w.conflicts = keystore.Rows{}, nil
	state, err := tx.State(ctx)
	if err != nil {
		return err
	}
	if err := w.vault.descends(ctx, tx, state); err != nil {
		return err
	}
	tenant, err := tx.Tenant(ctx, w.tenant)
	if err != nil {
		return err
	}
	if !slices.ContainsFunc(tenant.Keysets, func(k keystore.KeysetRow) bool {
		return k.Purpose == purposeWrap && k.Version == w.wrap.row.Version && bytes.Equal(k.Wrapped, w.wrap.row.Wrapped)
	}) {
		return errStale
	}
	var owners []string
	for _, key := range w.keys {
		owners = append(owners, key.owner)
	}
	have, err := tx.Owners(ctx, w.tenant, slices.Compact(owners))
	if err != nil {
		return err
	}
	for _, key := range w.keys {
		w.one(key, tenant, have, state)
	}
	return nil
}

func (w *cacheRepair) one(key cachedKey, tenant, have keystore.Rows, state keystore.State) {
	version, known := w.keyVersion(key.keyVersion, tenant)
	owner := slices.IndexFunc(have.Owners, func(o keystore.OwnerRow) bool { return o.Owner == key.owner })
	if version == nil || owner >= 0 && have.Owners[owner].State != keystore.Live && have.Owners[owner].State != keystore.Pending {
		return
	}
	row := slices.IndexFunc(have.Keys, func(k keystore.KeyRow) bool { return k.Owner == key.owner && k.KeyVersion == key.keyVersion })
	if row >= 0 {
		if now, _, err := w.wrap.unwrapKey(have.Keys[row]); err == nil && !bytes.Equal(now, key.raw) {
			w.conflicts = append(w.conflicts, DamagedRow{Kind: keystore.KindKey, Tenant: w.tenant, Owner: key.owner, KeyVersion: key.keyVersion, Reason: "it opens, and is another key than in memory", Digest: keyDigest(have.Keys[row].Wrapped)})
		}
		return
	}
	if !known && !slices.ContainsFunc(w.put.KeyVersions, func(g keystore.KeyVersionRow) bool { return g.KeyVersion == key.keyVersion }) {
		w.put.KeyVersions = append(w.put.KeyVersions, *version)
	}
	if owner < 0 && !slices.ContainsFunc(w.put.Owners, func(o keystore.OwnerRow) bool { return o.Owner == key.owner }) {
		w.put.Owners = append(w.put.Owners, keystore.OwnerRow{Tenant: w.tenant, Owner: key.owner, State: keystore.Live, Sequence: state.Sequence})
	}
	back := keystore.KeyRow{Tenant: w.tenant, Owner: key.owner, KeyVersion: key.keyVersion, Wrapped: w.wrap.wrapKey(key.raw, w.tenant, key.owner, key.keyVersion)}
	if key.allotted {
		back.Seals = 1 // restored says how many, since nobody knows
	}
	w.put.Keys = append(w.put.Keys, back)
}

// keyVersion returns the row of a key version under which a key may come back:
// that of the store or, where it lacks it, that of memory, as one that seals no
// more. It is nil where either says that keys of it are gone, or the store that
// they are about to.
func (w *cacheRepair) keyVersion(id uint32, tenant keystore.Rows) (row *keystore.KeyVersionRow, known bool) {
	w.vault.mu.RLock()
	k := w.vault.tenants[w.tenant]
	w.vault.mu.RUnlock()
	opens := func(state keystore.KeyVersionState) bool {
		return state == keystore.Active || state == keystore.Retired
	}
	var memory *keystore.KeyVersionRow
	if k != nil {
		if g, ok := k.keyVersions[id]; ok {
			memory = &g
		}
	}
	if memory != nil && (memory.State == keystore.Deleting || memory.State == keystore.Destroyed) {
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

// descends answers ErrRewound for a store that holds no change that this process
// knows: it is another one, or went back to before this process began.
func (v *Vault) descends(ctx context.Context, tx keystore.Tx, state keystore.State) error {
	v.mu.RLock()
	store, history := v.state.Store, slices.Clone(v.history)
	v.mu.RUnlock()
	if state.Store != store {
		return fmt.Errorf("%w: it is another key store: nothing was written into it", ErrRewound)
	}
	for _, saw := range slices.Backward(history) {
		if saw.sequence > state.Sequence {
			continue
		}
		mark := state.Mark
		if saw.sequence < state.Sequence {
			rows, err := tx.Page(ctx, keystore.Page{Kind: keystore.KindMark, After: []any{saw.sequence - 1}, Limit: 1})
			if err != nil {
				return err
			}
			mark = ""
			if len(rows.Marks) > 0 && rows.Marks[0].Sequence == saw.sequence {
				mark = rows.Marks[0].Mark
			}
		}
		if mark == saw.mark {
			return nil
		}
	}
	return fmt.Errorf("%w: it holds no change that this process saw committed, so it is of another history, or of before this process began: nothing was written into it; restore the newest key copy (RestoreCopy)", ErrRewound)
}
