package audit

import (
	"context"
	"database/sql"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/internal/sqldb"
	"github.com/crmguard/crmguard/internal/testdb"
)

// counter counts what a sale says to the database.
type counter struct {
	*sql.Tx
	texts   []string
	queries int
}

func (c *counter) ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error) {
	c.texts = append(c.texts, query)
	return c.Tx.ExecContext(ctx, query, args...)
}

func (c *counter) QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error) {
	c.queries++
	return c.Tx.QueryContext(ctx, query, args...)
}

func (c *counter) QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row {
	c.queries++
	return c.Tx.QueryRowContext(ctx, query, args...)
}

// An event is one row and one statement, whose text is always the same; no key
// service is asked for it.
func TestASaleIsOneStatement(t *testing.T) {
	eachTill(t, func(t *testing.T, s *till, _ testdb.Database, _ string) {
		s.prepared("p1", "p2", "p3")
		asked := s.keys.asked.Load()
		c := &counter{Tx: s.begin()}
		for _, e := range []Event{
			sold(t, "p1"),
			{Tenant: "main", Actor: "u-1", Action: "deal.close"},
			{Tenant: "main", Actor: "u-1", Action: "contact.merge", Object: Ref("deal", "17"), Persons: []string{"p1", "p2", "p3"}, Changes: []Change{
				{Path: "free text", Who: "p2", New: "x"}, {Path: "free text", Who: "p3", New: "x"}, {Path: "stage", New: 7},
			}},
		} {
			_, err := s.recordIn(t.Context(), c, e)
			require.NoError(t, err)
		}
		require.NoError(t, c.Commit())
		require.Equal(t, []string{s.saleText, s.saleText, s.saleText}, c.texts)
		require.Zero(t, c.queries)
		require.Equal(t, asked, s.keys.asked.Load())
		require.Equal(t, 3, s.count(`SELECT COUNT(*) FROM crmguard_audit_events WHERE idx IS NULL AND body IS NOT NULL`))
	})
}

// What the row of an event meets decides, and nothing else: the same event is
// there, another one is, or what was there cannot be compared any more. The
// transaction stays usable, and what is there stays as it was.
func TestWhatAnEventMeets(t *testing.T) {
	eachTill(t, func(t *testing.T, s *till, d testdb.Database, driver string) {
		for how, db := range s.connections(d, driver) {
			t.Run(how, func(t *testing.T) {
				p := overTables(t, db)
				p.meets(t)
			})
		}
	})
}

// connections are those that count rows, or take errors, in another way.
func (s *till) connections(d testdb.Database, driver string) map[string]*sql.DB {
	out := map[string]*sql.DB{"as it is": s.db.DB}
	if d.Name == testdb.MariaDB {
		for how, setting := range map[string]string{
			"found rows": "&clientFoundRows=true", "not strict": "&sql_mode=''", "neither": "&clientFoundRows=true&sql_mode=''", "interpolated": "&interpolateParams=true",
		} {
			db, err := sql.Open(driver, d.DSN(driver)+setting)
			require.NoError(s.t, err)
			s.t.Cleanup(func() { db.Close() })
			out[how] = db
		}
	}
	return out
}

func (s *till) meets(t *testing.T) {
	t.Helper()
	s.exec(`DELETE FROM crmguard_audit_surrogates`) // of the run before, under other keys
	s.prepared("p1", "p2")
	e := sold(t, "p1")
	_, err := s.in(e)
	require.NoError(t, err)
	where := ` WHERE id = ` + s.literal(e.ID)
	row := func() (retry, body []byte) {
		t.Helper()
		require.NoError(t, s.db.QueryRowContext(t.Context(), `SELECT retry, COALESCE(body, retry) FROM crmguard_audit_events`+where).Scan(&retry, &body))
		return retry, body
	}
	retry, body := row()

	other := e
	other.Changes = []Change{{Path: "email", Who: "p1", Old: "old@canary.example", New: "else@canary.example"}}
	same := func(why string) {
		t.Helper()
		id, err := s.in(e)
		require.NoError(t, err, why)
		require.Equal(t, e.ID, id)
	}
	conflict := func(why string, e Event) {
		t.Helper()
		tx := s.begin()
		_, err := s.recordIn(t.Context(), tx, e)
		var is *ConflictError
		require.ErrorAs(t, err, &is, why)
		require.Equal(t, e.ID, is.ID)
		again := sold(t, "p2") // the transaction goes on
		_, err = s.recordIn(t.Context(), tx, again)
		require.NoError(t, err, why)
		require.NoError(t, tx.Commit())
		require.Equal(t, 1, s.count(`SELECT COUNT(*) FROM crmguard_audit_events WHERE id = `+s.literal(again.ID)))
	}
	same("it waits")
	nowRetry, nowBody := row()
	require.Equal(t, retry, nowRetry)
	require.Equal(t, body, nowBody, "a retry writes nothing")
	s.advance(time.Second)
	same("at another time")
	unsaid := e
	unsaid.Outcome = OutcomeOK
	s.config.From = func(context.Context) Caller { return Caller{Tenant: "main", Actor: "u-1", Request: "another"} }
	unsaid.Actor, unsaid.Tenant = "", ""
	_, err = s.in(unsaid)
	require.NoError(t, err, "said in another way, in another request")
	s.config.From = nil

	tx := s.begin() // in the transaction that wrote it
	mine := sold(t, "p1")
	for range 2 {
		_, err := s.recordIn(t.Context(), tx, mine)
		require.NoError(t, err)
	}
	require.NoError(t, tx.Commit())

	conflict("another value", other)
	foreign := e
	foreign.Tenant = "other"
	require.NoError(t, s.prepare(t.Context(), "other", []string{"p1"}))
	conflict("another tenant", foreign)

	if nowRetry, _ = row(); len(nowRetry) > 0 { // not by a connection that is not strict, which has emptied it
		s.exec(`UPDATE crmguard_audit_events SET idx = 7, body = NULL` + where)
		same("it has its place")
		s.config.Keys = secretKeys(t, 9)
		s.tickets = tickets{}
		s.exec(`DELETE FROM crmguard_audit_surrogates`)
		s.prepared("p1", "p2")
		conflict("other keys of the tags", e)
	}
	s.exec(`UPDATE crmguard_audit_events SET retry = ?, idx = 7, body = NULL`+where, []byte{})
	conflict("too old, or erased", e)
	conflict("and still", e)
	require.Equal(t, 1, s.count(`SELECT COUNT(*) FROM crmguard_audit_events`+where+` AND idx = 7`))
}

func (s *till) literal(id string) string {
	hex := strings.ReplaceAll(id, "-", "")
	if s.db.Kind == sqldb.Postgres {
		return `'\x` + hex + `'::bytea`
	}
	return "x'" + hex + "'"
}

// MySQL may take NULL for the empty tag; its text is tried where there is a
// server that has its words.
func TestTheTextForMySQL(t *testing.T) {
	d := testdb.New(t, testdb.MariaDB)
	s := newTill(t, d.Open(t))
	for how, db := range s.connections(d, "mysql") {
		t.Run(how, func(t *testing.T) {
			p := overTables(t, db)
			p.saleText = insertOrCompareMySQL
			p.meets(t)
		})
	}
}

// A transaction that reaches the tables of another log, or none, records nothing.
func TestTheTablesOfAnotherLog(t *testing.T) {
	eachTill(t, func(t *testing.T, s *till, _ testdb.Database, _ string) {
		s.prepared("p1")
		s.origin = "crm.example/audit/1" // begun anew, in other tables
		tx := s.begin()
		_, err := s.recordIn(t.Context(), tx, sold(t, "p1"))
		require.ErrorIs(t, err, ErrOrigin)
		require.NoError(t, tx.Rollback())
		require.Zero(t, s.count(`SELECT COUNT(*) FROM crmguard_audit_events`))
		s.config.Classes = map[string]Failure{"contact.": FailOpen}
		s.classes, err = newClasses(s.config.Classes)
		require.NoError(t, err)
		_, err = s.in(sold(t, "p1"))
		require.ErrorIs(t, err, ErrOrigin, "that is no failure of the database")
	})
}

// Two processes deliver one event at the same time: the second waits for the
// first, and finds what it left.
func TestTwoDeliveriesAtOnce(t *testing.T) {
	eachTill(t, func(t *testing.T, s *till, d testdb.Database, driver string) {
		if d.Name == testdb.SQLite {
			return // one writer at a time
		}
		other := overTables(t, d.OpenWith(t, driver))
		s.prepared("p1")
		other.prepared("p1")
		for _, commits := range []bool{true, false} {
			e := sold(t, "p1")
			tx := s.begin()
			_, err := s.recordIn(t.Context(), tx, e)
			require.NoError(t, err)
			var wait sync.WaitGroup
			var late error
			wait.Go(func() { _, late = other.in(e) })
			if commits {
				require.NoError(t, tx.Commit())
			} else {
				require.NoError(t, tx.Rollback())
			}
			wait.Wait()
			require.NoError(t, late)
			require.Equal(t, 1, s.count(`SELECT COUNT(*) FROM crmguard_audit_events WHERE id = `+s.literal(e.ID)))
		}
	})
}

// A caller who rolls back to a savepoint takes the event along, and the rest stays.
func TestASavepointOfTheCaller(t *testing.T) {
	eachTill(t, func(t *testing.T, s *till, _ testdb.Database, _ string) {
		s.prepared("p1")
		tx := s.begin()
		stays, goes := sold(t, "p1"), sold(t, "p1")
		_, err := s.recordIn(t.Context(), tx, stays)
		require.NoError(t, err)
		_, err = tx.ExecContext(t.Context(), `SAVEPOINT mine`)
		require.NoError(t, err)
		_, err = s.recordIn(t.Context(), tx, goes)
		require.NoError(t, err)
		_, err = tx.ExecContext(t.Context(), `ROLLBACK TO SAVEPOINT mine`)
		require.NoError(t, err)
		require.NoError(t, tx.Commit())
		require.Equal(t, 1, s.count(`SELECT COUNT(*) FROM crmguard_audit_events`))
		require.Equal(t, 1, s.count(`SELECT COUNT(*) FROM crmguard_audit_events WHERE id = `+s.literal(stays.ID)))
	})
}

// oddResult is what drivers answer that count in another way, or not at all.
type oddResult struct {
	n   int64
	err error
}

func (r oddResult) LastInsertId() (int64, error) { return 0, errors.ErrUnsupported }
func (r oddResult) RowsAffected() (int64, error) { return r.n, r.err }
func (r oddResult) ExecContext(context.Context, string, ...any) (sql.Result, error) {
	return r, nil
}

// A number of rows that cannot be is no success.
func TestRowsThatCannotBe(t *testing.T) {
	s := newTill(t, testdb.New(t, testdb.SQLite).Open(t))
	s.prepared("p1")
	for _, odd := range []oddResult{{n: -1}, {n: 2}, {n: 3}, {err: errors.ErrUnsupported}} {
		_, err := s.recordIn(t.Context(), odd, sold(t, "p1"))
		require.ErrorContains(t, err, "audit: write: ", "%+v", odd)
	}
	_, err := s.recordIn(t.Context(), oddResult{n: 0}, sold(t, "p1"))
	require.ErrorIs(t, err, ErrConflict)
}
