package integrity

import (
	"context"
	"database/sql"
	"fmt"
	"iter"
	"slices"
	"strings"

	"github.com/crmguard/crmguard/internal/sqldb"
)

// Reader reads the rows of one database as that database holds them, through
// any driver of it: the same row gives the same values, so that what was sealed
// through one verifies through another.
//
// The database has to be known, because what a driver hands over does not say
// what it is: bytes in a column of text are its text on MySQL, whose driver
// gives all text so, and a blob on SQLite, whose columns hold any class. A
// Reader is safe for concurrent use.
type Reader struct{ kind sqldb.Kind }

// OpenReader asks the database once what it is: SQLite, PostgreSQL, MariaDB or
// MySQL. Another one is [errors.ErrUnsupported]. It keeps nothing open.
func OpenReader(ctx context.Context, db *sql.DB) (*Reader, error) {
	if ctx == nil || db == nil {
		return nil, configErr("reader: no context or no database")
	}
	dialect, err := sqldb.Ask(ctx, db)
	if err != nil {
		return nil, fmt.Errorf("integrity: reader: %w", err)
	}
	return &Reader{kind: dialect.Kind}, nil
}

// noTime is what no value of a column is read as; see [resultSet.value].
const noTime = "TIMESTAMP'0001-01-01 00:00:00'"

// Columns is the part of a SELECT that shows columns of a table as the database
// holds them:
//
//	`SELECT id, version, schema_id, seal, ` + reader.Columns(layout.Columns) + ` FROM contacts`
//
// On SQLite it keeps the driver from making a time of a text, or a boolean of a
// number, because of the declared type of the column: +`due` AS `due`. On MySQL
// and MariaDB a date or time that is none, such as 2026-02-30, is not read as the
// second of March, which the driver makes of it. On PostgreSQL it is the quoted names. A query that gives the columns another way is read as
// well; what a driver has made of them by itself is refused.
func (r *Reader) Columns(columns []Column) string {
	parts := make([]string, len(columns))
	for i, c := range columns {
		name := r.quote(c.Name)
		shown := name
		switch {
		case r == nil || r.kind == sqldb.Postgres:
		case r.kind == sqldb.SQLite:
			shown = "+" + name
		case c.Type == Date || c.Type == Time: // whatever the column is, it keeps its type
			shown = "IF(CAST(" + name + " AS CHAR) LIKE '____-%' AND " + name + " + INTERVAL 0 MICROSECOND IS NULL, " + noTime + ", " + name + ")"
		}
		parts[i] = shown
		if shown != name {
			parts[i] += " AS " + name
		}
	}
	return strings.Join(parts, ", ")
}

// quote takes a name as one name, points and all. SQLite takes an unknown name
// within "…" for a text.
func (r *Reader) quote(name string) string {
	mark := "`"
	if r != nil && r.kind == sqldb.Postgres {
		mark = `"`
	}
	return mark + strings.ReplaceAll(name, mark, mark+mark) + mark
}

// FromRows reads the rows of a query into values by name, of the columns alone:
// those that [Sealer.Seal], [Sealer.Verify], [Column.Canonical] and package
// reconcile take. It closes the rows. Other columns of the query are passed over.
//
//	for values, err := range reader.FromRows(rows, layout.Columns...) {
//
// Before the first row it is checked that the query has the columns, each once,
// and that the database can hold in them what the layout says; what cannot be is
// an error that wraps [ErrConfig] and names the column. So is a column of SQLite
// that a driver has made another value of: read it with [Reader.Columns]. An
// error ends the sequence.
func (r *Reader) FromRows(rows *sql.Rows, columns ...Column) iter.Seq2[map[string]any, error] {
	return func(yield func(map[string]any, error) bool) {
		var bound []bound
		for set, err := range r.each(rows, func(set *resultSet) (err error) {
			if err := CheckColumns(columns...); err != nil {
				return err
			}
			bound, err = set.bind(columns)
			return err
		}) {
			var values map[string]any
			if err == nil {
				values, err = set.values(bound)
			}
			if !yield(values, err) || err != nil {
				return
			}
		}
	}
}

// Table says which columns of a query hold what stands beside the sealed ones,
// by their names in the result.
type Table struct {
	// Tenant and Name enter the seal as [Ref.Tenant] and [Ref.Table].
	Tenant, Name string
	// Key is the column of the row's key: text, an integer (its decimal text
	// enters the seal) or a UUID (its text in lower case).
	Key string
	// Version is the column of the row's version, "" for none.
	Version string
	// SchemaID is the column of the id of the row's layout, "" where the sealer
	// knows one layout only.
	SchemaID string
	// Event is the column of the event's UUID, as text or uuid, "" for none.
	Event string
	// Seal is the column of the seal, which holds bytes.
	Seal string
}

// Sealed reads the rows of a query over a sealed table, for [Sealer.Verify] and
// [Sealer.Sweep]: of each row the columns of the layout that it was sealed under.
// It closes the rows.
//
//	rows, err := db.QueryContext(ctx, `SELECT * FROM contacts WHERE tenant = ?`, "main")
//	…
//	report, err := sealer.Sweep(ctx, reader.Sealed(rows, sealer, contacts), options)
//
// What [Reader.FromRows] refuses is refused here, where it is so of all layouts.
// A row under a layout that the query does not have, or that the sealer does not
// know, comes without values, and a sweep counts it as a misfit or as of an
// unknown schema. A key, version, schema id, event or
// seal that is none is an error that wraps [ErrTampered], beside what could be
// read of the row: a sweep counts it and goes on.
func (r *Reader) Sealed(rows *sql.Rows, sealer *Sealer, table Table) iter.Seq2[SealedRow, error] {
	return func(yield func(SealedRow, error) bool) {
		var t *sealedTable
		for set, err := range r.each(rows, func(set *resultSet) (err error) {
			t, err = set.sealed(sealer, table)
			return err
		}) {
			var row SealedRow
			goesOn := false
			if err == nil {
				row, goesOn, err = t.row(set)
			}
			if !yield(row, err) || err != nil && !goesOn {
				return
			}
		}
	}
}

// each yields the result set once a row, which it has scanned.
func (r *Reader) each(rows *sql.Rows, ready func(*resultSet) error) iter.Seq2[*resultSet, error] {
	return func(yield func(*resultSet, error) bool) {
		if rows == nil {
			yield(nil, configErr("reader: no rows"))
			return
		}
		defer func() { _ = rows.Close() }() // what was read is judged by rows.Err
		set, err := r.open(rows)
		if err == nil {
			err = ready(set)
		}
		if err != nil {
			yield(nil, err)
			return
		}
		for rows.Next() {
			err := rows.Scan(set.pointers...)
			if err != nil {
				err = fmt.Errorf("integrity: read: %w", err)
			}
			if !yield(set, err) || err != nil {
				return
			}
		}
		if err := rows.Err(); err != nil {
			yield(nil, fmt.Errorf("integrity: read: %w", err))
		}
	}
}

// resultSet is a query's result: its columns are looked up once.
type resultSet struct {
	kind     sqldb.Kind
	names    []string
	types    []string // as the driver calls them
	cells    []any    // of the row at hand
	pointers []any
}

// bound is a column and where the query has it.
type bound struct {
	Column
	index int
	class class
}

func (r *Reader) open(rows *sql.Rows) (*resultSet, error) {
	if r == nil || r.kind == "" {
		return nil, configErr("a Reader that OpenReader did not make")
	}
	types, err := rows.ColumnTypes()
	if err != nil {
		return nil, fmt.Errorf("integrity: read: %w", err)
	}
	set := &resultSet{kind: r.kind, cells: make([]any, len(types)), pointers: make([]any, len(types))}
	for i, t := range types {
		set.names = append(set.names, t.Name())
		set.types = append(set.types, strings.ToUpper(t.DatabaseTypeName()))
		set.pointers[i] = &set.cells[i]
	}
	return set, nil
}

// bind finds the columns of a layout in the result, and checks that the
// database's type can hold what the layout says.
func (s *resultSet) bind(columns []Column) ([]bound, error) {
	out := make([]bound, 0, len(columns))
	var lacks []string
	for _, c := range columns {
		b, there, err := s.find(c)
		if err != nil {
			return nil, err
		}
		if !there {
			lacks = append(lacks, fmt.Sprintf("%q", c.Name))
			continue
		}
		if err := b.check(s.types[b.index]); err != nil {
			return nil, err
		}
		out = append(out, b)
	}
	if len(lacks) > 0 {
		return nil, configErr("the query lacks %s", strings.Join(lacks, ", "))
	}
	return out, nil
}

func (s *resultSet) find(c Column) (b bound, there bool, err error) {
	i := slices.Index(s.names, c.Name)
	if i < 0 {
		return b, false, nil
	}
	if slices.Contains(s.names[i+1:], c.Name) {
		return b, true, configErr("two columns of the query have the name %q", c.Name)
	}
	return bound{Column: c, index: i, class: classOf(s.kind, s.types[i])}, true, nil
}

// values are those of the row at hand.
func (s *resultSet) values(columns []bound) (map[string]any, error) {
	values := make(map[string]any, len(columns))
	for _, b := range columns {
		v, err := s.value(b)
		if err != nil {
			return nil, err
		}
		values[b.Name] = v
	}
	return values, nil
}
