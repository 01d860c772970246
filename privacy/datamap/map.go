package datamap

import "slices"

// Action is what an erasure does to a row or a column.
type Action string

// The actions. The zero Action is not one: what happens to personal data is
// said, never assumed.
const (
	Delete       Action = "delete"       // the row goes; for tables only
	Null         Action = "null"         // the column becomes NULL
	Redact       Action = "redact"       // the value becomes Column.To, or [RedactedText]
	Generalise   Action = "generalise"   // the value becomes as coarse as Column.To says
	Pseudonymise Action = "pseudonymise" // the value becomes a keyed code, the same for equal values of a tenant
	Scrub        Action = "scrub"        // free text of the person's own row goes through the application's redactor
	Shred        Action = "shred"        // the bytes stay; the person's key is destroyed by another store, without which nothing opens
	Retain       Action = "retain"       // the column stays: under the table's Keep, or (a column that leads to the person) as a bare random id
)

// RedactedText is what stands in a column after [Redact] where the map names no
// other value.
const RedactedText = "[redacted]"

// Email is the one kind of identity that is compared without regard to case.
const Email = "email"

// RowMark stands in Column.To of [Redact] for a code that differs from row to
// row, so that a UNIQUE column can be redacted: "gone-{row}@erased.invalid".
const RowMark = "{row}"

// CodeMark stands in Column.To of [Pseudonymise] for the code; an empty To is
// the code alone.
const CodeMark = "{code}"

// How coarse a value becomes; Column.To of [Generalise]. "first:" and a number
// keeps so many characters of a text ("first:3" of a postcode).
const (
	ToYear   = "year"   // 1980-05-17 becomes 1980-01-01
	ToMonth  = "month"  // 1980-05-17 becomes 1980-05-01
	ToDecade = "decade" // 1987-05-17 becomes 1980-01-01
)

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
	Key     []string // primary key columns, never personal data
	Tenant  string   // tenant column; empty means Map.Tenant
	Person  string   // column with the person's id: the commonest edge, written short
	Edges   []Edge   // more ways from a row to a person; a row is found once, however many lead to it
	Link    *Link    // link table of a record that concerns several persons
	Merged  string   // of a table with Person: column with the id of the person into whom the row's person was merged; where it is a foreign key, an erasure of that person empties it
	Created string   // column with the creation time: an integer of microseconds since 1970 UTC, a time of the database in UTC, or RFC 3339 text; empty means the UUIDv7 time of Key. A day without a time of day says nothing
	Erase   Action   // Delete, or what happens to the personal columns of rows that stay
	Keep    *Keep    // the obligation that beats Erase while it runs
	Columns []Column // every other column, and the columns that lead to persons where rows can stay
	// Source and Recipients are for exports (GDPR Article 15(1) c and g).
	Source     string
	Recipients []string
}

// Edge leads from a row to a person: over a column that holds the person's id,
// over columns that name a row of another table which leads to one, or over a
// column that holds something by which the person is known.
type Edge struct {
	Columns []string // of this table
	Table   string   // the table whose row they name; empty: the one column holds a person's id, or an Identity
	To      []string // columns of that table, as many as Columns; empty means its Key
	When    []When   // the edge is there only where all of these hold: subject_type is 'Contact'
	// Identity is the kind of identity that the one column holds, as
	// Column.Identity of other tables declares it; Table is empty. "email" is
	// compared without regard to case, which no index on the bare column helps; on
	// PostgreSQL one on (lower(column COLLATE "C")) does.
	Identity string
	// Unlink says that the row is about somebody else and only points to the
	// person: of it the erasure empties Columns (Null), or deletes the row
	// (Delete), also where the row that they name goes. Empty: the row is the
	// person's own, and the table's Erase applies.
	Unlink Action
}

// When is a discriminator: the column holds exactly this value.
type When struct{ Column, Is string }

// Link says that a record concerns several persons, listed in a link table.
// When one of several is erased, their link goes and the record is redacted by
// the application; when the last one is erased, the table's Erase applies.
// Where the link table names no tenant column the keys of such records must be
// unique across tenants. Rows that lead to such a record go with it, and stay as
// long as it does. A link table with columns of its own is listed as a table, too.
type Link struct {
	Table  string // link table; listed in Map.Tables where it has other columns, too
	Record string // its column with the (single-column) key of the record
	Person string // its column with the person id
	Tenant string // its tenant column; may be empty
	Owner  string // column of the record with its key owner ("r:<uuid>" or a person); may be empty
}

// Keep is a named obligation that beats erasure until it ends. What would be
// deleted, and only kept rows lead to (the lines of an invoice), is kept with them.
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

// Column describes one column, or one member of a JSON column.
type Column struct {
	Name     string // the SQL name
	Path     string // of a JSON column: the member that this is about, as an RFC 6901 pointer ("/address/street"), in which the step [Every] is each item ("/phones/*/number"); several entries may share Name
	Category string // kind of personal data, such as "contact.email"; empty means not personal
	Purpose  string // what it is used for, of [Purposes]
	Basis    string // legal basis, of [Bases]
	Identity string // kind of identity of the row's person that the value is ("email"): rows of other tables and other stores find the person by it
	Sealed   bool   // holds bytes sealed by the application; opened for exports and identities by the application
	Shared   bool   // declared clear and shared by many people (country, language, company): not erased from rows that stay
	Everyone bool   // of a record with a Link: about all its persons, so each of them gets it
	Erase    Action // for rows that stay; empty means the table's Erase
	To       string // of Redact, Generalise and Pseudonymise
	Withhold string // why exports leave it out (index, token, other people's text); empty means exported
}

// Personal reports whether an erasure must do something to the column.
func (c Column) Personal() bool { return c.Category != "" && !c.Shared }

// Table returns the table of that name.
func (m *Map) Table(name string) (Table, bool) {
	i := slices.IndexFunc(m.Tables, func(t Table) bool { return t.Name == name })
	if i < 0 {
		return Table{}, false
	}
	return m.Tables[i], true
}

// Shreds reports whether an erasure leaves bytes in place and relies on the
// destruction of a key.
func (m *Map) Shreds() bool {
	return slices.ContainsFunc(m.Tables, func(t Table) bool {
		return t.Erase == Shred || slices.ContainsFunc(t.Columns, func(c Column) bool { return c.Erase == Shred })
	})
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

// Ways are all edges of the table, Person among them as the edge that it is short
// for.
func (t Table) Ways() []Edge {
	if t.Person == "" {
		return t.Edges
	}
	return append([]Edge{{Columns: []string{t.Person}}}, t.Edges...)
}

// Leads reports whether the edge leads to the person whose row it is; the others
// only point to one.
func (e Edge) Leads() bool { return e.Unlink == "" }

// Names reports whether the one column of the edge holds the id of a person.
func (e Edge) Names() bool { return e.Table == "" && e.Identity == "" }

// Target are the columns of the table that the edge's Columns name.
func (e Edge) Target(to Table) []string {
	if len(e.To) == 0 {
		return to.Key
	}
	return e.To
}

// Reaches reports whether the table's rows lead or point to persons.
func (t Table) Reaches() bool { return len(t.Ways()) > 0 || t.Link != nil }

// Owns reports whether the table has rows that are a person's own; of the others
// an erasure only takes what points to one.
func (t Table) Owns() bool { return t.Link != nil || slices.ContainsFunc(t.Ways(), Edge.Leads) }

// IsPerson reports whether a column holds the id of the person whose row it is.
func (t Table) IsPerson(column string) bool {
	return slices.ContainsFunc(t.Ways(), func(e Edge) bool { return e.Names() && e.Leads() && slices.Equal(e.Columns, []string{column}) })
}

// Where is the column, with the path of the member that the entry is about.
func (c Column) Where() string { return c.Name + c.Path }

// Stays lists what an erasure does to the columns of rows that stay, by
// [Column.Where]: because the table's Erase is no Delete, or because the
// obligation still runs. Empty for tables whose rows always go.
func (t Table) Stays() map[string]Action {
	if !t.CanStay() {
		return nil
	}
	actions := map[string]Action{}
	for _, c := range t.Columns {
		if t.IsPerson(c.Name) || c.Personal() {
			actions[c.Where()] = t.Action(c)
		}
	}
	return actions
}
