package encryption

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

// cachedKey is a key that this process has in memory.
type cachedKey struct {
	owner      string
	keyVersion uint32
	raw        []byte
	allotted   bool // the key store had counted its seals
}

// cachedKeys are the keys in memory of which nobody has said that something was
// taken away, by tenant and sorted.
func (v *ring) cachedKeys() map[string][]cachedKey {
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

// descends answers ErrRewound for a store that holds no change that this process
// knows: it is another one, or went back to before this process began.
func (v *ring) descends(ctx context.Context, tx keystore.Tx, state keystore.State) error {
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

// knownKeyVersion is what this process remembers of a key version, or nil.
func (v *ring) knownKeyVersion(tenant string, id uint32) *keystore.KeyVersionRow {
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

// keysetAmong opens the keyset of a purpose among rows that are read afresh, and
// keeps nothing.
func (v *ring) keysetAmong(ctx context.Context, tenant string, rows keystore.Rows, purpose string) (*openKeyset, error) {
	return v.keysetOf(ctx, &tenantKeys{tenant: tenant, rows: rows, open: map[string]*openKeyset{}}, purpose)
}
