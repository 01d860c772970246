package encryption

import (
	"context"
	"slices"

	"github.com/crmguard/crmguard/internal/canon"
)

// Scope says whose keys a change narrows: those of some owners, of a whole
// tenant where Owners is empty, of everyone where Tenant is empty, too. What
// other processes have cached of all others stays good, so an erasure costs
// nobody else a query.
type Scope struct {
	Tenant string   `json:"tenant"`
	Owners []string `json:"owners,omitempty"`
}

// NarrowsNothing is MarkRow.Narrows of an Update that narrows nobody's keys.
// An empty one, as a restored history has it, is everyone's.
const NarrowsNothing = "-"

// maxNarrows bounds the bytes of MarkRow.Narrows. A thousand marks stay, and a
// longer list of owners costs more to keep than the tenant's keys to read again.
const maxNarrows = 8 << 10

// Narrowed returns what a KeyStore writes into the mark of its Update when a
// change of it narrows: the canonical JSON of Of, or "" for everyone. before is
// what stands there: a second change of another scope makes it everyone's.
func (c Change) Narrowed(before string) string {
	text := ""
	if c.Of.Tenant != "" {
		of := Scope{Tenant: c.Of.Tenant, Owners: slices.Compact(slices.Sorted(slices.Values(c.Of.Owners)))}
		text = of.text()
		if len(text) > maxNarrows {
			text = Scope{Tenant: of.Tenant}.text()
		}
	}
	if before != NarrowsNothing && before != text {
		return ""
	}
	return text
}

// text is "" where it cannot be written, which is everyone.
func (s Scope) text() string {
	data, err := canon.Marshal(s)
	if err != nil {
		return ""
	}
	return string(data)
}

// parseScope reads MarkRow.Narrows; what it does not understand is everyone.
func parseScope(text string) (of Scope, narrows bool) {
	if text == NarrowsNothing {
		return Scope{}, false
	}
	if canon.Unmarshal([]byte(text), &of) != nil {
		return Scope{}, true
	}
	return of, true
}

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
		of, narrows := parseScope(mark.Narrows)
		if !narrows && mark.Sequence == state.Barrier || narrows && of.Tenant == "" {
			return everyone()
		}
		if narrows {
			out = append(out, of)
		}
	}
	return out
}
