package wholedb

import (
	"slices"
	"strings"
	"testing"
)

// A Fate is what the erasure of a person does to a text.
type Fate int

// The fates.
const (
	Plain   Fate = iota // it is about nobody
	Gone                // it is nowhere any more
	Kept                // it stays: for an obligation, or because it is not personal in a row that stays
	Shared              // it is gone, and perhaps was already with another person of the record
	Mention             // as Gone, but it stands in the free text of a row that is another's
)

// A Placed text is one that was put into a cell. Persons are numbers of the test.
type Placed struct {
	Needle
	Of   int // whose text it is
	Row  int // whose row it is, Nobody's where it is nobody's
	Fate Fate
	With []int // others with whom the row goes, too
}

// Nobody is the number of no person.
const Nobody = -1

// An Expectation is what the erasure of each person has to leave of a database,
// written down while it is filled.
type Expectation struct {
	placed []Placed
	keys   map[string][]string // columns of the key, by table
	about  map[string][]int    // by row, whose it is and whom it names
}

// Table says which columns are the key of a table.
func (e *Expectation) Table(name string, key ...string) {
	if e.keys == nil {
		e.keys, e.about = map[string][]string{}, map[string][]int{}
	}
	e.keys[name] = key
}

// Row says whose row it is, or whom it names; none where nobody's erasure may
// change it. The values of its key stand as the database writes them as text.
func (e *Expectation) Row(table string, key []string, about ...int) {
	e.about[rowName(table, key)] = about
}

// Place says that a text was put into a cell; Name says into which. What is about
// nobody, or too short to be found, is not written down.
func (e *Expectation) Place(p Placed) {
	if p.Of != Nobody && p.Fate != Plain && len(p.Text) >= least {
		e.placed = append(e.placed, p)
	}
}

// Gone are the texts that have to be gone, from everywhere, when the persons are
// erased.
func (e *Expectation) Gone(persons ...int) []Needle {
	return e.pick(func(p Placed) bool {
		return slices.Contains(persons, p.Of) && (p.Fate == Gone || p.Fate == Shared)
	})
}

// Mentions are those of the person that stand in the free text of somebody else's
// rows.
func (e *Expectation) Mentions(person int) []Needle {
	return e.pick(func(p Placed) bool { return p.Of == person && p.Fate == Mention })
}

// Kept are the texts that have to stay where they are: those of the persons that
// stay, and everything of everybody else.
func (e *Expectation) Kept(persons ...int) []Needle {
	return e.pick(func(p Placed) bool {
		erased := func(n int) bool { return slices.Contains(persons, n) }
		others := !erased(p.Of) && !erased(p.Row) && !slices.ContainsFunc(p.With, erased)
		return p.Fate == Kept || others && (p.Fate == Gone || p.Fate == Mention)
	})
}

func (e *Expectation) pick(f func(Placed) bool) []Needle {
	var out []Needle
	for _, p := range e.placed {
		if f(p) {
			out = append(out, p.Needle)
		}
	}
	return out
}

// Others are the rows, cell by cell, that neither belong to one of the persons nor
// name one: what an erasure leaves as it is, to the byte. Rows that came after the
// database was filled are not among them.
func (e *Expectation) Others(tb testing.TB, d DB, persons ...int) []string {
	tb.Helper()
	var out []string
	d.Rows(tb, func(r Row) {
		key := make([]string, len(e.keys[r.Table]))
		for i, column := range e.keys[r.Table] {
			key[i] = r.Text(column)
		}
		about, known := e.about[rowName(r.Table, key)]
		if known && !slices.ContainsFunc(about, func(n int) bool { return slices.Contains(persons, n) }) {
			out = append(out, r.String())
		}
	})
	slices.Sort(out)
	return out
}

// Untouched is how many rows Others has to find.
func (e *Expectation) Untouched(persons ...int) (n int) {
	for _, about := range e.about {
		if !slices.ContainsFunc(about, func(one int) bool { return slices.Contains(persons, one) }) {
			n++
		}
	}
	return n
}

func rowName(table string, key []string) string { return table + " " + strings.Join(key, "/") }
