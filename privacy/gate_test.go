package privacy_test

import (
	"context"
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/internal/sqldb"
	"github.com/crmguard/crmguard/privacy"
	"github.com/crmguard/crmguard/privacy/erasurelog"
)

// markRow is the high-water mark as it stands.
func (s *system) markRow() []any {
	var n, seen, replayed int64
	var hash, trace string
	var tag []byte
	require.NoError(s.t, s.db.QueryRowContext(s.t.Context(), `SELECT n, hash, seen, replayed, trace, tag FROM crmguard_privacy_mark`).
		Scan(&n, &hash, &seen, &replayed, &trace, &tag))
	return []any{n, hash, seen, replayed, trace, tag}
}

// putMark puts a row that was genuine once in the place of the mark.
func (s *system) putMark(row []any) {
	s.exec(`UPDATE crmguard_privacy_mark SET n = ?, hash = ?, seen = ?, replayed = ?, trace = ?, tag = ?`, row...)
}

// hideLedger takes the folder away until it is called again.
func (s *system) hideLedger() (back func()) {
	require.NoError(s.t, os.Rename(s.ledgerDir(), s.ledgerDir()+".away"))
	return func() { require.NoError(s.t, os.Rename(s.ledgerDir()+".away", s.ledgerDir())) }
}

// Whoever may write the desk's tables cannot raise the mark over an erasure
// that is not carried out; Replay trusts no mark, and mends it.
func TestAForgedMarkOpensNoGate(t *testing.T) {
	eachSystem(t, func(t *testing.T, s *system) {
		ann := s.contact("ann@a.example")
		old := s.snapshot()
		s.erase(ann)
		genuine := s.markRow()
		head, err := s.ledger.Read(t.Context())
		require.NoError(t, err)
		s.restore(old)
		s.exec(`UPDATE crmguard_privacy_mark SET n = ?, hash = ?`, head.Head().N, head.Head().Hash)
		require.ErrorIs(t, s.desk.Ready(t.Context()), privacy.ErrMarkForged)
		require.Equal(t, privacy.HealthAlarm, s.found("privacy.gate", "").Level)
		_, err = s.desk.Execute(t.Context(), s.approvedAnyway(s.contact("bob@b.example")))
		require.ErrorIs(t, err, privacy.ErrMarkForged, "nothing is erased over it")
		r, err := s.desk.Replay(t.Context())
		require.NoError(t, err)
		require.Equal(t, 1, r.Erased)
		require.NoError(t, s.desk.Ready(t.Context()))

		// a mark that is far ahead does not stand in the way of the true one
		s.exec(`UPDATE crmguard_privacy_mark SET n = 1000000`)
		require.ErrorIs(t, s.desk.Ready(t.Context()), privacy.ErrMarkForged)
		_, err = s.desk.Replay(t.Context())
		require.NoError(t, err)
		require.NoError(t, s.desk.Ready(t.Context()))

		// each member is covered
		for i, column := range []string{"seen", "replayed"} {
			s.putMark(genuine)
			s.exec(`UPDATE crmguard_privacy_mark SET `+column+` = ?`, genuine[2+i].(int64)+1)
			require.ErrorIs(t, s.desk.Ready(t.Context()), privacy.ErrMarkForged, column)
		}
		s.putMark(genuine)
		s.exec(`UPDATE crmguard_privacy_mark SET trace = 'x'`)
		require.ErrorIs(t, s.desk.Ready(t.Context()), privacy.ErrMarkForged)
	})
}

// approvedAnyway is approved without the gate's leave.
func (s *system) approvedAnyway(person string) string { return s.approved(person).ID }

// An older row that was genuine once causes more work, and no less.
func TestAnOlderGenuineMarkCausesWorkOnly(t *testing.T) {
	s := newSystem(t)
	old := s.markRow()
	s.erase(s.contact("ann@a.example"))
	s.putMark(old)
	require.ErrorIs(t, s.desk.Ready(t.Context()), privacy.ErrBehind)
	_, err := s.desk.Replay(t.Context())
	require.NoError(t, err)
	require.NoError(t, s.desk.Ready(t.Context()))
}

// While the ledger cannot be read a restored database is not opened, whenever
// the copy was made; the one that was not restored is, where it can show it.
func TestNoGraceForARestoredDatabase(t *testing.T) {
	eachSystem(t, func(t *testing.T, s *system) {
		ann, bob := s.contact("ann@a.example"), s.contact("bob@b.example")
		s.erase(bob)
		require.NoError(t, s.desk.Ready(t.Context()))
		old := s.snapshot()
		s.erase(ann)
		require.NoError(t, s.desk.Ready(t.Context()))

		back := s.hideLedger()
		g, err := s.desk.Gate(t.Context())
		require.NoError(t, err, "this process has seen the ledger, and this mark with it")
		require.NotEmpty(t, g.Warning)
		s.open()                       // another process
		s.cfg.Grace = 1000 * time.Hour // it is not the time that decides
		s.reopen()
		g, err = s.desk.Gate(t.Context())
		if s.on.Kind == sqldb.Postgres {
			require.NoError(t, err, "the row is the one that was written, and the server runs since")
			require.NotEmpty(t, g.Warning)
		} else {
			require.ErrorIs(t, err, erasurelog.ErrUnreachable, "nothing shows that this database was not restored")
		}
		s.restore(old)
		s.cfg.Grace = 1000 * time.Hour
		s.reopen()
		require.ErrorIs(t, s.desk.Ready(t.Context()), erasurelog.ErrUnreachable, "it was restored")
		require.Equal(t, privacy.HealthAlarm, s.found("privacy.gate", "").Level)
		back()
		require.ErrorIs(t, s.desk.Ready(t.Context()), privacy.ErrBehind)
	})
}

// Beneath a running process an older copy is noticed, too.
func TestNoGraceForADatabaseThatWasRestoredBeneath(t *testing.T) {
	s := newSystem(t)
	s.erase(s.contact("ann@a.example"))
	require.NoError(t, s.desk.Ready(t.Context()))
	old := s.markRow()
	s.now = s.now.Add(time.Minute)
	require.NoError(t, s.desk.Ready(t.Context()))
	back := s.hideLedger()
	require.NoError(t, s.desk.Ready(t.Context()))
	s.putMark(old)
	require.ErrorIs(t, s.desk.Ready(t.Context()), erasurelog.ErrUnreachable)
	back()
	require.NoError(t, s.desk.Ready(t.Context()))
}

// A gate that has refused gives no grace later: what it refused for may still
// be so.
func TestNoGraceAfterARefusal(t *testing.T) {
	eachSystem(t, func(t *testing.T, s *system) {
		s.erase(s.contact("ann@a.example"))
		plan := s.approved(s.contact("bob@b.example"))
		require.NoError(t, s.desk.Ready(t.Context()))
		s.keys.broken = true
		s.isPartial(plan.ID)
		require.ErrorIs(t, s.desk.Ready(t.Context()), privacy.ErrBehind)
		back := s.hideLedger()
		require.ErrorIs(t, s.desk.Ready(t.Context()), erasurelog.ErrUnreachable)
		s.open()
		require.ErrorIs(t, s.desk.Ready(t.Context()), erasurelog.ErrUnreachable)
		back()
		s.keys.broken = false
		s.waits(plan.ID)
		require.NoError(t, s.desk.Ready(t.Context()))
		defer s.hideLedger()()
		require.NoError(t, s.desk.Ready(t.Context()), "a warning again")
	})
}

// An order opens the gate for what it was given for, for a time, and for the
// database as it was.
func TestAGateThatIsOrderedOpen(t *testing.T) {
	eachSystem(t, func(t *testing.T, s *system) {
		ann := s.contact("ann@a.example")
		old := s.snapshot()
		s.erase(ann)
		order := privacy.Opening{By: "user/1", Approved: "user/2", Because: "incident:7", Until: s.now.Add(48 * time.Hour)}
		require.ErrorIs(t, s.desk.OpenAnyway(t.Context(), order), privacy.ErrOpening, "it is open")
		defer s.hideLedger()()
		s.open()
		s.exec(`UPDATE crmguard_privacy_mark SET n = -1`) // no mark, no grace on any database
		require.ErrorIs(t, s.desk.Ready(t.Context()), erasurelog.ErrUnreachable)

		for name, wrong := range map[string]func(*privacy.Opening){
			"by nobody":        func(o *privacy.Opening) { o.By = "" },
			"approved by them": func(o *privacy.Opening) { o.Approved = "USER/1" },
			"by nobody else":   func(o *privacy.Opening) { o.Approved = "" },
			"for nothing":      func(o *privacy.Opening) { o.Because = "because I say so" },
			"for too long":     func(o *privacy.Opening) { o.Until = s.now.Add(8 * 24 * time.Hour) },
			"for ever":         func(o *privacy.Opening) { o.Until = time.Time{} },
			"for yesterday":    func(o *privacy.Opening) { o.Until = s.now.Add(-time.Hour) },
		} {
			o := order
			wrong(&o)
			require.Error(t, s.desk.OpenAnyway(t.Context(), o), name)
			require.ErrorIs(t, s.desk.Ready(t.Context()), erasurelog.ErrUnreachable, name)
		}
		s.requireLevel(well, "privacy.opening")
		require.NoError(t, s.desk.OpenAnyway(t.Context(), order))
		g, err := s.desk.Gate(t.Context())
		require.NoError(t, err)
		require.Equal(t, order.By, g.Opening.By)
		require.Equal(t, order.Approved, g.Opening.Approved)
		require.True(t, order.Until.Equal(g.Until))
		require.Contains(t, g.Warning, "unreachable")
		s.requireLevel(alarm, "privacy.opening")
		require.Equal(t, 1, s.count(`SELECT COUNT(*) FROM events WHERE action = 'privacy.open_anyway' AND attrs LIKE '%incident:7%'`))

		s.exec(`UPDATE crmguard_privacy_opening SET body = ?`, []byte(`{"approved":"user/3","because":"incident:7","by":"user/1","mark":-1,"refusal":"ledger unreachable","until":"`+s.now.Add(100*time.Hour).UTC().Format("2006-01-02T15:04:05.000000Z")+`","v":1}`))
		require.ErrorIs(t, s.desk.Ready(t.Context()), erasurelog.ErrUnreachable, "an order that nobody gave")
		require.NoError(t, s.desk.OpenAnyway(t.Context(), order))
		require.NoError(t, s.desk.Ready(t.Context()))
		s.now = order.Until
		require.ErrorIs(t, s.desk.Ready(t.Context()), erasurelog.ErrUnreachable, "it is over")
		s.requireLevel(well, "privacy.opening")

		order.Until = s.now.Add(time.Hour)
		require.NoError(t, s.desk.OpenAnyway(t.Context(), order))
		require.NoError(t, s.desk.Ready(t.Context()))
		s.restore(old)
		require.ErrorIs(t, s.desk.Ready(t.Context()), erasurelog.ErrUnreachable, "the order is not in the copy")
	})
}

// An order for one refusal opens none of another kind.
func TestAnOrderIsForOneRefusal(t *testing.T) {
	s := newSystem(t)
	s.erase(s.contact("ann@a.example"))
	older := s.markRow()
	s.erase(s.contact("bob@b.example"))
	s.putMark(older)
	require.ErrorIs(t, s.desk.Ready(t.Context()), privacy.ErrBehind)
	require.NoError(t, s.desk.OpenAnyway(t.Context(), privacy.Opening{By: "user/1", Approved: "user/2", Because: "r", Until: s.now.Add(time.Hour)}))
	require.NoError(t, s.desk.Ready(t.Context()))
	defer s.hideLedger()()
	require.ErrorIs(t, s.desk.Ready(t.Context()), erasurelog.ErrUnreachable)
}

// Of the numbers that a restored database would give out again the ledger
// knows the highest, and the application may know more.
func TestCountersThatARestorePutBackKeepTheGateShut(t *testing.T) {
	s := newSystem(t)
	store := &numbered{Transactional: s.cfg.Database, top: 17}
	s.cfg.Database = store
	known := map[string]int64{"contacts.id": 17, "unmapped.id": 99}
	s.cfg.Highest = func(context.Context) (map[string]int64, error) { return known, nil }
	s.reopen()
	require.NoError(t, s.desk.Ready(t.Context()))
	s.requireLevel(well, "privacy.numbers")
	store.top = 12
	require.ErrorIs(t, s.desk.Ready(t.Context()), privacy.ErrNumbers)
	s.requireLevel(alarm, "privacy.numbers")
	back := s.hideLedger()
	require.ErrorIs(t, s.desk.Ready(t.Context()), erasurelog.ErrUnreachable, "a gate that has refused gives no grace")
	back()
	r, err := s.desk.ReplayPlan(t.Context())
	require.NoError(t, err)
	require.Equal(t, map[string]int64{"contacts.id": 17}, r.Numbers)
	require.EqualValues(t, 12, store.top)
	r, err = s.desk.Replay(t.Context())
	require.NoError(t, err)
	require.Equal(t, map[string]int64{"contacts.id": 17}, r.Numbers)
	require.EqualValues(t, 17, store.top)
	require.NoError(t, s.desk.Ready(t.Context()))
	known = nil
	s.cfg.Highest = func(context.Context) (map[string]int64, error) { return nil, errBlown }
	s.reopen()
	require.Error(t, s.desk.Ready(t.Context()), "who cannot be asked says nothing")
}
