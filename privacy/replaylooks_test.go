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
	named     bool   // each for itself, and not the place
	then      func() // runs once, behind a look
}

func (f *noteless) Notes(ctx context.Context) iter.Seq2[erasurelog.SealedNote, error] {
	if f.calls++; f.calls == f.at {
		return func(yield func(erasurelog.SealedNote, error) bool) {
			if !f.named {
				yield(erasurelog.SealedNote{}, errors.New("disk"))
				return
			}
			for note := range f.Medium.Notes(ctx) {
				if !yield(erasurelog.SealedNote{Name: note.Name}, errors.New("disk")) {
					return
				}
			}
		}
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
	for _, named := range []bool{false, true} {
		eachLook(t, named)
	}
}

func eachLook(t *testing.T, named bool) {
	for n := 1; ; n++ {
		l, x := known(t)
		plan := l.plan("lead-one")
		x.down = true
		l.isPartial(plan)
		x.down = false
		medium := &noteless{Medium: erasurelog.Folder(l.ledgerDir()), at: n, named: named}
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
		require.Empty(t, x.holds, "the gate is open, and a store was not asked: look %d, named %v", n, named)
		if !failed {
			require.Greater(t, n, 2)
			return
		}
	}
}

// A replay of another process begins, and does not get through, while the gate
// looks: it is not opened over that, and has no grace afterwards.
func TestAReplayThatBeginsWhileTheGateLooks(t *testing.T) {
	eachSystem(t, func(t *testing.T, s *system) {
		l, x := knownOn(s)
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
	})
}
