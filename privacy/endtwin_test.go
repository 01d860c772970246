package privacy_test

import (
	"context"
	"errors"
	"iter"
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/privacy"
	"github.com/crmguard/crmguard/privacy/erasurelog"
)

// Somebody who may write the tables names another person in the row of an erasure
// that is not finished: it does not end with that person's, and the gate stays
// shut until a replay has finished it.
func TestAForgedRowDoesNotEndWithAnotherPersonsErasure(t *testing.T) {
	s := quick(t)
	ann, bob := s.contact("ann@a.example"), s.contact("bob@b.example")
	mine, theirs := s.approved(ann), s.approved(bob)
	s.keys.broken = true
	s.isPartial(theirs.ID)
	s.keys.broken = false
	s.ask().f = func(context.Context) error {
		s.exec(`UPDATE crmguard_privacy_plan SET state = 'approved', erased = 1, person = (SELECT person FROM crmguard_privacy_plan WHERE id = ?) WHERE id = ?`, mine.ID, theirs.ID)
		return nil
	}
	_, err := s.desk.Execute(t.Context(), mine.ID)
	left, _ := s.keys.left(t.Context(), "main", bob)
	require.Equal(t, 1, left, "nobody has seen to it")
	require.ErrorIs(t, s.desk.Ready(t.Context()), privacy.ErrBehind, "the row was written by somebody, and is believed")
	require.ErrorIs(t, err, privacy.ErrBehind)
	_, err = s.desk.Replay(t.Context())
	require.NoError(t, err)
	left, _ = s.keys.left(t.Context(), "main", bob)
	require.Zero(t, left)
	require.NoError(t, s.desk.Ready(t.Context()))
	s.done(mine.ID)
}

// An erasure of the same person that begins in another process when this one has
// read back is not done with it: what it is about may have come in between.
func TestATwinThatBeginsBehindTheReadingBack(t *testing.T) {
	s := quick(t)
	ann := s.contact("ann@a.example")
	first, second := s.approved(ann), s.approved(ann)
	other, begun := s.desk, false
	s.cfg.Prepare = func(ctx context.Context, _ string, _ ...string) error {
		if begun || s.state(first.ID) != "erased" {
			return nil
		}
		begun = true // and the process that begins it does not come to its end
		s.keys.keys[ann], s.keys.broken = seqKey(7), true
		o, err := other.Execute(ctx, second.ID)
		require.NoError(t, err)
		require.Equal(t, privacy.Partial, o.State)
		s.keys.broken = false
		return nil
	}
	s.reopen()
	s.done(first.ID)
	require.True(t, begun)
	ledger, err := s.ledger.Read(t.Context())
	require.NoError(t, err)
	require.Equal(t, erasurelog.Finished, ledger.Status(second.ID))
	left, _ := s.keys.left(t.Context(), "main", ann)
	require.Zero(t, left, "done, and a store was not asked")
	require.NoError(t, s.desk.Ready(t.Context()))
}

// Nor does a plan end that was made since.
func TestATwinThatIsPlannedBehindTheReadingBack(t *testing.T) {
	s := quick(t)
	ann := s.contact("ann@a.example")
	first := s.approved(ann)
	var second *privacy.Plan
	other := s.desk
	s.ask().f = func(ctx context.Context) error {
		if second != nil {
			return nil
		}
		s.now = s.now.Add(time.Second)
		var err error
		second, err = other.PlanErasure(ctx, privacy.Request{Tenant: "main", Person: ann, Reason: "r", By: "user/1", Empty: true})
		return err
	}
	s.done(first.ID)
	require.Equal(t, "planned", s.state(second.ID))
}

// Nor does one that is for somebody, too, who was merged into the person since.
func TestAPlanForMoreThanThePersonGoesOn(t *testing.T) {
	s := quick(t)
	s.cfg.Lease = time.Hour
	s.reopen()
	ann, alias := s.contact("ann@a.example"), s.contact("ann@old.example")
	first := s.approved(ann)
	s.waits(first.ID)
	s.cfg.Aliases = func(_ context.Context, _, person string) ([]string, error) {
		if person == ann {
			return []string{alias}, nil
		}
		return nil, nil
	}
	s.reopen()
	second, err := s.desk.PlanErasure(t.Context(), privacy.Request{Tenant: "main", Person: ann, Reason: "r", By: "user/1"})
	require.NoError(t, err)
	require.NoError(t, s.desk.Approve(t.Context(), second.ID, "user/2"))
	s.now = s.now.Add(time.Hour)
	s.done(first.ID)
	require.Equal(t, 1, s.count(`SELECT COUNT(*) FROM contacts WHERE person = ?`, alias))
	s.waits(second.ID)
	require.Zero(t, s.count(`SELECT COUNT(*) FROM contacts WHERE person = ?`, alias))
	s.now = s.now.Add(time.Hour)
	s.done(second.ID)
	require.NoError(t, s.desk.Ready(t.Context()))
}

// A clock that was behind when the last store answered does not make the lease of
// cached keys end early.
func TestTheLeaseDoesNotBeginBeforeTheErasure(t *testing.T) {
	s := quick(t)
	s.cfg.Lease = time.Hour
	s.reopen()
	p := s.approved(s.contact("ann@a.example"))
	s.keys.broken = true
	s.isPartial(p.ID)
	s.keys.broken = false
	right := s.now
	s.now = right.Add(-2 * time.Hour)
	s.waits(p.ID)
	s.now = right.Add(time.Minute)
	s.waits(p.ID)
	s.now = s.now.Add(time.Hour)
	s.done(p.ID)
}

// A plan is made behind an erasure of its person, also where the clock was behind
// when it was made.
func TestAPlanByAClockThatWasBehind(t *testing.T) {
	s := quick(t)
	ann := s.contact("ann@a.example")
	s.done(s.approved(ann).ID)
	s.exec(`INSERT INTO contacts VALUES (?, ?, 'CH', NULL, NULL, 7, ?)`, newID(), ann, s.now.UnixMicro())
	right := s.now
	s.now = right.Add(-time.Hour)
	p := s.approved(ann)
	s.now = right.Add(time.Minute)
	s.done(p.ID)
	require.Zero(t, s.count(`SELECT COUNT(*) FROM contacts WHERE person = ?`, ann))
}

// A note whose plan a restore took away does not stay behind the next replay.
func TestAReplayForgetsTheNotesOfPlansThatAreGone(t *testing.T) {
	l, _ := known(t)
	plan := l.plan("lead-one")
	l.invoice("lead-one", l.now)
	_, err := l.desk.Execute(t.Context(), plan)
	require.ErrorIs(t, err, privacy.ErrPlanChanged)
	require.Equal(t, 1, l.notes("plan-"))
	_, err = l.desk.Replay(t.Context())
	require.NoError(t, err)
	require.Equal(t, 1, l.notes("plan-"), "the plan waits")
	l.exec(`DELETE FROM crmguard_privacy_plan`)
	_, err = l.desk.Replay(t.Context())
	require.NoError(t, err)
	require.Zero(t, l.notes("plan-"), "by what the person is found")
}

// noteless is a ledger's place whose notes cannot be read the at-th time.
type noteless struct {
	erasurelog.Medium
	at, calls int
	then      func() // runs once, behind a look
}

func (f *noteless) Notes(ctx context.Context) iter.Seq2[erasurelog.SealedNote, error] {
	if f.calls++; f.calls == f.at {
		return func(yield func(erasurelog.SealedNote, error) bool) { yield(erasurelog.SealedNote{}, errors.New("disk")) }
	}
	return func(yield func(erasurelog.SealedNote, error) bool) {
		for note, err := range f.Medium.Notes(ctx) {
			if !yield(note, err) {
				return
			}
		}
		if then := f.then; then != nil {
			f.then = nil
			then()
		}
	}
}

// A replay that cannot read by what a store finds whom it has not erased yet does
// not get through, whichever look at the notes fails.
func TestAReplayThatCannotReadTheNotes(t *testing.T) {
	for n := 1; ; n++ {
		l, x := known(t)
		plan := l.plan("lead-one")
		x.down = true
		l.isPartial(plan)
		x.down = false
		medium := &noteless{Medium: erasurelog.Folder(l.ledgerDir()), at: n}
		var err error
		l.cfg.Ledger, err = erasurelog.Open(erasurelog.Config{Medium: medium, Digests: digestsOf(l.roots...), Now: func() time.Time { return l.now }})
		require.NoError(t, err)
		l.reopen()
		_, err = l.desk.Replay(t.Context())
		failed := medium.calls >= n
		medium.at = 0
		if err != nil {
			require.ErrorIs(t, l.desk.Ready(t.Context()), privacy.ErrBehind)
			continue
		}
		require.NoError(t, l.desk.Ready(t.Context()))
		require.Empty(t, x.holds, "the gate is open, and a store was not asked: look %d", n)
		if !failed {
			require.Greater(t, n, 2)
			return
		}
	}
}

// A replay of another process begins, and does not get through, while the gate
// looks: it is not opened over that, and has no grace afterwards.
func TestAReplayThatBeginsWhileTheGateLooks(t *testing.T) {
	l, x := known(t)
	l.erases("lead-one")
	require.NoError(t, l.desk.Ready(t.Context()))
	l.add(1, "lead-one", longAgo) // a table was brought back
	x.holds["1@lead.example"], x.down = true, true
	other, medium := l.desk, &noteless{Medium: erasurelog.Folder(l.ledgerDir())}
	medium.then = func() {
		_, err := other.Replay(t.Context())
		require.Error(t, err)
	}
	var err error
	l.cfg.Ledger, err = erasurelog.Open(erasurelog.Config{Medium: medium, Digests: digestsOf(l.roots...), Now: func() time.Time { return l.now }})
	require.NoError(t, err)
	l.reopen()
	require.ErrorIs(t, l.desk.Ready(t.Context()), privacy.ErrBehind)
	require.NoError(t, os.Rename(l.ledgerDir(), l.ledgerDir()+".away"))
	require.ErrorIs(t, l.desk.Ready(t.Context()), erasurelog.ErrUnreachable)
}

// Whoever may not cancel a plan, or take somebody from the suppression list, does not.
func TestCancelAndUnsuppressAreAskedFor(t *testing.T) {
	s := quick(t)
	p := s.approved(s.contact("ann@a.example"))
	no := errors.New("no")
	var asked []string
	s.cfg.Allow = func(_ context.Context, action, _ string) error {
		asked = append(asked, action)
		return no
	}
	s.reopen()
	require.ErrorIs(t, s.desk.Cancel(t.Context(), p.ID), no)
	require.ErrorIs(t, s.desk.Unsuppress(t.Context(), "main", "email", "ann@a.example"), no)
	require.Equal(t, []string{"privacy.cancel", "privacy.unsuppress"}, asked)
	require.Equal(t, "approved", s.state(p.ID))
}
