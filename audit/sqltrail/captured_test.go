package sqltrail_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/audit"
	"github.com/crmguard/crmguard/audit/auditlog"
	"github.com/crmguard/crmguard/audit/audittest"
	"github.com/crmguard/crmguard/audit/capture"
	"github.com/crmguard/crmguard/audit/sqltrail"
	"github.com/crmguard/crmguard/internal/testdb"
)

// What no event told of stands in the log: persons under their surrogates, if
// they have one, and never under their ids.
func TestWhatIsCapturedIsFiled(t *testing.T) {
	eachCapturing(t, func(t *testing.T, s *capturing) {
		require.NoError(t, s.trail.Prepare(t.Context(), "main", "canary-1"))
		s.does([]string{
			`INSERT INTO contacts (id, email) VALUES ('canary-1', 'canary@canary.example'), ('canary-2', NULL)`,
			`UPDATE contacts SET email = 'other@canary.example', stage = 'lead' WHERE id = 'canary-1'`,
			`DELETE FROM contacts WHERE id = 'canary-2'`,
			`INSERT INTO deals VALUES (17, 5)`,
			`TRUNCATE deals`,
		})
		r := s.sequence()
		require.Equal(t, 6, r.Captured)
		require.Zero(t, s.waiting())
		who := s.surrogate("canary-1")
		require.Equal(t, []string{"contacts i " + who, "contacts i ", "contacts u " + who, "contacts d ", "deals i 17", "deals t "}, s.filed())
		for _, leaf := range s.leaves() {
			require.NotEqual(t, "u-1", leaf.Actor)
			if leaf.Object.ID == who {
				require.Equal(t, []string{who}, leaf.Persons, "or nobody finds it by the person")
			}
		}
		require.Equal(t, []string{"email", "stage"}, s.leaves()[2].Capture.Columns)
		for e, err := range auditlog.Entries(t.Context(), s.sink.FS()) {
			require.NoError(t, err)
			require.NotContains(t, string(e.Leaf), "canary")
		}
		s.agree()
		n := 0
		for _, err := range s.trail.History(t.Context(), "main", audit.PersonRef("contact", "canary-1"), audit.Page{Size: 10}) {
			require.NoError(t, err)
			n++
		}
		require.Equal(t, 2, n)
		require.Zero(t, s.sequence().Captured)
	})
}

// A change that an event of its transaction told of is there once; what the event
// did not say is there besides.
func TestWhatAnEventToldOfIsNotFiledAgain(t *testing.T) {
	eachCapturing(t, func(t *testing.T, s *capturing) {
		s.does([]string{`INSERT INTO contacts (id) VALUES ('p1'), ('p2'), ('p3')`, `INSERT INTO deals VALUES (1, 1), (2, 2), (3, 3), (4, 4)`})
		s.sequence()
		before := len(s.filed())
		partial, denied := event(t, audit.Ref("deal", "3"), "amount"), event(t, audit.Ref("deal", "4"), "amount")
		partial.Outcome, denied.Outcome = audit.OutcomePartial, audit.OutcomeDenied
		s.does([]string{`UPDATE contacts SET stage = 'x'`, `UPDATE deals SET amount = 9`},
			event(t, audit.PersonRef("contact", "p1"), "stage"),
			event(t, audit.PersonRef("contact", "p2")), // read, it says
			event(t, audit.Ref("deal", "1"), "amount"), event(t, audit.Ref("contact_", "p3"), "stage"), partial, denied)
		// The same objects in another transaction: the event was not of that one.
		s.does([]string{`UPDATE deals SET amount = 10 WHERE id = 1`})
		r := s.sequence()
		require.Equal(t, 5, r.Captured)
		require.Equal(t, []string{"contacts u " + s.surrogate("p2"), "contacts u ", "deals u 2", "deals u 4", "deals u 1"}, s.filed()[before:])
		require.Zero(t, s.waiting())
		s.agree()
	})
}

// However many rows one event tells of, and however many events one transaction
// has: what is left over when the events have their places was not told of.
func TestEverythingThatWasToldOfGoesWithItsEvent(t *testing.T) {
	oneCapturing(t, func(s *capturing) {
		var statements []string
		for i := range 2500 {
			statements = append(statements, fmt.Sprintf(`INSERT INTO deals VALUES (1, %d) ON CONFLICT (id) DO UPDATE SET amount = excluded.amount`, i))
		}
		var events []audit.Event
		for i := range 700 { // more than a pass takes at once
			statements = append(statements, fmt.Sprintf(`INSERT INTO deals VALUES (%d, 0)`, 1000+i))
			events = append(events, event(s.t, audit.Ref("deal", fmt.Sprint(1000+i)), "amount"))
		}
		s.does(append(statements, `INSERT INTO deals VALUES (2, 0)`), append(events, event(s.t, audit.Ref("deal", "1"), "amount"))...)
		require.Equal(s.t, 3201, s.waiting())
		r := s.sequence()
		require.Equal(s.t, 701, r.Sequenced)
		require.Equal(s.t, []string{"deals i 2"}, s.filed())
		require.Zero(s.t, s.waiting())
		s.agree()
	})
}

// Whoever may write the table of captured rows can write as many as he likes:
// events are filed before them, and of them a thousand a pass.
func TestCapturedRowsNeverStandBeforeEvents(t *testing.T) {
	oneCapturing(t, func(s *capturing) {
		s.exec(`INSERT INTO crmguard_audit_captured (tx, at, tab, kind, tenant, key, op, who)
			SELECT ` + thisTx + `, 1, 'public.deals', 'deal', 'main', g::text, 'i', 'crm_app' FROM generate_series(1, 2500) g`)
		for range 3 {
			s.does(nil, event(s.t, audit.Ref("deal", "1"), "amount"))
			s.sequence()
		}
		var kinds strings.Builder
		for _, leaf := range s.leaves() {
			kinds.WriteString(leaf.Kind[:1])
		}
		require.Len(s.t, kinds.String(), 2503)
		require.Equal(s.t, "ec", kinds.String()[:2])
		require.Equal(s.t, "cec", kinds.String()[1000:1003])
		require.Equal(s.t, "cec", kinds.String()[2001:2004])
		s.agree()
	})
}

// A row that no trigger writes is deleted, and somebody is told; the rows beside it
// are filed.
func TestARowThatNoTriggerWroteIsTaken(t *testing.T) {
	oneCapturing(t, func(s *capturing) {
		s.does([]string{`INSERT INTO deals VALUES (1, 1)`})
		for _, bad := range []string{
			`'deals', 'deal', 'main', '1', 'x', NULL`, `'a.b.c', 'deal', 'main', '1', 'i', NULL`, `'deals', 'no code', 'main', '1', 'i', NULL`,
			`'deals', 'deal', 'main', '1', 'i', '{a}'`, `'deals', 'deal', 'main', '1', 'u', '{NULL}'`, `'deals', 'deal', 'main', '1', 't', NULL`,
		} {
			s.exec(`INSERT INTO crmguard_audit_captured (tx, at, tab, kind, tenant, key, op, cols, who) VALUES (` + thisTx + `, 1, ` + bad + `, 'crm_app')`)
		}
		s.exec(`INSERT INTO crmguard_audit_captured (tx, at, tab, kind, op, who) VALUES (` + thisTx + `, 9223372036854775807, 'deals', 'deal', 'i', 'crm_app')`)
		s.does([]string{`INSERT INTO deals VALUES (2, 2)`})
		r := s.sequence()
		require.Equal(s.t, 2, r.Captured)
		require.Equal(s.t, []string{"deals i 1", "deals i 2"}, s.filed())
		require.Zero(s.t, s.waiting())
		f := s.finding(s.trail, "audit.captured")
		require.Equal(s.t, audit.HealthAlarm, f.Level)
		require.Contains(s.t, f.Remedy, "no trigger had written")
		s.agree()
	})
}

// The connection is ended at every single call of a pass, and after each commit
// was done: each change has one entry.
func TestAPassThatIsCutFilesNothingTwice(t *testing.T) {
	d := testdb.New(t, testdb.PostgresC)
	s := newCapturing(t, d.OpenWith(t, "pgx"))
	db, c := d.Cutting(t, "pgx")
	trail := s.over(db)
	deal := 0
	for _, commits := range []bool{false, true} {
		again := false
		cuts := everyCut(t, c, commits, func() error {
			if !again {
				deal += 2
				s.does([]string{fmt.Sprintf(`INSERT INTO deals VALUES (%d, 0), (%d, 0)`, deal, deal+1)}, event(t, audit.Ref("deal", fmt.Sprint(deal)), "amount"))
			}
			_, err := trail.RunOnce(t.Context())
			again = err != nil
			return err
		})
		require.Positive(t, cuts)
	}
	want := make([]string, 0, deal/2)
	for n := 2; n <= deal; n += 2 {
		want = append(want, fmt.Sprintf("deals i %d", n+1))
	}
	require.Equal(t, want, s.filed())
	require.Zero(t, s.waiting())
	s.agree()
}

// Two sequencers at the same time file each row once.
func TestTwoSequencersFileEachRowOnce(t *testing.T) {
	d := testdb.New(t, testdb.PostgresC)
	s := newCapturing(t, d.OpenWith(t, "pgx"))
	other := s.over(d.OpenWith(t, "postgres"))
	s.exec(`INSERT INTO deals SELECT g, 0 FROM generate_series(1, 3000) g`)
	done := make(chan error, 2)
	for _, trail := range []*audit.Trail{s.trail, other} {
		go func() {
			for range 4 {
				if _, err := trail.RunOnce(t.Context()); err != nil {
					done <- err
					return
				}
			}
			done <- nil
		}()
	}
	require.NoError(t, <-done)
	require.NoError(t, <-done)
	seen := map[string]int{}
	for _, one := range s.filed() {
		seen[one]++
	}
	require.Len(t, seen, 3000)
	require.Len(t, s.filed(), 3000)
	require.Zero(t, s.waiting())
	s.agree()
}

// A database that was put back to an older state has its captured rows again, and
// its waiting events: CatchUp and the passes behind it file nothing twice.
func TestARestoredDatabaseFilesNothingTwice(t *testing.T) {
	oneCapturing(t, func(s *capturing) {
		s.does([]string{`INSERT INTO deals VALUES (1, 1)`}, event(s.t, audit.Ref("deal", "1"), "amount"))
		s.sequence()
		s.does([]string{`INSERT INTO deals VALUES (2, 1), (3, 1)`}, event(s.t, audit.Ref("deal", "2"), "amount"))
		s.exec(`CREATE SCHEMA backup`)
		for _, table := range dumpedTables {
			s.exec(`CREATE TABLE backup.` + table + ` AS TABLE crmguard_audit_` + table)
		}
		s.sequence()
		s.does([]string{`INSERT INTO deals VALUES (4, 1)`})
		s.sequence()
		require.Equal(s.t, []string{"deals i 3", "deals i 4"}, s.filed())
		for _, table := range dumpedTables {
			s.exec(`TRUNCATE crmguard_audit_` + table)
			s.exec(`INSERT INTO crmguard_audit_` + table + ` OVERRIDING SYSTEM VALUE SELECT * FROM backup.` + table)
		}
		require.Equal(s.t, 2, s.waiting())
		require.NoError(s.t, s.trail.CatchUp(s.t.Context()))
		s.does([]string{`INSERT INTO deals VALUES (5, 1)`})
		s.sequence()
		require.Equal(s.t, []string{"deals i 3", "deals i 4", "deals i 5"}, s.filed())
		require.Zero(s.t, s.waiting())
		s.agree()
	})
}

// A row of a transaction one event of which still waits goes on waiting, because
// that event may tell of it; other rows do not wait for it, nor does anything wait
// for who holds captured rows.
func TestNobodyWaitsForWhoHoldsRows(t *testing.T) {
	oneCapturing(t, func(s *capturing) {
		ctx, cancel := context.WithTimeout(s.t.Context(), time.Minute)
		defer cancel()
		told := event(s.t, audit.Ref("deal", "1"), "amount")
		s.does([]string{`INSERT INTO deals VALUES (1, 1)`}, told)
		s.does([]string{`INSERT INTO deals VALUES (2, 1)`})
		retrying, err := s.db.BeginTx(ctx, nil)
		require.NoError(s.t, err)
		require.NoError(s.t, only(s.trail.Record(ctx, retrying, told)))
		s.sequence()
		require.Equal(s.t, []string{"deals i 2"}, s.filed())
		require.Equal(s.t, 1, s.waiting())
		require.NoError(s.t, retrying.Commit())

		s.does([]string{`INSERT INTO deals VALUES (3, 1)`})
		s.does([]string{`INSERT INTO deals VALUES (4, 1)`})
		holding, err := s.db.BeginTx(ctx, nil)
		require.NoError(s.t, err)
		_, err = holding.ExecContext(ctx, `SELECT FROM crmguard_audit_captured WHERE key = '3' FOR UPDATE`)
		require.NoError(s.t, err)
		r, err := s.trail.RunOnce(ctx)
		require.NoError(s.t, err)
		require.Equal(s.t, 1, r.Sequenced, "the event that was held")
		require.Equal(s.t, []string{"deals i 2", "deals i 4"}, s.filed())
		require.NoError(s.t, holding.Rollback())
		s.sequence()
		require.Equal(s.t, []string{"deals i 2", "deals i 4", "deals i 3"}, s.filed())
		require.Zero(s.t, s.waiting())
		s.agree()
	})
}

// What is captured about a person is left until it is filed; an erasure files it,
// without the person.
func TestAnErasureReachesCapturedRows(t *testing.T) {
	eachCapturing(t, func(t *testing.T, s *capturing) {
		ctx := t.Context()
		for _, person := range []string{"p1", "p2"} { // one the trail knows, and one it never met
			if person == "p1" {
				require.NoError(t, s.trail.Prepare(ctx, "main", person))
			}
			s.does([]string{`INSERT INTO contacts (id) VALUES ('` + person + `')`, `DELETE FROM contacts WHERE id = '` + person + `'`})
			n, err := s.trail.Left(ctx, "main", person)
			require.NoError(t, err)
			require.GreaterOrEqual(t, n, 2)
			n, err = s.trail.Left(ctx, "another", person)
			require.NoError(t, err)
			require.Zero(t, n)
		}
		s.does([]string{`INSERT INTO deals VALUES (1, 1)`})
		for _, person := range []string{"p1", "p2"} {
			require.NoError(t, s.trail.Erase(ctx, "main", person))
			n, err := s.trail.Left(ctx, "main", person)
			require.NoError(t, err)
			require.Zero(t, n)
		}
		require.Equal(t, 1, s.waiting(), "that of nobody waits for its pass")
		s.sequence()
		require.Equal(t, []string{"contacts i ", "contacts d ", "contacts i ", "contacts d ", "deals i 1"}, s.filed())
		s.agree()
	})
}

// Status says what waits for too long, what is not captured, and what the trail may
// not do; events go on whatever lacks.
func TestStatusSaysWhatIsNotCaptured(t *testing.T) {
	d := testdb.New(t, testdb.PostgresICU)
	s := newCapturing(t, d.OpenWith(t, "pgx"))
	require.Equal(t, audit.HealthOK, s.finding(s.trail, "audit.captured").Level)
	require.Equal(t, audit.HealthOK, s.finding(s.trail, "audit.capturing").Level)
	s.exec(`ALTER TABLE deals DISABLE TRIGGER ALL`)
	f := s.finding(s.trail, "audit.capturing")
	require.Equal(t, audit.HealthAlarm, f.Level)
	require.InDelta(t, 1, f.Value, 0)
	all, err := s.trail.Status(t.Context())
	require.NoError(t, err)
	named := false
	for _, f := range all {
		named = named || f.Name == "audit.capturing" && f.Subject == "deals" && f.Level == audit.HealthAlarm
	}
	require.True(t, named)
	s.exec(`ALTER TABLE deals ENABLE TRIGGER ALL`)

	s.exec(`INSERT INTO deals VALUES (1, 1)`)
	f = s.finding(s.trail, "audit.captured")
	require.Equal(t, audit.HealthOK, f.Level)
	require.InDelta(t, 1, f.Value, 0)
	config := s.config
	s.config.Now = func() time.Time { return time.Now().Add(25 * time.Hour) }
	require.Equal(t, audit.HealthAlarm, s.finding(s.over(s.db.DB), "audit.captured").Level)
	s.config.Captured = nil // where nobody files them, they wait all the same
	require.Contains(t, s.finding(s.over(s.db.DB), "audit.captured").Remedy, "Config.Captured")
	s.config = config

	role, as := d.Role(t)
	for _, query := range []string{`GRANT SELECT ON ALL TABLES IN SCHEMA public TO ` + role, `GRANT INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO ` + role, `REVOKE ALL ON crmguard_audit_captured FROM ` + role} {
		s.exec(query)
	}
	trail := s.over(as.OpenWith(t, "pgx"))
	rights := []string{`SELECT`, `UPDATE (n)`, `DELETE`}
	for lacks := range rights {
		for _, grant := range rights {
			s.exec(`GRANT ` + grant + ` ON crmguard_audit_captured TO ` + role)
		}
		require.Equal(t, audit.HealthOK, s.finding(trail, "audit.captured").Level)
		s.exec(`REVOKE ` + rights[lacks] + ` ON crmguard_audit_captured FROM ` + role)
		require.Equal(t, audit.HealthAlarm, s.finding(trail, "audit.captured").Level, rights[lacks])
		s.does(nil, event(t, audit.Ref("deal", "7"), "amount"))
		r, err := trail.RunOnce(t.Context())
		require.NoError(t, err)
		require.Equal(t, 1, r.Sequenced)
		require.Zero(t, r.Captured)
	}
	s.exec(`GRANT DELETE ON crmguard_audit_captured TO ` + role)
	r, err := trail.RunOnce(t.Context())
	require.NoError(t, err)
	require.Equal(t, 1, r.Captured, "nothing more is needed")

	s.exec(`DROP TABLE crmguard_audit_captured CASCADE`)
	require.Contains(t, s.finding(s.trail, "audit.captured").Remedy, "not there")
	s.does(nil, event(t, audit.Ref("deal", "8"), "amount"))
	require.Equal(t, 1, s.sequence().Sequenced)
	s.agree()
}

// A trail files captured rows only where it was told to, of a database that has
// them, and never the ids of persons.
func TestOpenRefusesToCaptureWhatItCannot(t *testing.T) {
	open := func(t *testing.T, name testdb.Name, change func(c *audit.Config)) error {
		t.Helper()
		db := testdb.New(t, name).Open(t)
		require.NoError(t, sqltrail.Install(t.Context(), db))
		store, err := sqltrail.Open(t.Context(), db)
		require.NoError(t, err)
		c := config(t, "crm.example/audit", &audittest.Sink{}, audittest.NewKeys())
		c.PersonKinds, c.Captured = []string{}, capturedTables()
		change(&c)
		_, err = audit.Open(t.Context(), store, c)
		return err
	}
	require.NoError(t, open(t, testdb.PostgresC, func(*audit.Config) {}))
	require.ErrorIs(t, open(t, testdb.SQLite, func(*audit.Config) {}), audit.ErrInvalid)
	require.ErrorIs(t, open(t, testdb.PostgresC, func(c *audit.Config) { c.PersonKinds = nil }), audit.ErrInvalid)
	require.ErrorIs(t, open(t, testdb.PostgresC, func(c *audit.Config) { c.Captured = []capture.Table{{Name: "deals"}} }), audit.ErrInvalid)
}
