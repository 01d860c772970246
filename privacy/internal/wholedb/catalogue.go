package wholedb

import (
	"database/sql"
	"strconv"
	"strings"
	"testing"

	"github.com/crmguard/crmguard/internal/testdb"
)

// A DB is a database of [testdb], through a handle that may read all of it.
type DB struct {
	Name testdb.Name
	SQL  *sql.DB
}

// A table is one that holds rows of its own.
type table struct {
	name    string // behind its schema where that is not the one that is found by itself
	sql     string // both, quoted
	columns []column
}

type column struct {
	name, sql string
	typ       string // as the database writes it, "bytea"
	computed  bool   // by the database, which takes no value for it
}

// Each answers schema, table, column, type, and whether the database computes it.
var catalogues = map[testdb.Name]string{
	testdb.SQLite: `SELECT '', l.name, c.name, lower(c.type), c.hidden > 0
		FROM pragma_table_list l JOIN pragma_table_xinfo(l.name, l.schema) c
		WHERE l.schema = 'main' AND l.type IN ('table', 'shadow') AND l.name NOT LIKE 'sqlite\_%' ESCAPE '\' ORDER BY l.name, c.cid`,
	testdb.PostgresC: `SELECT CASE n.nspname WHEN 'public' THEN '' ELSE n.nspname END, c.relname, a.attname, format_type(a.atttypid, a.atttypmod), a.attgenerated <> ''
		FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
		WHERE c.relkind = 'r' AND c.relpersistence <> 't' AND n.nspname <> 'information_schema' AND n.nspname NOT LIKE 'pg\_%'
		ORDER BY 1, 2, a.attnum`,
	testdb.MariaDB: `SELECT '', c.table_name, c.column_name, c.column_type, COALESCE(c.generation_expression, '') <> ''
		FROM information_schema.columns c JOIN information_schema.tables t ON t.table_schema = c.table_schema AND t.table_name = c.table_name
		WHERE c.table_schema = DATABASE() AND t.table_type = 'BASE TABLE' ORDER BY c.table_name, c.ordinal_position`,
}

// tables reads the catalogue of the database.
func (d DB) tables(tb testing.TB) []table {
	tb.Helper()
	var out []table
	d.each(tb, catalogues[d.kind()], func(rows *sql.Rows) error {
		var schema, name string
		var c column
		if err := rows.Scan(&schema, &name, &c.name, &c.typ, &c.computed); err != nil {
			return err
		}
		c.sql = d.quote(c.name)
		t := table{name: name, sql: d.quote(name)}
		if schema != "" {
			t.name, t.sql = schema+"."+name, d.quote(schema)+"."+t.sql
		}
		if len(out) == 0 || out[len(out)-1].name != t.name {
			out = append(out, t)
		}
		last := &out[len(out)-1]
		last.columns = append(last.columns, c)
		return nil
	})
	return out
}

// kind takes the two of PostgreSQL for one.
func (d DB) kind() testdb.Name {
	if d.Name == testdb.PostgresICU {
		return testdb.PostgresC
	}
	return d.Name
}

func (d DB) quote(name string) string {
	quote := `"`
	if d.Name == testdb.MariaDB {
		quote = "`"
	}
	return quote + strings.ReplaceAll(name, quote, quote+quote) + quote
}

// isBytes says that a column holds bytes and no text.
func (d DB) isBytes(c column) bool {
	return c.typ == "bytea" || strings.Contains(c.typ, "blob") || strings.HasPrefix(c.typ, "binary") || strings.HasPrefix(c.typ, "varbinary")
}

// plain is the expression of a cell's bytes: text as UTF-8, and everything else
// as the text that the database makes of it.
func (d DB) plain(c column) string {
	switch {
	case d.Name == testdb.SQLite:
		return "CAST(" + c.sql + " AS BLOB)"
	case d.isBytes(c):
		return c.sql
	case d.Name == testdb.MariaDB:
		return "CAST(CONVERT(" + c.sql + " USING utf8mb4) AS BINARY)"
	}
	return c.sql + "::text"
}

// each calls f for each row of an answer.
func (d DB) each(tb testing.TB, query string, f func(rows *sql.Rows) error) {
	tb.Helper()
	rows, err := d.SQL.QueryContext(tb.Context(), query)
	if err != nil {
		tb.Fatalf("wholedb: %v\n%s", err, query)
	}
	defer func() { _ = rows.Close() }()
	for rows.Next() {
		if err := f(rows); err != nil {
			tb.Fatalf("wholedb: %v\n%s", err, query)
		}
	}
	if err := rows.Err(); err != nil {
		tb.Fatalf("wholedb: %v\n%s", err, query)
	}
}

// A Row is a row of a table: the bytes of its cells by column, nil for NULL.
type Row struct {
	Table string
	Cells []Cell
}

// A Cell is one value of a row.
type Cell struct {
	Column string
	Bytes  []byte // nil for NULL
}

// Text is the value of a column as text, "" where it is NULL or not there.
func (r Row) Text(column string) string {
	for _, c := range r.Cells {
		if c.Column == column {
			return string(c.Bytes)
		}
	}
	return ""
}

// String is the row as text: two are equal where all their cells are.
func (r Row) String() string {
	out := []string{r.Table}
	for _, c := range r.Cells {
		text := "NULL"
		if c.Bytes != nil {
			text = strconv.Quote(string(c.Bytes))
		}
		out = append(out, c.Column+"="+text)
	}
	return strings.Join(out, " ")
}

// Rows calls f for each row of each table, those that the library made too.
func (d DB) Rows(tb testing.TB, f func(Row)) {
	tb.Helper()
	for _, t := range d.tables(tb) {
		exprs := make([]string, len(t.columns))
		for i, c := range t.columns {
			exprs[i] = d.plain(c)
		}
		d.each(tb, "SELECT "+strings.Join(exprs, ", ")+" FROM "+t.sql, func(rows *sql.Rows) error {
			r := Row{Table: t.name, Cells: make([]Cell, len(t.columns))}
			dest := make([]any, len(t.columns))
			for i, c := range t.columns {
				r.Cells[i].Column = c.name
				dest[i] = &r.Cells[i].Bytes
			}
			err := rows.Scan(dest...)
			f(r)
			return err
		})
	}
}
