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
	if t.Ref != nil {
		tables, names = append(tables, t.Ref.Table), append(names, t.Ref.Column)
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
		if seen[c.Name] {
			bad(t.Name, "column %s is listed twice", c.Name)
		}
		seen[c.Name] = true
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
	edges := 0
	for _, has := range []bool{t.Person != "", t.Ref != nil, t.Link != nil} {
		if has {
			edges++
		}
	}
	if edges > 1 {
		bad(t.Name, "Person, Ref and Link exclude each other")
	}
	if edges == 0 {
		for _, c := range t.Columns {
			if c.Personal() {
				bad(t.Name, "column %s holds personal data, but no person reaches the table", c.Name)
			}
		}
		return
	}
	path := m.Path(t)
	last := path[len(path)-1]
	switch {
	case len(path) > len(m.Tables):
		bad(t.Name, "its Refs go in a circle")
	case last.Ref != nil:
		bad(t.Name, "Ref to table %s, which is not in the map", last.Ref.Table)
	case last.Person == "" && last.Link == nil:
		bad(t.Name, "its Refs end at %s, which leads to no person", last.Name)
	case last.Tenant == "" && m.Tenant == "":
		bad(t.Name, "no tenant column, and the map names no tenant")
	}
	for _, next := range path[1:] {
		if len(next.Key) != 1 {
			bad(t.Name, "Ref to table %s, whose key is not a single column", next.Name)
		}
		if next.Link != nil {
			bad(t.Name, "Ref to linked table %s; give it a Link of its own", next.Name)
		}
	}
	if t.Link != nil && len(t.Key) != 1 {
		bad(t.Name, "a joint record needs a single key column")
	}
	if t.retains() {
		checkReturn(path, bad)
	}
}

// retains reports whether an obligation keeps personal data in the table's rows.
func (t Table) retains() bool {
	return t.Keep != nil && slices.ContainsFunc(t.Columns, func(c Column) bool {
		return c.Personal() && c.Name != t.Person && t.Stays()[c.Name] == Retain
	})
}

// checkReturn checks that a person's kept rows are found again when their
// obligation ends: nothing on the way to the person may go before them.
func checkReturn(path []Table, bad complain) {
	t, last := path[0], path[len(path)-1]
	for _, next := range path[1:] {
		if next.Erase == Delete && next.Keep == nil {
			bad(t.Name, "its rows are kept, but those of %s, which lead to the person, go: nobody would find them when the obligation ends; name the person in a column of the table", next.Name)
		}
	}
	if last.Person != "" && last.Stays()[last.Person] == Null {
		bad(t.Name, "its rows are kept, but person column %s of %s becomes null: nobody would find them when the obligation ends; say retain", last.Person, last.Name)
	}
}

func (t Table) checkActions(bad complain) {
	if !t.Reaches() {
		return
	}
	switch t.Erase {
	case Delete, Null, Redact, Shred:
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
	action := t.Stays()[c.Name]
	switch {
	case c.Name == t.Person && action != Null && action != Retain:
		bad(t.Name, "person column %s of rows that stay: Erase null or retain", c.Name)
	case c.Name == t.Person, !c.Personal():
	case t.Keep != nil && c.Erase == "":
		bad(t.Name, "column %s: under Keep every personal column says what happens to it", c.Name)
	case action == Retain && t.Keep == nil:
		bad(t.Name, "column %s: retain needs the table's Keep", c.Name)
	case action == Shred && !c.Sealed:
		bad(t.Name, "column %s: shred needs a sealed column", c.Name)
	case action == Delete, action == "":
		bad(t.Name, "column %s: say null, redact, shred or retain", c.Name)
	}
}
