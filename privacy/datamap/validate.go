package datamap

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
)

// ErrMap is wrapped by every error about a data map that cannot be true.
var ErrMap = errors.New("datamap: not a true map")

// Names of columns, and of tables, which may stand behind a schema.
var (
	identifier = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]{0,62}$`)
	tableName  = regexp.MustCompile(`^([A-Za-z_][A-Za-z0-9_]{0,62}\.)?[A-Za-z_][A-Za-z0-9_]{0,62}$`)
)

// IsTableName reports whether a text is the name of a table as a map writes it,
// behind its schema or alone.
func IsTableName(text string) bool { return tableName.MatchString(text) }

// Validate reports everything that is wrong with the map, joined: a personal
// column that no person reaches, an edge into nothing, an action that is
// missing or cannot be carried out.
func (m *Map) Validate() error {
	if m == nil {
		return fmt.Errorf("%w: no map was handed in", ErrMap)
	}
	var all []error
	bad := func(table, format string, args ...any) {
		all = append(all, fmt.Errorf("%w: table %s: %s", ErrMap, table, fmt.Sprintf(format, args...)))
	}
	seen := map[string]bool{}
	for _, t := range m.Tables {
		if seen[t.Name] {
			bad(t.Name, "listed twice")
		}
		seen[t.Name] = true
		t.checkNames(bad)
		m.checkEdges(t, bad)
		t.checkActions(bad)
	}
	if len(m.Tables) == 0 {
		all = append(all, fmt.Errorf("%w: no table", ErrMap))
	}
	return errors.Join(all...)
}

type complain func(table, format string, args ...any)

func (t Table) checkNames(bad complain) {
	tables, names := []string{t.Name}, slices.Clone(t.Key)
	for _, optional := range []string{t.Tenant, t.Person, t.Created} {
		if optional != "" {
			names = append(names, optional)
		}
	}
	for _, e := range t.Edges {
		if names = append(append(names, e.Columns...), e.To...); e.Table != "" {
			tables = append(tables, e.Table)
		}
		for _, w := range e.When {
			names = append(names, w.Column)
		}
	}
	if t.Merged != "" {
		names = append(names, t.Merged)
	}
	if j := t.Link; j != nil {
		tables, names = append(tables, j.Table), append(names, j.Record, j.Person)
		if j.Owner != "" {
			names = append(names, j.Owner)
		}
	}
	if t.Keep != nil {
		names = append(names, t.Keep.From)
	}
	seen := map[string]bool{}
	for _, c := range t.Columns {
		names = append(names, c.Name)
		if seen[c.Where()] {
			bad(t.Name, "column %s is listed twice", c.Where())
		}
		seen[c.Where()] = true
		if slices.Contains(t.Key, c.Name) && c.Personal() {
			bad(t.Name, "key column %s is personal data; keys are random ids or numbers", c.Name)
		}
	}
	for _, name := range tables {
		if !tableName.MatchString(name) {
			bad(t.Name, "%q is no table name", name)
		}
	}
	for _, name := range names {
		if !identifier.MatchString(name) {
			bad(t.Name, "%q is no column name", name)
		}
	}
	if len(t.Key) == 0 && t.Reaches() {
		bad(t.Name, "no key columns, so its rows cannot be erased or read back one by one")
	}
}

func (m *Map) checkEdges(t Table, bad complain) {
	if !t.Reaches() {
		for _, c := range t.Columns {
			if c.Personal() {
				bad(t.Name, "column %s holds personal data, but no person reaches the table", c.Name)
			}
		}
		return
	}
	if t.Person != "" && t.Link != nil {
		bad(t.Name, "Person and Link exclude each other")
	}
	for _, e := range t.Ways() {
		m.checkEdge(t, e, bad)
	}
	switch {
	case t.Owns() && !m.arrives(t, nil):
		bad(t.Name, "its Edges lead to no person")
	case t.Tenant == "" && m.Tenant == "" && (t.Link != nil || slices.ContainsFunc(t.Ways(), func(e Edge) bool { return e.Table == "" })):
		bad(t.Name, "no tenant column, and the map names no tenant")
	}
	if t.Link != nil && len(t.Key) != 1 {
		bad(t.Name, "a joint record needs a single key column")
	}
	if t.retains() {
		m.checkReturn(t, bad)
	}
}

func (m *Map) checkEdge(t Table, e Edge, bad complain) {
	if e.Table == "" {
		if len(e.Columns) != 1 {
			bad(t.Name, "an edge to a person, or over an identity, has one column")
		}
		return
	}
	to, ok := m.Table(e.Table)
	switch {
	case !ok:
		bad(t.Name, "an edge to table %s, which is not in the map", e.Table)
	case len(e.Columns) != len(e.Target(to)) || len(e.Columns) == 0:
		bad(t.Name, "an edge to table %s names %d columns for its %d", e.Table, len(e.Columns), len(e.Target(to)))
	}
	switch e.Unlink {
	case "", Null, Delete:
	default:
		bad(t.Name, "Unlink %q: say null or delete", e.Unlink)
	}
}

// arrives reports whether a row of the table leads to a person over any edge.
func (m *Map) arrives(t Table, seen []string) bool {
	if slices.Contains(seen, t.Name) {
		return false
	}
	return t.Link != nil || slices.ContainsFunc(t.Ways(), func(e Edge) bool {
		to, _ := m.Table(e.Table)
		return e.Leads() && (e.Table == "" || m.arrives(to, append(seen, t.Name)))
	})
}

// retains reports whether an obligation keeps personal data in the table's rows.
func (t Table) retains() bool {
	return t.Keep != nil && slices.ContainsFunc(t.Columns, func(c Column) bool {
		return c.Personal() && !t.IsPerson(c.Name) && t.Stays()[c.Where()] == Retain
	})
}

// checkReturn checks that a person's kept rows are found again when their
// obligation ends: one way to the person must outlast them.
func (m *Map) checkReturn(t Table, bad complain) {
	if len(t.Ways()) == 0 || slices.ContainsFunc(t.Ways(), func(e Edge) bool { return m.lasts(t, e, nil) }) {
		return
	}
	bad(t.Name, "its rows are kept, but nothing that leads to the person is: nobody would find them when the obligation ends; keep the rows between, or retain the person's id in a column")
}

func (m *Map) lasts(t Table, e Edge, seen []string) bool {
	switch to, _ := m.Table(e.Table); {
	case !e.Leads(), slices.Contains(seen, t.Name):
		return false
	case e.Names():
		return t.Stays()[e.Columns[0]] == Retain
	case e.Identity != "":
		return false
	default:
		return (to.Erase != Delete || to.Keep != nil) && slices.ContainsFunc(to.Ways(), func(next Edge) bool { return m.lasts(to, next, append(seen, t.Name)) })
	}
}

func (t Table) checkActions(bad complain) {
	if !t.Reaches() {
		return
	}
	switch t.Erase {
	case Delete, Null, Redact, Shred:
	case "":
		if t.Owns() {
			bad(t.Name, "Erase %q: say delete, null, redact or shred", t.Erase)
		}
		return
	default:
		bad(t.Name, "Erase %q: say delete, null, redact or shred", t.Erase)
	}
	if t.Keep != nil && (t.Keep.Because == "" || t.Keep.Years <= 0 || t.Keep.Years > 1000) {
		bad(t.Name, "Keep needs a named obligation and its years, 1000 at most")
	}
	if t.Link != nil && t.Keep != nil {
		bad(t.Name, "Keep on a joint record is not possible")
	}
	if t.Link != nil && t.Erase != Delete {
		bad(t.Name, "Erase of a joint record is delete (of the record whose last person goes)")
	}
	if t.Erase == Delete && t.Keep == nil {
		return
	}
	if _, said := t.Column(t.Person); t.Person != "" && !said {
		bad(t.Name, "rows can stay: list person column %s with Erase null or retain", t.Person)
	}
	for _, c := range t.Columns {
		t.checkColumn(c, bad)
	}
}

func (t Table) checkColumn(c Column, bad complain) {
	action := t.Stays()[c.Where()]
	switch {
	case t.IsPerson(c.Name) && action != Null && action != Retain:
		bad(t.Name, "person column %s of rows that stay: Erase null or retain", c.Name)
	case t.IsPerson(c.Name), !c.Personal():
	case t.Keep != nil && c.Erase == "":
		bad(t.Name, "column %s: under Keep every personal column says what happens to it", c.Name)
	case action == Retain && t.Keep == nil:
		bad(t.Name, "column %s: retain needs the table's Keep", c.Name)
	case action == Shred && !c.Sealed:
		bad(t.Name, "column %s: shred needs a sealed column", c.Name)
	case action == Delete, action == "":
		bad(t.Name, "column %s: say null, redact, generalise, pseudonymise, scrub, shred or retain", c.Where())
	}
}
