package datamap

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// ErrMap is wrapped by every error about a data map that cannot be true.
var ErrMap = errors.New("datamap: not a true map")

// Names of columns, and of tables, which may stand behind a schema. They are
// always quoted in statements, and name files of an export.
const namePattern = `[\p{L}_][\p{L}\p{M}\p{N}_$?-]*(?: [\p{L}\p{M}\p{N}_$?-]+)*`

var (
	columnName   = regexp.MustCompile(`^` + namePattern + `$`)
	tableName    = regexp.MustCompile(`^(?:` + namePattern + `\.)?` + namePattern + `$`)
	identityName = regexp.MustCompile(`^[a-z][a-z0-9_.-]{0,62}$`)
)

// maxName is the length of a name in bytes, each part of one for itself.
const maxName = 128

// IsTableName reports whether a text is the name of a table as a map writes it,
// behind its schema or alone.
func IsTableName(text string) bool {
	return tableName.MatchString(text) && !slices.ContainsFunc(strings.Split(text, "."), func(part string) bool { return len(part) > maxName })
}

// IsColumnName reports whether a map can name a column so.
func IsColumnName(text string) bool { return columnName.MatchString(text) && len(text) <= maxName }

// Validate reports everything that is wrong with the map, joined, each with the
// table, the column and what to write: a personal column that no person
// reaches, an edge into nothing, an action that is missing or cannot be carried
// out, a kept row that nobody would find when its obligation ends. What is only
// not stated yet is in [Map.Gaps].
func (m *Map) Validate() error {
	if m == nil {
		return fmt.Errorf("%w: no map was handed in", ErrMap)
	}
	if len(m.Tables) == 0 {
		return fmt.Errorf("%w: no table: list the tables of the database in Map.Tables", ErrMap)
	}
	v := &validation{m: m, owned: m.owned()}
	seen := map[string]bool{}
	for _, t := range m.Tables {
		v.t = t
		if seen[t.Name] {
			v.bad("listed twice: make one Table of both")
		}
		seen[t.Name] = true
		v.names()
		v.columns()
		v.edges()
		v.reach()
		v.actions()
		v.returns()
	}
	return errors.Join(v.all...)
}

// validation collects what is wrong, of one table after the other.
type validation struct {
	m     *Map
	owned map[string]bool
	t     Table
	all   []error
}

// bad says what is wrong with the table.
func (v *validation) bad(format string, args ...any) {
	v.all = append(v.all, fmt.Errorf("%w: table %s: %s", ErrMap, v.t.Name, fmt.Sprintf(format, args...)))
}

// names checks the spelling of whatever goes into a statement.
func (v *validation) names() {
	t := v.t
	tables, columns := []string{t.Name}, slices.Clone(t.Key)
	optional := []string{t.Tenant, t.Person, t.Merged, t.Created}
	for _, e := range t.Ways() {
		if e.Table != "" {
			tables = append(tables, e.Table)
		}
		columns = append(append(columns, e.Columns...), e.To...)
		for _, w := range e.When {
			columns = append(columns, w.Column)
		}
	}
	if l := t.Link; l != nil {
		tables, columns = append(tables, l.Table), append(columns, l.Record, l.Person)
		optional = append(optional, l.Tenant, l.Owner)
	}
	if t.Keep != nil {
		optional = append(optional, t.Keep.From)
	}
	for _, c := range t.Columns {
		columns = append(columns, c.Name)
	}
	for _, name := range optional {
		if name != "" {
			columns = append(columns, name)
		}
	}
	for _, name := range unique(tables) {
		if !IsTableName(name) {
			v.bad("%q is no table name: letters, digits, _ $ ? - and single blanks, behind one schema or alone", name)
		}
	}
	for _, name := range unique(columns) {
		if !IsColumnName(name) {
			v.bad("%q is no column name: letters, digits, _ $ ? - and single blanks", name)
		}
	}
}

func unique(names []string) []string {
	slices.Sort(names)
	return slices.Compact(names)
}

// columns checks what each entry of Columns says about itself and its likes.
func (v *validation) columns() {
	t := v.t
	for i, c := range t.Columns {
		before := t.Columns[:i]
		if slices.ContainsFunc(before, func(b Column) bool { return b.Name == c.Name && b.Path == c.Path }) {
			v.bad("column %s is listed twice", c.Where())
		}
		if c.Path != "" {
			v.member(c)
		}
		for _, b := range before {
			if b.Name == c.Name && (within(b.Path, c.Path) || within(c.Path, b.Path)) && b.Path != c.Path && b.Personal() && c.Personal() && !sameAction(t, b, c) {
				v.bad("columns %s and %s lie in each other and say different things: say the same of both, or list only one", b.Where(), c.Where())
			}
		}
		if slices.Contains(t.Key, c.Name) && c.Personal() && !t.IsPerson(c.Name) {
			v.bad("key column %s is personal data, and keys stand in plans and in the ledger: name another unique key, a random id or a number", c.Name)
		}
		if c.Purpose != "" && !slices.Contains(Purposes(), c.Purpose) {
			v.bad("column %s: purpose %q is none of datamap.Purposes, such as dpv:CustomerRelationshipManagement", c.Where(), c.Purpose)
		}
		if c.Basis != "" && !slices.Contains(Bases(), c.Basis) {
			v.bad("column %s: basis %q is none of datamap.Bases, such as dpv:Contract", c.Where(), c.Basis)
		}
		v.identity(c)
		if c.Everyone && t.Link == nil {
			v.bad("column %s: Everyone is for records with a Link", c.Where())
		}
	}
}

// identity checks a column that says by what a person is known.
func (v *validation) identity(c Column) {
	switch {
	case c.Identity == "":
	case !identityName.MatchString(c.Identity):
		v.bad("column %s: identity %q: small letters, digits, _ . and -, such as email", c.Where(), c.Identity)
	case !c.Personal():
		v.bad("column %s: an identity is personal data: give it a Category, and do not share it", c.Where())
	case !v.owned[v.t.Name]:
		v.bad("column %s: whose identity it is nobody can tell: no edge leads from the table to a person", c.Where())
	}
}

// sameAction reports whether two entries of one column are treated alike.
func sameAction(t Table, a, b Column) bool {
	return t.Action(a) == t.Action(b) && a.To == b.To
}
