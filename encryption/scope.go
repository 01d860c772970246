package encryption

import "context"

// everyone is what a vault drops when it cannot tell whose keys were narrowed.
func everyone() []Scope { return []Scope{{}} }

// narrowed returns whose keys were narrowed between two states of the store, as
// the marks of its history say. Where one is missing, or they contradict the
// barrier, it is everyone.
func (v *Vault) narrowed(ctx context.Context, before, state StoreState) []Scope {
	if state.Barrier == before.Barrier && state.Store == before.Store {
		return nil
	}
	count := state.Sequence - before.Sequence
	if state.Store != before.Store || count < 1 || count > pageSize || state.Barrier <= before.Sequence {
		return everyone()
	}
	var marks []MarkRow
	err := v.cfg.Keys.Snapshot(ctx, func(tx KeyTx) error {
		rows, err := tx.Page(ctx, Page{Kind: KindMark, After: []any{before.Sequence}, Limit: int(count)})
		marks = rows.Marks
		return err
	})
	if err != nil || int64(len(marks)) != count {
		return everyone()
	}
	var out []Scope
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
