package privacy_test

import (
	"context"
	"log/slog"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/privacy"
)

// passes runs one pass and returns the finding about a plan, or none.
func (s *system) passes(plan string) (f privacy.Finding) {
	s.t.Helper()
	findings, err := s.desk.RunOnce(s.t.Context())
	require.NoError(s.t, err)
	for _, of := range findings {
		require.Equal(s.t, of.Level == privacy.HealthOK, of.Remedy == "", "%v", of)
		if of.Subject == plan && plan != "" {
			f = of
		}
	}
	return f
}

// Whoever has approved an erasure need not come back: it is carried out when it
// is due, finished when its lease is over, and tried again while something is
// left; one that cannot be carried out keeps no other from it.
func TestWhatIsDueIsCarriedOut(t *testing.T) {
	eachSystem(t, func(t *testing.T, s *system) {
		ann, bob, carl := s.contact("ann@a.example"), s.contact("bob@b.example"), s.contact("carl@c.example")
		plan := func(person string) string {
			p, err := s.desk.PlanErasure(t.Context(), privacy.Request{Tenant: "main", Person: person, Reason: "r", By: "user/1"})
			require.NoError(t, err)
			return p.ID
		}
		forged, due, unapproved := plan(ann), plan(bob), plan(carl)
		require.NoError(t, s.desk.Approve(t.Context(), forged, "user/2"))
		require.NoError(t, s.desk.Approve(t.Context(), due, "user/2"))
		s.exec(`UPDATE crmguard_privacy_plan SET mac = ? WHERE id = ?`, []byte("1.AAAA"), forged)

		s.passes("")
		require.Equal(t, "approved", s.state(due), "not before its time")
		s.now = s.now.Add(25 * time.Hour)
		s.keys.broken = true
		f := s.passes(due)
		require.Equal(t, privacy.HealthAlarm, f.Level)
		require.Contains(t, f.Remedy, "person keys", "the store that left something")
		require.Equal(t, privacy.HealthAlarm, s.passes(forged).Level, "someone wrote to it")
		s.keys.broken = false
		require.Equal(t, privacy.HealthOK, s.passes(due).Level)
		require.NotEqual(t, "done", s.state(due), "its lease is not over")
		s.now = s.now.Add(6 * time.Second)
		s.passes(due)
		require.Equal(t, "done", s.state(due))
		require.Equal(t, "planned", s.state(unapproved))
		require.Equal(t, 1, s.count(`SELECT COUNT(*) FROM contacts WHERE person = ?`, carl))
		require.Equal(t, 1, s.count(`SELECT COUNT(*) FROM contacts WHERE person = ?`, ann))
		require.Equal(t, 0, s.count(`SELECT COUNT(*) FROM contacts WHERE person = ?`, bob))
	})
}

// The cap of a day ends what has not begun, and nothing else.
func TestAPassHeedsTheCapOfADay(t *testing.T) {
	s := newSystem(t)
	s.cfg.PerDay = 1
	s.reopen()
	var plans []string
	for range 3 {
		plans = append(plans, s.approved(s.contact("a@a.example")).ID)
	}
	findings, err := s.desk.RunOnce(t.Context())
	require.NoError(t, err)
	begun := 0
	for _, plan := range plans {
		if s.state(plan) != "approved" {
			begun++
		}
	}
	require.Equal(t, 1, begun)
	require.Len(t, findings, 3, "the replay, the one that was begun, and the first that waits")
	for range 4 {
		s.now = s.now.Add(25 * time.Hour)
		s.passes("")
	}
	for _, plan := range plans {
		require.Equal(t, "done", s.state(plan))
	}
}

// A restored database is replayed by the pass that finds it, not by the next
// that is due.
func TestAPassReplaysWhatIsBehind(t *testing.T) {
	s := newSystem(t)
	ann := s.contact("ann@a.example")
	old := s.snapshot()
	s.erase(ann)
	s.restore(old)
	require.ErrorIs(t, s.desk.Ready(t.Context()), privacy.ErrBehind)
	s.passes("")
	require.NoError(t, s.desk.Ready(t.Context()))
	require.Zero(t, s.count(`SELECT COUNT(*) FROM contacts`))
}

// Two processes that run at once carry each plan out once.
func TestTwoThatRunAtOnce(t *testing.T) {
	eachSystem(t, func(t *testing.T, s *system) {
		s.cfg.Record = nil
		s.cfg.Lease = -1
		s.reopen()
		var plans []string
		for range 4 {
			plans = append(plans, s.approved(s.contact("a@a.example")).ID)
		}
		other, err := privacy.Open(t.Context(), s.cfg)
		require.NoError(t, err)
		for range 20 {
			var both sync.WaitGroup
			for _, desk := range []*privacy.Desk{s.desk, other} {
				both.Go(func() { _, _ = desk.RunOnce(t.Context()) })
			}
			both.Wait()
			if s.count(`SELECT COUNT(*) FROM crmguard_privacy_plan WHERE state = 'done'`) == len(plans) {
				break
			}
		}
		ended := map[string]int{}
		for _, op := range ops(t, s) {
			ended[op]++
		}
		require.Equal(t, map[string]int{"intent": len(plans), "done": len(plans)}, ended)
		require.NoError(t, s.desk.Ready(t.Context()))
	})
}

// Run goes on until its context ends, and says what it found.
func TestRunEndsWithItsContext(t *testing.T) {
	s := newSystem(t)
	plan := s.approved(s.contact("ann@a.example")).ID
	s.keys.broken = true
	ctx, stop := context.WithCancel(t.Context())
	var said []string
	s.cfg.Observe = func(_ context.Context, name string, value float64, attrs ...slog.Attr) {
		for _, a := range attrs {
			if a.Key == "subject" {
				said = append(said, a.Value.String())
			}
		}
		if name == "privacy.run" {
			require.Zero(t, value)
			stop()
		}
	}
	s.reopen()
	require.ErrorIs(t, s.desk.Run(ctx), context.Canceled)
	require.Equal(t, []string{plan}, said)
	require.Equal(t, "left", s.state(plan))
}

// Plans made while a clock was years ahead are named: nobody may execute them
// before that time.
func TestPlansFromTheFutureAreNamed(t *testing.T) {
	s := newSystem(t)
	ann := s.contact("ann@a.example")
	now := s.now
	s.now = now.AddDate(3, 0, 0)
	p, err := s.desk.PlanErasure(t.Context(), privacy.Request{Tenant: "main", Person: ann, Reason: "r", By: "user/1"})
	require.NoError(t, err)
	s.now = now
	s.requireLevel(alarm, "privacy.plans.ahead")
	require.EqualValues(t, 1, s.found("privacy.plans.ahead", "").Value)
	s.requireLevel(well, "privacy.plans.waiting")
	require.NoError(t, s.desk.Cancel(t.Context(), p.ID))
	s.requireLevel(well, "privacy.plans.ahead")
}

// How long ago a replay got through is said: so long a restored table may have
// gone unnoticed.
func TestAReplayThatIsLongAgoIsFound(t *testing.T) {
	s := newSystem(t)
	s.requireLevel(well, "privacy.replay.age")
	s.erase(s.contact("ann@a.example")) // a day passes
	s.requireLevel(well, "privacy.replay.age")
	s.now = s.now.Add(25 * time.Hour)
	s.requireLevel(alarm, "privacy.replay.age")
	_, err := s.desk.Replay(t.Context())
	require.NoError(t, err)
	s.requireLevel(well, "privacy.replay.age")
}
