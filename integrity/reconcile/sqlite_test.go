package reconcile_test

import (
	"database/sql"
	"fmt"
	"iter"
	"testing"

	"github.com/stretchr/testify/require"
	_ "modernc.org/sqlite"

	"github.com/crmguard/crmguard/integrity"
	"github.com/crmguard/crmguard/integrity/reconcile"
)

func openSQLite(t *testing.T, statements ...string) *sql.DB {
	t.Helper()
	db, err := sql.Open("sqlite", "file:"+t.TempDir()+"/t.db?_pragma=journal_mode(MEMORY)&_pragma=synchronous(OFF)")
	require.NoError(t, err)
	db.SetMaxOpenConns(1) // a query inside the loop must find it free
	t.Cleanup(func() { require.NoError(t, db.Close()) })
	for _, statement := range statements {
		_, err := db.ExecContext(t.Context(), statement)
		require.NoError(t, err, statement)
	}
	return db
}

// rowsOf are the rows of a query by the column id.
func rowsOf(t *testing.T, db *sql.DB, query string, id integrity.Type, columns ...integrity.Column) iter.Seq2[reconcile.Row, error] {
	t.Helper()
	reader, err := integrity.OpenReader(t.Context(), db)
	require.NoError(t, err)
	return func(yield func(reconcile.Row, error) bool) {
		rows, err := db.QueryContext(t.Context(), query)
		if err != nil {
			yield(reconcile.Row{}, err)
			return
		}
		reconcile.FromRows(reader, rows, []integrity.Column{{Name: "id", Type: id}}, columns)(yield)
	}
}

// The same contacts in two schemas that keep them differently: what they mean
// is compared, and every change is one difference.
func TestTwoSchemasOfOneTable(t *testing.T) {
	const n = 3000
	fill := `INSERT INTO c WITH RECURSIVE g(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM g WHERE i < %d)
		SELECT i, 'p' || i || '@x.example', printf('%%.2f', i %% 100 + 0.25 * (i %% 4)), i %% 2, date('2020-01-01', (i %% 1000) || ' days'), %s FROM g`
	a := openSQLite(
		t, `CREATE TABLE c (id INTEGER PRIMARY KEY, email TEXT, amount TEXT, active BOOLEAN, due DATE, at TEXT)`,
		fmt.Sprintf(fill, n, "strftime('%Y-%m-%dT%H:%M:%SZ', 1767225600 + i, 'unixepoch')"),
	)
	b := openSQLite(
		t, `CREATE TABLE c (id INTEGER PRIMARY KEY, email TEXT, amount NUMERIC(12,2), active INTEGER, due TEXT, at INTEGER)`,
		fmt.Sprintf(fill, n, "(1767225600 + i) * 1000000"),
	)
	columns := []integrity.Column{
		{Name: "email"}, {Name: "amount", Type: integrity.Decimal, Scale: 2}, {Name: "active", Type: integrity.Boolean}, {Name: "due", Type: integrity.Date}, {Name: "at", Type: integrity.Time},
	}
	reader, err := integrity.OpenReader(t.Context(), a)
	require.NoError(t, err)
	query := "SELECT id, " + reader.Columns(columns) + " FROM c ORDER BY id"
	rows := func(db *sql.DB) iter.Seq2[reconcile.Row, error] {
		return rowsOf(t, db, query, integrity.Integer, columns...)
	}
	diff := func() ([]reconcile.Difference, reconcile.Counts, error) {
		return run(t, rows(a), rows(b), reconcile.Options{Columns: columns})
	}
	got, counts, err := diff()
	require.NoError(t, err)
	require.Empty(t, got)
	require.True(t, counts.Equal())
	require.Equal(t, int64(n), counts.Same)

	for _, statement := range []string{
		`UPDATE c SET email = upper(email) WHERE id IN (97, 197)`, `UPDATE c SET amount = amount + 0.01 WHERE id = 297`, `UPDATE c SET active = 2 WHERE id = 397`,
		`UPDATE c SET due = due || ' 00:00:00' WHERE id = 497`, `UPDATE c SET at = at + 1 WHERE id = 597`, `UPDATE c SET email = CAST(email AS BLOB) WHERE id = 697`,
		`DELETE FROM c WHERE id IN (91, 191)`, `INSERT INTO c (id) VALUES (100001)`,
	} {
		_, err := b.ExecContext(t.Context(), statement)
		require.NoError(t, err)
	}
	got, counts, err = diff()
	require.NoError(t, err)
	require.Equal(t, reconcile.Counts{A: n, B: n - 1, Same: n - 9, Missing: 2, Extra: 1, Changed: 4, Unreadable: 3, Complete: true}, counts)
	outcomes := map[string]string{}
	for d, err := range reconcile.Diff(t.Context(), rows(a), rows(b), reconcile.Options{Columns: columns}) {
		require.NoError(t, err)
		var there int // the connections are free
		require.NoError(t, b.QueryRowContext(t.Context(), "SELECT count(*) FROM c WHERE id = ?", d.Key[0]).Scan(&there))
		outcomes[fmt.Sprint(d.Key[0])] = fmt.Sprint(d.Kind, there, d.Fields, d.Unreadable)
	}
	require.Len(t, got, len(outcomes))
	require.Equal(t, map[string]string{
		"97": "changed1 [email] []", "197": "changed1 [email] []", "297": "changed1 [amount] []", "397": "unreadable1 [] [{b active}]", "497": "unreadable1 [] [{b due}]",
		"597": "changed1 [at] []", "697": "unreadable1 [] [{b email}]", "91": "missing0 [] []", "191": "missing0 [] []", "100001": "extra1 [] []",
	}, outcomes)
}

// Two collations of one key column: an error, and no difference.
func TestAnotherCollationIsNoDifference(t *testing.T) {
	db := openSQLite(t, `CREATE TABLE k (id TEXT PRIMARY KEY)`, `INSERT INTO k VALUES ('a'), ('B'), ('c'), ('10'), ('9')`)
	bytewise := rowsOf(t, db, `SELECT id FROM k ORDER BY id`, integrity.Text)
	got, counts, err := run(t, bytewise, seq(row("10", nil), row("9", nil), row("B", nil), row("a", nil), row("c", nil)), byType)
	require.NoError(t, err)
	require.Empty(t, got)
	require.True(t, counts.Equal())
	other := openSQLite(t, `CREATE TABLE k (id TEXT PRIMARY KEY)`, `INSERT INTO k VALUES ('a'), ('B'), ('c'), ('10'), ('9')`)
	for _, order := range []string{"id COLLATE NOCASE", "CAST(id AS INTEGER), id", "id DESC"} {
		got, counts, err := run(t, bytewise, rowsOf(t, other, "SELECT id FROM k ORDER BY "+order, integrity.Text), byType)
		require.ErrorIs(t, err, reconcile.ErrOrder, order)
		require.Empty(t, got)
		require.False(t, counts.Equal())
	}
}
