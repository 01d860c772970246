package catalog

import (
	"slices"
	"strings"

	"github.com/crmguard/crmguard/internal/sqldb"
)

// Schema is all that was read. Nobody changes it.
type Schema struct {
	Kind    sqldb.Kind
	Tables  []*Table // by schema and name
	Foreign []ForeignKey

	byName map[string]*Table
	names  map[*Table]string
	exact  bool // MariaDB and MySQL: names of tables are told apart by case, as its files are
}

// Form is what a table is.
type Form string

// The forms. A view holds nothing of its own and is not read, but where the map
// names it.
const (
	Plain     Form = "table"
	Copy      Form = "materialized view"
	Elsewhere Form = "foreign table"
	View      Form = "view"
	Versioned Form = "table WITH SYSTEM VERSIONING"
	Virtual   Form = "virtual table" // of SQLite: a full-text index, as a rule
)

// Table is a table, with its partitions as one.
type Table struct {
	Schema, Name string // as the database writes them; a schema is main on SQLite, and a database on MariaDB and MySQL
	Default      bool   // found by its name alone
	Form         Form
	Hides        bool     // row level security hides rows from this account
	Atomic       bool     // its engine has transactions
	Strict       bool     // on SQLite: columns hold values of their type only
	Reuses       bool     // its one key column is a number that SQLite gives out again
	Words        *Words   // of a full-text index of SQLite
	FullText     []string // on MariaDB and MySQL: indexes that keep words of rows that went until the table is optimized
	Above        []*Table // on PostgreSQL: whose rows its own are, too (INHERITS)
	Columns      []Column
	Indexes      []Index
	Checks       []Check
	Triggers     []string // that fire where rows are changed or deleted
}

// Column is a column.
type Column struct {
	Name      string   // as the database writes it
	Class     Class    // what it holds
	Type      string   // as the database names it
	Labels    []string // of an enum
	Size      int64    // characters or bytes that it holds at most; 0 where there is no limit
	NotNull   bool
	Generated bool   // the database makes its values
	Made      string // of one that is generated: from what, where the catalogue says it
	Renewed   bool   // MariaDB and MySQL: it becomes the time of each change (ON UPDATE CURRENT_TIMESTAMP)
	Loose     bool   // texts that differ in bytes may compare as equal
	Collation string // on SQLite: by which rule, where Loose
}

// Class is a group of types that hold the same values.
type Class string

// The classes. A column of SQLite that is not of a STRICT table is of class Any.
const (
	Any     Class = "any"
	Text    Class = "text"
	Integer Class = "integer"
	Number  Class = "number"
	Bool    Class = "boolean"
	Date    Class = "date"
	Instant Class = "time"
	UUID    Class = "uuid"
	Bytes   Class = "bytes"
	Enum    Class = "enum"
	JSON    Class = "json"
	// Compound values are several, or none that an id could be: arrays, sets,
	// ranges, documents, shapes.
	Compound Class = "compound"
	// Large is the number of a large object of PostgreSQL, which stands elsewhere.
	Large Class = "large object"
	Other Class = "other"
)

// Words is what a full-text index of SQLite does with words of rows that go.
type Words struct {
	Of     string // the table whose texts it knows; "" where it holds them itself, or none
	Kept   bool   // they stay until segments are merged: no FTS5, or one without secure-delete
	Synced bool   // a trigger tells it of them
}

// Index is an index, the primary key among them.
type Index struct {
	Name    string
	Columns []string // in order; "" stands for an expression, or a part of a column
	Unique  bool
	Primary bool // the primary key
	Partial bool // it does not know every row
	// Bytewise are expressions of PostgreSQL, as it writes them, that are compared
	// by bytes (COLLATE "C").
	Bytewise []string
	// Expressions are what the columns "" stand for, as the database writes them.
	Expressions []string
	// NullsEqual says that a UNIQUE index takes one NULL only.
	NullsEqual bool
}

// ForeignKey is a foreign key, of any table.
type ForeignKey struct {
	Name          string
	Child, Parent *Table // Parent is nil where the account does not see it
	Columns, To   []string
	OnDelete      Rule
	Empties       []string // of SetNull and SetDefault: the columns that it empties
	Deferred      bool     // checked at COMMIT only
}

// Rule is what a foreign key does when the row that it names is deleted.
type Rule string

// The rules.
const (
	Refuse     Rule = "NO ACTION" // RESTRICT, too
	Cascade    Rule = "CASCADE"
	SetNull    Rule = "SET NULL"
	SetDefault Rule = "SET DEFAULT"
)

// Check is a CHECK constraint.
type Check struct {
	Name string
	Text string // its condition
}

// Path is the table as a map writes it: by its name alone where that leads to it.
func (t *Table) Path() string {
	if t.Default {
		return t.Name
	}
	return t.Schema + "." + t.Name
}

// Table finds a table as a map writes it, or nil.
func (s *Schema) Table(name string) *Table { return s.byName[s.foldTable(name)] }

// NameOf is the table as the map names it, or as it would; "" for none.
func (s *Schema) NameOf(t *Table) string {
	name, mapped := s.names[t]
	if !mapped && t != nil {
		return t.Path()
	}
	return name
}

// Column finds a column, or nil.
func (s *Schema) Column(t *Table, name string) *Column {
	i := slices.IndexFunc(t.Columns, func(c Column) bool { return s.fold(c.Name) == s.fold(name) })
	if i < 0 {
		return nil
	}
	return &t.Columns[i]
}

// Same reports whether two names mean one column.
func (s *Schema) Same(a, b string) bool { return s.fold(a) == s.fold(b) }

// SameAll reports whether two lists name the same columns in any order.
func (s *Schema) SameAll(a, b []string) bool {
	return len(a) == len(b) && !slices.ContainsFunc(a, func(name string) bool {
		return !slices.ContainsFunc(b, func(other string) bool { return s.Same(name, other) })
	})
}

// fold: only PostgreSQL tells names of columns apart by case.
func (s *Schema) fold(name string) string {
	if s.Kind == sqldb.Postgres {
		return name
	}
	return strings.ToLower(name)
}

// foldTable: on MariaDB and MySQL names of tables are those of files, which the
// system tells apart by case or not.
func (s *Schema) foldTable(name string) string {
	if s.exact {
		return name
	}
	return s.fold(name)
}

// JSON reports whether the column can hold a document with members: on SQLite
// and where it is text, the application says that it does.
func (c Column) JSON() bool { return c.Class == JSON || c.Class == Any || c.Class == Text }

// Ours reports whether a table is one of the library's own.
func Ours(name string) bool { return strings.HasPrefix(strings.ToLower(name), "crmguard_") }
