package privacy_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/privacy"
	"github.com/crmguard/crmguard/privacy/datamap"
	"github.com/crmguard/crmguard/privacy/erasurelog"
)

// A plan that somebody has cancelled stays cancelled, whatever older row is put
// back in its place, and after the restore of a database in which it was not.
func TestACancelledPlanStaysCancelled(t *testing.T) {
	eachSystem(t, func(t *testing.T, s *system) {
		s.cfg.Delay, s.cfg.Lease = privacy.None, privacy.None
		s.reopen()
		ann := s.contact("ann@a.example")
		p, err := s.desk.PlanErasure(t.Context(), privacy.Request{Tenant: "main", Person: ann, Reason: "r", By: "user/1"})
		require.NoError(t, err)
		planned := s.planRow(p.ID)
		require.NoError(t, s.desk.Approve(t.Context(), p.ID, "user/2"))
		approved := s.planRow(p.ID)
		s.putPlan(p.ID, planned) // it shows less than there was
		require.NoError(t, s.desk.Cancel(t.Context(), p.ID))
		require.NoError(t, s.desk.Cancel(t.Context(), p.ID))
		require.Equal(t, []string{"cancel"}, ops(t, s))
		require.NoError(t, s.desk.Ready(t.Context()))
		s.putPlan(p.ID, approved)
		_, err = s.desk.Execute(t.Context(), p.ID)
		require.ErrorIs(t, err, privacy.ErrCancelled)
		require.Equal(t, "cancelled", s.state(p.ID))
		s.putPlan(p.ID, approved)
		_, err = s.desk.RunOnce(t.Context())
		require.NoError(t, err)
		require.Equal(t, "cancelled", s.state(p.ID))
		s.putPlan(p.ID, approved)
		require.NoError(t, s.desk.Cancel(t.Context(), p.ID), "again")
		require.Equal(t, "cancelled", s.state(p.ID))
		s.putPlan(p.ID, approved)
		_, err = s.desk.Replay(t.Context())
		require.NoError(t, err)
		require.Equal(t, "cancelled", s.state(p.ID))
		require.Equal(t, 1, s.count(`SELECT COUNT(*) FROM contacts WHERE person = ?`, ann))
	})
}

// A plan that ended with another one of its person is not carried out later,
// where its row is put back: what came since was never meant.
func TestAPlanThatEndedWithAnotherStaysSo(t *testing.T) {
	s := quick(t)
	ann := s.contact("ann@a.example")
	first, second := s.approved(ann), s.approved(ann)
	row := s.planRow(first.ID)
	s.done(second.ID)
	s.exec(`INSERT INTO contacts VALUES (?, ?, 'CH', NULL, NULL, 7, ?)`, newID(), ann, s.now.UnixMicro())
	s.putPlan(first.ID, row)
	_, err := s.desk.Execute(t.Context(), first.ID)
	require.ErrorIs(t, err, privacy.ErrCancelled)
	require.Equal(t, "cancelled", s.state(first.ID))
	require.Equal(t, 1, s.count(`SELECT COUNT(*) FROM contacts WHERE person = ?`, ann))
	s.done(s.approved(ann).ID) // a new one is
	require.Equal(t, 0, s.count(`SELECT COUNT(*) FROM contacts WHERE person = ?`, ann))
}

// The row of a voided plan that comes back knows it is voided, and holds nobody.
func TestTheRowOfAVoidedPlanComesBack(t *testing.T) {
	s := quick(t)
	p := s.approved(s.contact("ann@a.example"))
	s.keys.broken = true
	row := s.planRow(p.ID)
	s.isPartial(p.ID)
	v := privacy.Voiding{Plan: p.ID, By: "user/1", Approved: "user/2", Because: "store-lost"}
	require.NoError(t, s.desk.Void(t.Context(), v))
	for _, again := range []func() error{
		func() error {
			_, err := s.desk.Execute(t.Context(), p.ID)
			require.ErrorIs(t, err, privacy.ErrVoided)
			return nil
		},
		func() error { _, err := s.desk.Replay(t.Context()); return err },
		func() error { require.Zero(t, s.passes(p.ID)); return nil },
	} {
		s.putPlan(p.ID, row)
		require.NoError(t, again())
		require.Equal(t, "void", s.state(p.ID))
		require.Equal(t, 0, s.count(`SELECT COUNT(*) FROM crmguard_privacy_plan WHERE body IS NOT NULL`))
	}
}

// Void needs the ledger alone: the row of the plan went with a restore, or
// somebody has written to it.
func TestVoidWithoutTheRow(t *testing.T) {
	eachSystem(t, func(t *testing.T, s *system) {
		s.cfg.Delay, s.cfg.Lease = privacy.None, privacy.None
		s.reopen()
		ann := s.contact("ann@a.example")
		old := s.snapshot()
		cfg := s.cfg
		p, err := s.desk.PlanErasure(t.Context(), privacy.Request{Tenant: "main", Person: ann, Reason: "r", By: "user/1"})
		require.NoError(t, err)
		require.NoError(t, s.desk.Approve(t.Context(), p.ID, "user/2"))
		s.keys.broken = true
		s.isPartial(p.ID)
		s.restore(old)
		cfg.DB, cfg.Ledger, cfg.Database = s.db, s.ledger, s.cfg.Database
		s.cfg = cfg
		s.reopen()
		require.ErrorIs(t, s.desk.Ready(t.Context()), privacy.ErrBehind)
		v := privacy.Voiding{Plan: p.ID, By: "user/1", Approved: "user/2", Because: "store-lost"}
		unknown := v
		unknown.Plan = newID()
		require.ErrorIs(t, s.desk.Void(t.Context(), unknown), privacy.ErrNoPlan)
		require.NoError(t, s.desk.Void(t.Context(), v))
		require.NoError(t, s.desk.Void(t.Context(), v), "again changes nothing")
		require.Equal(t, []string{"intent", "partial", "void"}, ops(t, s))
		require.Zero(t, s.notes("plan-"))
		require.NoError(t, s.desk.Ready(t.Context()))
		require.Equal(t, 1, s.count(`SELECT COUNT(*) FROM contacts WHERE person = ?`, ann))
		require.Equal(t, 1, s.count(`SELECT COUNT(*) FROM events WHERE action = 'privacy.void'`))
	})
}

// No intent stays open: what was begun for the same persons is done with the
// plan that is certified, wherever the other one was interrupted.
func TestNoIntentOfATwinStaysOpen(t *testing.T) {
	for _, moment := range []string{"a store was down", "before the other stores", "before the commit"} {
		t.Run(moment, func(t *testing.T) {
			s := quick(t)
			ann := s.contact("ann@a.example")
			first, second := s.approved(ann), s.approved(ann)
			switch moment {
			case "a store was down":
				s.keys.broken = true
				s.isPartial(first.ID)
				s.keys.broken = false
			case "before the other stores":
				s.endsBetween(first.ID)
			case "before the commit": // of another process, while this one asks the other stores
				cfg, failed := s.cfg, false
				cfg.Database = uncommitted{cfg.Database}
				other, err := privacy.Open(t.Context(), cfg)
				require.NoError(t, err)
				s.ask().f = func(ctx context.Context) error {
					if !failed {
						_, err := other.Execute(ctx, first.ID)
						failed = errors.Is(err, errBlown)
					}
					return nil
				}
			}
			if moment == "before the commit" { // what it is about may have come behind the reading back
				_, err := s.desk.Execute(t.Context(), second.ID)
				require.ErrorIs(t, err, privacy.ErrBehind)
				first, second = second, first
			}
			o := s.done(second.ID)
			require.NotEmpty(t, o.Certificate)
			require.NoError(t, s.desk.Ready(t.Context()))
			ledger, err := s.ledger.Read(t.Context())
			require.NoError(t, err)
			digest := ""
			for _, plan := range []string{first.ID, second.ID} {
				require.Equal(t, erasurelog.Finished, ledger.Status(plan))
				entries := ledger.Plan(plan)
				last := entries[len(entries)-1]
				require.True(t, digest == "" || digest == last.Cert, "one certificate for both")
				digest = last.Cert
			}
			s.requireLevel(well, "privacy.plans.partial")
			s.requireLevel(well, "privacy.plans.running")
			r, err := s.desk.ReplayPlan(t.Context())
			require.NoError(t, err)
			require.Zero(t, r.Open)
			_, err = s.desk.Execute(t.Context(), first.ID)
			require.ErrorIs(t, err, privacy.ErrCancelled)
			require.Zero(t, s.notes("plan-"))
		})
	}
}

// Each moment at which a process ends between the certificate and the ends of
// twin and plan in the ledger is finished by the next call.
func TestTwinsEndWhereverItIsInterrupted(t *testing.T) {
	for n := 1; ; n++ {
		s := quick(t)
		ann := s.contact("ann@a.example")
		first, second := s.approved(ann), s.approved(ann)
		s.keys.broken = true
		s.isPartial(first.ID)
		s.keys.broken = false
		s.fuse.left = n
		o, err := s.desk.Execute(t.Context(), second.ID)
		blown := s.fuse.left == 0
		s.fuse.left = 0
		if err != nil || o.State != privacy.Done {
			s.open()
			s.cfg.Delay, s.cfg.Lease = privacy.None, privacy.None
			s.reopen()
			s.done(second.ID)
		}
		ledger, err := s.ledger.Read(t.Context())
		require.NoError(t, err)
		require.Equal(t, erasurelog.Finished, ledger.Status(first.ID), "call %d", n)
		require.Equal(t, erasurelog.Finished, ledger.Status(second.ID), "call %d", n)
		require.NoError(t, s.desk.Ready(t.Context()))
		if !blown {
			require.Greater(t, n, 10)
			return
		}
	}
}

// Whom a hold kept when the restored database was replayed is erased by the
// first pass behind the hold, also where nobody replays by the clock.
func TestAHoldThatEndsIsFollowedByAReplay(t *testing.T) {
	for _, itself := range []bool{false, true} {
		s := newSystem(t)
		ann := s.contact("ann@a.example")
		old := s.snapshot()
		s.erase(ann)
		h := privacy.LegalHold{Tenant: "main", Person: ann, Because: "litigation", By: "user/3"}
		if itself {
			h.Until = s.now.Add(time.Hour)
		}
		hold, err := s.desk.Hold(t.Context(), h)
		require.NoError(t, err)
		s.restore(old)
		s.cfg.ReplayEvery = privacy.None
		s.reopen()
		s.passes("")
		require.NoError(t, s.desk.Ready(t.Context()))
		require.Equal(t, 1, s.count(`SELECT COUNT(*) FROM contacts`), "held")
		s.requireLevel(well, "privacy.replay.age")
		s.now = s.now.Add(2 * time.Hour)
		if !itself {
			s.passes("")
			require.Equal(t, 1, s.count(`SELECT COUNT(*) FROM contacts`), "held")
			require.NoError(t, s.desk.Lift(t.Context(), "main", hold, "user/3"))
		}
		s.requireLevel(alarm, "privacy.replay.age")
		s.passes("")
		require.Equal(t, 0, s.count(`SELECT COUNT(*) FROM contacts`))
		s.requireLevel(well, "privacy.replay.age")
		replays := s.count(`SELECT COUNT(*) FROM events WHERE action = 'privacy.replay'`)
		s.passes("")
		require.Equal(t, replays, s.count(`SELECT COUNT(*) FROM events WHERE action = 'privacy.replay'`), "once")
	}
}

// What was decided last stands, whatever is put back into the database, and
// after the restore of one in which it was not decided.
func TestADecisionStays(t *testing.T) {
	eachSystem(t, func(t *testing.T, s *system) {
		l := leadsOf(s, "VARCHAR(64)", true)
		l.add(1, "lead-one", longAgo)
		l.erases("lead-one")
		l.exec(`INSERT INTO leads VALUES (2, 'lead-one', 'x@lead.example', NULL)`)
		_, err := s.desk.Replay(t.Context())
		require.ErrorIs(t, err, privacy.ErrUndecided)
		mark := s.markRow()
		d := privacy.Decision{Tenant: "main", Person: "lead-one", Table: "leads", Key: "2", Erase: true, By: "user/1", Because: "looked-at"}
		require.NoError(t, s.desk.Decide(t.Context(), d))
		d.Erase = false
		require.NoError(t, s.desk.Decide(t.Context(), d), "overruled")
		s.putMark(mark)
		_, err = s.desk.Replay(t.Context())
		require.NoError(t, err)
		require.NoError(t, s.desk.Ready(t.Context()))
		require.Equal(t, 1, l.count(`SELECT COUNT(*) FROM leads`))
		require.Equal(t, []string{"intent", "done", "older", "newer"}, ops(t, s))
	})
}

// Two searches for one person at once do not refuse one another.
func TestTwoSearchesAtOnce(t *testing.T) {
	s := newSystem(t)
	both := make(chan struct{}, 2)
	meet := make(chan struct{})
	s.cfg.Database = met{s.cfg.Database.(fused), both, meet}
	s.reopen()
	ann := s.contact("ann@a.example")
	answers := make(chan error, 2)
	for range 2 {
		go func() {
			rows, err := s.desk.Find(t.Context(), "main", ann)
			if err == nil && len(rows) == 0 {
				err = errBlown
			}
			answers <- err
		}()
	}
	for range 2 {
		select {
		case <-both:
		case err := <-answers:
			t.Fatal("one was refused while the other searched", err)
		}
	}
	close(meet)
	require.NoError(t, <-answers)
	require.NoError(t, <-answers)
}

// met is a database whose searches wait for one another.
type met struct {
	fused
	both, meet chan struct{}
}

func (m met) Aliases(context.Context, string, string) ([]string, error) {
	m.both <- struct{}{}
	<-m.meet
	return nil, nil
}

// A row of two erased persons, of which nobody knows when it was created, goes in a
// replay with the one whose intent names it: the other's erasure did not meet it.
func TestARowOfTwoGoesWithTheOneWhoseIntentNamesIt(t *testing.T) {
	s := newSystem(t)
	s.exec(`CREATE TABLE deals (id INTEGER PRIMARY KEY, buyer VARCHAR(64), seller VARCHAR(64), subject VARCHAR(99))`)
	m := dataMap()
	m.Tables = append(m.Tables, datamap.Table{
		Name: "deals", Key: []string{"id"}, Erase: datamap.Delete, Edges: []datamap.Edge{{Columns: []string{"buyer"}}, {Columns: []string{"seller"}}},
		Columns: []datamap.Column{{Name: "subject", Category: "deal.subject", Purpose: "dpv:Marketing", Basis: "dpv:Consent"}},
	})
	open := func() {
		s.openWith(m)
		s.cfg.Delay, s.cfg.Lease = privacy.None, privacy.None
		s.reopen()
	}
	open()
	ann, bob := s.contact("ann@a.example"), s.contact("bob@b.example")
	s.exec(`INSERT INTO deals VALUES (1, ?, ?, 'x')`, ann, bob)
	backup := s.snapshot()
	s.done(s.approved(ann).ID)
	s.done(s.approved(bob).ID)
	s.restore(backup)
	open()
	_, err := s.desk.Replay(t.Context())
	require.NoError(t, err)
	require.Zero(t, s.count(`SELECT COUNT(*) FROM deals`))
	require.NoError(t, s.desk.Ready(t.Context()))
}
