package keyring

import (
	"bytes"
	"context"
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

// CachedKey is a key that this process has in memory.
type CachedKey struct {
	Owner      string
	KeyVersion uint32
	Raw        []byte
	Allotted   bool // the key store had counted its seals
}

// HoldKeys keeps keys for a repair that did not come to its end, also when they are
// read afresh meanwhile and are not there: until this process learns that anything was
// taken away, for that may be one of them. Nothing opens with them.
func (v *Ring) HoldKeys(keys map[string][]CachedKey) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.held = keys
}

// CachedKeys are the keys in memory of which nobody has said that something was
// taken away, by tenant and sorted, and those that are held.
func (v *Ring) CachedKeys() map[string][]CachedKey {
	v.mu.RLock()
	defer v.mu.RUnlock()
	out := map[string][]CachedKey{}
	for id, o := range v.owners {
		if o.State != keystore.Live || o.narrowed && !o.doubted {
			continue
		}
		for _, key := range o.keys {
			if key.Err == nil {
				out[id.tenant] = append(out[id.tenant], CachedKey{id.owner, key.keyVersion, bytes.Clone(key.Raw[:]), key.allotted || key.block.Load() != nil})
			}
		}
	}
	for tenant, held := range v.held {
		out[tenant] = append(out[tenant], held...) // behind those of now, which stay
	}
	for tenant, keys := range out {
		slices.SortStableFunc(keys, compareKeys)
		out[tenant] = slices.CompactFunc(keys, func(a, b CachedKey) bool { return compareKeys(a, b) == 0 })
	}
	return out
}

func compareKeys(a, b CachedKey) int { return bytes.Compare(keyOrder(a), keyOrder(b)) }

func keyOrder(k CachedKey) []byte { return fmt.Appendf(nil, "%s\x00%010d", k.Owner, k.KeyVersion) }

// Descends answers ErrRewound for a store that holds no change that this process
// knows: it is another one, or went back to before this process began.
func (v *Ring) Descends(ctx context.Context, tx keystore.Tx, state keystore.State) error {
	_, err := v.common(ctx, tx, state)
	return err
}

// common is the youngest change that this process knows and the store holds.
func (v *Ring) common(ctx context.Context, tx keystore.Tx, state keystore.State) (sawMark, error) {
	v.mu.RLock()
	store, history := v.state.Store, slices.Clone(v.history)
	v.mu.RUnlock()
	if state.Store != store {
		return sawMark{}, fmt.Errorf("%w: it is another key store: nothing was written into it", ErrRewound)
	}
	for _, saw := range slices.Backward(history) {
		if saw.sequence > state.Sequence {
			continue
		}
		mark := state.Mark
		if saw.sequence < state.Sequence {
			rows, err := tx.Page(ctx, keystore.Page{Kind: keystore.KindMark, After: []any{saw.sequence - 1}, Limit: 1})
			if err != nil {
				return sawMark{}, err
			}
			mark = ""
			if len(rows.Marks) > 0 && rows.Marks[0].Sequence == saw.sequence {
				mark = rows.Marks[0].Mark
			}
		}
		if mark == saw.mark {
			return saw, nil
		}
	}
	return sawMark{}, fmt.Errorf("%w: it holds no change that this process saw committed, so it is of another history, or of before this process began: nothing was written into it; restore the newest key copy (RestoreCopy)", ErrRewound)
}

// CatchUp takes note of what was taken away behind the youngest change that this
// process knows and the store holds: keys in memory may be of before, however long ago
// that was. What only brings back narrows as well, and is no reason: other processes
// may have repaired the store meanwhile. No lease is granted for it, for the store may
// be one that went back.
func (v *Ring) CatchUp(ctx context.Context) error {
	var state keystore.State
	var saw sawMark
	err := v.cfg.Keys.Snapshot(ctx, func(tx keystore.Tx) (err error) {
		if state, err = tx.State(ctx); err != nil {
			return err
		}
		saw, err = v.common(ctx, tx, state)
		return err
	})
	if err != nil {
		return StoreError(err)
	}
	taken := min(state.Taken, state.Sequence)
	if taken <= saw.sequence {
		return nil
	}
	v.drop(v.narrowed(ctx, keystore.State{Store: state.Store, Sequence: saw.sequence}, keystore.State{Store: state.Store, Sequence: taken, Barrier: taken}))
	v.HoldKeys(nil)
	return nil
}

// KnownKeyVersion is what this process remembers of a key version, or nil.
func (v *Ring) KnownKeyVersion(tenant string, id uint32) *keystore.KeyVersionRow {
	v.mu.RLock()
	k := v.tenants[tenant]
	v.mu.RUnlock()
	if k == nil {
		return nil
	}
	if g, ok := k.keyVersions[id]; ok {
		return &g
	}
	return nil
}

// KeysetAmong opens the keyset of a purpose among rows that are read afresh, and
// keeps nothing.
func (v *Ring) KeysetAmong(ctx context.Context, tenant string, rows keystore.Rows, purpose string) (*Keyset, error) {
	return v.keysetOf(ctx, &Tenant{tenant: tenant, Rows: rows, open: map[string]*Keyset{}}, purpose)
}
