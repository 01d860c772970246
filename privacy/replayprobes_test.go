package privacy_test

import (
	"context"
	"fmt"
	"iter"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/internal/sqldb"
	"github.com/crmguard/crmguard/privacy"
	"github.com/crmguard/crmguard/privacy/datamap"
	"github.com/crmguard/crmguard/privacy/datastore"
)

// leads are a table beside the others, with a person column of a type of its
// own.
type leads struct {
	*system
	mark []any
	rows [][]any
}

// leadsOf makes the table: id, person of the type, email and, where dated, the
// creation time.
func leadsOf(s *system, personType string, dated bool) *leads {
	kinds := map[sqldb.Kind]string{sqldb.SQLite: "INTEGER", sqldb.Postgres: "bigint", sqldb.MariaDB: "BIGINT"}
	s.exec(`CREATE TABLE leads (id ` + kinds[s.on.Kind] + ` PRIMARY KEY, person ` + personType + `, email VARCHAR(99), created ` + kinds[s.on.Kind] + `)`)
	s.exec(`CREATE INDEX leads_person ON leads (person)`)
	m := dataMap()
	table := datamap.Table{
		Name: "leads", Key: []string{"id"}, Person: "person", Erase: datamap.Delete,
		Columns: []datamap.Column{{Name: "email", Category: "contact.email", Purpose: "dpv:Marketing", Basis: "dpv:Consent"}},
	}
	if dated {
		table.Created = "created"
	} else {
		table.Columns = append(table.Columns, datamap.Column{Name: "created"})
	}
	m.Tables = append(m.Tables, table)
	s.openWith(m)
	s.cfg.Delay, s.cfg.Lease, s.cfg.PerDay = -1, -1, -1
	s.reopen()
	return &leads{system: s}
}

func (l *leads) add(id int, person any, created int64) {
	l.exec(`INSERT INTO leads VALUES (?, ?, ?, ?)`, id, person, fmt.Sprintf("%d@lead.example", id), created)
}

// backup keeps rows and mark; restore brings them back.
func (l *leads) backup() {
	l.mark, l.rows = l.markRow(), nil
	rows, err := l.db.QueryContext(l.t.Context(), `SELECT id, person, email, created FROM leads`)
	require.NoError(l.t, err)
	defer rows.Close()
	for rows.Next() {
		row := make([]any, 4)
		require.NoError(l.t, rows.Scan(&row[0], &row[1], &row[2], &row[3]))
		if text, ok := row[1].([]byte); ok {
			row[1] = string(text)
		}
		l.rows = append(l.rows, row)
	}
	require.NoError(l.t, rows.Err())
}

func (l *leads) restore() {
	l.exec(`DELETE FROM leads`)
	for _, row := range l.rows {
		l.exec(`INSERT INTO leads VALUES (?, ?, ?, ?)`, row...)
	}
	l.putMark(l.mark)
}

// erases carries an erasure through; the delay and the lease are none.
func (l *leads) erases(person string) {
	l.t.Helper()
	p, err := l.desk.PlanErasure(l.t.Context(), privacy.Request{Tenant: "main", Person: person, Reason: "r", By: "user/1"})
	require.NoError(l.t, err)
	require.NoError(l.t, l.desk.Approve(l.t.Context(), p.ID, "user/2"))
	o, err := l.desk.Execute(l.t.Context(), p.ID)
	require.NoError(l.t, err)
	require.Equal(l.t, privacy.Done, o.State, "%+v", o.Stores)
}

const longAgo = 1_700_000_000_000_000

// A person is found again under whatever type the id has.
func TestReplayOfIDsOfEveryType(t *testing.T) {
	const one, two = "0192f0c1-2345-7000-8000-0000000000aa", "0192f0c1-2345-7000-8000-0000000000bb"
	for _, c := range []struct {
		kind, one, two string
		only           sqldb.Kind
	}{{kind: "BIGINT", one: "17", two: "18"}, {kind: "CHAR(8)", one: "p17", two: "p18"}, {kind: "VARCHAR(64)", one: "p17", two: "p18"}, {"uuid", one, two, sqldb.Postgres}} {
		t.Run(c.kind, func(t *testing.T) {
			eachSystem(t, func(t *testing.T, s *system) {
				if c.only != "" && c.only != s.on.Kind {
					return
				}
				l := leadsOf(s, c.kind, true)
				l.add(1, c.one, longAgo)
				l.add(2, c.two, longAgo)
				l.backup()
				l.erases(c.one)
				l.restore()
				require.ErrorIs(t, s.desk.Ready(t.Context()), privacy.ErrBehind, c.kind)
				r, err := s.desk.Replay(t.Context())
				require.NoError(t, err, c.kind)
				require.Equal(t, 1, r.Erased, c.kind)
				require.NoError(t, s.desk.Ready(t.Context()), c.kind)
				require.Equal(t, 1, l.count(`SELECT COUNT(*) FROM leads`), c.kind)
				require.Equal(t, 1, l.count(`SELECT COUNT(*) FROM leads WHERE id = 2`), c.kind)
			})
		})
	}
}

// An id that the database takes for another one is no other spelling of it:
// who is erased is found again, and nobody else.
func TestReplayOfIDsThatLookAlike(t *testing.T) {
	for _, c := range []struct{ kind, stored, asked string }{
		{"INTEGER", "17", "017"},
		{"INTEGER", "17", "17.0"},
		{"TEXT COLLATE NOCASE", "lead-one", "P1"},
		{"TEXT COLLATE RTRIM", "lead-one", "p1 "},
		{"TEXT", "lead-one", "P1"},
		{"TEXT", "é", "e\u0301"},
		{"NUMERIC", "17", "1.7e1"},
	} {
		l := leadsOf(newSystem(t), c.kind, true)
		l.add(1, c.stored, longAgo)
		l.backup()
		p, err := l.desk.PlanErasure(t.Context(), privacy.Request{Tenant: "main", Person: c.asked, Reason: "r", By: "user/1"})
		if err != nil {
			require.ErrorIs(t, err, privacy.ErrNobody, "%s %q", c.kind, c.asked)
			continue
		}
		require.NoError(t, l.desk.Approve(t.Context(), p.ID, "user/2"))
		_, err = l.desk.Execute(t.Context(), p.ID)
		require.NoError(t, err)
		l.restore()
		_, err = l.desk.Replay(t.Context())
		require.NoError(t, err)
		require.Zero(t, l.count(`SELECT COUNT(*) FROM leads`), "%s %q: what was erased as one is found as one", c.kind, c.asked)
	}
}

// Seconds are no microseconds: such a time says nothing, and the row waits for
// somebody.
func TestReplayOfRowsDatedInSeconds(t *testing.T) {
	eachSystem(t, func(t *testing.T, s *system) {
		l := leadsOf(s, "VARCHAR(64)", true)
		l.add(1, "lead-one", longAgo/1_000_000)
		l.erases("lead-one")
		l.add(2, "lead-one", s.now.Add(time.Hour).Unix())
		r, err := s.desk.Replay(t.Context())
		require.ErrorIs(t, err, privacy.ErrUndecided)
		require.Len(t, r.Undated, 1)
		require.Equal(t, 1, l.count(`SELECT COUNT(*) FROM leads`), "made after the erasure, for all that anybody knows")
	})
}

// A key that was given out again is a row that the intent names: the counter of
// such keys must not go back, and where the row has a time, that decides.
func TestReplayOfAKeyThatWasGivenOutAgain(t *testing.T) {
	eachSystem(t, func(t *testing.T, s *system) {
		l := leadsOf(s, "VARCHAR(64)", true)
		l.add(1, "lead-one", longAgo)
		l.erases("lead-one")
		l.add(1, "lead-one", s.now.Add(time.Minute).UnixMicro())
		r, err := s.desk.Replay(t.Context())
		require.NoError(t, err)
		require.Zero(t, r.Erased)
		require.Len(t, r.Newer, 1)
		require.Equal(t, 1, l.count(`SELECT COUNT(*) FROM leads`))
	})
}

// A row without a time that was gone before the erasure and came back with a
// restore keeps the gate shut until somebody decides about it.
func TestUndatedRowsWaitForSomebody(t *testing.T) {
	for _, erase := range []bool{true, false} {
		t.Run(fmt.Sprint(erase), func(t *testing.T) {
			eachSystem(t, func(t *testing.T, s *system) {
				l := leadsOf(s, "VARCHAR(64)", false)
				l.add(1, "lead-one", 0)
				l.add(2, "lead-one", 0)
				l.backup()
				s.exec(`DELETE FROM leads WHERE id = 2`)
				l.erases("lead-one")
				l.restore()
				for range 2 {
					r, err := s.desk.Replay(t.Context())
					require.ErrorIs(t, err, privacy.ErrUndecided)
					require.Len(t, r.Undated, 1)
					require.Equal(t, "2", r.Undated[0].Key)
					require.Equal(t, "lead-one", r.Undated[0].Person)
					require.ErrorIs(t, s.desk.Ready(t.Context()), privacy.ErrUndecided)
				}
				require.Equal(t, 1, l.count(`SELECT COUNT(*) FROM leads`), "the one that the intent names is gone")
				require.EqualValues(t, 1, s.found("privacy.replay.undecided", "").Value)
				s.reopen() // another process
				require.ErrorIs(t, s.desk.Ready(t.Context()), privacy.ErrUndecided)

				d := privacy.Decision{Tenant: "main", Person: "lead-one", Table: "leads", Key: "2", Erase: erase, By: "user/1", Because: "looked-at"}
				other := d
				other.Key = "3"
				require.ErrorIs(t, s.desk.Decide(t.Context(), other), privacy.ErrNoRow)
				other = d
				other.Because = "I looked at it"
				require.ErrorIs(t, s.desk.Decide(t.Context(), other), privacy.ErrReason)
				other = d
				other.Erase = !erase
				require.NoError(t, s.desk.Decide(t.Context(), other))
				require.NoError(t, s.desk.Decide(t.Context(), d), "overruled")
				r, err := s.desk.Replay(t.Context())
				require.NoError(t, err)
				require.Empty(t, r.Undated)
				require.NoError(t, s.desk.Ready(t.Context()))
				require.Equal(t, map[bool]int{true: 0, false: 1}[erase], l.count(`SELECT COUNT(*) FROM leads`))
				require.Zero(t, s.notes("replay-"))
				require.Equal(t, 2, s.count(`SELECT COUNT(*) FROM events WHERE action = 'privacy.decide'`))
				require.Zero(t, s.count(`SELECT COUNT(*) FROM events WHERE attrs LIKE '%lead-one%'`))
				_, err = s.desk.Replay(t.Context())
				require.NoError(t, err, "a decision lasts")
			})
		})
	}
}

// What a replay found comes with the refusal, and can be looked at before.
func TestAReplayOfManyIsLookedAtFirst(t *testing.T) {
	eachSystem(t, func(t *testing.T, s *system) {
		l := leadsOf(s, "VARCHAR(64)", true)
		for i := range 12 {
			l.add(i, fmt.Sprint("p", i), longAgo)
		}
		l.backup()
		for i := range 12 {
			l.erases(fmt.Sprint("p", i))
		}
		l.restore()
		for _, look := range []func(context.Context) (privacy.Replayed, error){s.desk.ReplayPlan, s.desk.Replay} {
			r, err := look(t.Context())
			if err != nil {
				require.ErrorIs(t, err, privacy.ErrReplayLimit)
			}
			require.Equal(t, 12, r.Back)
			require.Equal(t, 12, r.People)
			require.Zero(t, r.Erased)
			require.Equal(t, []privacy.Count{{Store: "crm", Table: "leads", Class: datastore.Deleted, Rows: 12}}, r.Counts)
			require.Equal(t, 12, l.count(`SELECT COUNT(*) FROM leads`))
			require.ErrorIs(t, s.desk.Ready(t.Context()), privacy.ErrBehind)
		}
		s.cfg.AllowReplay = func(_ context.Context, erase, people int) error {
			if erase != 12 || people != 12 {
				return errBlown
			}
			return nil
		}
		s.reopen()
		r, err := s.desk.Replay(t.Context())
		require.NoError(t, err)
		require.Equal(t, 12, r.Erased)
		require.NoError(t, s.desk.Ready(t.Context()))
	})
}

// One table that was brought back beside the rest, mark included, is found by
// the next pass that is due, and not before.
func TestARestoredTableIsFoundWithinTheInterval(t *testing.T) {
	eachSystem(t, func(t *testing.T, s *system) {
		l := leadsOf(s, "VARCHAR(64)", true)
		l.add(1, "lead-one", longAgo)
		l.add(2, "p2", longAgo)
		l.backup()
		l.erases("lead-one")
		_, err := s.desk.Replay(t.Context())
		require.NoError(t, err)
		l.mark = l.markRow()
		l.restore()
		require.NoError(t, s.desk.Ready(t.Context()), "nothing in ledger and mark tells of it")
		_, err = s.desk.RunOnce(t.Context())
		require.NoError(t, err)
		require.Equal(t, 2, l.count(`SELECT COUNT(*) FROM leads`))
		s.now = s.now.Add(24 * time.Hour)
		findings, err := s.desk.RunOnce(t.Context())
		require.NoError(t, err)
		require.Equal(t, 1, l.count(`SELECT COUNT(*) FROM leads`))
		require.Equal(t, 1, l.count(`SELECT COUNT(*) FROM leads WHERE id = 2`))
		require.Equal(t, privacy.HealthNotice, findings[0].Level)
		require.EqualValues(t, 1, findings[0].Value)
		findings, err = s.desk.RunOnce(t.Context())
		require.NoError(t, err)
		require.Equal(t, privacy.HealthOK, findings[0].Level)
	})
}

// The same person id in another tenant is another person.
func TestReplayKeepsTenantsApart(t *testing.T) {
	s := newSystem(t)
	l := leadsOf(s, "TEXT", true)
	s.exec(`ALTER TABLE leads ADD COLUMN tenant TEXT`)
	m := &datamap.Map{Tables: []datamap.Table{{
		Name: "leads", Key: []string{"id"}, Tenant: "tenant", Person: "person", Created: "created", Erase: datamap.Delete,
		Columns: []datamap.Column{{Name: "email", Category: "contact.email", Purpose: "dpv:Marketing", Basis: "dpv:Consent"}},
	}}}
	s.openWith(m)
	s.cfg.Delay, s.cfg.Lease, s.cfg.Stores = -1, -1, nil
	s.reopen()
	l.exec(`INSERT INTO leads VALUES (1, 'lead-one', 'a@a', ?, 'main'), (2, 'lead-one', 'b@b', ?, 'other')`, longAgo, longAgo)
	old := s.markRow()
	l.erases("lead-one")
	s.exec(`INSERT INTO leads VALUES (1, 'lead-one', 'a@a', ?, 'main'), (3, 'p9', 'a@a', ?, 'main')`, longAgo, s.now.UnixMicro())
	s.putMark(old)
	r, err := s.desk.Replay(t.Context())
	require.NoError(t, err)
	require.Equal(t, 1, r.Erased)
	require.Equal(t, 2, l.count(`SELECT COUNT(*) FROM leads WHERE id IN (2, 3)`))
	require.Equal(t, 2, l.count(`SELECT COUNT(*) FROM leads`))
}

// numbered is the store with a counter.
type numbered struct {
	datastore.Transactional
	top int64
}

func (n *numbered) People(ctx context.Context) iter.Seq2[datastore.Person, error] {
	return n.Transactional.(datastore.People).People(ctx)
}

func (n *numbered) Tops(context.Context) (map[string]int64, error) {
	return map[string]int64{"contacts.id": n.top}, nil
}

func (n *numbered) Advance(_ context.Context, tops map[string]int64) error {
	n.top = max(n.top, tops["contacts.id"])
	return nil
}

// A row of which nobody can say whose it is is counted, and ends nothing.
func TestOneRowThatCannotBeReadEndsNoReplay(t *testing.T) {
	s := newSystem(t)
	ann := s.contact("ann@a.example")
	old := s.snapshot()
	s.erase(ann)
	s.restore(old)
	s.cfg.Database = unread{s.cfg.Database}
	s.reopen()
	r, err := s.desk.Replay(t.Context())
	require.NoError(t, err)
	require.Equal(t, 1, r.Erased)
	require.Equal(t, 2, r.Unread)
	require.NoError(t, s.desk.Ready(t.Context()))
}

type unread struct{ datastore.Transactional }

func (u unread) People(ctx context.Context) iter.Seq2[datastore.Person, error] {
	return func(yield func(datastore.Person, error) bool) {
		row := fmt.Errorf("contacts: %w", datastore.ErrUnreadable)
		if !yield(datastore.Person{}, row) {
			return
		}
		for person, err := range u.Transactional.(datastore.People).People(ctx) {
			if !yield(person, err) {
				return
			}
		}
		yield(datastore.Person{}, row)
	}
}

// Plans that wait cost an erasure and a replay no more than reading them.
func TestThousandsOfPlansThatWait(t *testing.T) {
	if testing.Short() {
		return
	}
	s := newSystem(t)
	ann := s.contact("ann@a.example")
	for i := range 500 {
		_, err := s.desk.PlanErasure(t.Context(), privacy.Request{Tenant: "main", Person: fmt.Sprint("w", i), Reason: "r", By: "user/1", Empty: true})
		require.NoError(t, err)
	}
	s.erase(ann)
	r, err := s.desk.Replay(t.Context())
	require.NoError(t, err)
	require.Zero(t, r.Plans, "they are of others")
	require.Equal(t, 500, s.count(`SELECT COUNT(*) FROM crmguard_privacy_plan WHERE state = 'planned'`))
	require.True(t, strings.HasPrefix(s.state(mustPlan(t, s)), "planned"))
}

func mustPlan(t *testing.T, s *system) (id string) {
	require.NoError(t, s.db.QueryRow(`SELECT id FROM crmguard_privacy_plan WHERE state = 'planned' LIMIT 1`).Scan(&id))
	return id
}
