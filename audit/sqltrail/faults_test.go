package sqltrail_test

import (
	"context"
	"database/sql"
	"fmt"
	"io/fs"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/audit"
	"github.com/crmguard/crmguard/audit/auditlog"
	"github.com/crmguard/crmguard/audit/sqltrail"
	"github.com/crmguard/crmguard/internal/testdb"
)

// refused tries everything that writes, through a handle on which it cannot,
// and asks why.
func refused(t *testing.T, s *shop, db *sql.DB, why func(t require.TestingT, err error, verb ...any)) {
	t.Helper()
	trail := s.over(db)
	for name, do := range map[string]func() error{
		"Record": func() error { return s.sell(db, trail, sale(t, "p9")) },
		"Note":   func() error { return only(trail.Note(t.Context(), sale(t, "p9"))) },
		"RunOnce": func() error {
			_, err := trail.RunOnce(t.Context())
			return err
		},
		"Beat":  func() error { return trail.Beat(t.Context()) },
		"Erase": func() error { return trail.Erase(t.Context(), "main", "p1") },
	} {
		err := do()
		why(t, err, name)
		passing(t, err)
	}
	_, err := trail.Status(t.Context())
	require.NoError(t, err)
	past := 0
	for _, err := range trail.History(t.Context(), "main", audit.About("p1"), audit.Page{}) {
		require.NoError(t, err)
		past++
	}
	require.Equal(t, 1, past, "what only reads goes on")
	report, err := trail.VerifyStore(t.Context(), nil)
	require.NoError(t, err)
	require.Equal(t, auditlog.Unanchored, report.Verdict)
	require.EqualValues(t, 1, report.Waiting, "and nothing was written")
}

func TestOnAReadOnlyDatabaseNothingIsLost(t *testing.T) {
	testdb.EachDriver(t, func(t *testing.T, d testdb.Database, driver string) {
		if driver == "postgres" {
			driver = "pgx" // lib/pq asks for a transaction that writes, whatever the default
		}
		s := newShop(t, d.OpenWith(t, driver), "crm.example/audit")
		require.NoError(t, s.sell(s.db.DB, s.trail, sale(t, "p1")))
		s.sequence()
		require.NoError(t, s.sell(s.db.DB, s.trail, sale(t, "p2")))
		refused(t, s, openAt(t, driver, with(d, driver, map[testdb.Name]string{
			testdb.SQLite: "_pragma=query_only(1)", testdb.PostgresC: "default_transaction_read_only=on", testdb.MariaDB: "tx_read_only=1",
		})), require.Error)
		require.Equal(t, 1, s.sequence().Sequenced)
		s.sound()
	})
}

// reader makes a user of the server who may only read what is there now, but for
// the application's own table, and returns a data source name of theirs. SQLite has no users.
func reader(t *testing.T, s *shop, d testdb.Database, driver string, rights string) string {
	t.Helper()
	user := "crmguard_" + strings.ToLower(strings.ReplaceAll(sale(t, "p").ID, "-", ""))[:20]
	run := func(statements ...string) {
		for _, statement := range statements {
			_, err := s.db.ExecContext(context.WithoutCancel(t.Context()), statement)
			require.NoError(t, err)
		}
	}
	if d.Name == testdb.MariaDB {
		user = user[9:]
		run(`CREATE USER '` + user + `'@'localhost'`)
		t.Cleanup(func() { run(`DROP USER '` + user + `'@'localhost'`) })
		var database string
		require.NoError(t, s.db.QueryRowContext(t.Context(), `SELECT DATABASE()`).Scan(&database))
		run(`GRANT `+rights+` ON `+database+`.* TO '`+user+`'@'localhost'`, `GRANT INSERT ON `+database+`.sales TO '`+user+`'@'localhost'`)
		_, rest, ok := strings.Cut(d.DSN(driver), "@")
		require.True(t, ok)
		return user + "@" + rest
	}
	run(`CREATE ROLE ` + user)
	t.Cleanup(func() { run(`DROP OWNED BY `+user, `DROP ROLE `+user) })
	if rights == "SELECT" {
		run(`GRANT SELECT ON ALL TABLES IN SCHEMA public TO `+user, `GRANT INSERT ON sales TO `+user)
	}
	return d.DSN(driver) + " options='-c role=" + user + "'"
}

func TestWithoutRightsNothingIsLost(t *testing.T) {
	testdb.EachDriver(t, func(t *testing.T, d testdb.Database, driver string) {
		if d.Name == testdb.SQLite {
			return // has none
		}
		s := newShop(t, d.OpenWith(t, driver), "crm.example/audit")
		require.NoError(t, s.sell(s.db.DB, s.trail, sale(t, "p1")))
		s.sequence()
		require.NoError(t, s.sell(s.db.DB, s.trail, sale(t, "p2")))
		refused(t, s, openAt(t, driver, reader(t, s, d, driver, "SELECT")), func(t require.TestingT, err error, verb ...any) { require.ErrorIs(t, err, fs.ErrPermission, verb...) })
		if d.Name != testdb.MariaDB { // tables that may not even be read are not tables that are missing
			_, err := sqltrail.Open(t.Context(), openAt(t, driver, reader(t, s, d, driver, "USAGE")))
			require.ErrorIs(t, err, fs.ErrPermission)
			passing(t, err)
		}
		require.Equal(t, 1, s.sequence().Sequenced)
		s.sound()
	})
}

// two gives two databases that hold the same tables: on PostgreSQL two schemas
// of one database, told apart by the search path.
func two(t *testing.T, d testdb.Database, driver string) (a, b *sql.DB) {
	t.Helper()
	if d.Name == testdb.SQLite || d.Name == testdb.MariaDB {
		return d.OpenWith(t, driver), testdb.New(t, d.Name).OpenWith(t, driver)
	}
	db := d.OpenWith(t, driver)
	for _, schema := range []string{"crm", "billing", "bare"} {
		_, err := db.ExecContext(t.Context(), `CREATE SCHEMA `+schema)
		require.NoError(t, err)
	}
	return openAt(t, driver, d.DSN(driver)+" search_path=crm"), openAt(t, driver, d.DSN(driver)+" search_path=billing")
}

func TestTwoSchemasWithTheSameTablesAreTwoLogs(t *testing.T) {
	testdb.EachDriver(t, func(t *testing.T, d testdb.Database, driver string) {
		a, b := two(t, d, driver)
		crm, billing := newShop(t, a, "crm.example/audit"), newShop(t, b, "billing.example/audit")
		if d.Name == testdb.PostgresC || d.Name == testdb.PostgresICU { // the first of the path counts
			b = openAt(t, driver, d.DSN(driver)+" search_path=billing,crm")
			billing.trail = billing.over(b)
		}
		for n := range 3 {
			require.NoError(t, crm.sell(a, crm.trail, sale(t, fmt.Sprintf("p%d", n))))
			require.NoError(t, billing.sell(b, billing.trail, sale(t, "p1")))
		}
		// A transaction that reaches the other tables would queue the event where
		// the log it belongs to never finds it.
		for _, e := range []audit.Event{sale(t, "p1"), {Tenant: "main", Actor: "u-1", Action: "deal.close"}} {
			require.ErrorIs(t, crm.sell(b, crm.trail, e), audit.ErrOrigin)
			require.ErrorIs(t, billing.sell(a, billing.trail, e), audit.ErrOrigin)
		}
		for _, s := range []*shop{crm, billing} {
			require.Equal(t, 3, s.sequence().Sequenced)
			s.sound()
		}
		_, err := audit.Open(t.Context(), storeOf(t, b), crm.config)
		require.ErrorIs(t, err, audit.ErrOrigin)
	})
}

// Who has had the session before makes no event go anywhere else: neither by a
// temporary table, which is the first that a name finds, nor by a path.
func TestATableOfTheSameNameTakesNoEvent(t *testing.T) {
	for _, name := range []testdb.Name{testdb.PostgresC, testdb.PostgresICU} {
		for _, driver := range name.Drivers() {
			t.Run(string(name)+"/"+driver, func(t *testing.T) {
				d := testdb.New(t, name)
				s := newShop(t, d.OpenWith(t, driver), "crm.example/audit")
				e, another := sale(t, "p1"), sale(t, "p1")
				require.NoError(t, s.trail.Prepare(t.Context(), "main", "p1"))
				conn, err := s.db.Conn(t.Context())
				require.NoError(t, err)
				run := func(statement string) {
					_, err := conn.ExecContext(t.Context(), statement)
					require.NoError(t, err, statement)
				}
				record := func(e audit.Event) {
					tx, err := conn.BeginTx(t.Context(), nil)
					require.NoError(t, err)
					require.NoError(t, only(s.trail.Record(t.Context(), tx, e)))
					require.NoError(t, tx.Commit())
				}
				run(`CREATE TEMPORARY TABLE crmguard_audit_events (id bytea PRIMARY KEY, log bigint, retry bytea, body bytea)`)
				record(e)
				run(`DROP TABLE pg_temp.crmguard_audit_events`)
				run(`CREATE SCHEMA "an Other"`)
				run(`CREATE TABLE "an Other".crmguard_audit_events (id bytea PRIMARY KEY, log bigint, retry bytea, body bytea)`)
				run(`SELECT set_config('search_path', '"an Other", ' || current_setting('search_path'), false)`)
				record(another)
				run(`RESET search_path`)
				require.NoError(t, conn.Close())
				require.Equal(t, 2, s.sequence().Sequenced)
			})
		}
	}
}

func storeOf(t *testing.T, db *sql.DB) audit.Store {
	t.Helper()
	store, err := sqltrail.Open(t.Context(), db)
	require.NoError(t, err)
	return store
}

// The search path of a transaction, or its database, is not the trail's.
func TestWhereTheTablesAreNotInReachTheSaleFails(t *testing.T) {
	testdb.EachDriver(t, func(t *testing.T, d testdb.Database, driver string) {
		if d.Name == testdb.SQLite {
			return // has no search path
		}
		a, b := two(t, d, driver)
		s := newShop(t, a, "crm.example/audit")
		require.NoError(t, s.sell(a, s.trail, sale(t, "p1")))
		leave := `SET LOCAL search_path = bare, pg_catalog`
		if d.Name == testdb.MariaDB {
			var other string
			require.NoError(t, b.QueryRowContext(t.Context(), `SELECT DATABASE()`).Scan(&other))
			leave = `USE ` + other
		} else {
			b = openAt(t, driver, d.DSN(driver)+" search_path=bare")
		}
		_, err := sqltrail.Open(t.Context(), b)
		var older *audit.ErrSchema
		require.ErrorAs(t, err, &older)
		require.Zero(t, older.Have)
		require.ErrorContains(t, err, "crmguard_schema", "the cause")

		db := openAt(t, driver, d.DSN(driver)+map[bool]string{true: "", false: " search_path=crm"}[d.Name == testdb.MariaDB])
		require.NoError(t, s.trail.Prepare(t.Context(), "main", "p2"))
		tx, err := db.BeginTx(t.Context(), nil)
		require.NoError(t, err)
		_, err = tx.ExecContext(t.Context(), s.db.Bind(`INSERT INTO sales (id) VALUES (?)`), "1")
		require.NoError(t, err)
		_, err = tx.ExecContext(t.Context(), leave)
		require.NoError(t, err)
		err = only(s.trail.Record(t.Context(), tx, sale(t, "p2")))
		passing(t, err)
		require.ErrorContains(t, err, "crmguard_audit_", "the cause")
		require.NoError(t, tx.Rollback())
		require.Equal(t, 1, s.sequence().Sequenced)
		s.sound()
	})
}

// The version before runs beside the one that has installed more.
func TestTablesOfANewerLibrary(t *testing.T) {
	testdb.EachDriver(t, func(t *testing.T, d testdb.Database, driver string) {
		s := newShop(t, d.OpenWith(t, driver), "crm.example/audit")
		exec := func(statement string) {
			_, err := s.db.ExecContext(t.Context(), statement)
			require.NoError(t, err)
		}
		exec(`INSERT INTO crmguard_schema (package, version, installed) SELECT package, 99, installed FROM crmguard_schema WHERE package = 'audit' AND version = 1`)
		for _, table := range []string{"log", "events", "entries", "found", "persons", "surrogates", "openings", "heads", "aside", "tiles", "state"} {
			exec(`ALTER TABLE crmguard_audit_` + table + ` ADD COLUMN later INTEGER`)
		}
		exec(`CREATE TABLE crmguard_audit_later (id INTEGER PRIMARY KEY)`)
		require.NoError(t, sqltrail.Install(t.Context(), s.db.DB))
		s.trail = s.over(s.db.DB)
		require.NoError(t, s.sell(s.db.DB, s.trail, sale(t, "p1")))
		require.NoError(t, s.trail.Erase(t.Context(), "main", "p1"))
		require.NoError(t, s.sell(s.db.DB, s.trail, sale(t, "p1")))
		s.sequence()
		s.sound()

		exec(`DELETE FROM crmguard_schema WHERE package = 'audit'`)
		_, err := sqltrail.Open(t.Context(), s.db.DB)
		var older *audit.ErrSchema
		require.ErrorAs(t, err, &older)
	})
}

// A transaction that has failed or ended takes no event, and says why.
func TestATransactionThatFailedTakesNoEvent(t *testing.T) {
	testdb.EachDriver(t, func(t *testing.T, d testdb.Database, driver string) {
		s := newShop(t, d.OpenWith(t, driver), "crm.example/audit")
		first, second := sale(t, "p1"), sale(t, "p2")
		require.NoError(t, s.sell(s.db.DB, s.trail, first))
		require.NoError(t, s.trail.Prepare(t.Context(), "main", "p2", "p3"))
		tx, err := s.db.BeginTx(t.Context(), nil)
		require.NoError(t, err)
		insert := s.db.Bind(`INSERT INTO sales (id) VALUES (?)`)
		_, err = tx.ExecContext(t.Context(), insert, second.ID)
		require.NoError(t, err)
		_, err = tx.ExecContext(t.Context(), insert, first.ID)
		require.Error(t, err)
		err = only(s.trail.Record(t.Context(), tx, second))
		if d.Name == testdb.PostgresC || d.Name == testdb.PostgresICU { // elsewhere only the statement failed
			passing(t, err)
			require.Error(t, tx.Commit())
			require.NoError(t, s.sell(s.db.DB, s.trail, second))
		} else {
			require.NoError(t, err)
			require.NoError(t, tx.Commit())
		}
		err = only(s.trail.Record(t.Context(), tx, sale(t, "p3")))
		passing(t, err)
		require.ErrorIs(t, err, sql.ErrTxDone)
		require.Equal(t, 2, s.sequence().Sequenced)
		s.sound()
	})
}

// An application that has set the strictest isolation as its default has
// sequencers that do not fail by each other: theirs is stated.
func TestSequencersDoNotTakeTheApplicationsIsolation(t *testing.T) {
	for _, driver := range testdb.PostgresC.Drivers() {
		t.Run(driver, func(t *testing.T) {
			d := testdb.New(t, testdb.PostgresC)
			s := newShop(t, openAt(t, driver, d.DSN(driver)+" default_transaction_isolation=serializable"), "crm.example/audit")
			var wg sync.WaitGroup
			fail := make(chan error, 64)
			for w := range 4 {
				wg.Go(func() {
					for n := range 4 {
						if err := only(s.trail.Note(t.Context(), sale(t, fmt.Sprintf("p%d-%d", w, n)))); err != nil {
							fail <- err
						}
						if _, err := s.trail.RunOnce(t.Context()); err != nil {
							fail <- err
						}
					}
				})
			}
			wg.Wait()
			close(fail)
			for err := range fail {
				require.NoError(t, err)
			}
			s.sequence()
			report, err := s.trail.VerifyStore(t.Context(), nil)
			require.NoError(t, err)
			require.Equal(t, auditlog.Unanchored, report.Verdict, "%+v", report.Faults)
			require.EqualValues(t, 16, report.Log.Verified-report.Log.Beats)
		})
	}
}
