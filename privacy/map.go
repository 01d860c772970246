package privacy

import "slices"

// Action is what an erasure does to a row or a column.
type Action string

// The actions. The zero Action is not one: what happens to personal data is
// said, never assumed.
const (
	Delete Action = "delete" // the row goes; for tables only
	Null   Action = "null"   // the column becomes NULL
	Redact Action = "redact" // the text becomes [RedactedText]
	Shred  Action = "shred"  // the bytes stay; the person's key is destroyed by another store, without which Open refuses
	Retain Action = "retain" // the column stays: under the table's Keep, or (the person column) as a bare random id
)

// RedactedText is what stands in a column after [Redact].
const RedactedText = "[redacted]"

// Map is the data map: which tables and columns hold personal data, how each
// leads to a person, and what an erasure does to it. One map drives finding,
// exporting, erasing, reading back and replaying, so that they cannot differ.
type Map struct {
	// Tenant is the only tenant of a database whose tables have no tenant
	// column. Empty: every table that leads to persons names its column.
	Tenant string
	// Tables are all tables of the database, those without personal data too.
	Tables []Table
}

// Table describes one table.
type Table struct {
	Name    string   // the SQL name, behind its schema where the search path does not lead there ("crm.contacts")
	Schema  string   // schema id for exports, such as "contact/3"; empty means Name + "/1"
	Key     []string // primary key columns, text or integer, never personal data
	Tenant  string   // tenant column; empty means Map.Tenant
	Person  string   // column with the random person id
	Ref     *Ref     // edge to the table whose row leads to the person
	Joint   *Joint   // link table of a record that concerns several persons
	Created string   // column with the creation time: an integer of microseconds since 1970 UTC, a time of the database in UTC, or RFC 3339 text; empty means the UUIDv7 time of Key. A day without a time of day says nothing
	Erase   Action   // Delete, or what happens to the personal columns of rows that stay
	Keep    *Keep    // the obligation that beats Erase while it runs
	Columns []Column // every other column, and the person column where rows can stay
}

// Ref is an edge: Column holds the (single-column) key of a row of Table.
type Ref struct {
	Column string // column of the table that has the Ref
	Table  string // table referred to
}

// Joint says that a record concerns several persons, listed in a link table.
// When one of several is erased, their link goes and the record is redacted by
// the application; when the last one is erased, the table's Erase applies.
// The link table has no tenant column, so that the keys of such records must
// be unique across tenants.
type Joint struct {
	Table  string // link table, not listed in Map.Tables
	Record string // its column with the (single-column) key of the record
	Person string // its column with the person id
	Owner  string // column of the record with its key owner ("r:<uuid>" or a person); may be empty
}

// Keep is a named obligation that beats erasure until it ends.
type Keep struct {
	Because string // name of the obligation, such as "DE-HGB-257"
	// From is the column with the date where the period starts: an integer of
	// microseconds since 1970 UTC, a date or time of the database, or ISO 8601
	// text such as 2031-01-01 or RFC 3339, in UTC where it names no zone. NULL says that the obligation has not
	// begun. Anything else (seconds, an empty text) is no reason to delete: the
	// row is kept, and the plan's Count says why.
	From  string
	Years int // calendar years, 1000 at most
}

// Column describes one column.
type Column struct {
	Name     string // the SQL name
	Category string // kind of personal data, such as "contact.email"; empty means not personal
	Purpose  string // what it is used for
	Basis    string // legal basis
	Sealed   bool   // holds bytes sealed by the application; opened by Config.Open for exports
	Shared   bool   // declared clear and shared by many people (country, language, company): not erased from rows that stay
	Joint    bool   // of a joint record: about all its persons, so each of them gets it
	Erase    Action // for rows that stay; empty means the table's Erase
	Withhold string // why exports leave it out (index, token, other people's text); empty means exported
}

// personal reports whether an erasure must do something to the column.
func (c Column) personal() bool { return c.Category != "" && !c.Shared }

// Table returns the table of that name.
func (m *Map) Table(name string) (Table, bool) {
	i := slices.IndexFunc(m.Tables, func(t Table) bool { return t.Name == name })
	if i < 0 {
		return Table{}, false
	}
	return m.Tables[i], true
}

// Column returns the column of that name, as far as it is listed in Columns.
func (t Table) Column(name string) (Column, bool) {
	i := slices.IndexFunc(t.Columns, func(c Column) bool { return c.Name == name })
	if i < 0 {
		return Column{}, false
	}
	return t.Columns[i], true
}

// SchemaID is the id under which exports name the shape of the table's rows.
func (t Table) SchemaID() string {
	if t.Schema != "" {
		return t.Schema
	}
	return t.Name + "/1"
}

// Reaches reports whether the table's rows lead to persons.
func (t Table) Reaches() bool { return t.Person != "" || t.Ref != nil || t.Joint != nil }

// Stays lists what an erasure does to the columns of rows that stay: because
// the table's Erase is no Delete, or because the obligation still runs. Empty
// for tables whose rows always go.
func (t Table) Stays() map[string]Action {
	if t.Erase == Delete && t.Keep == nil {
		return nil
	}
	actions := map[string]Action{}
	for _, c := range t.Columns {
		switch {
		case c.Name == t.Person:
			actions[c.Name] = c.Erase
		case !c.personal():
		case c.Erase != "":
			actions[c.Name] = c.Erase
		default:
			actions[c.Name] = t.Erase
		}
	}
	return actions
}

// shreds reports whether an erasure leaves bytes in place and relies on the
// destruction of a key.
func (m *Map) shreds() bool {
	return slices.ContainsFunc(m.Tables, func(t Table) bool {
		return t.Erase == Shred || slices.ContainsFunc(t.Columns, func(c Column) bool { return c.Erase == Shred })
	})
}

// Path returns the tables from t to the one that knows the person: t itself,
// or along its Refs.
func (m *Map) Path(t Table) []Table {
	path := []Table{t}
	for t.Ref != nil && len(path) <= len(m.Tables) {
		next, ok := m.Table(t.Ref.Table)
		if !ok {
			break
		}
		path, t = append(path, next), next
	}
	return path
}
