package integrity_test

import (
	"database/sql"
	"errors"
	"fmt"
	"iter"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/integrity"
	"github.com/crmguard/crmguard/integrity/integritytest"
	"github.com/crmguard/crmguard/internal/sqldb"
	"github.com/crmguard/crmguard/internal/testdb"
)

// eachDriver runs f on the four databases through each of their drivers.
func eachDriver(t *testing.T, f func(t *testing.T, db *sql.DB, dialect sqldb.Dialect, reader *integrity.Reader)) {
	t.Helper()
	testdb.Each(t, func(t *testing.T, d testdb.Database) {
		for _, driver := range d.Name.Drivers() {
			t.Run(driver, func(t *testing.T) {
				db := testdb.New(t, d.Name).OpenWith(t, driver)
				dialect, err := sqldb.Ask(t.Context(), db)
				require.NoError(t, err)
				reader, err := integrity.OpenReader(t.Context(), db)
				require.NoError(t, err)
				f(t, db, dialect, reader)
			})
		}
	})
}

func run(t *testing.T, db *sql.DB, query string, args ...any) {
	t.Helper()
	_, err := db.ExecContext(t.Context(), query, args...)
	require.NoError(t, err, query)
}

func ask(t *testing.T, db *sql.DB, query string) *sql.Rows {
	t.Helper()
	rows, err := db.QueryContext(t.Context(), query)
	require.NoError(t, err, query)
	return rows
}

func readAll(seq iter.Seq2[map[string]any, error]) (out []map[string]any, err error) {
	for values, rowErr := range seq {
		if rowErr != nil {
			return out, rowErr
		}
		out = append(out, values)
	}
	return out, nil
}

// words are the types of each database for one table.
func words(kind sqldb.Kind) map[string]string {
	switch kind {
	case sqldb.Postgres:
		return map[string]string{"$key": "text COLLATE \"C\"", "$bytes": "bytea", "$uuid": "uuid", "$money": "numeric(12,2)", "$json": "jsonb", "$at": "timestamptz", "$day": "date", "$yes": "boolean"}
	case sqldb.SQLite:
		return map[string]string{"$key": "TEXT", "$bytes": "BLOB", "$uuid": "TEXT", "$money": "NUMERIC(12,2)", "$json": "TEXT", "$at": "INTEGER", "$day": "TEXT", "$yes": "INTEGER"}
	default:
		return map[string]string{"$key": "VARBINARY(100)", "$bytes": "VARBINARY(500)", "$uuid": "CHAR(36)", "$money": "DECIMAL(12,2)", "$json": "JSON", "$at": "DATETIME(6)", "$day": "DATE", "$yes": "BOOLEAN"}
	}
}

func inWordsOf(kind sqldb.Kind, statement string) string {
	for word, is := range words(kind) {
		statement = strings.ReplaceAll(statement, word, is)
	}
	return statement
}

func dealLayouts() []integrity.Layout {
	first := []integrity.Column{
		{Name: "name"},
		{Name: "amount", Type: integrity.Decimal, Scale: 2},
		{Name: "won", Type: integrity.Boolean},
		{Name: "at", Type: integrity.Time},
		{Name: "due", Type: integrity.Date},
		{Name: "custom", Type: integrity.JSON},
	}
	return []integrity.Layout{{ID: "deal/1", Columns: first}, {ID: "deal/2", Columns: append(first[:len(first):len(first)], integrity.Column{Name: "photo", Type: integrity.Bytes})}}
}

func dealTable() integrity.Table {
	return integrity.Table{Tenant: "main", Name: "deals", Key: "id", Version: "version", SchemaID: "schema_id", Event: "event", Seal: "seal"}
}

// dealValues are what an application seals and binds; at is what this database
// keeps of a time.
func dealValues(kind sqldb.Kind, i int) map[string]any {
	at := time.Date(2026, 1, 2, 3, 4, i%60, i*1000, time.UTC)
	values := map[string]any{"name": fmt.Sprint("deal ", i), "amount": fmt.Sprintf("%d.50", i), "won": i%2 == 0, "at": any(at), "due": "2026-03-01", "custom": `{"n":1.50}`}
	if kind == sqldb.SQLite {
		values["at"] = at.UnixMicro()
	}
	if i%3 == 0 {
		values["name"], values["due"], values["custom"], values["at"] = "", nil, nil, nil
	}
	return values
}

// fillDeals seals rows under both layouts and stores them.
func fillDeals(t *testing.T, db *sql.DB, d sqldb.Dialect, sealer *integrity.Sealer, n int) {
	t.Helper()
	run(t, db, inWordsOf(d.Kind, "CREATE TABLE deals (id $key PRIMARY KEY, version BIGINT, schema_id VARCHAR(20), event $uuid, seal $bytes, name VARCHAR(40), amount $money, won $yes, at $at, due $day, custom $json, photo $bytes, name_idx $bytes)"))
	for i := range n {
		ref := integrity.Ref{Tenant: "main", Table: "deals", Key: fmt.Sprint("d", i), Version: int64(i), SchemaID: "deal/1"}
		var event any
		if i%2 == 0 {
			ref.Event = "0195a0e8-1c2d-7000-8000-00000000000a"
			event = ref.Event
		}
		values := dealValues(d.Kind, i)
		var photo any
		if i%4 == 1 {
			ref.SchemaID, photo = "deal/2", []byte{0, byte(i)}
			values["photo"] = photo
		}
		seal, err := sealer.Seal(t.Context(), ref, values)
		require.NoError(t, err)
		run(t, db, d.Bind("INSERT INTO deals VALUES ("+sqldb.Marks(13)+")"), ref.Key, ref.Version, ref.SchemaID, event, seal,
			values["name"], values["amount"], values["won"], values["at"], values["due"], values["custom"], photo, nil)
	}
}

// A sweep over a table is three lines, whatever the database and the driver: SELECT
// * reads rows under two layouts, and passes over what no layout names.
func TestASweepOverATableOnEveryDatabase(t *testing.T) {
	eachDriver(t, func(t *testing.T, db *sql.DB, d sqldb.Dialect, reader *integrity.Reader) {
		sealer, err := integrity.NewSealer(&integritytest.Tagger{}, dealLayouts()...)
		require.NoError(t, err)
		const n = 20
		fillDeals(t, db, d, sealer, n)
		sweep := func() integrity.SweepReport {
			rows := ask(t, db, "SELECT * FROM deals ORDER BY id")
			report, err := sealer.Sweep(t.Context(), reader.Sealed(rows, sealer, dealTable()), integrity.SweepOptions{Tenant: "main", Table: "deals"})
			require.NoError(t, err)
			return report
		}
		report := sweep()
		require.True(t, report.OK(), "%+v", report.Findings)
		require.EqualValues(t, n, report.Verified)

		for _, behind := range []string{
			"UPDATE deals SET amount = amount + 0.01 WHERE id = 'd1'", "UPDATE deals SET name = NULL WHERE id = 'd3'", "UPDATE deals SET photo = NULL WHERE id = 'd5'",
			"UPDATE deals SET version = NULL WHERE id = 'd7'", "UPDATE deals SET seal = NULL WHERE id = 'd8'", "UPDATE deals SET event = '0195a0e8-1c2d-7000-8000-00000000000b' WHERE id = 'd10'",
			"UPDATE deals SET schema_id = 'deal/9' WHERE id = 'd11'", "UPDATE deals SET version = 99 WHERE id = 'd13'", "DELETE FROM deals WHERE id = 'd19'", "UPDATE deals SET schema_id = 'deal/1' WHERE id = 'd17'",
		} {
			run(t, db, behind)
		}
		report = sweep()
		require.True(t, report.Complete, "one bad row ends nothing")
		require.Equal(t, map[integrity.Verdict]int64{integrity.Tampered: 7, integrity.MissingSeal: 1, integrity.UnknownSchema: 1}, report.Counts)
		require.EqualValues(t, n-1-9, report.Verified)
		for _, f := range report.Findings {
			require.Equal(t, f.Key == "d7", f.Column == "version", f.Key)
		}
	})
}

// A query that does not have the columns of one layout reads the rows of the
// others; who writes the table cannot end a sweep with the name of a layout.
func TestARowUnderALayoutThatTheQueryLacksIsAFinding(t *testing.T) {
	db := testdb.New(t, testdb.SQLite).Open(t)
	d, err := sqldb.Ask(t.Context(), db)
	require.NoError(t, err)
	reader, err := integrity.OpenReader(t.Context(), db)
	require.NoError(t, err)
	sealer, err := integrity.NewSealer(&integritytest.Tagger{}, dealLayouts()...)
	require.NoError(t, err)
	fillDeals(t, db, d, sealer, 20)
	first := "SELECT id, version, schema_id, event, seal, " + reader.Columns(sealer.Columns("deal/1")) + " FROM deals"
	report, err := sealer.Sweep(t.Context(), reader.Sealed(ask(t, db, first), sealer, dealTable()), integrity.SweepOptions{Tenant: "main", Table: "deals"})
	require.NoError(t, err)
	require.Equal(t, map[integrity.Verdict]int64{integrity.Misfit: 5}, report.Counts)
	require.EqualValues(t, 15, report.Verified)
	report, err = sealer.Sweep(t.Context(), reader.Sealed(ask(t, db, "SELECT id, version, schema_id, event, seal, name FROM deals"), sealer, dealTable()), integrity.SweepOptions{Tenant: "main", Table: "deals"})
	require.ErrorIs(t, err, integrity.ErrConfig)
	require.ErrorContains(t, err, `the query lacks "amount"`)
	require.False(t, report.OK())
}

// The driver of MySQL gives 0000-00-00 as the first of January of year 1, and the
// second of March for 2026-02-30: neither stands behind a seal of the other.
func TestWhatIsNoDateOnMariaDBIsNone(t *testing.T) {
	d := testdb.New(t, testdb.MariaDB)
	day, at := integrity.Column{Name: "day", Type: integrity.Date}, integrity.Column{Name: "at", Type: integrity.Time}
	sealer, err := integrity.NewSealer(&integritytest.Tagger{}, integrity.Layout{ID: "x/1", Columns: []integrity.Column{day}}, integrity.Layout{ID: "x/2", Columns: []integrity.Column{at}})
	require.NoError(t, err)
	for i, options := range []string{"", "&parseTime=false", "&loc=Europe%2FBerlin"} {
		db, err := sql.Open("mysql", d.DSN("mysql")+options)
		require.NoError(t, err)
		db.SetMaxOpenConns(1)
		t.Cleanup(func() { require.NoError(t, db.Close()) })
		reader, err := integrity.OpenReader(t.Context(), db)
		require.NoError(t, err)
		table := fmt.Sprint("x", i)
		run(t, db, "SET sql_mode = 'ALLOW_INVALID_DATES'")
		run(t, db, "CREATE TABLE "+table+" (day DATE, at DATETIME(6))")
		run(t, db, "INSERT INTO "+table+" VALUES ('0000-00-00', '0000-00-00'), ('0001-01-01', '0001-01-01'), ('2026-02-30', '2026-02-30'), (NULL, NULL)")
		for layout, sealed := range map[string][]any{"x/1": {"0001-01-01", "2026-03-02"}, "x/2": {time.Date(1, 1, 1, 0, 0, 0, 0, time.UTC), time.Date(2026, 3, 2, 0, 0, 0, 0, time.UTC)}} {
			columns := sealer.Columns(layout)
			if layout == "x/2" && i == 1 {
				continue // times without a zone are refused
			}
			got, err := readAll(reader.FromRows(ask(t, db, "SELECT "+reader.Columns(columns)+" FROM "+table), columns...))
			require.NoError(t, err)
			require.Len(t, got, 4)
			require.Equal(t, map[string]any{columns[0].Name: nil}, got[3])
			plain, err := readAll(reader.FromRows(ask(t, db, "SELECT "+columns[0].Name+" FROM "+table+" LIMIT 2"), columns...))
			require.NoError(t, err)
			ref := integrity.Ref{Tenant: "main", Table: "x", Key: "1", SchemaID: layout}
			for _, value := range sealed {
				seal, err := sealer.Seal(t.Context(), ref, map[string]any{columns[0].Name: value})
				require.NoError(t, err)
				for k, values := range append(got, plain...) {
					require.ErrorIs(t, sealer.Verify(t.Context(), integrity.SealedRow{Ref: ref, Values: values, Seal: seal}), integrity.ErrTampered, "%s %s %d", layout, options, k)
				}
			}
			for _, values := range append(got[:3:3], plain...) {
				_, err := columns[0].Canonical(values[columns[0].Name])
				require.ErrorIs(t, err, integrity.ErrRow)
			}
		}
	}
}

// A key that the table holds as a number or a UUID enters the seal as its text.
func TestKeysOfOtherTypes(t *testing.T) {
	eachDriver(t, func(t *testing.T, db *sql.DB, d sqldb.Dialect, reader *integrity.Reader) {
		sealer, err := integrity.NewSealer(&integritytest.Tagger{}, integrity.Layout{ID: "x/1", Columns: []integrity.Column{{Name: "v"}}})
		require.NoError(t, err)
		for i, of := range [][2]string{{"BIGINT", "17"}, {"$uuid", "0195a0e8-1c2d-7000-8000-00000000000a"}, {"VARCHAR(20)", "017"}, {"$key", "é "}} {
			column, key, table := of[0], of[1], fmt.Sprint("x", i)
			seal, err := sealer.Seal(t.Context(), integrity.Ref{Tenant: "main", Table: "x", Key: key, SchemaID: "x/1"}, map[string]any{"v": "Bern"})
			require.NoError(t, err)
			run(t, db, inWordsOf(d.Kind, "CREATE TABLE "+table+" (id "+column+", v VARCHAR(9), seal $bytes)"))
			run(t, db, d.Bind("INSERT INTO "+table+" VALUES (?, 'Bern', ?), (NULL, 'Bern', ?)"), key, seal, seal)
			rows := ask(t, db, "SELECT seal, v, id, 1 AS one FROM "+table+" ORDER BY v, id IS NULL")
			got := 0
			for row, err := range reader.Sealed(rows, sealer, integrity.Table{Tenant: "main", Name: "x", Key: "id", Seal: "seal"}) { // the only layout, no versions
				if got++; got == 2 {
					require.ErrorIs(t, err, integrity.ErrTampered, "no key")
					require.ErrorContains(t, err, `column "id"`)
					continue
				}
				require.NoError(t, err)
				require.Equal(t, key, row.Ref.Key)
				require.NoError(t, sealer.Verify(t.Context(), row))
			}
			require.Equal(t, 2, got)
		}
	})
}

// Where SQLite converts nothing, 7 and '7' are two keys to a WHERE; elsewhere a
// key, a version and a seal of another class are found as well.
func TestSQLiteRolesAreReadAsTheyStand(t *testing.T) {
	db := testdb.New(t, testdb.SQLite).Open(t)
	reader, err := integrity.OpenReader(t.Context(), db)
	require.NoError(t, err)
	sealer, err := integrity.NewSealer(&integritytest.Tagger{}, integrity.Layout{ID: "x/1", Columns: []integrity.Column{{Name: "v"}}})
	require.NoError(t, err)
	run(t, db, "CREATE TABLE x (id, n INTEGER, version, schema_id, seal, event, v)")
	for name, row := range map[string]string{
		"id": "7, 1, 1, 'x/1', x'01', NULL", "id ": "x'37', 1, 1, 'x/1', x'01', NULL", "id  ": "1.5, 1, 1, 'x/1', x'01', NULL", "version": "'7', 1, '1', 'x/1', x'01', NULL", "version ": "'7', 1, 1.0, 'x/1', x'01', NULL",
		"version  ": "'7', 1, x'31', 'x/1', x'01', NULL", "schema_id": "'7', 1, 1, x'01', x'01', NULL", "seal": "'7', 1, 1, 'x/1', 'seal', NULL", "event": "'7', 1, 1, 'x/1', x'01', x'01'",
		"": "'7', 1, 1, 'x/1', x'01', ''",
	} {
		run(t, db, "DELETE FROM x")
		run(t, db, "INSERT INTO x VALUES ("+row+", 'Bern')")
		for row, err := range reader.Sealed(ask(t, db, "SELECT * FROM x"), sealer, integrity.Table{Tenant: "main", Name: "x", Key: "id", Version: "version", SchemaID: "schema_id", Event: "event", Seal: "seal"}) {
			if name == "" {
				require.NoError(t, err)
				require.Equal(t, integrity.SealedRow{Ref: integrity.Ref{Tenant: "main", Table: "x", Key: "7", Version: 1, SchemaID: "x/1"}, Values: map[string]any{"v": "Bern"}, Seal: []byte{1}}, row)
				continue
			}
			require.ErrorIs(t, err, integrity.ErrTampered, name)
			require.ErrorContains(t, err, fmt.Sprintf("column %q", strings.TrimSpace(name)))
		}
	}
	run(t, db, "UPDATE x SET seal = x'01'")
	for row, err := range reader.Sealed(ask(t, db, "SELECT n, v, seal FROM x"), sealer, integrity.Table{Tenant: "main", Name: "x", Key: "n", Seal: "seal"}) {
		require.NoError(t, err)
		require.Equal(t, "1", row.Ref.Key)
	}
}

// What cannot be read as the layout says is said before the first row, with
// what to do about it; the table is empty.
func TestWhatADatabaseCannotHoldIsRefusedAtOnce(t *testing.T) {
	refused := map[sqldb.Kind]map[string]integrity.Type{
		sqldb.Postgres: {"text[]": integrity.Text, "integer[]": integrity.JSON, "interval": integrity.Text, "time": integrity.Text, "inet": integrity.Text, "numeric": integrity.Text, "date": integrity.Text, "timestamptz": integrity.Integer, "jsonb": integrity.Text, "bigint": integrity.Text, "boolean": integrity.Integer, "text": integrity.Integer, "bytea": integrity.Integer, "char(3)": integrity.Bytes, "int4range": integrity.Text},
		sqldb.MariaDB:  {"DECIMAL(9,2)": integrity.Text, "DATE": integrity.Text, "FLOAT": integrity.Float, "BIGINT": integrity.Text, "TIME": integrity.Text, "BLOB": integrity.Integer, "BIT(3)": integrity.Text, "DOUBLE": integrity.Integer},
	}
	eachDriver(t, func(t *testing.T, db *sql.DB, d sqldb.Dialect, reader *integrity.Reader) {
		for declared, as := range refused[d.Kind] {
			run(t, db, "DROP TABLE IF EXISTS x")
			run(t, db, "CREATE TABLE x (v "+declared+")")
			got, err := readAll(reader.FromRows(ask(t, db, "SELECT v FROM x /* "+declared+" */"), integrity.Column{Name: "v", Type: as}))
			require.ErrorIs(t, err, integrity.ErrConfig, declared)
			require.ErrorContains(t, err, `column "v"`)
			require.Regexp(t, "declare|cast", err.Error())
			require.Empty(t, got)
		}
		run(t, db, "CREATE TABLE y (a INTEGER, b INTEGER)")
		for query, columns := range map[string][]integrity.Column{
			"SELECT a FROM y":         {{Name: "a", Type: integrity.Integer}, {Name: "b", Type: integrity.Integer}},
			"SELECT a, b AS a FROM y": {{Name: "a", Type: integrity.Integer}},
			"SELECT a, b FROM y":      {{Name: "a", Type: integrity.Integer}, {Name: "a", Type: integrity.Integer}},
		} {
			_, err := readAll(reader.FromRows(ask(t, db, query), columns...))
			require.ErrorIs(t, err, integrity.ErrConfig, query)
		}
		require.Zero(t, db.Stats().InUse, "the rows are closed")
	})
}

// A definition that cannot work is an error and no table without rows.
func TestAReaderRefusesWhatIsNotThere(t *testing.T) {
	db := testdb.New(t, testdb.SQLite).Open(t)
	_, err := integrity.OpenReader(t.Context(), nil)
	require.ErrorIs(t, err, integrity.ErrConfig)
	_, err = integrity.OpenReader(nil, db) //nolint:staticcheck // the caller's fault
	require.ErrorIs(t, err, integrity.ErrConfig)
	reader, err := integrity.OpenReader(t.Context(), db)
	require.NoError(t, err)
	run(t, db, "CREATE TABLE x (id TEXT, schema_id TEXT, seal BLOB, v TEXT, w TEXT)")
	one := integrity.Layout{ID: "x/1", Columns: []integrity.Column{{Name: "v"}}}
	sealer, err := integrity.NewSealer(&integritytest.Tagger{}, one)
	require.NoError(t, err)
	two, err := integrity.NewSealer(&integritytest.Tagger{}, one, integrity.Layout{ID: "x/2", Columns: []integrity.Column{{Name: "w"}}})
	require.NoError(t, err)
	table := integrity.Table{Tenant: "main", Name: "x", Key: "id", Seal: "seal"}
	fault := func(r *integrity.Reader, rows *sql.Rows, s *integrity.Sealer, change func(*integrity.Table)) (found error) {
		changed := table
		if change != nil {
			change(&changed)
		}
		for _, err := range r.Sealed(rows, s, changed) {
			found = errors.Join(found, err)
		}
		return found
	}
	rows := func() *sql.Rows { return ask(t, db, "SELECT * FROM x") }
	require.NoError(t, fault(reader, rows(), sealer, nil))
	for name, err := range map[string]error{
		"no reader": fault(nil, rows(), sealer, nil), "zero reader": fault(&integrity.Reader{}, rows(), sealer, nil), "no rows": fault(reader, nil, sealer, nil), "no sealer": fault(reader, rows(), nil, nil),
		"no key": fault(reader, rows(), sealer, func(t *integrity.Table) { t.Key = "" }), "no seal": fault(reader, rows(), sealer, func(t *integrity.Table) { t.Seal = "" }),
		"another key": fault(reader, rows(), sealer, func(t *integrity.Table) { t.Key = "key" }), "which layout": fault(reader, rows(), two, nil),
	} {
		require.ErrorIs(t, err, integrity.ErrConfig, name)
	}
	require.NoError(t, fault(reader, rows(), two, func(t *integrity.Table) { t.SchemaID = "schema_id" }))
	require.Zero(t, db.Stats().InUse, "the rows are closed")
}

// A query that fails at its second row is an error and no short table.
func TestAQueryThatFailsMidwayIsAnError(t *testing.T) {
	db := testdb.New(t, testdb.SQLite).Open(t)
	reader, err := integrity.OpenReader(t.Context(), db)
	require.NoError(t, err)
	run(t, db, "CREATE TABLE x (v TEXT)")
	run(t, db, "INSERT INTO x VALUES ('1'), ('{')")
	got, err := readAll(reader.FromRows(ask(t, db, "SELECT json(v) AS v FROM x ORDER BY rowid"), integrity.Column{Name: "v"}))
	require.Error(t, err)
	require.Equal(t, []map[string]any{{"v": "1"}}, got)
	require.Zero(t, db.Stats().InUse)
}

// A query for a column that is not there is an error, and no constant text.
func TestColumnsAreColumns(t *testing.T) {
	eachDriver(t, func(t *testing.T, db *sql.DB, d sqldb.Dialect, reader *integrity.Reader) {
		mark := "`"
		if d.Kind == sqldb.Postgres {
			mark = `"`
		}
		run(t, db, inWordsOf(d.Kind, strings.ReplaceAll("CREATE TABLE x (`a.``b` VARCHAR(9), `Mixed Case` VARCHAR(9), `due` $day, `at` $at)", "`", mark)))
		columns := []integrity.Column{{Name: "a." + mark + "b"}, {Name: "Mixed Case"}, {Name: "due", Type: integrity.Date}, {Name: "at", Type: integrity.Time}}
		run(t, db, "INSERT INTO x VALUES ('1', '2', NULL, NULL)")
		got, err := readAll(reader.FromRows(ask(t, db, "SELECT "+reader.Columns(columns)+" FROM x"), columns...))
		require.NoError(t, err)
		require.Equal(t, []map[string]any{{"a." + mark + "b": "1", "Mixed Case": "2", "due": nil, "at": nil}}, got)
		rows, err := db.QueryContext(t.Context(), "SELECT "+reader.Columns([]integrity.Column{{Name: "mxied"}})+" FROM x")
		require.Error(t, err)
		require.Nil(t, rows)
	})
}
