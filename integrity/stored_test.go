package integrity_test

import (
	"database/sql"
	"encoding/base64"
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/integrity"
	"github.com/crmguard/crmguard/integrity/integritytest"
	"github.com/crmguard/crmguard/internal/sqldb"
	"github.com/crmguard/crmguard/internal/testdb"
)

// The matrix: what a database makes of a value, by the declared type of the
// column, the value, and the driver that wrote it and the one that reads it.
// Honest rows verify, and a value that SQL compares as different breaks the
// seal; the database itself is asked which do.

// matrix is one database and the ways to reach it.
type matrix struct {
	types []declared
	ways  []way
	// same compares x.v with the value %s as a WHERE does, NULL with NULL.
	same string
	// behind are statements that somebody without the key may run before, and
	// expressions over v that they may store. What the database refuses is no
	// change.
	before string
	behind []string
}

// way is a driver with its options.
type way struct {
	name, driver, options string
	// zone parts ways that keep times otherwise: one does not read the times of
	// the other.
	zone string
	// noTimes says that times are handed over without a zone, which is refused.
	noTimes bool
}

// declared is a declared type, what a layout says about it, and values that an
// application binds and seals.
type declared struct {
	decls  []string
	column integrity.Column
	honest []any
	// sameAs is how this type is compared, "" as the matrix says.
	sameAs string
	// writer says that the drivers of one way alone may bind such values.
	writer string
}

func of(t integrity.Type) integrity.Column { return integrity.Column{Name: "v", Type: t} }

func decimals(scale int) integrity.Column {
	return integrity.Column{Name: "v", Type: integrity.Decimal, Scale: scale}
}

func matrixOf(name testdb.Name) matrix {
	switch name {
	case testdb.SQLite:
		return matrix{types: sqliteTypes(), same: "x.v IS %s", behind: sqliteBehind(), ways: []way{
			{name: "as it is", driver: "sqlite"},
			{name: "times of integers", driver: "sqlite", options: "&_inttotime=1"},
			{name: "its own format of times", driver: "sqlite", options: "&_time_format=sqlite"},
		}}
	case testdb.MariaDB:
		return mariaMatrix()
	default:
		return postgresMatrix()
	}
}

func sqliteTypes() []declared {
	text := "cg1.aabbccdd." + base64.RawURLEncoding.EncodeToString(sealedField())
	at := time.Date(2026, 1, 2, 3, 4, 5, 678901000, time.UTC)
	return []declared{
		{decls: []string{"TEXT", "VARCHAR(40)", "TEXT COLLATE NOCASE", ""}, column: of(integrity.Text), honest: []any{"Bern", "", "1", "01", "1.0", "e\u0301", "é", "a\x00b", " ", "2026-01-02", "1e2", nil}},
		{decls: []string{"INTEGER", "BIGINT", "NUMERIC", ""}, column: of(integrity.Integer), honest: []any{0, 1, -1, int64(math.MaxInt64), int64(math.MinInt64), 9007199254740993, nil}},
		{decls: []string{"BOOLEAN", "INTEGER", ""}, column: of(integrity.Boolean), honest: []any{true, false, 1, 0, nil}},
		{decls: []string{"NUMERIC(12,2)", "DECIMAL(12,2)", "REAL", "TEXT"}, column: decimals(2), honest: []any{"12.50", "12.00", "0.00", "-0.01", "0.10", "9999999999.99", "1234567890123.45", nil}},
		{decls: []string{"DATE", "TEXT", ""}, column: of(integrity.Date), honest: []any{"2026-01-02", "0001-01-01", "9999-12-31", nil}},
		{decls: []string{"INTEGER", "TIMESTAMP", "DATETIME", ""}, column: of(integrity.Time), honest: []any{at.UnixMicro(), int64(0), int64(-1), nil}},
		{decls: []string{"BLOB", ""}, column: of(integrity.Bytes), honest: []any{[]byte("1"), []byte{}, []byte{0}, []byte("Bern"), nil}},
		{
			decls: []string{"TEXT", "JSON"}, column: of(integrity.JSON), honest: []any{`{"a":1}`, `[9007199254740993,1.50]`, `{"b":"\u00fc","a":[]}`, nil},
			sameAs: "CASE WHEN x.v IS %[1]s THEN 1 WHEN typeof(x.v) = 'text' AND json_valid(x.v) THEN json(x.v) IS json(%[1]s) ELSE 0 END",
		},
		{decls: []string{"REAL", "DOUBLE PRECISION", "NUMERIC", "INTEGER", ""}, column: of(integrity.Float), honest: []any{0.0, math.Copysign(0, -1), 1.0, 3.0, -3.0, 0.1, 1e18, 1e300, math.SmallestNonzeroFloat64, nil}},
		{decls: []string{"BLOB", ""}, column: of(integrity.Sealed), honest: []any{sealedField(), nil}},
		{decls: []string{"TEXT", ""}, column: of(integrity.Sealed), honest: []any{text, nil}},
	}
}

func sqliteBehind() []string {
	return []string{
		"NULL", "''", "x''", "0", "1", "2", "-0.0", "0.5", "'1'", "x'31'", "'true'", "1e999", "-1e999", "zeroblob(1)",
		"CAST(v AS BLOB)", "CAST(v AS TEXT)", "CAST(CAST(v AS TEXT) AS BLOB)", "CAST(v AS INTEGER)", "CAST(v AS REAL)", "CAST(v AS NUMERIC)",
		"v || ''", "v || ' '", "' ' || v", "v || char(0)", "v || '0'", "'0' || v", "'+' || v", "v || '.0'", "v || '.'", "upper(v)", "lower(v)", "hex(v)", "quote(v)",
		"-v", "v + 1", "v - 1", "v * 1.0", "v + 0.000000001", "v + 9007199254740992", "printf('%.3f', v)", "printf('%.2f', v)", "printf('%e', v)",
		"v || ' 00:00:00'", "v || 'T00:00:00Z'", "datetime(v)", "julianday(v)", "unixepoch(v)", "datetime(v/1000000, 'unixepoch')", "strftime('%Y-%m-%dT%H:%M:%SZ', v/1000000, 'unixepoch')",
		"replace(v, '93', '92')", "replace(v, '1', '1.0000000000000000001')", "replace(v, '}', ' }')", "jsonb(CASE json_valid(v) WHEN 1 THEN v ELSE '{}' END)", "substr(v, 2)",
	}
}

func TestHonestRowsVerifyAndWhatSQLTellsApartDoesNot(t *testing.T) {
	testdb.Each(t, func(t *testing.T, d testdb.Database) {
		m := matrixOf(d.Name)
		run := &matrixRun{matrix: m, name: d.Name}
		for _, w := range m.ways {
			db, err := sql.Open(w.driver, d.DSN(w.driver)+w.options)
			require.NoError(t, err)
			db.SetMaxOpenConns(1)
			t.Cleanup(func() { require.NoError(t, db.Close()) })
			run.dbs = append(run.dbs, db)
		}
		var err error
		run.reader, err = integrity.OpenReader(t.Context(), run.dbs[0])
		require.NoError(t, err)
		run.dialect, err = sqldb.Ask(t.Context(), run.dbs[0])
		require.NoError(t, err)
		stranger := d.OpenWith(t, d.Name.Drivers()[0]) // who holds no key
		stranger.SetMaxOpenConns(1)
		run.stranger = stranger
		run.prepare(t)
		for _, declared := range m.types {
			if d.Name == testdb.PostgresICU && declared.column.Type != integrity.Text {
				continue // only text is of a collation
			}
			for _, decl := range declared.decls {
				run.runColumn(t, declared, decl)
			}
		}
	})
}

type matrixRun struct {
	matrix
	name     testdb.Name
	dialect  sqldb.Dialect
	dbs      []*sql.DB // by way
	stranger *sql.DB
	reader   *integrity.Reader
	tables   int
	table    string
}

func (m *matrixRun) prepare(t *testing.T) {
	t.Helper()
	switch m.name {
	case testdb.SQLite:
		m.exec(t, m.stranger, "PRAGMA synchronous = OFF")
	case testdb.MariaDB:
	default:
		for _, db := range append([]*sql.DB{m.stranger}, m.dbs...) {
			m.exec(t, db, "SET synchronous_commit = off")
		}
		m.exec(t, m.stranger, "CREATE TYPE stage AS ENUM ('lead', 'customer', '')")
		m.exec(t, m.stranger, "CREATE DOMAIN mail AS varchar(60)")
		m.exec(t, m.stranger, "CREATE DOMAIN price AS numeric(14,4)")
		m.exec(t, m.stranger, "CREATE EXTENSION citext")
		m.exec(t, m.stranger, "CREATE FUNCTION says(document text) RETURNS jsonb LANGUAGE plpgsql AS $$ BEGIN RETURN document::jsonb; EXCEPTION WHEN OTHERS THEN RETURN NULL; END $$")
	}
	if m.before != "" {
		m.exec(t, m.stranger, m.before)
	}
}

func (m *matrixRun) exec(t *testing.T, db *sql.DB, query string, args ...any) {
	t.Helper()
	_, err := db.ExecContext(t.Context(), m.dialect.Bind(query), args...)
	require.NoError(t, err, query)
}

// column runs all values of one declared type.
func (m *matrixRun) runColumn(t *testing.T, d declared, decl string) {
	t.Helper()
	m.tables++
	m.table = fmt.Sprintf("x%d", m.tables) // drivers keep the plan of a query
	m.exec(t, m.stranger, "CREATE TABLE "+m.table+" (id VARCHAR(20) PRIMARY KEY, v "+decl+")")
	sealer, err := integrity.NewSealer(&integritytest.Tagger{}, integrity.Layout{ID: "x/1", Columns: []integrity.Column{d.column}})
	require.NoError(t, err)
	broken := 0
	for _, honest := range d.honest {
		c := &matrixCase{matrixRun: m, declared: d, decl: decl, value: honest, sealer: sealer, ref: integrity.Ref{Tenant: "t1", Table: "x", Key: "r1", Version: 1, SchemaID: "x/1"}}
		c.seal, err = sealer.Seal(t.Context(), c.ref, map[string]any{"v": honest})
		require.NoError(t, err, c.what())
		changed := false
		for writer := range m.ways {
			if d.writer != "" && d.writer != m.ways[writer].driver {
				continue
			}
			m.exec(t, m.stranger, "DELETE FROM "+m.table)
			c.write(t, writer)
			if !changed { // what is stored behind does not depend on who wrote before
				c.changeBehind(t)
				changed = true
			}
			for reader, w := range m.ways {
				if w.zone == m.ways[writer].zone || d.column.Type != integrity.Time {
					broken += c.read(t, writer, reader)
				}
			}
		}
	}
	require.GreaterOrEqual(t, broken, 3*len(d.honest), "%s: too little was changed behind %s", decl, d.column.Type)
}

type matrixCase struct {
	*matrixRun
	declared
	decl   string
	value  any
	sealer *integrity.Sealer
	ref    integrity.Ref
	seal   []byte
}

func (c *matrixCase) what() string {
	return fmt.Sprintf("%s: column %q as %s, %T(%v)", c.name, c.decl, c.column.Type, c.value, c.value)
}

func (c *matrixCase) write(t *testing.T, writer int) {
	t.Helper()
	_, err := c.dbs[writer].ExecContext(t.Context(), c.dialect.Bind("INSERT INTO "+c.table+" VALUES (?, ?), (?, ?)"), "r1", c.value, "was", c.value)
	require.NoError(t, err, "%s by %s", c.what(), c.ways[writer].name)
}

func (c *matrixCase) changeBehind(t *testing.T) {
	t.Helper()
	exec := c.stranger.ExecContext
	if c.name == testdb.SQLite || c.name == testdb.MariaDB { // PostgreSQL ends a transaction at its first error
		tx, err := c.stranger.BeginTx(t.Context(), nil)
		require.NoError(t, err)
		defer func() { require.NoError(t, tx.Commit()) }()
		exec = tx.ExecContext
	}
	for i, expression := range c.behind {
		// What does not go into the column is no change.
		_, _ = exec(t.Context(), fmt.Sprintf("INSERT INTO %s SELECT 'b%d', %s FROM %[1]s WHERE id = 'was'", c.table, i, strings.ReplaceAll(expression, "$type", c.decl)))
	}
}

// read verifies the honest row and all changed ones, and counts what was found.
func (c *matrixCase) read(t *testing.T, writer, reader int) (broken int) {
	t.Helper()
	for _, way := range []string{c.reader.Columns([]integrity.Column{c.column}), "v", "CAST(v AS DOUBLE) AS v"} {
		if strings.HasPrefix(way, "CAST") && c.decl != "FLOAT" || way == "v" && writer != reader {
			continue
		}
		for _, args := range [][]any{nil, {"x"}} { // drivers speak another protocol without arguments
			broken += c.readAs(t, way, args, writer, reader)
		}
	}
	return broken
}

func (c *matrixCase) readAs(t *testing.T, shown string, args []any, writer, reader int) (broken int) {
	t.Helper()
	same := c.same
	if c.sameAs != "" {
		same = c.sameAs
	}
	query := "SELECT id, CASE WHEN " + fmt.Sprintf(same, "(SELECT w.v FROM "+c.table+" w WHERE w.id = 'was')") + " THEN 1 ELSE 0 END AS same, " + shown + " FROM " + c.table + " x"
	if args != nil {
		query += " WHERE id <> ?"
	}
	what := func() string {
		return fmt.Sprintf("%s written by %s, read by %s as %s %v", c.what(), c.ways[writer].name, c.ways[reader].name, shown, args)
	}
	rows, err := c.dbs[reader].QueryContext(t.Context(), c.dialect.Bind(query), args...)
	require.NoError(t, err, what())
	seen := 0
	for values, err := range c.reader.FromRows(rows, integrity.Column{Name: "id"}, integrity.Column{Name: "same", Type: integrity.Integer}, c.column) {
		if err != nil {
			require.ErrorIs(t, err, integrity.ErrConfig, what())
			require.True(t, c.mayRefuse(shown, reader, err), "%s: %v", what(), err)
			return broken
		}
		seen++
		err := c.sealer.Verify(t.Context(), integrity.SealedRow{Ref: c.ref, Values: map[string]any{"v": values["v"]}, Seal: c.seal})
		switch {
		case values["id"] == "r1" || values["id"] == "was":
			require.NoError(t, err, what())
		case values["same"] == int64(0) && c.exact(shown):
			broken++
			var i int
			_, scanErr := fmt.Sscanf(values["id"].(string), "b%d", &i)
			require.NoError(t, scanErr)
			require.ErrorIs(t, err, integrity.ErrTampered, "%s, then %s", what(), c.behind[i])
		case err != nil:
			require.ErrorIs(t, err, integrity.ErrTampered, what())
		}
	}
	require.GreaterOrEqual(t, seen, 2, what())
	return broken
}

// exact says that the database is read in the way that shows all: the driver of
// MySQL makes the second of March of 2026-02-30 otherwise.
func (c *matrixCase) exact(shown string) bool {
	return shown != "v" || c.name != testdb.MariaDB || c.column.Type != integrity.Time && c.column.Type != integrity.Date
}

// mayRefuse says which columns are refused, each with what to do about it.
func (c *matrixCase) mayRefuse(shown string, reader int, err error) bool {
	switch {
	case c.name == testdb.SQLite:
		return shown == "v" && (c.decl == "DATE" || c.decl == "TIMESTAMP" || c.decl == "DATETIME") && contains(err, "Reader.Columns")
	case c.ways[reader].noTimes && c.column.Type == integrity.Time:
		return contains(err, "parseTime=true")
	case c.name == testdb.MariaDB && c.decl == "FLOAT":
		return !strings.HasPrefix(shown, "CAST") && contains(err, "cast to DOUBLE")
	}
	return false
}

func contains(err error, text string) bool { return strings.Contains(err.Error(), text) }
