package sqltrail_test

import (
	"database/sql"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/internal/sqldb"
	"github.com/crmguard/crmguard/internal/testdb"
)

// The statement of a sale meets a limit of the application's, while another
// transaction holds the same event: the sale fails by an error that passes, nothing of
// it stays, and the same sale succeeds afterwards. One whose class lets it go on
// without its event does so only where nothing more than the statement has ended.
func TestALimitOfTimeInsideASale(t *testing.T) {
	for _, limit := range []struct {
		name              testdb.Name
		driver, set, code string
		open              bool // may go on
	}{
		{testdb.PostgresC, "pgx", `SET LOCAL statement_timeout = 200`, "57014", false},
		{testdb.PostgresICU, "postgres", `SET LOCAL lock_timeout = 200`, "55P03", true},
		{testdb.MariaDB, "mysql", `SET max_statement_time = 0.2`, "mysql 1969", true},
		{testdb.MariaDB, "mysql", `SET innodb_lock_wait_timeout = 1`, "mysql 1205", false},
	} {
		t.Run(string(limit.name)+" "+limit.code, func(t *testing.T) {
			d := testdb.New(t, limit.name)
			w := begin(t, d, limit.driver, d.DSN(limit.driver))
			for _, action := range []string{"contact.update", "contact.view"} {
				e, mine := sale(t, "p1"), sale(t, "p2")
				e.Action = action
				require.NoError(t, w.trail.Prepare(t.Context(), "main", "p1", "p2"))
				holder, err := w.db.BeginTx(t.Context(), nil)
				require.NoError(t, err)
				_, err = holder.ExecContext(t.Context(), w.db.Bind(`INSERT INTO sales (id) VALUES (?)`), e.ID)
				require.NoError(t, err)
				require.NoError(t, only(w.trail.Record(t.Context(), holder, e)))
				conn, err := w.db.Conn(t.Context())
				require.NoError(t, err)
				tx, err := conn.BeginTx(t.Context(), nil)
				require.NoError(t, err)
				_, err = tx.ExecContext(t.Context(), limit.set)
				require.NoError(t, err)
				_, err = tx.ExecContext(t.Context(), w.db.Bind(`INSERT INTO views (id) VALUES (?)`), mine.ID)
				require.NoError(t, err)
				id, err := w.trail.Record(t.Context(), tx, e)
				views := `SELECT COUNT(*) FROM views WHERE id = '` + mine.ID + `'`
				if action == "contact.view" && limit.open {
					require.NoError(t, err, "its class lets it go on")
					require.Empty(t, id)
					require.NoError(t, tx.Commit())
					require.Equal(t, 1, w.count(views))
				} else {
					passing(t, err)
					var driver *sqldb.DriverError
					require.ErrorAs(t, err, &driver)
					require.Equal(t, limit.code, driver.Code)
					require.NoError(t, tx.Rollback())
					require.Zero(t, w.count(views), "nothing of it stays")
				}
				if limit.name == testdb.MariaDB { // there the limit is the session's
					_, err = conn.ExecContext(t.Context(), `SET max_statement_time = 0, innodb_lock_wait_timeout = 50`)
					require.NoError(t, err)
				}
				require.NoError(t, conn.Close())
				require.NoError(t, holder.Commit())
				require.NoError(t, w.within(t.Context(), func(tx *sql.Tx) error { return only(w.trail.Record(t.Context(), tx, e)) }), "and again, a retry now")
				w.settle()
				require.Equal(t, 1, w.agrees().events[e.ID])
			}
			w.verified(w.checkpoint())
			require.EqualValues(t, map[bool]int{true: 1}[limit.open], w.tally().lost)
		})
	}
}

// Whatever a pass asks of the database may take too long, at any of its statements: it
// fails by an error that passes, and the next one that has time completes it.
func TestALimitOfTimeInsideAPass(t *testing.T) {
	for name, limit := range map[testdb.Name]struct{ driver, set, never string }{
		testdb.PostgresC:   {"pgx", `SET statement_timeout = 1`, `SET statement_timeout = 0`},
		testdb.PostgresICU: {"postgres", `SET statement_timeout = 2`, `SET statement_timeout = 0`},
		testdb.MariaDB:     {"mysql", `SET max_statement_time = 0.0005`, `SET max_statement_time = 0`},
	} {
		t.Run(string(name), func(t *testing.T) {
			d := testdb.New(t, name)
			w := begin(t, d, limit.driver, d.DSN(limit.driver))
			hurried := join(t, w.dir, withMirror)
			hurried.db.SetMaxOpenConns(1) // the one whose statements have little time
			failed := 0
			for round := range 30 {
				for range 3 {
					w.busy()
				}
				_, err := hurried.db.ExecContext(t.Context(), limit.set)
				require.NoError(t, err)
				if _, err := hurried.trail.RunOnce(t.Context()); err != nil {
					passing(t, err)
					failed++
				}
				for try := 0; ; try++ { // that, too, may take too long
					if _, err = hurried.db.ExecContext(t.Context(), limit.never); err == nil || try == 100 {
						break
					}
				}
				require.NoError(t, err)
				if round%10 == 9 {
					w.settle()
					w.verified(w.checkpoint())
				}
			}
			hurried.settle()
			w.agrees()
			t.Logf("%d of 30 passes ended by the limit", failed)
		})
	}
}
