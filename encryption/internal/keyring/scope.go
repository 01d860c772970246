package keyring

import (
	"context"

	"github.com/crmguard/crmguard/encryption/keystore"
)

// everyone is what a ring drops when it cannot tell whose keys were narrowed.
func everyone() []keystore.Scope { return []keystore.Scope{{}} }

// narrowed returns whose keys were narrowed between two states of the store, as
// the marks of its history say. Where one is missing, or they contradict the
// barrier, it is everyone.
func (v *Ring) narrowed(ctx context.Context, before, state keystore.State) []keystore.Scope {
	if state.Barrier == before.Barrier && state.Store == before.Store {
		return nil
	}
	count := state.Sequence - before.Sequence
	if state.Store != before.Store || count < 1 || count > PageSize || state.Barrier <= before.Sequence {
		return everyone()
	}
	var marks []keystore.MarkRow
	err := v.cfg.Keys.Snapshot(ctx, func(tx keystore.Tx) error {
		rows, err := tx.Page(ctx, keystore.Page{Kind: keystore.KindMark, After: []any{before.Sequence}, Limit: int(count)})
		marks = rows.Marks
		return err
	})
	if err != nil || int64(len(marks)) != count {
		return everyone()
	}
	var out []keystore.Scope
	for i, mark := range marks {
		if mark.Sequence != before.Sequence+1+int64(i) {
			return everyone()
		}
		of, narrows := mark.Scope()
		if !narrows && mark.Sequence == state.Barrier || narrows && of.Tenant == "" {
			return everyone()
		}
		if narrows {
			out = append(out, of)
		}
	}
	return out
}
