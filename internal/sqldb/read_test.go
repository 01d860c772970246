package sqldb_test

import (
	"context"
	"database/sql"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/internal/sqldb"
	"github.com/crmguard/crmguard/internal/testdb"
)

// PostgreSQL ends a single SELECT of a serializable default for the sake of two
// transactions that have committed: the report of a day's receipts, while the
// day is closed and one more comes in. Read is not ended.
func TestAQuestionIsNotEndedForTheSakeOfOthers(t *testing.T) {
	d := testdb.New(t, testdb.PostgresC)
	for _, driver := range d.Name.Drivers() {
		t.Run(driver, func(t *testing.T) {
			d := testdb.New(t, testdb.PostgresC).Serializable()
			handle := d.OpenWith(t, driver)
			do := func(q interface {
				ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error)
			}, statement string,
			) {
				t.Helper()
				_, err := q.ExecContext(t.Context(), statement)
				require.NoError(t, err)
			}
			do(handle, `CREATE TABLE day (n integer)`)
			do(handle, `CREATE TABLE receipt (day integer)`)
			do(handle, `CREATE FUNCTION report() RETURNS bigint LANGUAGE plpgsql AS
				$$ BEGIN PERFORM pg_advisory_xact_lock_shared(7); RETURN (SELECT count(*) FROM receipt); END $$`)
			db := open(t, handle)
			db.SetMaxOpenConns(5)
			report := func(ask func(ctx context.Context, dest any) error) error {
				t.Helper()
				do(handle, `DELETE FROM day`)
				do(handle, `INSERT INTO day VALUES (1)`)
				gate, err := handle.BeginTx(t.Context(), &sql.TxOptions{Isolation: sql.LevelReadCommitted})
				require.NoError(t, err)
				do(gate, `SELECT pg_advisory_xact_lock(7)`)
				late, err := handle.BeginTx(t.Context(), nil) // serializable by default
				require.NoError(t, err)
				var n int
				require.NoError(t, late.QueryRowContext(t.Context(), `SELECT n FROM day`).Scan(&n))
				do(handle, `UPDATE day SET n = n + 1`)
				answer := make(chan error, 1)
				go func() {
					var count int64
					answer <- ask(t.Context(), &count)
				}()
				require.Eventually(t, func() bool { // the report has its view, and waits at the gate
					var waiting int
					return gate.QueryRowContext(t.Context(), `SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted
						AND database = (SELECT oid FROM pg_database WHERE datname = current_database())`).Scan(&waiting) == nil && waiting == 1
				}, time.Minute, 5*time.Millisecond)
				do(late, `INSERT INTO receipt VALUES (1)`)
				require.NoError(t, late.Commit())
				require.NoError(t, gate.Commit())
				return <-answer
			}
			require.ErrorContains(t, report(func(ctx context.Context, dest any) error {
				return handle.QueryRowContext(ctx, `SELECT report()`).Scan(dest)
			}), "could not serialize", "what the application itself would meet")
			require.NoError(t, report(func(ctx context.Context, dest any) error {
				return sqldb.One(ctx, db, []any{dest}, `SELECT report()`)
			}))
			require.NoError(t, report(func(ctx context.Context, dest any) error {
				return db.Read(ctx, func(q sqldb.Querier) error { return sqldb.One(ctx, q, []any{dest}, `SELECT report()`) })
			}))
		})
	}
}

// A question about the catalogue is not compiled before it is asked, and the session
// is afterwards what it was.
func TestAQuestionAboutTheCatalogIsNotCompiled(t *testing.T) {
	for _, driver := range testdb.PostgresC.Drivers() {
		t.Run(driver, func(t *testing.T) {
			handle := testdb.New(t, testdb.PostgresC).OpenWith(t, driver)
			handle.SetMaxOpenConns(1)
			run(t, handle, `SET jit = on`)
			db := open(t, handle)
			jit := func(q sqldb.Querier) (is string) {
				require.NoError(t, sqldb.One(t.Context(), q, []any{&is}, `SELECT current_setting('jit')`))
				return is
			}
			require.NoError(t, db.ReadCatalog(t.Context(), func(q sqldb.Querier) error {
				require.Equal(t, "off", jit(q))
				return nil
			}))
			require.Equal(t, "on", jit(handle))
		})
	}
}
