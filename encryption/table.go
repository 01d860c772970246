package encryption

import (
	"fmt"
	"regexp"
	"strings"

	"github.com/crmguard/crmguard/encryption/internal/blindindex"
	"github.com/crmguard/crmguard/encryption/internal/format"
	"github.com/crmguard/crmguard/encryption/internal/keyring"
	"github.com/crmguard/crmguard/encryption/internal/rowjob"
)

// Level says what a sealed value is bound to besides its tenant, table and
// column.
type Level byte

// The binding levels; the numbers are part of the format.
const (
	LevelTenant Level = format.LevelTenant // tenant, table and column only; the tenant's own data (owner t:)
	LevelOwner  Level = format.LevelOwner  // and the owner: the default
	LevelRow    Level = format.LevelRow    // and the row
)

// Padme pads a column to its Padmé length: lengths leak at most log log n bits.
const Padme = format.Padme

// Table declares which columns of a table are sealed. Name and the names of
// columns and indexes are logical: they are frozen, because they are part of
// every sealed value. Renaming in SQL changes only the SQL members.
type Table struct {
	// Name is the logical name.
	Name string
	// SQL is the name in the database; "" is Name.
	SQL string
	// Key is the column of the primary key or of another unique key, of any type
	// that has an exact order; several are separated by commas. With a Tenant it
	// may be unique within the tenant only. "" is "id". RowText says what stands
	// for a key in columns of LevelRow.
	Key string
	// Owner is the column that holds the owner of the row's keys: a person, or
	// r:<uuid> for a record of several persons; "" is "person". A UUID of 36
	// characters is one person in small letters and in capitals. Every other id is
	// what it is byte for byte: seal under it as the column gives it back (one of the
	// type UUID writes hyphens, one of numbers no zeros in front). What was sealed
	// under another spelling does not open for whoever reads the row (ErrOpen,
	// ErrNoKey).
	Owner string
	// Shared says that there is no owner column: the tenant's own data.
	Shared bool
	// Tenant is the column that holds the tenant; "" says that the table
	// holds one tenant, the one that calls name.
	Tenant string
	// Level binds the columns that state none; 0 is LevelOwner.
	Level Level
	// Columns are the sealed columns.
	Columns []Column
}

// Column declares one sealed column.
type Column struct {
	// Name is the logical name.
	Name string
	// SQL is the name in the database; "" is Name.
	SQL string
	// Level overrides the level of the table.
	Level Level
	// Text stores the text form (cg1.…) instead of bytes.
	Text bool
	// Pad hides lengths: values are padded to a multiple of Pad bytes, or to
	// their Padmé length with Padme. 0 pads nothing.
	Pad int
	// Stream says that the column is a file or blob outside the row, sealed by
	// SealStream.
	Stream bool
	// Find makes the column searchable, by one word: it stands for an index named
	// as the column with _idx behind it, in the SQL column that is named so, 32
	// bits wide. Nothing of that can be changed in place but the SQL name: a wider
	// one is an Index with Version 2.
	Find Normaliser
	// Index lists the blind indexes over this column, besides Find.
	Index []Index
}

// Index declares one version of a blind index over a column. A new width,
// normaliser or root is a new version in a column of its own; both stand in
// the definition until the old one is retired.
//
// It is searched once it is proven complete: at once in a tenant that has no
// key yet when the index is declared, otherwise after FenceOldWriters and
// RebuildIndexes.
type Index struct {
	// Column is the SQL column that holds the value: BIGINT up to 63 bits, never
	// INT for 32 (a value has no sign), otherwise bytes, and where they are of a
	// fixed length of just that one. Jobs and CheckIn refuse what is narrower:
	// MariaDB and MySQL that are not strict cut a value, and searches miss it.
	Column string
	// Name is the logical name, shared by the versions; "" is Column.
	Name string
	// Version counts from 1; 0 is 1.
	Version uint32
	// As is the normaliser.
	As Normaliser
	// Bits is the width: 8 to 63, or 64 to 256 in multiples of 8.
	Bits int
	// Unique says that the column has a UNIQUE constraint, which the application
	// makes: the index is 128 bits wide (or wider, by Bits), so that what the
	// database refuses is there already and never another value that is equal by
	// chance. SealedTable.Exists says so of the error. The next version of the
	// index is unique, too, beside this one.
	Unique bool
}

var identifier = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]{0,62}(\.[A-Za-z_][A-Za-z0-9_]{0,62})?$`)

// SealedTable is a declared table of a vault: it writes, reads, finds,
// reseals and counts sealed values. It is safe for concurrent use.
type SealedTable struct {
	vault   *Vault
	def     Table
	columns map[string]int // logical name -> index in def.Columns
	indexes []tableIndex
	rows    *rowjob.Table // what the jobs know of it

	indexPlace, readyPlace keyring.Place // of its tenantIndexes and readyTable
}

type tableIndex struct {
	Index
	column int
	rule   blindindex.Rule
}

// Table checks a definition and returns the table. Nothing is read or
// written; the same definition may be declared more than once. Declare all
// tables before the first key of a tenant is made.
func (v *Vault) Table(def Table) (*SealedTable, error) {
	t := &SealedTable{vault: v, columns: map[string]int{}, indexPlace: v.ring.NewPlace(), readyPlace: v.ring.NewPlace()}
	if def.SQL == "" {
		def.SQL = def.Name
	}
	if def.Key == "" {
		def.Key = "id"
	}
	if def.Owner == "" && !def.Shared {
		def.Owner = "person"
	}
	if def.Level == 0 {
		def.Level = LevelOwner
	}
	if err := keyring.CheckID("name", def.Name); err != nil {
		return nil, fmt.Errorf("%w: table name: %w", ErrDefinition, err)
	}
	for _, name := range append(rowjob.KeyColumns(def.Key), def.SQL, def.Owner, def.Tenant) {
		if name != "" && !identifier.MatchString(name) {
			return nil, fmt.Errorf("%w: table %s: %q is no name in SQL: letters, digits and _, and one dot behind a schema (SQL, Key, Owner and Tenant of the Table)", ErrDefinition, def.Name, name)
		}
	}
	def.Columns = append([]Column(nil), def.Columns...)
	for i := range def.Columns {
		if err := t.addColumn(&def, i); err != nil {
			return nil, err
		}
	}
	if len(def.Columns) == 0 {
		return nil, fmt.Errorf("%w: table %s has no columns: name those that are sealed in Table.Columns", ErrDefinition, def.Name)
	}
	t.def = def
	t.rows = t.job()
	v.declared.add(t)
	return t, nil
}

func (t *SealedTable) addColumn(def *Table, i int) error {
	col := &def.Columns[i]
	fail := func(what string) error {
		return fmt.Errorf("%w: %s.%s: %s", ErrDefinition, def.Name, col.Name, what)
	}
	if err := keyring.CheckID("name", col.Name); err != nil {
		return fail("the name of the column: " + err.Error())
	}
	if _, twice := t.columns[col.Name]; twice {
		return fail("declared twice")
	}
	if col.SQL == "" {
		col.SQL = col.Name
	}
	if !col.Stream && !identifier.MatchString(col.SQL) {
		return fail("a name in SQL has letters, digits and _ only (Column.SQL)")
	}
	if col.Level == 0 {
		col.Level = def.Level
	}
	if col.Stream {
		col.Level = LevelRow
	}
	if col.Level < LevelTenant || col.Level > LevelRow {
		return fail("the level is LevelTenant, LevelOwner or LevelRow")
	}
	if col.Find != "" {
		col.Index = append([]Index{{Column: col.SQL + "_idx", Name: col.Name + "_idx", As: col.Find, Bits: blindindex.FindBits}}, col.Index...)
	}
	if col.Pad < Padme || col.Pad > format.MaxField || (col.Stream && (col.Pad != 0 || len(col.Index) > 0 || col.Text)) {
		return fail("Pad is Padme, 0 or up to 16 MiB, and a stream has neither Pad nor Text, Find or Index")
	}
	t.columns[col.Name] = i
	for _, index := range col.Index {
		if err := t.addIndex(def, i, index); err != nil {
			return err
		}
	}
	return nil
}

func (t *SealedTable) addIndex(def *Table, column int, index Index) error {
	if index.Name == "" {
		index.Name = index.Column
	}
	if index.Version == 0 {
		index.Version = 1
	}
	fail := func(what string) error {
		return fmt.Errorf("%w: index %s.%s: %s", ErrDefinition, def.Name, index.Name, what)
	}
	if keyring.CheckID("name", index.Name) != nil || !identifier.MatchString(index.Column) {
		return fail("the name is refused")
	}
	rule, err := t.vault.rule(index.As)
	if err != nil {
		return fail(err.Error())
	}
	if index.Unique && index.Bits == 0 {
		index.Bits = blindindex.UniqueBits
	}
	if wrong := blindindex.CheckBits(index.Bits, index.Unique); wrong != "" {
		return fail(wrong)
	}
	for _, other := range t.indexes {
		if other.Column == index.Column || (other.Name == index.Name && (other.Version == index.Version || other.column != column)) {
			return fail("column, version or name is taken by another index")
		}
	}
	t.indexes = append(t.indexes, tableIndex{Index: index, column: column, rule: rule})
	return nil
}

// Name returns the logical name of the table.
func (t *SealedTable) Name() string { return t.def.Name }

// position finds a column by its logical name. likely is where it is looked for
// first: columns mostly come in the order in which they are declared, or one of
// them comes again and again.
func (t *SealedTable) position(name string, likely int) (int, bool) {
	if likely < len(t.def.Columns) && t.def.Columns[likely].Name == name {
		return likely, true
	}
	if likely > 0 && t.def.Columns[likely-1].Name == name {
		return likely - 1, true
	}
	if t.def.Columns[0].Name == name {
		return 0, true
	}
	i, ok := t.columns[name]
	return i, ok
}

func (t *SealedTable) column(name string) (*Column, error) {
	i, ok := t.columns[name]
	if !ok {
		return nil, t.noSuchColumn(name)
	}
	return &t.def.Columns[i], nil
}

// noSuchColumn says which columns there are: who misspelt one, or takes the
// name in SQL for the logical one, sees it at once.
func (t *SealedTable) noSuchColumn(name string) error {
	names := make([]string, len(t.def.Columns))
	for i, col := range t.def.Columns {
		names[i] = col.Name
		if col.SQL != "" && col.SQL != col.Name {
			names[i] += fmt.Sprintf(" (%s in SQL)", col.SQL)
		}
	}
	return &KeyError{
		Op:    fmt.Sprintf("no such column is declared; the table has %s. There is no", strings.Join(names, ", ")),
		Table: t.def.Name, Column: name, Err: ErrDefinition,
	}
}
