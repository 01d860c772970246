package privacy_test

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/privacy"
	"github.com/crmguard/crmguard/privacy/datastore"
)

// slowOnce is a database whose first answer about its numbers takes its time.
type slowOnce struct {
	fused
	asked, free chan struct{}
}

func (d slowOnce) Tops(ctx context.Context) (map[string]int64, error) {
	select {
	case d.asked <- struct{}{}:
		<-d.free
	default:
	}
	return d.fused.Tops(ctx)
}

// A store that answers slowly is asked by others meanwhile: only what the end of
// a context has left behind counts as hanging.
func TestGatesThatLookAtOnceDoNotRefuseOneAnother(t *testing.T) {
	s := newSystem(t)
	slow := slowOnce{fused: s.cfg.Database.(fused), asked: make(chan struct{}, 1), free: make(chan struct{})}
	s.cfg.Database = slow
	s.cfg.Highest = func(context.Context) (map[string]int64, error) { return map[string]int64{"main.notes.id": 0}, nil }
	s.reopen()
	first := make(chan error, 1)
	go func() { first <- s.desk.Ready(t.Context()) }()
	for len(slow.asked) == 0 {
		select {
		case err := <-first:
			t.Fatal("the numbers were not asked for", err)
		default:
		}
	}
	require.NoError(t, s.desk.Ready(t.Context()))
	close(slow.free)
	require.NoError(t, <-first)
}

// toFailedCommit executes until the intent stands in the ledger and the database
// has taken all back.
func (s *system) toFailedCommit(plan string) {
	for n := 1; ; n++ {
		s.fuse.left = n
		_, err := s.desk.Execute(s.t.Context(), plan)
		s.fuse.left = 0
		require.Error(s.t, err)
		if s.state(plan) == "approved" && len(ops(s.t, s)) == 1 {
			return
		}
	}
}

// Somebody is merged into the person after the intent and before the commit: an
// erasure that stands in the ledger is finished for those whom it names, because
// nobody may plan another one while the gate is shut.
func TestABegunErasureIsFinishedWhoeverIsMergedMeanwhile(t *testing.T) {
	s := quick(t)
	ann, bob := s.contact("ann@a.example"), s.contact("bob@b.example")
	var merged []string
	s.cfg.Aliases = func(context.Context, string, string) ([]string, error) { return merged, nil }
	s.reopen()
	p := s.approved(ann)
	s.toFailedCommit(p.ID)
	merged = []string{bob}
	s.done(p.ID)
	require.Equal(t, 0, s.count(`SELECT COUNT(*) FROM contacts WHERE person = ?`, ann))
	require.Equal(t, 1, s.count(`SELECT COUNT(*) FROM contacts WHERE person = ?`, bob), "who was not approved")
	require.NoError(t, s.desk.Ready(t.Context()))
}

// A hold that another process sets while an erasure is on its way keeps the
// person, also where the intent stands in the ledger already.
func TestAHoldBeforeTheCommitKeepsThePerson(t *testing.T) {
	s := quick(t)
	ann := s.contact("ann@a.example")
	p := s.approved(ann)
	s.toFailedCommit(p.ID)
	s.whenAsked("privacy.execute", func(other *privacy.Desk) {
		_, err := other.Hold(t.Context(), privacy.LegalHold{Tenant: "main", Person: ann, Because: "litigation", By: "user/3"})
		require.NoError(t, err)
	})
	o, err := s.desk.Execute(t.Context(), p.ID)
	require.NoError(t, err)
	require.Equal(t, privacy.Held, o.State)
	require.Equal(t, 1, s.count(`SELECT COUNT(*) FROM contacts`))
}

// A replay that passes a person over because of a hold does not forget by what a
// store that was down finds them: after the hold it is asked.
func TestAHoldDuringReplaysForgetsNobody(t *testing.T) {
	l, x := subscribed(t)
	l.add(1, "lead-one", longAgo)
	l.backup()
	x.holds["1@lead.example"] = true
	l.erases("lead-one")
	l.restore()
	x.holds["1@lead.example"], x.down = true, true
	_, err := l.desk.Replay(t.Context())
	require.Error(t, err)
	hold, err := l.desk.Hold(t.Context(), privacy.LegalHold{Tenant: "main", Person: "lead-one", Because: "litigation", By: "user/3"})
	require.NoError(t, err)
	for range 2 {
		_, err = l.desk.Replay(t.Context())
		require.NoError(t, err)
		require.NoError(t, l.desk.Ready(t.Context()), "nothing can be done while the hold lasts")
	}
	require.NoError(t, l.desk.Lift(t.Context(), "main", hold, "user/3"))
	_, err = l.desk.Replay(t.Context())
	require.Error(t, err, "the store is down")
	require.ErrorIs(t, l.desk.Ready(t.Context()), privacy.ErrBehind)
	x.down = false
	_, err = l.desk.Replay(t.Context())
	require.NoError(t, err)
	require.Empty(t, x.holds)
	require.Zero(t, l.notes("replay-"))
	require.NoError(t, l.desk.Ready(t.Context()))
}

// The lease begins anew where a clock that was years ahead says when it began.
func TestAClockThatWasAheadDoesNotHoldUpACertificate(t *testing.T) {
	s := newSystem(t)
	ann := s.contact("ann@a.example")
	p := s.approved(ann)
	s.keys.broken = true
	s.isPartial(p.ID)
	s.keys.broken = false
	right := s.now
	s.now = right.AddDate(3, 0, 0)
	s.waits(p.ID)
	s.now = right
	o, err := s.desk.Execute(t.Context(), p.ID)
	require.NoError(t, err)
	require.Equal(t, privacy.Waiting, o.State)
	require.Equal(t, right.Add(5*time.Second), o.Until)
	s.now = s.now.Add(5 * time.Second)
	s.done(p.ID)
}

// undatedBook is a mailer that knows no dates.
type undatedBook struct{ *mailer }

func (b undatedBook) Find(ctx context.Context, scope datastore.Scope) ([]datastore.Row, error) {
	rows, err := b.mailer.Find(ctx, scope)
	for i := range rows {
		rows[i].Created = time.Time{}
	}
	return rows, err
}

func (b undatedBook) Erase(ctx context.Context, scope datastore.Scope, _ []datastore.Row) error {
	rows, err := b.Find(ctx, scope)
	for _, row := range rows {
		if scope.Covers(row) {
			delete(b.holds, row.Key)
		}
	}
	return err
}

func (b undatedBook) Remaining(ctx context.Context, scope datastore.Scope, _ []datastore.Row) (n int, err error) {
	rows, err := b.Find(ctx, scope)
	for _, row := range rows {
		if scope.Covers(row) {
			n++
		}
	}
	return n, err
}

// A row that waits for a decision waits in every replay, also where the database
// has forgotten by what it was found.
func TestAnUndatedRowOfAnotherStoreWaitsForItsDecision(t *testing.T) {
	l, x := subscribed(t)
	l.cfg.Stores[len(l.cfg.Stores)-1] = undatedBook{x}
	l.reopen()
	l.add(1, "lead-one", longAgo)
	l.backup()
	l.erases("lead-one")
	l.restore()
	x.holds["1@lead.example"] = true
	for range 3 {
		_, err := l.desk.Replay(t.Context())
		require.ErrorIs(t, err, privacy.ErrUndecided)
		require.ErrorIs(t, l.desk.Ready(t.Context()), privacy.ErrUndecided)
		require.Zero(t, l.count(`SELECT COUNT(*) FROM leads`))
	}
	require.NoError(t, l.desk.Decide(t.Context(), privacy.Decision{
		Tenant: "main", Person: "lead-one", Table: "subscribers", Key: "1@lead.example", Erase: true, By: "user/3", Because: "older",
	}))
	_, err := l.desk.Replay(t.Context())
	require.NoError(t, err)
	require.Empty(t, x.holds)
	require.NoError(t, l.desk.Ready(t.Context()))
}
