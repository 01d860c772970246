package sqldb_test

import (
	"context"
	"database/sql"
	"testing"
	"testing/fstest"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/internal/sqldb"
	"github.com/crmguard/crmguard/internal/testdb"
)

// Every process may call Install at every start: one that stands still in it
// stops no other where nothing is missing.
func TestInstallWaitsForNobodyWhereNothingIsMissing(t *testing.T) {
	testdb.Each(t, func(t *testing.T, d testdb.Database) {
		db := d.Open(t)
		require.NoError(t, demo(2).Install(t.Context(), db))
		installing(t, d)
		require.NoError(t, demo(2).Install(t.Context(), db))
	})
}

// Who must wait for an installer that stands still is told so after a while.
func TestAnInstallerThatStandsStillIsNamed(t *testing.T) {
	for _, name := range []testdb.Name{testdb.PostgresC, testdb.PostgresICU} {
		for _, driver := range name.Drivers() {
			t.Run(string(name)+" "+driver, func(t *testing.T) {
				d := testdb.New(t, name)
				installing(t, d)
				db := d.OpenWith(t, driver)
				db.SetMaxOpenConns(1)
				_, err := db.ExecContext(t.Context(), `SET lock_timeout = '50ms'`)
				require.NoError(t, err)
				require.ErrorContains(t, demo(2).Install(t.Context(), db), "another process has been installing tables")

				free := testdb.New(t, name).OpenWith(t, driver)
				require.NoError(t, demo(2).Install(t.Context(), free))
				step := `CREATE TABLE crmguard_wait AS SELECT current_setting('lock_timeout') AS bound;
					INSERT INTO crmguard_schema (package, version, installed) VALUES ('wait', 1, 0)`
				waits := sqldb.Schema{Package: "wait", Migrations: fstest.MapFS{"postgres/20260101000001_crmguard_wait_1.up.sql": {Data: []byte(step)}}}
				require.NoError(t, waits.Install(t.Context(), free))
				var bound string
				require.NoError(t, sqldb.One(t.Context(), free, []any{&bound}, `SELECT bound FROM crmguard_wait`))
				require.Equal(t, "1min", bound, "where nothing is set")
			})
		}
	}
}

// installing holds the lock of installers on a connection of its own.
func installing(t *testing.T, d testdb.Database) {
	t.Helper()
	conn, err := d.Open(t).Conn(t.Context())
	require.NoError(t, err)
	t.Cleanup(func() {
		_, _ = conn.ExecContext(context.WithoutCancel(t.Context()), `ROLLBACK`) // MariaDB has none; its lock goes with the connection
		require.NoError(t, conn.Close())
	})
	lock := map[testdb.Name]string{
		testdb.SQLite:      `BEGIN IMMEDIATE`,
		testdb.MariaDB:     `SELECT GET_LOCK(CONCAT('crmguard ', SHA1(DATABASE())), 0)`,
		testdb.PostgresC:   `BEGIN; SELECT pg_advisory_xact_lock(7165910248218260068)`,
		testdb.PostgresICU: `BEGIN; SELECT pg_advisory_xact_lock(7165910248218260068)`,
	}[d.Name]
	_, err = conn.ExecContext(t.Context(), lock)
	require.NoError(t, err)
}

// A process that stands still inside of a transaction is ended by the server,
// and the application's own bound stays what it is.
func TestATransactionThatStandsStillIsBounded(t *testing.T) {
	bound := func(t *testing.T, q sqldb.Querier) (value string) {
		t.Helper()
		require.NoError(t, sqldb.One(t.Context(), q, []any{&value}, `SELECT current_setting('idle_in_transaction_session_timeout')`))
		return value
	}
	for _, name := range []testdb.Name{testdb.PostgresC, testdb.PostgresICU} {
		for _, driver := range name.Drivers() {
			for set, want := range map[string]string{"0": "1min", "7s": "7s", "2h": "2h"} {
				t.Run(string(name)+" "+driver+" "+set, func(t *testing.T) {
					handle := testdb.New(t, name).OpenWith(t, driver)
					handle.SetMaxOpenConns(1)
					require.NoError(t, demo(2).Install(t.Context(), handle))
					db, err := sqldb.Open(t.Context(), handle)
					require.NoError(t, err)
					_, err = db.ExecContext(t.Context(), `SET idle_in_transaction_session_timeout = '`+set+`'`)
					require.NoError(t, err)
					require.NoError(t, db.Write(t.Context(), func(tx *sql.Tx) error {
						require.Equal(t, want, bound(t, tx))
						return nil
					}))
					require.Equal(t, set, bound(t, handle))
				})
			}
		}
	}
}

// Whoever is ended so has changed nothing, and is told.
func TestWhoeverIsEndedForStandingStillIsTold(t *testing.T) {
	for _, driver := range testdb.PostgresC.Drivers() {
		t.Run(driver, func(t *testing.T) {
			d := testdb.New(t, testdb.PostgresC)
			handle, other := d.OpenWith(t, driver), d.Open(t)
			require.NoError(t, demo(2).Install(t.Context(), handle))
			db, err := sqldb.Open(t.Context(), handle)
			require.NoError(t, err)
			_, err = other.ExecContext(t.Context(), `DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET idle_in_transaction_session_timeout = 50', current_database()); END $$`)
			require.NoError(t, err)
			handle.SetMaxIdleConns(0) // the next connection has the setting
			calls := 0
			err = db.Write(t.Context(), func(tx *sql.Tx) error {
				calls++
				var pid int
				if err := sqldb.One(t.Context(), tx, []any{&pid}, `SELECT pg_backend_pid()`); err != nil {
					return err
				}
				if err := db.Insert(t.Context(), tx, insert(false), [][]any{{"main", "still", 1, nil}}); err != nil {
					return err
				}
				for n := 1; n > 0; { // stands still until the server has ended it
					if err := sqldb.One(t.Context(), other, []any{&n}, `SELECT count(*) FROM pg_stat_activity WHERE pid = $1`, pid); err != nil {
						return err
					}
				}
				return nil
			})
			require.Error(t, err)
			require.Equal(t, 1, calls)
			require.Empty(t, words(t, db))
		})
	}
}
