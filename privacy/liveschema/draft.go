package liveschema

import (
	"slices"
	"strings"

	"github.com/crmguard/crmguard/privacy/datamap"
	"github.com/crmguard/crmguard/privacy/internal/catalog"
)

// draft is a map in the making.
type draft struct {
	s        *catalog.Schema
	tables   []*draftTable
	of       map[*catalog.Table]*draftTable
	tenant   string   // of the map
	decide   []string // about the map
	unnamed  []string // tables that no map can name
	tenanted bool     // some table has a tenant column
}

// draftTable is a table in the making.
type draftTable struct {
	datamap.Table
	live    *catalog.Table
	decide  []string          // about the table
	edges   map[string]string // what is said about an edge, by its columns
	columns map[string]string // what is said about a column
	pairs   []string          // edges that stand there as comments
	paired  []string          // their columns
	owned   bool
}

// a reference is a way from a table to another one: a foreign key, or a column
// that is named like one.
type reference struct {
	to       *draftTable
	columns  []string
	key      []string // of the other table
	rule     catalog.Rule
	declared bool
}

func newDraft(s *catalog.Schema) *draft {
	d := &draft{s: s, of: map[*catalog.Table]*draftTable{}}
	for _, live := range s.Tables {
		if live.Form == catalog.View {
			continue
		}
		if !writable(live) {
			d.unnamed = append(d.unnamed, live.Path())
			continue
		}
		t := &draftTable{live: live, edges: map[string]string{}, columns: map[string]string{}}
		t.Name, t.Key = live.Path(), keyOf(live)
		for _, column := range live.Columns {
			switch {
			case isOne(column.Name, tenantWords()) && t.Tenant == "":
				t.Tenant, d.tenanted = column.Name, true
			case isOne(column.Name, createdWords()) && dated(column) && t.Created == "":
				t.Created = column.Name
			}
		}
		d.tables, d.of[live] = append(d.tables, t), t
	}
	d.people()
	d.reach()
	d.pairs()
	d.identities()
	for _, t := range d.tables {
		t.listColumns(d)
	}
	d.tenants()
	return d
}

// keyOf is the primary key, or the shortest unique key of columns that are never
// NULL.
func keyOf(live *catalog.Table) []string {
	var best []string
	for _, i := range live.Indexes {
		whole := i.Unique && !i.Partial && !slices.Contains(i.Columns, "")
		if i.Primary {
			return slices.Clone(i.Columns)
		}
		nullable := slices.ContainsFunc(live.Columns, func(c catalog.Column) bool { return slices.Contains(i.Columns, c.Name) && !c.NotNull })
		if whole && !nullable && (best == nil || len(i.Columns) < len(best)) {
			best = slices.Clone(i.Columns)
		}
	}
	return best
}

// people finds the tables whose rows are persons.
func (d *draft) people() {
	person := func(t *draftTable) {
		t.Person, t.owned, t.Erase = t.Key[0], true, datamap.Delete
	}
	for _, t := range d.tables {
		switch {
		case len(t.Key) != 1:
		case tableIs(t.Name, peopleWords()):
			person(t)
		case tableIs(t.Name, staffWords()):
			t.say("people of your own: name Person: %q where this map erases them, too", t.Key[0])
		}
	}
	for _, t := range d.tables {
		has := func(kind string) bool {
			return slices.ContainsFunc(t.live.Columns, func(c catalog.Column) bool { return category(t.Name, c) == kind })
		}
		if !t.owned && len(t.Key) == 1 && has("contact.email") && has("contact.name") && !tableIs(t.Name, staffWords()) && len(d.references(t)) == 0 {
			person(t)
			t.say("its rows look like persons: take Person away where they are none")
		}
	}
	for _, t := range d.tables {
		if t.owned && slices.ContainsFunc(t.Key, func(name string) bool { return category(t.Name, d.column(t, name)) != "" }) {
			t.say("the key %s looks like personal data, and keys stand in plans and in the ledger: name another one", strings.Join(t.Key, ", "))
		}
	}
}

func (d *draft) column(t *draftTable, name string) catalog.Column {
	if c := d.s.Column(t.live, name); c != nil {
		return *c
	}
	return catalog.Column{Name: name}
}

// reach follows references from persons until there is nothing new, then says
// what only points.
func (d *draft) reach() {
	for grown := true; grown; {
		grown = false
		for _, t := range d.tables {
			if t.owned {
				continue
			}
			for _, r := range d.references(t) {
				if r.to.owned && r.to != t && !d.points(t, r) && len(t.Key) > 0 {
					t.owned, t.Erase, grown = true, datamap.Delete, true
				}
			}
		}
	}
	for _, t := range d.tables {
		if len(t.Key) == 0 {
			continue
		}
		person := t.Person != ""
		owns := map[*draftTable]bool{}
		for _, r := range d.references(t) {
			if r.to.owned {
				d.edge(t, r, person, owns)
			}
		}
	}
}

// edge adds what a reference to a table of persons means.
func (d *draft) edge(t *draftTable, r reference, person bool, owns map[*draftTable]bool) {
	says := "ON DELETE " + string(r.rule)
	if !r.declared {
		says = "decide: no foreign key says so"
	}
	if person && r.to == t && slices.Equal(r.columns, []string{t.Person}) {
		return // the row itself
	}
	if person && r.to == t && isOne(r.columns[0], mergedWords()) && t.Merged == "" {
		t.Merged = r.columns[0]
		return
	}
	e := datamap.Edge{Columns: r.columns, Table: r.to.Name}
	if !d.s.SameAll(r.key, r.to.Key) || !slices.Equal(r.key, r.to.Key) {
		e.To = r.key
	}
	owning := t.owned && !person && !d.points(t, r) && !owns[r.to]
	switch {
	case owning && len(owns) == 0 && r.to.Person != "" && slices.Equal(r.key, []string{r.to.Person}) && (t.Tenant != "" || !d.tenanted):
		owns[r.to], t.Person = true, r.columns[0]
		if !r.declared {
			t.say("%s is named like the id of a person, and no foreign key says that it is one", t.Person)
		}
		return
	case owning:
		owns[r.to] = true
	default:
		e.Unlink = datamap.Null
		empties := t.Empties(e)
		if len(empties) == 0 {
			t.say("%s names rows of %s, and can not be emptied: say an Edge that leads, or one that says Unlink: datamap.Delete", strings.Join(r.columns, ", "), r.to.Name)
			return
		}
		if slices.ContainsFunc(empties, func(name string) bool { return d.column(t, name).NotNull }) {
			says = "decide: NOT NULL: allow NULL, or say Unlink: datamap.Delete. " + says
		}
	}
	t.Edges = append(t.Edges, e)
	t.edges[strings.Join(e.Columns, ", ")] = says
}

// points reports whether a reference looks as if the row were somebody else's.
func (d *draft) points(t *draftTable, r reference) bool {
	if r.to == t || t.Person != "" && t.Person == first1(t.Key) {
		return true
	}
	return r.rule != catalog.Cascade && speaksOf(strings.Join(r.columns, "_"), pointingWords())
}

func first1(names []string) string {
	if len(names) != 1 {
		return ""
	}
	return names[0]
}

// references lists where a table refers to: foreign keys, then columns that are
// named like a table of persons. Those by which rows go come first, then those
// that are always there.
func (d *draft) references(t *draftTable) (out []reference) {
	for _, f := range d.s.Foreign {
		if to := d.of[f.Parent]; f.Child == t.live && to != nil && !slices.Contains(f.To, "") {
			out = append(out, reference{to, f.Columns, f.To, f.OnDelete, true})
		}
	}
	for _, column := range t.live.Columns {
		if slices.ContainsFunc(out, func(r reference) bool { return slices.Contains(r.columns, column.Name) }) {
			continue
		}
		for _, to := range d.tables {
			key := first1(to.Key)
			if to == t || key == "" || !tableIs(to.Name, peopleWords()) || strings.Join(words(column.Name), "_") != singular(to.Name)+"_"+strings.ToLower(key) {
				continue
			}
			if other := d.column(to, key); other.Class == column.Class {
				out = append(out, reference{to, []string{column.Name}, []string{key}, catalog.Refuse, false})
			}
		}
	}
	rank := func(r reference) int {
		switch {
		case r.rule == catalog.Cascade:
			return 0
		case !slices.ContainsFunc(r.columns, func(name string) bool { return !d.column(t, name).NotNull }):
			return 1
		}
		return 2
	}
	slices.SortStableFunc(out, func(a, b reference) int { return rank(a) - rank(b) })
	return out
}
