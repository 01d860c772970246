package capture

import (
	"regexp"
	"slices"
	"strings"

	"github.com/crmguard/crmguard/internal/ids"
	"github.com/crmguard/crmguard/internal/sqldb"
)

// A Table is one whose rows are captured when they change.
type Table struct {
	// Name is the table's, with its schema before a point: "public.contacts".
	// Without one the search path of the session that applies the pack finds it.
	Name string
	// Kind is the kind of object that its rows are in the log, as
	// audit.Object.Kind: give it the kind under which the application records
	// them, so that a change of which it tells is not captured besides. Where
	// several tables have one kind, the first of them is the one whose rows are
	// these objects: of changes in the others no event tells.
	Kind string
	// Key are the columns whose values name a row, in the order in which the
	// name has them; none means the primary key.
	Key []string
	// Tenant is the tenant of all rows, or TenantColumn the column that says it.
	Tenant       string
	TenantColumn string
	// Person is the column with the id of the person whom a row is about, where the
	// row itself is none: "contact_id" of the notes about contacts. The row is
	// filed among what is recorded about that person, under the surrogate, and
	// without an object where there is none; an erasure of the person reaches it
	// while it waits. Where the key holds the column, too, it names nothing: the row
	// is filed without an object.
	Person string
	// Skip are columns that do not count: a change of nothing else is not
	// captured, and their names are not written down. Name those that no event
	// ever tells of (updated_at): an update that changes one is told of by none.
	// Columns of the key, of the tenant and of the person cannot be skipped.
	Skip []string
}

// The longest name that PostgreSQL keeps: of a longer one it takes the
// beginning, and another table may have that.
const longestName = 63

// quoted is what a dollar-quoted statement of this package cannot hold.
const quoted = "$crmguard$"

var kinds = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9_.:-]{0,99}$`)

// check finds what PostgreSQL would not, or would understand otherwise.
func (t *Table) check() error {
	wrong := func(field, why string) error { return &TableError{Table: t.Name, Field: field, Why: why} }
	if why := checkTableName(t.Name); why != "" {
		return &TableError{Field: "Name", Why: why} // what is no name is not shown
	}
	if !kinds.MatchString(t.Kind) {
		return wrong("Kind", "is no code such as contact: take letters, digits and _ . : - only, as in audit.Object.Kind")
	}
	for _, list := range []struct {
		field string
		names []string
	}{{"Key", t.Key}, {"Skip", t.Skip}} {
		for i, name := range list.names {
			if why := checkName(name); why != "" {
				return wrong(list.field, "holds a name that "+why)
			}
			if slices.Contains(list.names[:i], name) {
				return wrong(list.field, "names the same column twice: name it once")
			}
		}
	}
	switch {
	case (t.Tenant == "") == (t.TenantColumn == ""):
		return wrong("Tenant", "and TenantColumn are both empty or both set: give the tenant of all rows, or the column that says it")
	case t.Tenant != "" && (ids.Check("Tenant", t.Tenant) != nil || strings.Contains(t.Tenant, quoted)):
		return wrong("Tenant", "is no id: 1 to 255 bytes of UTF-8 without NUL")
	}
	if t.TenantColumn != "" {
		if why := checkName(t.TenantColumn); why != "" {
			return wrong("TenantColumn", why)
		}
	}
	if t.Person != "" {
		if why := checkName(t.Person); why != "" {
			return wrong("Person", why)
		}
	}
	for _, name := range t.Skip {
		if name == t.TenantColumn || name == t.Person || slices.Contains(t.Key, name) {
			return wrong("Skip", "names a column of the key, of the tenant or of the person: a row that gets another one has changed, take it out of Skip")
		}
	}
	return nil
}

func checkTableName(name string) string {
	parts := strings.Split(name, ".")
	if len(parts) > 2 {
		return "has more than one point: write it as schema.table; a table with a point in its own name cannot be captured"
	}
	for _, part := range parts {
		if why := checkName(part); why != "" {
			return why
		}
	}
	return ""
}

func checkName(name string) string {
	switch {
	case name == "":
		return "is empty: name it"
	case len(name) > longestName:
		return "is longer than 63 bytes, of which PostgreSQL would take the beginning: write it as it stands in the catalogue"
	case !ids.Plain(name) || strings.Contains(name, quoted):
		return "is no name of PostgreSQL: UTF-8 without NUL and without " + quoted
	}
	return ""
}

// target is the table as a statement names it.
func (t *Table) target() (string, error) { return sqldb.Dialect{Kind: sqldb.Postgres}.Quote(t.Name) }
