package reconcile_test

import (
	"context"
	"database/sql"
	"fmt"
	"iter"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/integrity"
	"github.com/crmguard/crmguard/integrity/reconcile"
	"github.com/crmguard/crmguard/internal/sqldb"
	"github.com/crmguard/crmguard/internal/testdb"
)

// side is a table in one database.
type side struct {
	db     *sql.DB
	d      sqldb.Dialect
	reader *integrity.Reader
}

func openSide(t *testing.T, db *sql.DB) side {
	t.Helper()
	d, err := sqldb.Ask(t.Context(), db)
	require.NoError(t, err)
	reader, err := integrity.OpenReader(t.Context(), db)
	require.NoError(t, err)
	return side{db: db, d: d, reader: reader}
}

func (s side) exec(t *testing.T, query string, args ...any) {
	t.Helper()
	_, err := s.db.ExecContext(t.Context(), s.d.Bind(query), args...)
	require.NoError(t, err, query)
}

func (s side) rows(t *testing.T, key integrity.Column, order string) iter.Seq2[reconcile.Row, error] {
	t.Helper()
	rows, err := s.db.QueryContext(t.Context(), "SELECT "+s.reader.Columns(append([]integrity.Column{key}, exported()...))+" FROM c ORDER BY "+order)
	require.NoError(t, err)
	return reconcile.FromRows(s.reader, rows, []integrity.Column{key}, exported())
}

func exported() []integrity.Column {
	return []integrity.Column{
		{Name: "email"},
		{Name: "amount", Type: integrity.Decimal, Scale: 2},
		{Name: "score", Type: integrity.Float},
		{Name: "visits", Type: integrity.Integer},
		{Name: "active", Type: integrity.Boolean},
		{Name: "due", Type: integrity.Date},
		{Name: "at", Type: integrity.Time},
		{Name: "custom", Type: integrity.JSON},
		{Name: "photo", Type: integrity.Bytes},
		{Name: "account"},
	}
}

// tables are how each database keeps the same contacts; the export is SQLite's.
var tables = map[sqldb.Kind]string{
	sqldb.SQLite:   `CREATE TABLE c (id INTEGER PRIMARY KEY, code TEXT, email TEXT, amount TEXT, score REAL, visits INTEGER, active INTEGER, due DATE, at TIMESTAMP, custom TEXT, photo BLOB, account TEXT)`,
	sqldb.Postgres: `CREATE TABLE c (id bigserial PRIMARY KEY, code text, email citext, amount numeric(14,4), score double precision, visits numeric, active boolean, due date, at timestamptz, custom jsonb, photo bytea, account uuid)`,
	sqldb.MariaDB:  `CREATE TABLE c (id BIGINT PRIMARY KEY, code VARBINARY(40), email VARCHAR(80), amount DECIMAL(14,4), score DOUBLE, visits INT UNSIGNED, active BIT(1), due DATE, at DATETIME(6), custom JSON, photo BLOB, account CHAR(36))`,
}

func fill(t *testing.T, s side, n int) {
	t.Helper()
	if s.d.Kind == sqldb.Postgres {
		s.exec(t, "CREATE EXTENSION citext")
	}
	s.exec(t, tables[s.d.Kind])
	for i := range n {
		at := time.Date(2026, 1, 2, 3, i%60, 5, i*1000, time.UTC)
		values := []any{i, fmt.Sprintf("é%dK", i), fmt.Sprintf("P%d@x.example", i), fmt.Sprintf("%d.50", i), float64(i) / 8, i, i%2 == 0, "2026-03-01", at, fmt.Sprintf(`{"b":[%d.0],"a":"ü"}`, i), []byte{0, byte(i)}, "0195a0e8-1c2d-7000-8000-00000000000a"}
		if i%5 == 0 {
			for k := 2; k < len(values); k++ {
				values[k] = nil
			}
		}
		s.exec(t, "INSERT INTO c VALUES ("+sqldb.Marks(len(values))+")", values...)
	}
}

// An export in SQLite and the table that it came from, in another database and
// through each of its drivers: what they mean compares as equal, and each change
// is one difference.
func TestAnExportComparesWithItsTable(t *testing.T) {
	const n = 40
	testdb.Each(t, func(t *testing.T, d testdb.Database) {
		for _, driver := range d.Name.Drivers() {
			t.Run(driver, func(t *testing.T) {
				export := openSide(t, testdb.New(t, testdb.SQLite).Open(t))
				table := openSide(t, testdb.New(t, d.Name).OpenWith(t, driver))
				fill(t, export, n)
				fill(t, table, n)
				byBytes := map[sqldb.Kind]string{sqldb.Postgres: `code COLLATE "C"`, sqldb.MariaDB: "code", sqldb.SQLite: "code"}[table.d.Kind]
				diff := func() (map[string]string, reconcile.Counts) {
					_, counts, err := run(t, export.rows(t, integrity.Column{Name: "code"}, "code"), table.rows(t, integrity.Column{Name: "code"}, byBytes), reconcile.Options{Columns: exported()})
					require.NoError(t, err)
					id := integrity.Column{Name: "id", Type: integrity.Integer}
					found := map[string]string{}
					for d, err := range reconcile.Diff(context.Background(), export.rows(t, id, "id"), table.rows(t, id, "id"), reconcile.Options{Columns: exported()}) {
						require.NoError(t, err)
						found[fmt.Sprint(d.Key[0])] = fmt.Sprint(d.Kind, d.Fields)
					}
					return found, counts
				}
				found, counts := diff()
				require.Empty(t, found)
				require.True(t, counts.Equal())
				require.EqualValues(t, n, counts.Same)

				want := map[string]string{}
				for i, change := range []string{
					"email = 'p1@x.example'", "amount = 2.5001", "score = 0.3750000000000001", "visits = 5", "active = NULL", "due = '2026-03-02'", "at = '2026-01-02 03:07:05.000008'",
					`custom = '{"b":[8.1],"a":"ü"}'`, "photo = NULL", "account = '0195a0e8-1c2d-7000-8000-00000000000b'",
				} {
					id := i + 1 + i/4 // not those that are NULL
					name, _, _ := strings.Cut(change, " ")
					table.exec(t, fmt.Sprintf("UPDATE c SET %s WHERE id = %d", change, id))
					want[fmt.Sprint(id)] = "changed[" + name + "]"
				}
				table.exec(t, "DELETE FROM c WHERE id = 20")
				want["20"] = "missing[]"
				found, counts = diff()
				for id, what := range found {
					found[id] = strings.Replace(what, "unreadable[]", want[id], 1) // an amount of four digits after the point
				}
				require.Equal(t, want, found)
				require.EqualValues(t, n-len(want), counts.Same)
			})
		}
	})
}

// A query without a column, and a key that is none, are told.
func TestRowsThatCannotBeRead(t *testing.T) {
	s := openSide(t, openSQLite(t, "CREATE TABLE c (id TEXT, v TEXT)", "INSERT INTO c VALUES (NULL, 'a')"))
	v := []integrity.Column{{Name: "v"}}
	ask := func(query string) *sql.Rows {
		rows, err := s.db.QueryContext(t.Context(), query)
		require.NoError(t, err)
		return rows
	}
	_, _, err := run(t, reconcile.FromRows(s.reader, ask("SELECT v FROM c"), []integrity.Column{{Name: "id"}}, v), seq(), reconcile.Options{Columns: v})
	require.ErrorIs(t, err, integrity.ErrConfig)
	require.ErrorContains(t, err, `"id"`)
	_, _, err = run(t, reconcile.FromRows(nil, ask("SELECT * FROM c"), []integrity.Column{{Name: "id"}}, v), seq(), reconcile.Options{Columns: v})
	require.ErrorIs(t, err, integrity.ErrConfig)
	for row, err := range reconcile.FromRows(s.reader, ask("SELECT * FROM c"), []integrity.Column{{Name: "id"}}, []integrity.Column{{Name: "v"}, {Name: "id"}}) {
		require.NoError(t, err)
		require.Equal(t, reconcile.Row{Key: []any{nil}, Values: map[string]any{"v": "a", "id": nil}}, row)
	}
}

// An export and its table keep an amount in two ways: it is the same.
func ExampleFromRows() {
	ctx := context.Background()
	side := func(name, declared string) (*integrity.Reader, *sql.DB) {
		db, _ := sql.Open("sqlite", "file:"+name+"?mode=memory&cache=shared")
		_, _ = db.ExecContext(ctx, "CREATE TABLE deals (id INTEGER PRIMARY KEY, amount "+declared+")")
		_, _ = db.ExecContext(ctx, "INSERT INTO deals VALUES (1, '12.50'), (2, '7.00')")
		reader, _ := integrity.OpenReader(ctx, db)
		return reader, db
	}
	key, columns := []integrity.Column{{Name: "id", Type: integrity.Integer}}, []integrity.Column{{Name: "amount", Type: integrity.Decimal, Scale: 2}}
	before, a := side("example_before", "TEXT")
	after, b := side("example_after", "NUMERIC(12,2)")
	defer a.Close()
	defer b.Close()
	_, _ = b.ExecContext(ctx, "UPDATE deals SET amount = 7.01 WHERE id = 2")

	x, _ := a.QueryContext(ctx, "SELECT id, amount FROM deals ORDER BY id")
	y, _ := b.QueryContext(ctx, "SELECT id, amount FROM deals ORDER BY id")
	for d, err := range reconcile.Diff(ctx, reconcile.FromRows(before, x, key, columns), reconcile.FromRows(after, y, key, columns), reconcile.Options{Columns: columns}) {
		fmt.Println(d.Kind, d.Key, d.Fields, err)
	}
	// Output: changed [2] [amount] <nil>
}
