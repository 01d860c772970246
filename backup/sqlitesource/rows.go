package sqlitesource

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/crmguard/crmguard/internal/frame"
)

// table is one table of a database.
type table struct {
	name    string
	columns []string
	key     []string // primary key columns in order; empty: rowid
}

// listTables lists what holds rows of its own, by name: tables, and those
// that virtual tables keep their content in. SQLite's own are left out.
func listTables(ctx context.Context, db *sql.DB) ([]table, error) {
	names, err := texts(ctx, db, `SELECT name FROM pragma_table_list WHERE schema = 'main' AND type IN ('table', 'shadow')
	AND name NOT LIKE 'sqlite\_%' ESCAPE '\' ORDER BY name COLLATE BINARY`)
	if err != nil {
		return nil, err
	}
	tables := make([]table, 0, len(names))
	for _, name := range names {
		t := table{name: name}
		if t.columns, err = texts(ctx, db, `SELECT name FROM pragma_table_info(?)`, name); err != nil {
			return nil, err
		}
		if t.key, err = texts(ctx, db, `SELECT name FROM pragma_table_info(?) WHERE pk > 0 ORDER BY pk`, name); err != nil {
			return nil, err
		}
		slices.Sort(t.columns)
		tables = append(tables, t)
	}
	return tables, nil
}

func texts(ctx context.Context, db *sql.DB, query string, args ...any) (out []string, err error) {
	rows, err := db.QueryContext(ctx, query, args...)
	if err != nil {
		return nil, fmt.Errorf("sqlitesource: read the schema: %w", err)
	}
	defer rows.Close()
	for rows.Next() {
		var text string
		if err := rows.Scan(&text); err != nil {
			return nil, fmt.Errorf("sqlitesource: read the schema: %w", err)
		}
		out = append(out, text)
	}
	return out, rows.Err()
}

// keyExpression is SQL for a row's key: the database sorts by it, so that no
// table has to fit into memory.
func (t table) keyExpression() string {
	if len(t.key) == 0 {
		return "CAST(rowid AS TEXT)"
	}
	parts := make([]string, 0, len(t.key))
	for _, c := range t.key {
		q := quote(c)
		text := "CASE typeof(" + q + ") WHEN 'blob' THEN lower(hex(" + q + ")) WHEN 'null' THEN '' ELSE CAST(" + q + " AS TEXT) END"
		if len(t.key) > 1 {
			text = "replace(replace(" + text + ", '%', '%25'), '/', '%2F')"
		}
		parts = append(parts, text)
	}
	return strings.Join(parts, " || '/' || ")
}

// query selects key, then type and value of each field. The unary plus takes
// the declared type away, by which drivers convert values.
func (t table) query(fields []string) string {
	var q strings.Builder
	q.WriteString("SELECT " + t.keyExpression() + " AS crmguard_key")
	for _, f := range fields {
		q.WriteString(", typeof(" + quote(f) + "), +" + quote(f))
	}
	q.WriteString(" FROM " + quote(t.name) + " ORDER BY 1 COLLATE BINARY")
	for _, k := range t.key {
		q.WriteString(", " + quote(k))
	}
	return q.String()
}

// digest is SHA-256 over LP(key) ‖ n ‖ n × (LP(name) ‖ type ‖ LP(value)) of
// every row, in order of key bytes.
func (t table) digest(ctx context.Context, db *sql.DB, stripped []string) (n int64, sum [32]byte, err error) {
	fields := slices.DeleteFunc(slices.Clone(t.columns), func(c string) bool { return slices.Contains(stripped, c) })
	rows, err := db.QueryContext(ctx, t.query(fields))
	if err != nil {
		return 0, sum, fmt.Errorf("sqlitesource: read table %q: %w", t.name, err)
	}
	defer rows.Close()
	cells := make([]any, 1+2*len(fields))
	targets := make([]any, len(cells))
	for i := range cells {
		targets[i] = &cells[i]
	}
	hash := sha256.New()
	var buf []byte
	for rows.Next() {
		if err := rows.Scan(targets...); err != nil {
			return 0, sum, fmt.Errorf("sqlitesource: read table %q: %w", t.name, err)
		}
		if buf, err = appendRow(buf[:0], fields, cells); err != nil {
			return 0, sum, fmt.Errorf("sqlitesource: read table %q: %w", t.name, err)
		}
		hash.Write(buf)
		n++
	}
	if err := errors.Join(rows.Err(), rows.Close()); err != nil {
		return 0, sum, fmt.Errorf("sqlitesource: read table %q: %w", t.name, err)
	}
	return n, [32]byte(hash.Sum(nil)), nil
}

var errCell = errors.New("the driver gave a value of another type than SQLite's")

func appendRow(dst []byte, fields []string, cells []any) ([]byte, error) {
	key, ok := bytesOf(cells[0])
	if !ok {
		return nil, errCell
	}
	dst = frame.Append(dst, key)
	dst = binary.BigEndian.AppendUint32(dst, uint32(len(fields)))
	for i, name := range fields {
		class, ok := bytesOf(cells[1+2*i])
		if !ok {
			return nil, errCell
		}
		value, err := valueOf(string(class), cells[2+2*i])
		if err != nil {
			return nil, err
		}
		dst = value.Append(frame.Append(dst, name))
	}
	return dst, nil
}

// valueOf types a cell by its storage class. Drivers give an empty blob as
// nil, and infinities exist: both must not stop a backup.
func valueOf(class string, cell any) (frame.Value, error) {
	switch class {
	case "null":
		return frame.Value{Type: frame.Null}, nil
	case "integer":
		if n, ok := cell.(int64); ok {
			return frame.OfInt(frame.Integer, n), nil
		}
	case "real":
		if x, ok := cell.(float64); ok {
			return frame.Value{Type: frame.Float, Data: binary.BigEndian.AppendUint64(nil, math.Float64bits(x))}, nil
		}
	case "text":
		if text, ok := bytesOf(cell); ok && utf8.Valid(text) {
			return frame.Value{Type: frame.Text, Data: text}, nil
		} else if ok {
			return frame.Value{Type: frame.Bytes, Data: text}, nil
		}
	case "blob":
		if cell == nil {
			return frame.Value{Type: frame.Bytes}, nil
		}
		if data, ok := bytesOf(cell); ok {
			return frame.Value{Type: frame.Bytes, Data: data}, nil
		}
	}
	return frame.Value{}, errCell
}

func bytesOf(cell any) ([]byte, bool) {
	switch x := cell.(type) {
	case string:
		return []byte(x), true
	case []byte:
		return x, true
	}
	return nil, false
}
