package integrity_test

import (
	"database/sql"
	"encoding/base64"
	"fmt"
	"math"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	_ "modernc.org/sqlite"

	"github.com/crmguard/crmguard/integrity"
	"github.com/crmguard/crmguard/integrity/integritytest"
)

// The matrix: what a database makes of a value, by the declared type of the
// column, the value and the way to read it. Honest rows verify, and a value
// that SQL compares as different breaks the seal; the database itself is asked
// which do. Another database is another entry of databases.

// database is one that the matrix runs on.
type database struct {
	name string
	open func(t *testing.T) *sql.DB
	// plain says that reading without columns gives honest values too.
	plain bool
	// columns makes the part of a SELECT that reads as the database holds it.
	columns func([]integrity.Column) string
	// same compares the columns x.v and y.v as a WHERE does, NULL with NULL.
	same string
	// behind are expressions over v that somebody without the key may store;
	// none: honest values only.
	behind []string
	types  []declared
}

// declared is a declared type, what a layout says about it, and values that an
// application binds and seals.
type declared struct {
	decls  []string
	column integrity.Column
	honest []any
	// driver says that only the driver knows what it made of the value, so it
	// is read without columns, and nothing is changed behind its back.
	driver bool
}

func databases() []database {
	times, format := sqliteDatabase("sqlite that makes times of integers", "?_inttotime=1"), sqliteDatabase("sqlite with its own format of times", "?_time_format=sqlite")
	times.plain = false
	// What is stored behind the back does not depend on how times are handed over.
	times.behind, format.behind = nil, nil
	return []database{sqliteDatabase("sqlite", ""), times, format}
}

func sqliteDatabase(name, options string) database {
	return database{
		name: name, plain: true, columns: integrity.SQLiteColumns, same: "x.v IS y.v", behind: sqliteBehind(), types: sqliteTypes(),
		open: func(t *testing.T) *sql.DB {
			db, err := sql.Open("sqlite", "file::memory:"+options)
			require.NoError(t, err)
			db.SetMaxOpenConns(1)
			t.Cleanup(func() { require.NoError(t, db.Close()) })
			return db
		},
	}
}

func sqliteTypes() []declared {
	text := "cg1.aabbccdd." + base64.RawURLEncoding.EncodeToString(sealedField())
	at := time.Date(2026, 1, 2, 3, 4, 5, 678901000, time.UTC)
	of := func(t integrity.Type) integrity.Column { return integrity.Column{Name: "v", Type: t} }
	return []declared{
		{decls: []string{"TEXT", "VARCHAR(40)", "TEXT COLLATE NOCASE", ""}, column: of(integrity.Text), honest: []any{"Bern", "", "1", "01", "1.0", "e\u0301", "é", "a\x00b", " ", "2026-01-02", "1e2", nil}},
		{decls: []string{"INTEGER", "BIGINT", "NUMERIC", ""}, column: of(integrity.Integer), honest: []any{0, 1, -1, int64(math.MaxInt64), int64(math.MinInt64), 9007199254740993, nil}},
		{decls: []string{"BOOLEAN", "INTEGER", ""}, column: of(integrity.Boolean), honest: []any{true, false, 1, 0, nil}},
		{decls: []string{"NUMERIC(12,2)", "DECIMAL(12,2)", "REAL", "TEXT"}, column: integrity.Column{Name: "v", Type: integrity.Decimal, Scale: 2}, honest: []any{"12.50", "12.00", "0.00", "-0.01", "0.10", "9999999999.99", "1234567890123.45", nil}},
		{decls: []string{"DATE", "TEXT", ""}, column: of(integrity.Date), honest: []any{"2026-01-02", "0001-01-01", "9999-12-31", nil}},
		{decls: []string{"INTEGER", "TIMESTAMP", "DATETIME", ""}, column: of(integrity.Time), honest: []any{at.UnixMicro(), int64(0), int64(-1), nil}},
		{decls: []string{"TIMESTAMP", "DATETIME"}, column: of(integrity.Time), honest: []any{at, at.In(time.FixedZone("CET", 3600)), nil}, driver: true},
		{decls: []string{"DATE"}, column: of(integrity.Date), honest: []any{time.Date(2026, 1, 2, 0, 0, 0, 0, time.UTC)}, driver: true},
		{decls: []string{"BLOB", ""}, column: of(integrity.Bytes), honest: []any{[]byte("1"), []byte{}, []byte{0}, []byte("Bern"), nil}},
		{decls: []string{"TEXT", "JSON"}, column: of(integrity.JSON), honest: []any{`{"a":1}`, `[9007199254740993,1.50]`, `{"b":"\u00fc","a":[]}`, nil}},
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
	for _, db := range databases() {
		t.Run(db.name, func(t *testing.T) {
			conn := db.open(t)
			for _, d := range db.types {
				for _, decl := range d.decls {
					for _, value := range d.honest {
						c := &matrixCase{database: db, conn: conn, declared: d, decl: decl, value: value}
						c.run(t)
					}
				}
			}
		})
	}
}

type matrixCase struct {
	database
	declared
	conn   *sql.DB
	decl   string
	value  any
	sealer *integrity.Sealer
	seal   []byte
}

func (c *matrixCase) run(t *testing.T) {
	t.Helper()
	var err error
	c.sealer, err = integrity.NewSealer(&integritytest.Tagger{}, integrity.Layout{ID: "x/1", Columns: []integrity.Column{c.column}})
	require.NoError(t, err)
	c.seal, err = c.sealer.Seal(t.Context(), integrity.Ref{Tenant: "t1", Table: "x", Key: "r1", Version: 1, SchemaID: "x/1"}, map[string]any{"v": c.value})
	require.NoError(t, err, c.what())
	c.exec(t, "DROP TABLE IF EXISTS x")
	c.exec(t, "CREATE TABLE x (id TEXT PRIMARY KEY, v "+c.decl+")")
	c.exec(t, "INSERT INTO x VALUES ('r1', ?), ('was', ?)", c.value, c.value)
	if c.plain {
		require.NoError(t, c.verify(t, "v"), c.what())
	}
	if c.driver {
		return
	}
	require.NoError(t, c.verify(t, c.columns([]integrity.Column{c.column})), c.what())
	broken := 0
	for _, expression := range c.behind {
		c.exec(t, "UPDATE x SET v = (SELECT "+expression+" FROM x WHERE id = 'was') WHERE id = 'r1'")
		var same bool
		require.NoError(t, c.conn.QueryRowContext(t.Context(), "SELECT "+c.same+" FROM x, x AS y WHERE x.id = 'r1' AND y.id = 'was'").Scan(&same))
		if c.column.Type == integrity.JSON && !same { // JSON is compared by what it says
			same = jsonSays(t, c.conn)
		}
		err := c.verify(t, c.columns([]integrity.Column{c.column}))
		if !same {
			broken++
			require.ErrorIs(t, err, integrity.ErrTampered, "%s, then %s", c.what(), expression)
		}
	}
	require.GreaterOrEqual(t, broken, len(c.behind)/4, "%s: nothing was changed", c.what())
}

// jsonSays reports whether only white space was changed.
func jsonSays(t *testing.T, db *sql.DB) (same bool) {
	t.Helper()
	require.NoError(t, db.QueryRowContext(t.Context(),
		"SELECT CASE WHEN typeof(x.v) = 'text' AND json_valid(x.v) THEN json(x.v) IS json(y.v) ELSE 0 END FROM x, x AS y WHERE x.id = 'r1' AND y.id = 'was'").Scan(&same))
	return same
}

func (c *matrixCase) what() string {
	return fmt.Sprintf("%s: column %q as %s, %T(%v)", c.name, c.decl, c.column.Type, c.value, c.value)
}

func (c *matrixCase) exec(t *testing.T, query string, args ...any) {
	t.Helper()
	_, err := c.conn.ExecContext(t.Context(), query, args...)
	require.NoError(t, err, "%s: %s", c.what(), query)
}

func (c *matrixCase) verify(t *testing.T, columns string) error {
	t.Helper()
	rows, err := c.conn.QueryContext(t.Context(), "SELECT id, "+columns+" FROM x WHERE id = 'r1'")
	require.NoError(t, err)
	defer rows.Close()
	require.True(t, rows.Next())
	row := integrity.SealedRow{Ref: integrity.Ref{Tenant: "t1", Table: "x", Version: 1, SchemaID: "x/1"}, Seal: c.seal}
	row.Values, err = integrity.Cells(rows, &row.Ref.Key)
	require.NoError(t, err)
	require.False(t, rows.Next())
	require.NoError(t, rows.Err())
	return c.sealer.Verify(t.Context(), row)
}

// A query for a column that is not there is an error, and no constant text.
func TestSQLiteColumnsAreColumns(t *testing.T) {
	db := databases()[0].open(t)
	_, err := db.ExecContext(t.Context(), "CREATE TABLE x (`a``b` TEXT, \"Mixed Case\" TEXT)")
	require.NoError(t, err)
	columns := []integrity.Column{{Name: "a`b"}, {Name: "Mixed Case"}}
	require.Equal(t, "+`a``b` AS `a``b`, +`Mixed Case` AS `Mixed Case`", integrity.SQLiteColumns(columns))
	rows, err := db.QueryContext(t.Context(), "SELECT "+integrity.SQLiteColumns(columns)+" FROM x")
	require.NoError(t, err)
	names, err := rows.Columns()
	require.NoError(t, err)
	require.Equal(t, []string{"a`b", "Mixed Case"}, names)
	require.NoError(t, rows.Close())
	rows, err = db.QueryContext(t.Context(), "SELECT "+integrity.SQLiteColumns([]integrity.Column{{Name: "mxied"}})+" FROM x")
	require.Error(t, err)
	require.Nil(t, rows)
}

// Cells converts nothing: a Scan into an int64 takes the bytes of "7" for 7.
func TestCellsConvertNothing(t *testing.T) {
	db := databases()[0].open(t)
	query := func(sql string) *sql.Rows {
		rows, err := db.QueryContext(t.Context(), sql)
		require.NoError(t, err)
		t.Cleanup(func() { require.NoError(t, rows.Err()); require.NoError(t, rows.Close()) })
		require.True(t, rows.Next())
		return rows
	}
	var key string
	var version int64
	var seal []byte
	var rest any
	read := func(sql string, into ...any) (map[string]any, error) {
		rows := query(sql)
		defer rows.Close()
		return integrity.Cells(rows, into...)
	}
	values, err := read("SELECT 'r1', 7, x'0102', 1.5, x'' AS empty, NULL AS none, 'x' AS text", &key, &version, &seal, &rest)
	require.NoError(t, err)
	require.Equal(t, []any{"r1", int64(7), []byte{1, 2}, 1.5}, []any{key, version, seal, rest})
	require.Equal(t, map[string]any{"empty": []byte{}, "none": nil, "text": "x"}, values)

	_, err = read("SELECT NULL, NULL", &key, &seal)
	require.NoError(t, err)
	require.Empty(t, key)
	require.Nil(t, seal)
	for name, into := range map[string]any{"x'72'": &key, "7": &key, "'7'": &version, "x'37'": &version, "7.0": &version, "NULL": &version, "'seal'": &seal} {
		values, err := read("SELECT "+name+" AS id, 'x' AS v", into)
		require.ErrorIs(t, err, integrity.ErrTampered, name)
		require.ErrorContains(t, err, `column "id"`)
		require.Equal(t, map[string]any{"v": "x"}, values)
	}
	_, err = integrity.Cells(nil)
	require.ErrorIs(t, err, integrity.ErrRow)
	for name, into := range map[string][]any{"SELECT 1 AS a, 2 AS a": nil, "SELECT 1 ": {&version, &version}, "SELECT 2": {new(bool)}, "SELECT 3": {nil}} {
		_, err = read(name, into...)
		require.ErrorIs(t, err, integrity.ErrRow, name)
	}
}

// A row whose key or version SQL no longer finds is a finding of the sweep.
func TestASweepReadsKeysAndVersionsAsTheyStand(t *testing.T) {
	db := databases()[0].open(t)
	sealer, _ := citySealer(t)
	_, err := db.ExecContext(t.Context(), "CREATE TABLE cities (id TEXT, version INTEGER, schema_id TEXT, seal BLOB, city TEXT)")
	require.NoError(t, err)
	for _, row := range table(t, sealer, 5) {
		_, err := db.ExecContext(t.Context(), "INSERT INTO cities VALUES (?,?,?,?,?)", row.Ref.Key, row.Ref.Version, row.Ref.SchemaID, row.Seal, row.Values["city"])
		require.NoError(t, err)
	}
	rows := func(yield func(integrity.SealedRow, error) bool) {
		rows, err := db.QueryContext(t.Context(), "SELECT id, version, schema_id, seal, "+integrity.SQLiteColumns(sealer.Columns("city/1"))+" FROM cities")
		require.NoError(t, err)
		defer rows.Close()
		for rows.Next() {
			row := integrity.SealedRow{Ref: integrity.Ref{Tenant: "t1", Table: "cities"}}
			row.Values, err = integrity.Cells(rows, &row.Ref.Key, &row.Ref.Version, &row.Ref.SchemaID, &row.Seal)
			if !yield(row, err) {
				return
			}
		}
		require.NoError(t, rows.Err())
	}
	report, err := sealer.Sweep(t.Context(), rows, cities())
	require.NoError(t, err)
	require.True(t, report.OK())
	for _, behind := range []string{
		"UPDATE cities SET id = CAST(id AS BLOB) WHERE id IN ('r0', 'r4')", "UPDATE cities SET version = x'31' WHERE id = 'r1'", "UPDATE cities SET version = NULL WHERE id = 'r2'",
		"UPDATE cities SET seal = 'text' WHERE id = 'r3'",
	} {
		_, err := db.ExecContext(t.Context(), behind)
		require.NoError(t, err)
	}
	report, err = sealer.Sweep(t.Context(), rows, cities())
	require.NoError(t, err)
	require.True(t, report.Complete)
	require.Equal(t, map[integrity.Verdict]int64{integrity.Tampered: 5}, report.Counts)
	require.Zero(t, report.Verified)
	columns := []string{}
	for _, f := range report.Findings {
		columns = append(columns, f.Column)
	}
	require.Equal(t, []string{"id", "version", "version", "seal", "id"}, columns)
}

// Drivers of databases that keep to the type of a column may give text as bytes.
func TestTextFromBytes(t *testing.T) {
	columns := []integrity.Column{
		{Name: "city"}, {Name: "photo", Type: integrity.Bytes}, {Name: "email", Type: integrity.Sealed}, {Name: "note", Type: integrity.Sealed}, {Name: "amount", Type: integrity.Decimal, Scale: 2}, {Name: "n", Type: integrity.Integer}, {Name: "none"},
	}
	text := "cg1.aabbccdd." + base64.RawURLEncoding.EncodeToString(sealedField())
	values := map[string]any{
		"city": []byte("Bern"), "photo": []byte("Bern"), "email": sealedField(), "note": []byte(text), "amount": []byte("1.50"), "n": int64(1), "none": []byte(nil), "other": []byte("x"),
	}
	integrity.TextFromBytes(columns, values)
	require.Equal(t, map[string]any{
		"city": "Bern", "photo": []byte("Bern"), "email": sealedField(), "note": text, "amount": "1.50", "n": int64(1), "none": []byte(nil), "other": []byte("x"),
	}, values)
}
