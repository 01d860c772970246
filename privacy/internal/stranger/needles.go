package stranger

import (
	"slices"
	"strings"
	"testing"

	"github.com/crmguard/crmguard/privacy/internal/wholedb"
)

// Needles are the texts of a person that have to be gone after their erasure,
// from everywhere.
func (w *World) Needles(p *Person) []wholedb.Needle {
	return w.pick(func(n needle) bool { return n.of == p && (n.fate == gone || n.fate == shared) })
}

// Mentions are the texts of a person that stand in the free text of somebody
// else's notes.
func (w *World) Mentions(p *Person) []wholedb.Needle {
	return w.pick(func(n needle) bool { return n.of == p && n.fate == mention })
}

// Kept are the texts that have to stay where they are when a person is erased:
// those of the person that an obligation keeps, or that are not personal in rows
// that stay, and everything of everybody else. See [World.Lost].
func (w *World) Kept(p *Person) []wholedb.Needle {
	return w.pick(func(n needle) bool {
		return n.fate == kept || n.of != p && (n.fate == gone || n.fate == mention && n.row != p)
	})
}

func (w *World) pick(f func(needle) bool) []wholedb.Needle {
	var out []wholedb.Needle
	for _, n := range w.needles {
		if f(n) {
			out = append(out, wholedb.Needle{Name: n.at, Text: n.text, Phone: n.phone})
		}
	}
	return out
}

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
	keys := map[string][]string{}
	for _, t := range tables {
		for _, c := range t.columns[:t.width()] {
			keys[w.Table(t.name)] = append(keys[w.Table(t.name)], c.name)
		}
	}
	var out []string
	w.Rows(tb, func(r wholedb.Row) {
		key := make([]string, len(keys[r.Table]))
		for i, column := range keys[r.Table] {
			key[i] = r.Text(column)
		}
		about, known := w.touched[r.Table+" "+strings.Join(key, "/")]
		if known && !slices.Contains(about, p) {
			out = append(out, r.String())
		}
	})
	slices.Sort(out)
	return out
}
