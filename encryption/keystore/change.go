package keystore

import (
	"slices"

	"github.com/crmguard/crmguard/internal/canon"
)

// Change is what one transaction does to a key store. Removals come first.
type Change struct {
	Put     Rows  // replaced or inserted by primary key
	Remove  Rows  // deleted by primary key; other members are ignored
	Narrows bool  // moves the barrier: other processes drop what they have cached of Of
	Of      Scope // whose keys are narrowed; the zero Scope is everyone's. It is written into the mark of the Update
	Keeps   bool  // a change that narrows, and takes nothing away for which a key copy may be asked: State.Taken stays
	Returns bool  // a change that narrows brings back what was lost: moves State.Returned
	// Store replaces the state row. A Sequence of 0 keeps the raised one and its
	// mark; another one, of a restored store, takes its mark from the history,
	// and what this Update had written there goes. Barrier, Taken, Returned and Mark are ignored.
	Store *State
}

// Creates reports whether the change is one that Store.Create takes: owners
// that are live, and keys.
func (c Change) Creates() bool {
	put, gone := c.Put, c.Remove
	others := len(put.Keysets) + len(put.KeyVersions) + len(put.Aliases) + len(put.Indexes) + len(put.Marks) +
		len(gone.Keysets) + len(gone.KeyVersions) + len(gone.Owners) + len(gone.Keys) + len(gone.Aliases) + len(gone.Indexes) + len(gone.Marks)
	dead := slices.ContainsFunc(put.Owners, func(o OwnerRow) bool { return o.State != Live })
	return others == 0 && !dead && !c.Narrows && c.Store == nil
}

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

// Narrowed returns what a Store writes into the mark of its Update when a
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
