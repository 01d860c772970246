package sqltrail_test

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/audit"
	"github.com/crmguard/crmguard/audit/capture"
	"github.com/crmguard/crmguard/internal/testdb"
)

// An event hides an update where events of the transaction name each column that
// changed, and nothing less.
func TestAnEventHidesOnlyTheColumnsItTellsOf(t *testing.T) {
	eachCapturing(t, func(t *testing.T, s *capturing) {
		s.does([]string{`INSERT INTO contacts (id) VALUES ('p1'), ('p2'), ('p3'), ('p4')`})
		s.sequence()
		before := len(s.filed())
		person := func(id string) audit.Object { return audit.PersonRef("contact", id) }
		s.does([]string{`UPDATE contacts SET stage = 'x', email = 'canary'`},
			event(t, person("p1"), "stage"),                                  // of one of two
			event(t, person("p2"), "stage"), event(t, person("p2"), "email"), // of both, in two events
			event(t, person("p3"), "stage", "email", "note"), // and of more
			event(t, person("p4"), "note", "score"),          // of names that are not declared: they stand in no leaf
		)
		s.sequence()
		require.Equal(t, []string{"contacts u " + s.surrogate("p1"), "contacts u " + s.surrogate("p4")}, s.filed()[before:])
		require.Zero(t, s.waiting())
		s.agree()
	})
}

// Events of one transaction that stand in two pages of a pass tell of a row together.
func TestEventsOfTwoPagesTellTogether(t *testing.T) {
	oneCapturing(t, func(s *capturing) {
		s.does([]string{`INSERT INTO contacts (id) VALUES ('p1')`})
		s.sequence()
		before := len(s.filed())
		first := make([]audit.Event, 255) // so that the page ends behind the first of the two
		for i := range first {
			first[i] = event(s.t, audit.Ref("note", "1"))
		}
		s.does(nil, first...)
		p1 := audit.PersonRef("contact", "p1")
		s.does([]string{`UPDATE contacts SET stage = 'x', email = 'y'`}, event(s.t, p1, "stage"), event(s.t, p1, "email"))
		s.does([]string{`UPDATE contacts SET stage = 'z', email = 'z'`}, event(s.t, p1, "stage")) // of another transaction
		s.sequence()
		require.Len(s.t, s.filed()[before:], 1, "both columns of the first were told of, one of the second was not")
	})
}

// Of several tables of one kind the first is the one whose rows are the objects: what
// happens to a row of another under the same key no event tells of.
func TestAnEventTellsOfRowsOfItsOwnTable(t *testing.T) {
	eachCapturing(t, func(t *testing.T, s *capturing) {
		s.exec(`CREATE TABLE shares (deal bigint PRIMARY KEY, amount bigint)`)
		s.packs(capture.Table{Name: "shares", Kind: "deal", Tenant: "main"})
		s.does([]string{`INSERT INTO deals VALUES (1, 1)`, `INSERT INTO shares VALUES (1, 1)`}, event(t, audit.Ref("deal", "1")))
		s.does([]string{`UPDATE deals SET amount = 2`, `UPDATE shares SET amount = 2`}, event(t, audit.Ref("deal", "1"), "amount"))
		s.sequence()
		require.Equal(t, []string{"shares i 1", "shares u 1"}, s.filed())
		require.Zero(t, s.waiting())
	})
}

// The number of a transaction is given again: by a server onto which the database was
// dumped, or whose log was reset. An event of another transaction tells of nothing.
func TestATransactionIsNoNumberAlone(t *testing.T) {
	eachCapturing(t, func(t *testing.T, s *capturing) {
		s.does([]string{`INSERT INTO deals VALUES (1, 1)`, `UPDATE crmguard_audit_captured SET tx = concat(pg_current_xact_id(), '/', 1767225600000000)`}, event(t, audit.Ref("deal", "1"), "amount"))
		s.does([]string{`INSERT INTO deals VALUES (2, 1)`, `SAVEPOINT a`, `UPDATE deals SET amount = 2 WHERE id = 2`, `RELEASE SAVEPOINT a`}, event(t, audit.Ref("deal", "2"), "amount"))
		s.does([]string{`INSERT INTO deals VALUES (3, 1)`}, event(t, audit.Ref("deal", "3"), "amount"))
		s.exec(`UPDATE crmguard_audit_events SET tx = NULL WHERE seq = (SELECT max(seq) FROM crmguard_audit_events)`) // of none, says who may write there
		require.Equal(t, 3, s.sequence().Sequenced)
		require.Equal(t, []string{"deals i 1", "deals i 3"}, s.filed())
		require.Zero(t, s.waiting())
	})
}

// Whose a surrogate is stands under a tag: an event about somebody of whom a row says
// without it that it is somebody else hides nothing of theirs.
func TestWhomATagDoesNotNameIsToldOfByNoEvent(t *testing.T) {
	oneCapturing(t, func(s *capturing) {
		s.does([]string{`INSERT INTO contacts (id) VALUES ('p1'), ('p2')`}, event(s.t, audit.PersonRef("contact", "p1"), "stage"))
		s.sequence()
		before := len(s.filed())
		s.does([]string{`UPDATE contacts SET stage = 'x' WHERE id = 'p2'`}, event(s.t, audit.PersonRef("contact", "p1"), "stage"))
		s.exec(`UPDATE crmguard_audit_surrogates SET person = 'p2' WHERE person = 'p1'`)
		s.sequence()
		require.Equal(s.t, []string{"contacts u "}, s.filed()[before:])
		require.Zero(s.t, s.waiting())
	})
}

// What events told of is found at once, however many rows one transaction has of one
// key, and however many events: a page that looks for all of it anew held a pass up.
func TestWhatWasToldOfIsReadOnce(t *testing.T) {
	d := testdb.New(t, testdb.PostgresC)
	s := newCapturing(t, d.OpenWith(t, "pgx"))
	db, c := d.Cutting(t, "pgx")
	trail := s.over(db)
	pass := func(statements []string, events ...audit.Event) testdb.Counts {
		s.does(statements, events...)
		c.Counts()
		r, err := trail.RunOnce(t.Context())
		require.NoError(t, err)
		require.Equal(t, len(events), r.Sequenced)
		return c.Counts()
	}
	changes := func(deal, n int) string {
		return fmt.Sprintf(`DO $$ BEGIN INSERT INTO deals VALUES (%d, 0); FOR i IN 2 .. %d LOOP UPDATE deals SET amount = i WHERE id = %[1]d; END LOOP; END $$`, deal, n)
	}
	pass(nil, event(t, audit.Ref("deal", "1"), "amount")) // the first beat
	one := func(deal int) audit.Event { return event(t, audit.Ref("deal", fmt.Sprint(deal)), "amount") }
	few, many := pass([]string{changes(1, 1000)}, one(1)), pass([]string{changes(2, 6000)}, one(2))
	require.Equal(t, 5000/500, many.Statements-few.Statements, "those that delete, and no other")
	require.InDelta(t, 2*5000, many.Rows-few.Rows, 100, "each was read once, and was said to be deleted")
	require.Empty(t, s.filed())

	var events []audit.Event
	for range 400 {
		events = append(events, one(3))
	}
	several := pass([]string{changes(3, 6000)}, events...)
	require.Less(t, several.Rows-many.Rows, 20*len(events), "each event costs what it costs, and not all of the rows")

	drain := func() {
		for s.waiting() > 0 {
			s.sequence()
		}
	}
	without := pass([]string{`INSERT INTO deals SELECT g, 0 FROM generate_series(10000, 12999) g`})
	drain()
	beside := pass([]string{`INSERT INTO deals SELECT g, 0 FROM generate_series(20000, 22999) g`}, one(20000))
	require.Less(t, beside.Rows, without.Rows+100, "others of its transaction are not read for it")
	drain()
	s.does([]string{changes(4, 3000)})
	before := pass([]string{`UPDATE deals SET amount = 0 WHERE id = 4`}, one(4))
	require.Less(t, before.Rows, without.Rows+100, "nor what other transactions did with its row")
	drain()
	pass(nil, event(t, audit.Ref("note", "1"))) // alone in its pass, and of a kind of which nothing is captured
}

// What was set aside waits no more: it tells of nothing, and says no more of which
// transaction it was.
func TestWhatWasSetAsideIsOfNoTransaction(t *testing.T) {
	oneCapturing(t, func(s *capturing) {
		s.does([]string{`INSERT INTO deals VALUES (1, 1)`}, event(s.t, audit.Ref("deal", "1"), "amount"))
		s.exec(`UPDATE crmguard_audit_events SET body = set_byte(body, length(body) - 1, 255 - get_byte(body, length(body) - 1)) WHERE idx IS NULL`)
		require.Equal(s.t, 1, s.sequence().Aside)
		require.Equal(s.t, []string{"deals i 1"}, s.filed())
		require.Zero(s.t, s.count(`SELECT COUNT(*) FROM crmguard_audit_events WHERE tx IS NOT NULL`))
	})
}
