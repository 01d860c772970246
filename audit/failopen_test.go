package audit

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/audit/auditlog"
	"github.com/crmguard/crmguard/internal/sqldb"
	"github.com/crmguard/crmguard/internal/testdb"
)

// classed lets reading go on without its event.
func (s *till) classed(t *testing.T) {
	t.Helper()
	var err error
	s.classes, err = newClasses(map[string]Failure{"contact.read": FailOpen, "page.": FailOpen, "page.secret*": FailClosed})
	require.NoError(t, err)
}

func reading(t *testing.T, action string) Event {
	t.Helper()
	e := sold(t, "p1")
	e.Action = action
	return e
}

func TestTheLongestClassCounts(t *testing.T) {
	c, err := newClasses(map[string]Failure{
		"contact.read": FailOpen, "page.": FailOpen, "page.secret*": FailClosed, "page.secret.index": FailOpen, "a*": FailOpen,
	})
	require.NoError(t, err)
	for action, want := range map[string]class{
		"contact.read":      {"contact.read", false, FailOpen},
		"contact.read.all":  {"contact.read.all", false, FailClosed},
		"contact.update":    {"contact.update", false, FailClosed},
		"page.view":         {"page.", true, FailOpen},
		"page":              {"page", false, FailClosed},
		"page.secret":       {"page.secret", true, FailClosed},
		"page.secrets.list": {"page.secret", true, FailClosed},
		"page.secret.index": {"page.secret.index", false, FailOpen},
		"abc":               {"a", true, FailOpen},
	} {
		require.Equal(t, want, c.of(action), action)
	}
}

// An event that cannot be written goes, the business change stays; one whose
// class says nothing takes the change along. What was lost stands in the log, as
// many as there were.
func TestAChangeGoesOnWithoutItsEvent(t *testing.T) {
	eachTill(t, func(t *testing.T, s *till, _ testdb.Database, _ string) {
		s.classed(t)
		s.exec(`CREATE TABLE deals (id INTEGER PRIMARY KEY)`)
		s.prepared("p1")
		s.exec(`ALTER TABLE crmguard_audit_events RENAME TO crmguard_audit_elsewhere`)
		began := s.now()
		for i := range 3 {
			tx := s.begin()
			_, err := tx.ExecContext(t.Context(), fmt.Sprint(`INSERT INTO deals VALUES (`, i, `)`))
			require.NoError(t, err)
			for range 2 {
				id, err := s.recordIn(t.Context(), tx, reading(t, "page.view"))
				require.NoError(t, err)
				require.Empty(t, id, "nothing was recorded")
			}
			_, err = s.recordIn(t.Context(), tx, reading(t, "contact.read"))
			require.NoError(t, err)
			_, err = tx.ExecContext(t.Context(), fmt.Sprint(`INSERT INTO deals VALUES (`, i+10, `)`))
			require.NoError(t, err, "the transaction goes on")
			require.NoError(t, tx.Commit())
			s.advance(time.Second)
		}
		require.Equal(t, 6, s.count(`SELECT COUNT(*) FROM deals`))
		_, err := s.in(reading(t, "page.secrets"))
		require.Error(t, err)
		require.EqualValues(t, 9, s.gaps.Number())

		require.Error(t, s.writeGaps(t.Context()), "nor can the gap be written yet")
		require.EqualValues(t, 9, s.gaps.Number())
		s.exec(`ALTER TABLE crmguard_audit_elsewhere RENAME TO crmguard_audit_events`)
		id, err := s.in(reading(t, "page.view"))
		require.NoError(t, err)
		require.NotEmpty(t, id, "and where it can be written, it is")
		require.NoError(t, s.writeGaps(t.Context()))
		require.NoError(t, s.writeGaps(t.Context()), "once")
		require.Zero(t, s.gaps.Number())
		counts := map[string]int64{}
		for _, l := range s.waitingLeaves(t) {
			if l.Kind == auditlog.KindGap {
				counts[l.Action] += l.Gap.Count
				require.Equal(t, began, l.Gap.From)
				require.Equal(t, began.Add(2*time.Second), l.Gap.To)
				require.Equal(t, "failed", l.Gap.Why)
			}
		}
		require.Equal(t, map[string]int64{"page.": 6, "contact.read": 3}, counts)
	})
}

// waitingLeaves are the leaves of the rows that wait.
func (s *till) waitingLeaves(t *testing.T) (out []auditlog.Leaf) {
	t.Helper()
	rows, err := s.db.QueryContext(t.Context(), `SELECT body FROM crmguard_audit_events ORDER BY seq`)
	require.NoError(t, err)
	defer rows.Close()
	for rows.Next() {
		var body []byte
		require.NoError(t, rows.Scan(&body))
		row, err := auditlog.ParseRowBody(body)
		require.NoError(t, err)
		leaf, err := auditlog.ParseLeaf(row.Leaf)
		require.NoError(t, err)
		out = append(out, leaf)
	}
	require.NoError(t, rows.Err())
	return out
}

// faulty fails the insertion with an error of its own.
type faulty struct {
	*sql.Tx
	err error
}

func (f faulty) ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error) {
	if strings.HasPrefix(query, "INSERT INTO crmguard_audit_events") {
		return nil, f.err
	}
	return f.Tx.ExecContext(ctx, query, args...)
}

// coded is an error of PostgreSQL with a code.
type coded struct{ code string }

func (c coded) Error() string    { return c.code }
func (c coded) SQLState() string { return c.code }

// MySQLError has the name and the field by which package sqldb knows MariaDB's.
type MySQLError struct{ Number uint16 }

func (e *MySQLError) Error() string { return "refused" }

// What has ended the whole transaction is never passed over, and neither is what is
// wrong with the call.
func TestWhatNoClassLetsPass(t *testing.T) {
	s := newSQLiteTill(t)
	s.classed(t)
	s.prepared("p1")
	e := reading(t, "page.view")
	for _, fault := range []error{
		coded{"40001"},
		coded{"40P01"},
		coded{"57014"},
		coded{"57P01"},
		coded{"08006"},
		context.Canceled, context.DeadlineExceeded, fmt.Errorf("wrapped: %w", context.Canceled),
	} {
		tx := s.begin()
		_, err := s.recordIn(t.Context(), faulty{tx, fault}, e)
		require.ErrorIs(t, err, fault)
		require.NoError(t, tx.Rollback())
	}
	require.True(t, endsAll(sqldb.Safe(&MySQLError{Number: 1213})))
	require.True(t, endsAll(sqldb.Safe(&MySQLError{Number: 1205})))
	require.False(t, endsAll(sqldb.Safe(&MySQLError{Number: 1146})))
	for _, passes := range []error{coded{"55P03"}, coded{"53100"}, coded{"42P01"}, errors.New("another")} {
		tx := s.begin()
		id, err := s.recordIn(t.Context(), faulty{tx, passes}, e)
		require.NoError(t, err, "%v", passes)
		require.Empty(t, id)
		require.NoError(t, tx.Commit())
	}
	require.EqualValues(t, 4, s.gaps.Number())

	done, cancel := context.WithCancel(t.Context())
	tx := s.begin()
	cancel()
	_, err := s.recordIn(done, tx, e)
	require.ErrorIs(t, err, context.Canceled)
	_ = tx.Rollback()
	_, err = s.in(Event{Tenant: "main", Actor: "u-1", Action: "page.view", Reason: "not a code"})
	require.ErrorIs(t, err, ErrInvalid)
	strange := reading(t, "page.view")
	strange.Persons = []string{"p9"}
	_, err = s.in(strange)
	require.ErrorIs(t, err, ErrNotPrepared)
	_, err = s.in(e)
	require.NoError(t, err)
	other := e
	other.Reason = "other"
	_, err = s.in(other)
	require.ErrorIs(t, err, ErrConflict)
	require.EqualValues(t, 4, s.gaps.Number(), "none of these is a loss")
}

// A deadlock and a lock that others hold, by the servers themselves.
func TestLocksOfTheServers(t *testing.T) {
	for _, name := range []testdb.Name{testdb.PostgresC, testdb.MariaDB} {
		t.Run(string(name), func(t *testing.T) {
			d := testdb.New(t, name)
			s := newTill(t, d.Open(t))
			s.classed(t)
			s.prepared("p1")
			one, two := reading(t, "page.view"), reading(t, "page.view")
			limit := `SET LOCAL lock_timeout = 100`
			if name == testdb.MariaDB {
				limit = `SET innodb_lock_wait_timeout = 1`
			}
			holder := s.begin()
			_, err := s.recordIn(t.Context(), holder, one)
			require.NoError(t, err)
			waits := s.begin()
			_, err = waits.ExecContext(t.Context(), limit)
			require.NoError(t, err)
			id, err := s.recordIn(t.Context(), waits, one)
			if name == testdb.MariaDB { // by a setting of the server all of the transaction is gone
				var driver *sqldb.DriverError
				require.ErrorAs(t, err, &driver)
				require.Equal(t, "mysql 1205", driver.Code)
				require.Zero(t, s.gaps.Number())
				require.NoError(t, waits.Rollback())
			} else {
				require.NoError(t, err)
				require.Empty(t, id)
				require.EqualValues(t, 1, s.gaps.Number())
				require.NoError(t, waits.Commit())
			}
			losses := s.gaps.Number()

			other := s.begin()
			_, err = s.recordIn(t.Context(), other, two)
			require.NoError(t, err)
			late := make(chan error, 1)
			go func() {
				_, err := s.recordIn(t.Context(), other, one)
				if err != nil {
					_ = other.Rollback() // what it wrote before is still locked until then
				}
				late <- err
			}()
			_, mine := s.recordIn(t.Context(), holder, two)
			if mine != nil {
				_ = holder.Rollback()
			}
			theirs := <-late
			require.True(t, (mine == nil) != (theirs == nil), "one of the two is ended: %v, %v", mine, theirs)
			var driver *sqldb.DriverError
			require.ErrorAs(t, errors.Join(mine, theirs), &driver)
			require.Contains(t, []string{"40P01", "mysql 1213"}, driver.Code)
			require.Equal(t, losses, s.gaps.Number(), "a deadlock is no loss: the transaction is over")
			_, _ = holder.Rollback(), other.Rollback()
		})
	}
}

// A full disk ends the transaction (SQLite rolls it back by itself): nothing passes
// for recorded, nothing is counted as lost, and all goes on when there is room.
func TestADiskThatIsFull(t *testing.T) {
	s := newSQLiteTill(t)
	s.db.SetMaxOpenConns(1)
	s.classed(t)
	s.exec(`CREATE TABLE deals (id INTEGER PRIMARY KEY, note TEXT)`)
	s.exec(`INSERT INTO deals VALUES (0, 'lead')`)
	s.prepared("p1")
	var pages int
	require.NoError(t, s.db.QueryRowContext(t.Context(), `PRAGMA page_count`).Scan(&pages))
	s.exec(fmt.Sprint(`PRAGMA max_page_count = `, pages+4))
	refused, kept := 0, 0
	for i := range 60 {
		tx := s.begin()
		_, err := tx.ExecContext(t.Context(), fmt.Sprint(`UPDATE deals SET note = '`, i, `'`))
		require.NoError(t, err)
		if _, err = s.recordIn(t.Context(), tx, reading(t, "page.view")); err != nil {
			_ = tx.Rollback() // there is nothing left to roll back
			require.Zero(t, s.count(fmt.Sprint(`SELECT COUNT(*) FROM deals WHERE note = '`, i, `'`)))
			refused++
			continue
		}
		require.NoError(t, tx.Commit())
		kept++
	}
	require.Positive(t, kept)
	require.Positive(t, refused)
	require.Zero(t, s.gaps.Number())
	require.Equal(t, kept, s.count(`SELECT COUNT(*) FROM crmguard_audit_events`))
	s.exec(`PRAGMA max_page_count = 100000`)
	_, err := s.in(reading(t, "page.view"))
	require.NoError(t, err)
}

// Noting goes on without keys, where its class lets it, and fails where not.
func TestANoteWithoutKeys(t *testing.T) {
	s := newSQLiteTill(t)
	s.classed(t)
	s.keys.down = errors.New("the key service is down")
	id, err := s.note(t.Context(), reading(t, "page.view"))
	require.NoError(t, err)
	require.Empty(t, id)
	require.EqualValues(t, 1, s.gaps.Number())
	_, err = s.note(t.Context(), reading(t, "contact.export"))
	require.ErrorIs(t, err, s.keys.down)
	require.Error(t, s.writeGaps(t.Context()))
	s.keys.down = nil
	require.NoError(t, s.writeGaps(t.Context()))
	require.Zero(t, s.gaps.Number())
	id, err = s.note(t.Context(), reading(t, "page.view"))
	require.NoError(t, err)
	require.NotEmpty(t, id)
}

// A gap whose COMMIT was not answered is written under the id that it had, so
// that it counts once.
func TestAGapCountsOnce(t *testing.T) {
	s := newSQLiteTill(t)
	s.missed(t.Context(), &Event{Tenant: "main"}, class{name: "page."})
	open, err := s.gaps.Begin(NewID)
	require.NoError(t, err)
	require.Len(t, open, 1)
	again, err := s.gaps.Begin(NewID)
	require.NoError(t, err)
	require.Empty(t, again, "somebody writes it")
	require.NoError(t, s.writeGap(t.Context(), open[0]), "and nobody hears that it is done")
	s.gaps.Done(nil)
	s.missed(t.Context(), &Event{Tenant: "main"}, class{name: "page."})
	require.NoError(t, s.writeGaps(t.Context()))
	require.Zero(t, s.gaps.Number())
	leaves := s.waitingLeaves(t)
	require.Len(t, leaves, 2)
	require.EqualValues(t, 2, leaves[0].Gap.Count+leaves[1].Gap.Count)
}
