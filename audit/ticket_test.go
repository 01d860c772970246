package audit

import (
	"context"
	"database/sql"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/internal/testdb"
)

func newSQLiteTill(t testing.TB) *till {
	t.Helper()
	return newTill(t, testdb.New(t, testdb.SQLite).Open(t))
}

// notPrepared checks that recording found no tickets, wrote nothing and left the
// transaction usable.
func (s *till) notPrepared(t *testing.T, tx *sql.Tx, e Event, want NotPreparedError) {
	t.Helper()
	drawn := 0
	random := s.random
	s.random = func(b []byte) error { drawn++; return random(b) }
	defer func() { s.random = random }()
	_, err := s.recordIn(t.Context(), tx, e)
	var is *NotPreparedError
	require.ErrorAs(t, err, &is)
	require.ErrorIs(t, err, ErrNotPrepared)
	require.Equal(t, want, *is)
	require.Zero(t, drawn, "nothing was drawn")
	require.NotContains(t, err.Error(), "p1")
}

// Without a ticket, or with one that has ended by any clock, nothing is recorded,
// and the transaction goes on.
func TestWithoutATicketNothingIsRecorded(t *testing.T) {
	eachTill(t, func(t *testing.T, s *till, _ testdb.Database, _ string) {
		s.prepared("p1", "p3")
		three := sold(t, "p1")
		three.Persons = []string{"p2", "p3"}
		tx := s.begin()
		s.notPrepared(t, tx, three, NotPreparedError{Persons: 1})
		foreign := sold(t, "p1")
		foreign.Tenant = "other"
		s.notPrepared(t, tx, foreign, NotPreparedError{Persons: 1, Tenant: true})
		nobody := Event{Tenant: "other", Actor: "u-1", Action: "a.b"}
		s.notPrepared(t, tx, nobody, NotPreparedError{Tenant: true})

		s.advance(time.Minute - time.Microsecond)
		_, err := s.recordIn(t.Context(), tx, sold(t, "p1"))
		require.NoError(t, err, "within the minute")
		s.advance(time.Microsecond)
		s.notPrepared(t, tx, sold(t, "p1"), NotPreparedError{Persons: 1, Tenant: true})
		require.NoError(t, tx.Commit())
		require.Equal(t, 1, s.count(`SELECT COUNT(*) FROM crmguard_audit_events`))

		s.prepared("p1")
		s.advance(-time.Hour)
		tx = s.begin()
		s.notPrepared(t, tx, sold(t, "p1"), NotPreparedError{Persons: 1, Tenant: true})
		require.NoError(t, tx.Rollback())
		s.prepared("p1")
		_, err = s.in(sold(t, "p1"))
		require.NoError(t, err, "prepared again, at the new time")
	})
}

// A ticket that ends between its check and the statement is no matter: what it
// vouches for does not depend on the minute.
func TestATicketThatEndsMeanwhile(t *testing.T) {
	s := newSQLiteTill(t)
	s.prepared("p1")
	tx := s.begin()
	late := &counter{Tx: tx}
	e := sold(t, "p1")
	r, err := s.check(t.Context(), e)
	require.NoError(t, err)
	require.NoError(t, s.take(r))
	s.advance(time.Hour)
	s.tickets.sweep(s.config.Now(), time.Minute)
	require.Empty(t, s.tickets.by)
	require.NoError(t, s.build(r))
	require.NoError(t, s.putRow(t.Context(), late, &r.row))
	require.NoError(t, tx.Commit())
	s.prepared("p1")
	_, err = s.in(e)
	require.NoError(t, err, "the same event under the ticket of now")
}

// Half a lease of the vault and any time within the ticket later, nothing inside
// the transaction asks for a key or for a second connection.
func TestAPoolOfOneConnectionIsEnough(t *testing.T) {
	eachTill(t, func(t *testing.T, s *till, _ testdb.Database, _ string) {
		s.db.SetMaxOpenConns(1)
		s.config.Prepared = 10 * time.Minute
		s.prepared("p1", "p2")
		s.keys.down = fmt.Errorf("the key service is down")
		asked := s.keys.asked.Load()
		s.advance(9 * time.Minute)
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute) // of a sale that hangs
		defer cancel()
		tx, err := s.db.BeginTx(ctx, nil)
		require.NoError(t, err)
		for _, person := range []string{"p1", "p2", "p1"} {
			_, err := s.recordIn(ctx, tx, sold(t, person))
			require.NoError(t, err)
		}
		require.NoError(t, tx.Commit())
		require.Equal(t, asked, s.keys.asked.Load())
	})
}

// Persons that two processes prepare at the same time, in any order, have one
// surrogate and one content key each, and nobody fails.
func TestTwoProcessesPrepareTheSamePersons(t *testing.T) {
	eachTill(t, func(t *testing.T, s *till, d testdb.Database, driver string) {
		processes := []*till{s}
		for range 3 {
			processes = append(processes, overTables(t, d.OpenWith(t, driver)))
		}
		var names []string
		for i := range 20 {
			names = append(names, fmt.Sprint("n", i))
		}
		var wait sync.WaitGroup
		failed := make([]error, len(processes))
		for i, p := range processes {
			order := append([]string{}, names...)
			if i%2 == 1 {
				for a, b := 0, len(order)-1; a < b; a, b = a+1, b-1 {
					order[a], order[b] = order[b], order[a]
				}
			}
			wait.Go(func() {
				for len(order) > 0 {
					if failed[i] = p.prepare(t.Context(), "main", order[:4]); failed[i] != nil {
						return
					}
					order = order[4:]
				}
			})
		}
		wait.Wait()
		for i, err := range failed {
			require.NoError(t, err, "process %d", i)
		}
		require.Equal(t, len(names)+1, s.count(`SELECT COUNT(*) FROM crmguard_audit_surrogates`), "and the tenant's own")
		for _, p := range processes[1:] {
			for _, name := range append(names, "") {
				mine, theirs := s.tickets.find(s.config.Now(), ticketID{"main", name}), p.tickets.find(p.config.Now(), ticketID{"main", name})
				require.Equal(t, mine.ticket, theirs.ticket, name)
			}
		}
	})
}

// Two sales about new persons in opposite order, open at the same time, both
// commit: nothing of a person is in them.
func TestSalesAboutNewPersonsInOppositeOrder(t *testing.T) {
	eachTill(t, func(t *testing.T, s *till, d testdb.Database, driver string) {
		if d.Name == testdb.SQLite {
			return // one writer at a time
		}
		other := overTables(t, d.OpenWith(t, driver))
		s.prepared("p1", "p2")
		other.prepared("p2", "p1")
		one, two := s.begin(), other.begin()
		record := func(p *till, tx *sql.Tx, person string) {
			t.Helper()
			_, err := p.recordIn(t.Context(), tx, sold(t, person))
			require.NoError(t, err)
		}
		record(s, one, "p1")
		record(other, two, "p2")
		record(s, one, "p2")
		record(other, two, "p1")
		require.NoError(t, one.Commit())
		require.NoError(t, two.Commit())
		require.Equal(t, 4, s.count(`SELECT COUNT(*) FROM crmguard_audit_events`))
	})
}

// Tickets are bounded: the ones used longest ago go, and their keys with them.
func TestTicketsAreBoundedAndOverwritten(t *testing.T) {
	var s tickets
	now := time.Date(2026, 11, 22, 9, 0, 0, 0, time.UTC)
	until := grantFrom(now, time.Minute)
	first := &held{id: ticketID{"main", "first"}, until: until, ticket: ticket{content: [32]byte{1}}}
	used := &held{id: ticketID{"main", "used"}, until: until, ticket: ticket{content: [32]byte{1}}}
	s.put(first, used)
	for i := range maxTickets - 1 {
		require.NotNil(t, s.find(now, used.id))
		s.put(&held{id: ticketID{"main", fmt.Sprint("n", i)}, until: until})
	}
	require.Len(t, s.by, maxTickets)
	require.Equal(t, maxTickets, s.order.Len())
	require.Nil(t, s.find(now, first.id), "used longest ago")
	require.Zero(t, first.content)
	require.NotNil(t, s.find(now, used.id))
	s.forget("main", "used")
	require.Nil(t, s.find(now, used.id))
	require.Zero(t, used.content)
	s.sweep(now.Add(30*time.Second), time.Minute)
	require.Len(t, s.by, maxTickets-1)
	s.sweep(now.Add(time.Hour), time.Minute)
	require.Empty(t, s.by)
}

// The time of a ticket begins before anything was read, and is renewed when less
// than half of it is left.
func TestATicketIsRenewedInTime(t *testing.T) {
	s := newSQLiteTill(t)
	s.prepared("p1")
	asked := func(f func()) int64 {
		before := s.keys.asked.Load()
		f()
		return s.keys.asked.Load() - before
	}
	s.advance(29 * time.Second)
	require.EqualValues(t, 1, asked(func() { s.prepared("p1") }), "whether the person still has a key, and nothing else")
	s.advance(2 * time.Second)
	require.Greater(t, asked(func() { s.prepared("p1") }), int64(1))
	s.advance(59 * time.Second)
	_, err := s.in(sold(t, "p1"))
	require.NoError(t, err)
}

// What cannot be prepared is an error before the transaction begins.
func TestWhatCannotBePrepared(t *testing.T) {
	s := newSQLiteTill(t)
	ctx := t.Context()
	many := make([]string, maxPrepared+1)
	for i := range many {
		many[i] = fmt.Sprint("n", i)
	}
	require.ErrorIs(t, s.prepare(ctx, "main", many), ErrTooLarge)
	require.ErrorIs(t, s.prepare(ctx, "main", []string{""}), ErrInvalid)
	require.ErrorIs(t, s.prepare(ctx, "", nil), ErrInvalid)
	require.NoError(t, s.prepare(ctx, "main", []string{"p1", "p1", "p1"}), "one person prepared twice")
	require.Equal(t, 2, s.count(`SELECT COUNT(*) FROM crmguard_audit_surrogates`))
	s.keys.down = fmt.Errorf("down")
	require.ErrorIs(t, s.prepare(ctx, "main", []string{"p2"}), s.keys.down)
	s.keys.down = nil

	// A head that was exchanged, or taken away, is found: no ticket is made of it (what
	// comes in its place is written under the lock of the state row, which is not here).
	s.prepared("p2")
	s.tickets = tickets{}
	s.exec(`UPDATE crmguard_audit_surrogates SET head = (SELECT head FROM crmguard_audit_surrogates WHERE person = 'p2') WHERE person = 'p1'`)
	require.Error(t, s.prepare(ctx, "main", []string{"p1"}))
	s.exec(`UPDATE crmguard_audit_surrogates SET head = NULL WHERE person = 'p1'`)
	require.ErrorContains(t, s.prepare(ctx, "main", []string{"p1"}), "the state row is gone")
	require.NoError(t, s.prepare(ctx, "main", []string{"p2"}))
}
