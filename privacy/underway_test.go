package privacy_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/privacy"
)

// A health check tells an erasure that is at work, or waits for a store, from a
// database that was restored: since when, and which.
func TestAnErasureUnderWayIsToldFromARestore(t *testing.T) {
	eachQuick(t, func(t *testing.T, s *system) {
		a := s.ask()
		twin := s.desk
		var gate error
		a.f = func(ctx context.Context) error { gate = twin.Ready(ctx); return nil }
		before := s.snapshot()
		p := s.approved(s.contact("ann@a.example"))
		begun := s.now
		a.left = 1
		s.isPartial(p.ID)
		for _, err := range []error{gate, s.desk.Ready(t.Context())} { // inside, and while it is Partial
			require.ErrorIs(t, err, privacy.ErrBehind, "whoever starts waits")
			require.ErrorIs(t, err, privacy.ErrUnderWay)
			var refusal *privacy.GateError
			require.ErrorAs(t, err, &refusal)
			require.Equal(t, []string{p.ID}, refusal.UnderWay)
			require.WithinDuration(t, begun, refusal.Since, time.Second)
		}
		plain := func(why string) {
			t.Helper()
			err := s.desk.Ready(t.Context())
			require.ErrorIs(t, err, privacy.ErrBehind, why)
			require.False(t, errors.Is(err, privacy.ErrUnderWay), why)
		}
		hold, err := s.desk.Hold(t.Context(), privacy.LegalHold{Tenant: "main", Person: p.Person, Because: "litigation", By: "user/3"})
		require.NoError(t, err)
		plain("a hold keeps it from its end")
		require.NoError(t, s.desk.Lift(t.Context(), "main", hold, "user/3"))
		require.ErrorIs(t, s.desk.Ready(t.Context()), privacy.ErrUnderWay)

		during := s.snapshot()
		bob := s.approved(s.contact("bob@b.example"))
		s.isPartial(bob.ID)
		require.ErrorIs(t, s.desk.Ready(t.Context()), privacy.ErrUnderWay)
		stores := s.cfg.Stores
		again := func(backup string) {
			s.restore(backup)
			s.cfg.Delay, s.cfg.Lease, s.cfg.PerDay, s.cfg.Stores = privacy.None, privacy.None, privacy.None, stores
			s.reopen()
		}
		again(during)
		plain("restored: the second erasure is not there")
		again(before)
		plain("restored: none is")
		a.left = 0
		_, err = s.desk.Replay(t.Context())
		require.NoError(t, err)
		require.NoError(t, s.desk.Ready(t.Context()))
	})
}

// A pass does not replay everybody again for an erasure that it goes on with.
func TestAPassDoesNotReplayForWhatIsUnderWay(t *testing.T) {
	s := quick(t)
	a := s.ask()
	_, err := s.desk.Replay(t.Context()) // none is due for a day
	require.NoError(t, err)
	p := s.approved(s.contact("ann@a.example"))
	s.now = s.now.Add(-24 * time.Hour)
	a.left = 1
	s.isPartial(p.ID)
	replays := s.count(`SELECT COUNT(*) FROM events WHERE action = 'privacy.replay'`)
	n := len(ops(t, s))
	for range 3 {
		s.passes(p.ID)
		require.ErrorIs(t, s.desk.Ready(t.Context()), privacy.ErrUnderWay)
	}
	require.Equal(t, replays, s.count(`SELECT COUNT(*) FROM events WHERE action = 'privacy.replay'`))
	require.Len(t, ops(t, s), n, "partial is said once")
	a.left = 0
	s.passes(p.ID)
	require.NoError(t, s.desk.Ready(t.Context()))
	require.Equal(t, "done", s.state(p.ID))
}

// An order that was made for an erasure under way does not cover a restore.
func TestAnOrderForWhatIsUnderWay(t *testing.T) {
	s := quick(t)
	a := s.ask()
	backup := s.markRow()
	p := s.approved(s.contact("ann@a.example"))
	a.left = 1
	s.isPartial(p.ID)
	order := privacy.Opening{By: "user/1", Approved: "user/2", Because: "incident", Until: s.now.Add(time.Hour)}
	require.NoError(t, s.desk.OpenAnyway(t.Context(), order))
	require.NoError(t, s.desk.Ready(t.Context()))
	s.putMark(backup)
	s.exec(`DELETE FROM crmguard_privacy_plan`)
	require.ErrorIs(t, s.desk.Ready(t.Context()), privacy.ErrBehind)
}
