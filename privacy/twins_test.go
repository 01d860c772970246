package privacy_test

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/privacy"
	"github.com/crmguard/crmguard/privacy/datastore"
)

// addressBook is a mailer that says how many it holds, and not which: only an
// address leads to them.
type addressBook struct{ *mailer }

func (b addressBook) Find(ctx context.Context, scope datastore.Scope) ([]datastore.Row, error) {
	rows, err := b.mailer.Find(ctx, scope)
	for i := range rows {
		rows[i].Key = ""
	}
	return rows, err
}

// known makes a system with a person who is known to an address book.
func known(t *testing.T) (*leads, *mailer) { return knownOn(newSystem(t)) }

func knownOn(s *system) (*leads, *mailer) {
	l, x := subscribedOn(s)
	l.cfg.Stores[len(l.cfg.Stores)-1] = addressBook{x}
	l.reopen()
	l.add(1, "lead-one", longAgo)
	x.holds["1@lead.example"] = true
	return l, x
}

func (l *leads) plan(person string) string {
	l.t.Helper()
	p, err := l.desk.PlanErasure(l.t.Context(), privacy.Request{Tenant: "main", Person: person, Reason: "r", By: "user/1"})
	require.NoError(l.t, err)
	require.NoError(l.t, l.desk.Approve(l.t.Context(), p.ID, "user/2"))
	return p.ID
}

// The second plan of a person begins when the database has forgotten by what a
// store finds them, while the first waits for that store: what the first has
// noted serves both, and no note of either stays.
func TestASecondPlanOfThePersonKnowsWhatTheFirstHasNoted(t *testing.T) {
	for _, named := range []bool{false, true} {
		l, x := known(t)
		if named { // and the second was planned when the store had nothing yet
			l.cfg.Stores[len(l.cfg.Stores)-1] = x
			l.reopen()
			delete(x.holds, "1@lead.example")
		}
		second := l.plan("lead-one")
		x.holds["1@lead.example"] = true
		l.testSecondPlan(x, l.plan("lead-one"), second)
	}
}

func (l *leads) testSecondPlan(x *mailer, first, second string) {
	t := l.t
	x.down = true
	o, err := l.desk.Execute(t.Context(), first)
	require.NoError(t, err)
	require.Equal(t, privacy.Partial, o.State)
	o, err = l.desk.Execute(t.Context(), second)
	require.NoError(t, err)
	require.Equal(t, privacy.Partial, o.State, "certified, while a store that is down holds the person")
	x.down = false
	l.done(second)
	require.Empty(t, x.holds, "certified")
	require.Equal(t, "cancelled", l.state(first))
	require.Zero(t, l.notes("plan-"), "by what the person was found")
	require.NoError(t, l.desk.Ready(t.Context()))
}

// Another process erases the database between the look at the plan and the
// search: the note that it has made is not written over by an empty one.
func TestANoteOfAnotherProcessIsNotWrittenOver(t *testing.T) {
	l, x := known(t)
	plan := l.plan("lead-one")
	x.down = true
	l.whenAsked("privacy.execute", func(other *privacy.Desk) {
		o, err := other.Execute(t.Context(), plan)
		require.NoError(t, err)
		require.Equal(t, privacy.Partial, o.State)
	})
	o, err := l.desk.Execute(t.Context(), plan)
	require.NoError(t, err)
	require.Equal(t, privacy.Partial, o.State)
	x.down = false
	l.done(plan)
	require.Empty(t, x.holds, "certified")
	require.Zero(t, l.notes("plan-"))
}

// Another process finishes meanwhile: the note of the slower one does not stay.
func TestTheNoteOfTheSlowerProcessIsForgotten(t *testing.T) {
	l, x := known(t)
	plan := l.plan("lead-one")
	l.whenAsked("privacy.execute", func(other *privacy.Desk) {
		o, err := other.Execute(t.Context(), plan)
		require.NoError(t, err)
		require.Equal(t, privacy.Done, o.State)
	})
	l.done(plan)
	require.Empty(t, x.holds)
	require.Zero(t, l.notes("plan-"))
}

// A plan that was refused after its note, and is cancelled, leaves no note.
func TestCancelForgetsTheNote(t *testing.T) {
	l, _ := known(t)
	plan := l.plan("lead-one")
	l.invoice("lead-one", l.now)
	_, err := l.desk.Execute(t.Context(), plan)
	require.ErrorIs(t, err, privacy.ErrPlanChanged)
	require.Equal(t, 1, l.notes("plan-"))
	require.NoError(t, l.desk.Cancel(t.Context(), plan))
	require.Zero(t, l.notes("plan-"))
}

// A plan that a replay ends leaves no note either: the process ended between
// the ledger's done and the note's end, and the database was restored.
func TestAReplayForgetsTheNotesOfPlansThatItEnds(t *testing.T) {
	l, _ := known(t)
	first, second := l.plan("lead-one"), l.plan("lead-one")
	l.invoice("lead-one", l.now)
	_, err := l.desk.Execute(t.Context(), first)
	require.ErrorIs(t, err, privacy.ErrPlanChanged)
	require.Equal(t, 1, l.notes("plan-"))
	l.exec(`DELETE FROM invoices`)
	l.now = l.now.Add(time.Hour)
	backup := l.snapshot()
	l.done(second)
	cfg := l.cfg
	l.system.restore(backup)
	l.openWith(cfg.Map)
	cfg.DB, cfg.Ledger, cfg.Database = l.db, l.ledger, l.cfg.Database
	l.cfg = cfg
	l.reopen()
	_, err = l.desk.Replay(t.Context())
	require.NoError(t, err)
	require.Equal(t, "cancelled", l.state(first))
	require.Zero(t, l.notes("plan-"))
	require.NoError(t, l.desk.Ready(t.Context()))
}

// Another process certifies a person's plan while one that covers it, too, is
// about to: the certificate of either stands.
func TestACertifiedTwinKeepsItsCertificate(t *testing.T) {
	s := quick(t)
	ann, alias := s.contact("ann@a.example"), s.contact("ann@old.example")
	small := s.approved(ann)
	s.cfg.Aliases = func(_ context.Context, _, person string) ([]string, error) {
		if person == ann {
			return []string{alias}, nil
		}
		return nil, nil
	}
	s.reopen()
	large := s.approved(ann)
	s.cfg.Aliases = nil
	s.reopen()
	s.keys.broken = true
	o, err := s.desk.Execute(t.Context(), small.ID)
	require.NoError(t, err)
	require.Equal(t, privacy.Partial, o.State)
	s.keys.broken = false
	other := s.desk
	s.cfg.Aliases = func(context.Context, string, string) ([]string, error) { return []string{alias}, nil }
	s.cfg.Prepare = func(context.Context, string, ...string) error {
		if s.state(large.ID) == "erased" && s.state(small.ID) != "done" {
			o, err := other.Execute(t.Context(), small.ID)
			require.NoError(t, err)
			require.Equal(t, privacy.Done, o.State)
		}
		return nil
	}
	s.reopen()
	s.done(large.ID)
	require.Equal(t, "done", s.state(small.ID), "another process had seen to it")
	require.NotEmpty(t, s.done(small.ID).Certificate)
}
