package rowjob

import (
	"context"
	"database/sql"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"strings"

	"github.com/crmguard/crmguard/encryption/internal/format"
	"github.com/crmguard/crmguard/encryption/internal/keyring"
	"github.com/crmguard/crmguard/encryption/jobs"
	"github.com/crmguard/crmguard/internal/sqldb"
)

// How much one statement asks for: a row has a number for each column, and a
// number a bit for each key version.
const (
	columnsAtOnce  = 50
	versionsAtOnce = 20
)

// Undeclared searches a database for columns that hold what is sealed under one of
// the key versions, as Vault.Undeclared promises. declares says whether a
// declaration names a column, in any case of its letters or as it is; known are
// columns that somebody else counts.
func Undeclared(ctx context.Context, handle *sql.DB, versions []uint32, declares func(anyCase bool, column string) bool, known []string) ([]jobs.UndeclaredColumn, error) {
	if handle == nil {
		return nil, fmt.Errorf("%w: no database was handed in", keyring.ErrDefinition)
	}
	db, err := sqldb.Open(ctx, handle)
	if err != nil {
		return nil, fmt.Errorf("encryption: %w", err)
	}
	tables, err := db.Catalog(ctx, db)
	if err != nil {
		return nil, fmt.Errorf("encryption: %w", err)
	}
	forms, err := textForms(ctx, db)
	if err != nil {
		return nil, fmt.Errorf("encryption: %w", err)
	}
	var out []jobs.UndeclaredColumn
	for _, table := range tables {
		table.Columns = slices.DeleteFunc(table.Columns, func(c sqldb.ListedColumn) bool {
			return slices.ContainsFunc(names(table, c.Name), func(name string) bool { return declares(db.Kind == sqldb.SQLite, name) || slices.Contains(known, name) })
		})
		found, err := search(ctx, db, table, versions, forms)
		switch {
		case errors.Is(err, fs.ErrPermission), errors.Is(err, errHidden):
			out = append(out, jobs.UndeclaredColumn{Table: table.Schema + "." + table.Name, Unread: err})
		case err != nil:
			return nil, fmt.Errorf("encryption: search %s.%s for sealed values: %w", table.Schema, table.Name, err)
		}
		for _, c := range table.Columns {
			if counts := found[c.Name]; len(counts) > 0 {
				out = append(out, jobs.UndeclaredColumn{Table: table.Schema + "." + table.Name, Column: c.Name, KeyVersions: counts})
			}
		}
	}
	return out, nil
}

// names are the ways in which a column may have been declared.
func names(table sqldb.Listed, column string) []string {
	out := []string{table.Schema + "." + table.Name + "." + column, table.Schema + "." + table.Root + "." + column}
	if table.Default {
		out = append(out, table.Name+"."+column, table.Root+"."+column)
	}
	return out
}

var errHidden = errors.New("row security hides rows from this user: use one with BYPASSRLS, or the owner of the table")

// search counts the rows of one table, in one unchanging view.
func search(ctx context.Context, db *sqldb.DB, table sqldb.Listed, versions []uint32, forms []textForm) (map[string]map[uint32]int64, error) {
	out := map[string]map[uint32]int64{}
	if len(table.Columns) == 0 || len(versions) == 0 {
		return out, nil
	}
	hidden := false
	err := db.Snapshot(ctx, func(tx *sql.Tx) (err error) {
		clear(out)
		for columns := range slices.Chunk(table.Columns, columnsAtOnce) {
			for some := range slices.Chunk(versions, versionsAtOnce) {
				s := searcher{db: db, table: table, columns: columns, versions: some, forms: forms, out: out}
				if err := s.run(ctx, tx); err != nil {
					return err
				}
			}
		}
		if table.Path == "" {
			return nil
		}
		hidden, err = db.Hides(ctx, tx, table.Path)
		return err
	})
	if hidden {
		return nil, errHidden
	}
	return out, sqldb.Safe(err)
}

type searcher struct {
	db       *sqldb.DB
	table    sqldb.Listed
	columns  []sqldb.ListedColumn
	versions []uint32
	forms    []textForm
	out      map[string]map[uint32]int64
}

func (s searcher) run(ctx context.Context, tx *sql.Tx) error {
	if s.table.Path == "" {
		return s.scan(ctx, tx)
	}
	key, err := s.db.Keyset(ctx, tx, s.table.Path)
	if isSchemaError(err) {
		return s.scan(ctx, tx) // no key, or none with an exact order
	}
	if err != nil {
		return err
	}
	values, into := s.room()
	var after []any
	for {
		n := 0
		query, args := s.page(key, after)
		err := sqldb.Each(ctx, tx, func(rows *sql.Rows) (err error) {
			if after, err = key.Scan(rows, into...); err != nil {
				return err
			}
			n++
			s.count(values)
			return nil
		}, query, args...)
		if isSchemaError(err) { // a NULL in the key, which SQLite allows: its row is in no page
			s.forget()
			return s.scan(ctx, tx)
		}
		if err != nil || n < censusPage {
			return err
		}
	}
}

func (s searcher) page(key sqldb.Keyset, after []any) (query string, args []any) {
	return key.Page(sqldb.Page{Columns: s.masks(), After: after, Limit: censusPage})
}

// scan reads a table without a key, row by row, once.
func (s searcher) scan(ctx context.Context, tx *sql.Tx) error {
	values, into := s.room()
	return sqldb.Each(ctx, tx, func(rows *sql.Rows) error {
		if err := rows.Scan(into...); err != nil {
			return err
		}
		s.count(values)
		return nil
	}, `SELECT `+strings.Join(s.masks(), ", ")+` FROM `+s.table.SQL)
}

func (s searcher) room() (values []int64, into []any) {
	values = make([]int64, len(s.columns))
	for i := range values {
		into = append(into, &values[i])
	}
	return values, into
}

func (s searcher) forget() {
	for _, c := range s.columns {
		for _, version := range s.versions {
			maps.DeleteFunc(s.out[c.Name], func(v uint32, _ int64) bool { return v == version })
		}
	}
}

func (s searcher) count(masks []int64) {
	for i, mask := range masks {
		for bit, version := range s.versions {
			if mask>>bit&1 == 0 {
				continue
			}
			name := s.columns[i].Name
			if s.out[name] == nil {
				s.out[name] = map[uint32]int64{}
			}
			s.out[name][version]++
		}
	}
}

// masks are what is read of each column: the sum of a bit for each key version
// that a value in it needs.
func (s searcher) masks() []string {
	out := make([]string, len(s.columns))
	for i, c := range s.columns {
		var sum []string
		for bit, version := range s.versions {
			sum = append(sum, fmt.Sprintf("CASE WHEN %s THEN %d ELSE 0 END", s.needs(c.Bytes, version), 1<<bit))
		}
		out[i] = strings.Join(sum, " + ")
	}
	return out
}

func (s searcher) needs(value string, version uint32) string {
	head := s.literal(string(binary.BigEndian.AppendUint32([]byte{format.FieldMark}, version)))
	plain := fmt.Sprintf("%s%08x.", format.TextPrefix, version)
	text := s.literal(plain)
	holds := "substr(" + value + ", 1, " + fmt.Sprint(format.PrefixSize) + ") = " + head
	switch s.db.Kind {
	case sqldb.SQLite:
		parts := []string{holds}
		for _, form := range s.forms {
			parts = append(parts, "instr("+value+", "+s.literal(form(plain))+") > 0")
		}
		return strings.Join(parts, " OR ")
	case sqldb.Postgres: // an array of bytes is written as hexadecimal digits
		return holds + " OR position(" + text + " in " + value + ") > 0 OR position(" + s.literal(fmt.Sprintf(`\x%02x%08x`, format.FieldMark, version)) + " in " + value + ") > 0"
	case sqldb.MariaDB, sqldb.MySQL:
	}
	return holds + " OR locate(" + text + ", " + value + ") > 0"
}

// textForm writes ASCII as the bytes of a text have it.
type textForm func(ascii string) string

// textForms are those of a database. SQLite gives the bytes of a text in the
// encoding of its file, and bytes that hold text are of whatever encoding.
func textForms(ctx context.Context, db *sqldb.DB) ([]textForm, error) {
	forms := []textForm{func(ascii string) string { return ascii }}
	if db.Kind != sqldb.SQLite {
		return forms, nil
	}
	var encoding string
	if err := sqldb.One(ctx, db, []any{&encoding}, `PRAGMA encoding`); err != nil {
		return nil, err
	}
	if encoding != "UTF-8" {
		forms = append(forms, utf16Of(binary.LittleEndian), utf16Of(binary.BigEndian))
	}
	return forms, nil
}

func utf16Of(order binary.AppendByteOrder) textForm {
	return func(ascii string) string {
		var out []byte
		for _, c := range []byte(ascii) {
			out = order.AppendUint16(out, uint16(c))
		}
		return string(out)
	}
}

func (s searcher) literal(raw string) string {
	if s.db.Kind == sqldb.Postgres {
		return fmt.Sprintf("decode('%x', 'hex')", raw)
	}
	return fmt.Sprintf("x'%x'", raw)
}
