package stranger

import (
	"testing"

	"github.com/crmguard/crmguard/privacy/internal/wholedb"
)

// Needles are the texts of a person that have to be gone after their erasure,
// from everywhere.
func (w *World) Needles(p *Person) []wholedb.Needle { return w.expected.Gone(p.N) }

// Mentions are the texts of a person that stand in the free text of somebody
// else's notes.
func (w *World) Mentions(p *Person) []wholedb.Needle { return w.expected.Mentions(p.N) }

// Kept are the texts that have to stay where they are when a person is erased:
// those of the person that an obligation keeps, or that are not personal in rows
// that stay, and everything of everybody else.
func (w *World) Kept(p *Person) []wholedb.Needle { return w.expected.Kept(p.N) }

// Lost are those of [World.Kept] that do not stand where they were put any more.
func (w *World) Lost(tb testing.TB, p *Person) []wholedb.Needle {
	tb.Helper()
	return wholedb.Lost(w.Search(tb, w.Kept(p)), w.Kept(p))
}

// Others are the rows, cell by cell, that neither belong to a person nor name
// them: what an erasure leaves as it is, to the byte. Rows that came after the
// world was made are not among them.
func (w *World) Others(tb testing.TB, p *Person) []string {
	tb.Helper()
	return w.expected.Others(tb, w.DB, p.N)
}
