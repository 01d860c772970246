package datamap

import (
	"fmt"
	"slices"
	"strings"
)

// edges checks each edge for itself.
func (v *validation) edges() {
	t := v.t
	ways := t.Ways()
	for i, e := range ways {
		name := e.label()
		if len(e.Columns) == 0 {
			v.bad("an edge without Columns: name those that hold a person's id, an identity, or the key of a row of another table")
			continue
		}
		if repeated(e.Columns) || repeated(e.To) {
			v.bad("edge %s names a column twice", name)
		}
		if slices.ContainsFunc(ways[:i], func(b Edge) bool { return sameEdge(b, e) }) {
			v.bad("edge %s is listed twice", name)
		}
		v.when(e)
		v.unlink(e)
		switch {
		case e.Table != "" && e.Identity != "":
			v.bad("edge %s: an Identity is looked for in all tables: leave Table out", name)
		case e.Table != "":
			v.reference(e)
		case len(e.To) > 0:
			v.bad("edge %s: To is of another table: name it in Table", name)
		case len(e.Columns) != 1:
			v.bad("edge %s: a person's id, or an identity, is one column; if it is the key of another table, name that in Table", name)
		case e.Identity != "" && !v.m.declares(e.Identity, v.owned):
			v.bad("edge %s: no column of a table that leads to persons declares Identity %q: write it at the column that holds it", name, e.Identity)
		}
	}
}

// reference checks an edge to a row of another table.
func (v *validation) reference(e Edge) {
	target, ok := v.m.Table(e.Table)
	switch {
	case !ok:
		v.bad("edge %s to table %s, which is not in the map: list it", e.label(), e.Table)
	case len(e.Columns) != len(e.Target(target)):
		v.bad("edge %s to table %s names %d columns for %d: name the columns of its Key (%s), or To", e.label(), e.Table, len(e.Columns), len(e.Target(target)), strings.Join(target.Key, ", "))
	}
}

// when checks the discriminators of an edge.
func (v *validation) when(e Edge) {
	var names []string
	for _, w := range e.When {
		names = append(names, w.Column)
		if w.Is == "" {
			v.bad("edge %s: When %s says no value: write what the column holds where the edge is there", e.label(), w.Column)
		}
	}
	if repeated(names) {
		v.bad("edge %s: When names a column twice, which cannot hold two values", e.label())
	}
}

// unlink checks what happens to a row that is about somebody else.
func (v *validation) unlink(e Edge) {
	t := v.t
	switch e.Unlink {
	case "":
	case Null:
		empties := t.Empties(e)
		if len(empties) == 0 {
			v.bad("edge %s: Unlink null has no column to empty but the key, the tenant or what When asks for: say delete", e.label())
		}
		if t.Keep != nil && slices.Contains(empties, t.Keep.From) {
			v.bad("edge %s: Unlink null would empty %s, from which the obligation counts", e.label(), t.Keep.From)
		}
		for _, name := range empties {
			if t.IsPerson(name) && len(e.When) == 0 {
				v.bad("edge %s: column %s leads to the row's own person, too: leave Unlink out, or say by When which rows only point", e.label(), name)
			}
		}
	case Delete:
		if t.Keep != nil {
			v.bad("edge %s: Unlink delete would delete what %s keeps: say null", e.label(), t.Keep.Because)
		}
	default:
		v.bad("edge %s: Unlink %q: say null or delete, or leave it out where the row is the person's own", e.label(), e.Unlink)
	}
}

// reach checks that the table leads to persons, where it has to.
func (v *validation) reach() {
	t := v.t
	ways := t.Ways()
	if len(t.Key) == 0 && t.Reaches() {
		v.bad("no key columns, so its rows cannot be erased or read back one by one: name a unique key in Key")
	}
	if repeated(t.Key) {
		v.bad("Key names a column twice")
	}
	if t.Merged != "" && t.Person == "" {
		v.bad("Merged without Person: who was merged is the person of the row")
	}
	if t.Merged != "" && t.Merged == t.Person {
		v.bad("Merged and Person are one column: Merged is the one with the person into whom the row's person was merged")
	}
	own := slices.ContainsFunc(ways, Edge.Leads)
	if t.Link != nil {
		v.link(own)
	}
	if !v.owned[t.Name] {
		v.unreached(own)
	}
	ends := t.Link != nil || slices.ContainsFunc(ways, func(e Edge) bool { return e.Table == "" })
	if ends && t.Tenant == "" && v.m.Tenant == "" {
		v.bad("no tenant column, and the map names no tenant: say Tenant of the table, or Map.Tenant where there is only one")
	}
}

// link checks a record of several persons.
func (v *validation) link(own bool) {
	t := v.t
	if own {
		v.bad("Person, Edges and Link exclude each other, but for edges that say Unlink: whose record it is stands in the link table")
	}
	if len(t.Key) != 1 {
		v.bad("a joint record needs a single key column")
	}
	if t.Link.Record == t.Link.Person {
		v.bad("Link.Record and Link.Person are one column")
	}
}

// unreached checks a table whose rows are nobody's own.
func (v *validation) unreached(own bool) {
	t := v.t
	if own {
		v.bad("its edges lead to no person: %s; add an edge to a table of persons, or name the column with the person's id in Person", v.dead())
		return
	}
	points := map[string]bool{}
	for _, e := range t.Ways() {
		if e.Table != "" && !v.owned[e.Table] {
			if _, listed := v.m.Table(e.Table); listed {
				v.bad("edge %s: table %s leads to no person", e.label(), e.Table)
			}
		}
		for _, name := range t.Empties(e) {
			points[name] = true
		}
	}
	for _, c := range t.Columns {
		if c.Personal() && c.Category != Unclassified && !points[c.Name] {
			v.bad("column %s holds personal data, but no person reaches the table: say by Person or an Edge how a row leads to one", c.Where())
		}
	}
}

// dead says where the edges of a table that leads to nobody end.
func (v *validation) dead() string {
	var ends []string
	for _, e := range v.t.Ways() {
		switch {
		case !e.Leads():
		case e.Table == "":
			ends = append(ends, e.label()+" is an identity that no other table declares")
		case e.Table == v.t.Name:
			ends = append(ends, e.label()+" leads to the table itself")
		default:
			ends = append(ends, fmt.Sprintf("%s ends at %s", e.label(), e.Table))
		}
	}
	return strings.Join(ends, ", ")
}

// label is the edge as errors name it.
func (e Edge) label() string {
	parts := []string{"(" + strings.Join(e.Columns, ", ") + ")"}
	for _, w := range e.When {
		parts = append(parts, fmt.Sprintf("where %s is %q", w.Column, w.Is))
	}
	return strings.Join(parts, " ")
}

func sameEdge(a, b Edge) bool {
	return slices.Equal(a.Columns, b.Columns) && a.Table == b.Table && slices.Equal(a.To, b.To) && slices.Equal(a.When, b.When) && a.Identity == b.Identity
}

func repeated(names []string) bool {
	return len(unique(slices.Clone(names))) != len(names)
}
