package privacy_test

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/privacy"
	"github.com/crmguard/crmguard/privacy/datastore"
	"github.com/crmguard/crmguard/privacy/erasurelog"
)

func TestAnErasureFromPlanToCertificate(t *testing.T) {
	s := newSystem(t)
	ann, bob := s.contact("ann@a.example"), s.contact("bob@b.example")
	both := s.activity("call between "+ann+" and "+bob, ann, bob)
	s.activity("only "+ann, ann)
	var before string
	require.NoError(t, s.db.QueryRow(`SELECT owner FROM activities WHERE id = ?`, both).Scan(&before))
	old := s.invoice(ann, s.now.AddDate(-11, 0, 0))
	kept := s.invoice(ann, s.now.AddDate(-1, 0, 0))

	rows, err := s.desk.Find(t.Context(), "main", ann)
	require.NoError(t, err)
	require.Len(t, rows, 7, "contact, note, two invoices, two activities, one key")

	o := s.erase(ann)
	require.Equal(t, 1, s.count(`SELECT COUNT(*) FROM contacts`), "the other person stays")
	require.Equal(t, 1, s.count(`SELECT COUNT(*) FROM notes`))
	require.Equal(t, 0, s.count(`SELECT COUNT(*) FROM activity_persons WHERE person = ?`, ann))
	require.Equal(t, 0, s.count(`SELECT COUNT(*) FROM invoices WHERE id = ?`, old), "its obligation is over")
	require.Equal(t, 1, s.count(`SELECT COUNT(*) FROM invoices WHERE id = ? AND phone IS NULL AND name = 'Ann Example'`, kept))

	var owner string
	var body []byte
	require.NoError(t, s.db.QueryRow(`SELECT owner, body FROM activities WHERE id = ?`, both).Scan(&owner, &body))
	text, err := s.keys.open(owner, body)
	require.NoError(t, err)
	require.Equal(t, "call between [redacted] and "+bob, text, "the second person's record stays readable")
	require.Nil(t, s.keys.keys[before], "the old owner of the joint record is destroyed")

	classes := map[datastore.Class]int{}
	for _, c := range o.Counts {
		classes[c.Class] += c.Rows
		if c.Class == datastore.Kept {
			require.Equal(t, "DE-HGB-257", c.Because)
			require.False(t, c.Until.IsZero())
		}
	}
	require.Equal(t, map[datastore.Class]int{datastore.Deleted: 4, datastore.Redacted: 1, datastore.Kept: 1, datastore.Shredded: 1}, classes)

	again, err := s.desk.Execute(t.Context(), o.Plan)
	require.NoError(t, err)
	require.Equal(t, privacy.Done, again.State)
	require.Equal(t, o.Certificate, again.Certificate)
	require.Equal(t, o.Salt, again.Salt, "no crash loses it")
	require.Equal(t, o.Counts, again.Counts)
	shown, err := s.desk.Plan(t.Context(), o.Plan)
	require.NoError(t, err)
	require.Equal(t, privacy.Plan{ID: o.Plan, Tenant: "main", By: "user/1", ApprovedBy: "user/2", Reason: "gdpr-17", State: "done", Counts: o.Counts}, *shown)
	head, err := s.desk.LedgerHead(t.Context())
	require.NoError(t, err)
	require.Equal(t, 1, s.count(`SELECT COUNT(*) FROM events WHERE action = 'privacy.ledger' AND attrs LIKE ?`, "%"+string(head)+"%"), "the head goes into the trail")
}

func TestNothingKeepsThePersonID(t *testing.T) {
	s := newSystem(t)
	ann := s.contact("ann@a.example")
	_, err := s.desk.PlanErasure(t.Context(), privacy.Request{Tenant: "main", Person: ann, Reason: "twice", By: "user/9"})
	require.NoError(t, err)
	plan := s.approved(ann)
	contains := func() []string {
		var found []string
		require.NoError(t, filepath.WalkDir(s.dir, func(path string, d os.DirEntry, err error) error {
			if err != nil || d.IsDir() {
				return err
			}
			data, err := os.ReadFile(path)
			if slices.Contains([]string{".db-shm"}, filepath.Ext(path)) || err != nil {
				return err
			}
			if indexOf(data, ann) {
				found = append(found, filepath.Base(path))
			}
			return nil
		}))
		return found
	}
	require.NotEmpty(t, contains(), "the search finds what is there")
	_, err = s.desk.Execute(t.Context(), plan.ID)
	require.NoError(t, err)
	s.now = s.now.Add(time.Minute)
	o, err := s.desk.Execute(t.Context(), plan.ID)
	require.NoError(t, err)
	require.Equal(t, privacy.Done, o.State)
	require.Empty(t, contains(), "database, write-ahead log, plans, events, ledger")
}

func indexOf(data []byte, s string) bool {
	for i := 0; i+len(s) <= len(data); i++ {
		if string(data[i:i+len(s)]) == s {
			return true
		}
	}
	return false
}

func TestTheRequesterCannotApprove(t *testing.T) {
	s := newSystem(t)
	p, err := s.desk.PlanErasure(t.Context(), privacy.Request{Tenant: "main", Person: s.contact("a@a.example"), Reason: "r", By: "user/1"})
	require.NoError(t, err)
	require.ErrorIs(t, s.desk.Approve(t.Context(), p.ID, "user/1"), privacy.ErrSelfApproval)
	s.now = s.now.Add(48 * time.Hour)
	_, err = s.desk.Execute(t.Context(), p.ID)
	require.ErrorIs(t, err, privacy.ErrNotApproved)
	require.NoError(t, s.desk.Approve(t.Context(), p.ID, "user/2"))
	require.NoError(t, s.desk.Approve(t.Context(), p.ID, "user/2"), "again changes nothing")
	shown, err := s.desk.Plan(t.Context(), p.ID)
	require.NoError(t, err)
	require.Equal(t, "user/2", shown.ApprovedBy)
	require.Equal(t, p.Counts, shown.Counts)
}

func TestNotBefore(t *testing.T) {
	s := newSystem(t)
	p, err := s.desk.PlanErasure(t.Context(), privacy.Request{Tenant: "main", Person: s.contact("a@a.example"), Reason: "r", By: "user/1"})
	require.NoError(t, err)
	require.NoError(t, s.desk.Approve(t.Context(), p.ID, "user/2"))
	s.now = p.NotBefore.Add(-time.Microsecond)
	_, err = s.desk.Execute(t.Context(), p.ID)
	require.ErrorIs(t, err, privacy.ErrTooEarly)
	s.now = p.NotBefore
	_, err = s.desk.Execute(t.Context(), p.ID)
	require.NoError(t, err)
}

func TestAChangedPlanIsNotExecuted(t *testing.T) {
	s := newSystem(t)
	ann := s.contact("ann@a.example")
	p := s.approved(ann)
	s.activity("came after the approval", ann)
	_, err := s.desk.Execute(t.Context(), p.ID)
	require.ErrorIs(t, err, privacy.ErrPlanChanged)
	require.Equal(t, 2, s.count(`SELECT (SELECT COUNT(*) FROM contacts) + (SELECT COUNT(*) FROM activities)`), "nothing was touched")
}

func TestAForgedPlanOrApprovalIsNotExecuted(t *testing.T) {
	s := newSystem(t)
	ann, bob := s.contact("ann@a.example"), s.contact("bob@b.example")
	p, other := s.approved(ann), s.approved(bob)
	s.exec(`UPDATE crmguard_privacy_plan SET body = CAST(replace(CAST(body AS TEXT), ?, ?) AS BLOB) WHERE id = ?`, ann, bob, p.ID)
	_, err := s.desk.Execute(t.Context(), p.ID)
	require.ErrorIs(t, err, privacy.ErrPlanForged, "another person in the body")
	s.exec(`UPDATE crmguard_privacy_plan SET approval = (SELECT approval FROM crmguard_privacy_plan WHERE id = ?) WHERE id = ?`, p.ID, other.ID)
	_, err = s.desk.Execute(t.Context(), other.ID)
	require.ErrorIs(t, err, privacy.ErrPlanForged, "the approval of another plan")
	fourth, err := s.desk.PlanErasure(t.Context(), privacy.Request{Tenant: "main", Person: ann, Reason: "r", By: "user/1"})
	require.NoError(t, err)
	s.exec(`UPDATE crmguard_privacy_plan SET body = CAST(replace(CAST(body AS TEXT), ?, ?) AS BLOB) WHERE id = ?`, ann, bob, fourth.ID)
	require.ErrorIs(t, s.desk.Approve(t.Context(), fourth.ID, "user/2"), privacy.ErrPlanForged, "changed before anyone approved it")
	third, err := s.desk.PlanErasure(t.Context(), privacy.Request{Tenant: "main", Person: bob, Reason: "r", By: "user/1"})
	require.NoError(t, err)
	s.now = s.now.Add(25 * time.Hour)
	s.exec(`UPDATE crmguard_privacy_plan SET state = 'erased' WHERE id = ?`, third.ID)
	_, err = s.desk.Execute(t.Context(), third.ID)
	require.ErrorIs(t, err, privacy.ErrNotApproved, "a state without an approval")
}

func TestAStoreThatErasesNothingMakesItPartial(t *testing.T) {
	s := newSystem(t)
	ann := s.contact("ann@a.example")
	p := s.approved(ann)
	s.keys.broken = true
	for range 2 {
		o, err := s.desk.Execute(t.Context(), p.ID)
		require.NoError(t, err)
		require.Equal(t, privacy.Partial, o.State)
		require.Nil(t, o.Certificate)
		require.Equal(t, 1, o.Stores[1].Remaining)
		s.now = s.now.Add(time.Hour)
	}
	require.Equal(t, []string{"intent", "partial"}, ops(t, s), "no done, and partial once in a row")
	s.keys.broken = false
	o, err := s.desk.Execute(t.Context(), p.ID)
	require.NoError(t, err)
	require.Equal(t, privacy.Waiting, o.State)
	require.Equal(t, s.now.Add(5*time.Second), o.Until)
	s.now = o.Until
	o, err = s.desk.Execute(t.Context(), p.ID)
	require.NoError(t, err)
	require.Equal(t, privacy.Done, o.State)
	require.Equal(t, []string{"intent", "partial", "done"}, ops(t, s))
}

func TestADatabaseThatErasesNothingMakesItPartial(t *testing.T) {
	s := newSystem(t)
	ann := s.contact("ann@a.example")
	p := s.approved(ann)
	s.cfg.Database = lazy{s.cfg.Database}
	s.reopen()
	o, err := s.desk.Execute(t.Context(), p.ID)
	require.NoError(t, err)
	require.Equal(t, privacy.Partial, o.State)
	require.Equal(t, 2, o.Stores[0].Remaining)
	require.Equal(t, []string{"intent", "partial"}, ops(t, s))
}

// lazy says that it erased.
type lazy struct{ datastore.Transactional }

func (lazy) Erase(context.Context, datastore.Scope, []datastore.Row) error { return nil }

func (l lazy) EraseIn(ctx context.Context, _ []datastore.Scope, last func(context.Context, datastore.Tx, []datastore.Row) error) error {
	return l.Transactional.EraseIn(ctx, nil, last)
}

func TestAStoreThatCannotBeReadBackIsOnTheCertificate(t *testing.T) {
	s := newSystem(t)
	s.cfg.Stores = append(s.cfg.Stores, datastore.Func{Name: "cache", Class: datastore.Deleted, Erase: s.keys.erase}.Store())
	s.reopen()
	o := s.erase(s.contact("ann@a.example"))
	c := s.verified(o).Statement
	require.Equal(t, []string{"mail already sent", "store cache was erased but cannot be read back"}, c.NotCovered[:2])
}

func TestAStoreThatAnswersLaterMakesItWait(t *testing.T) {
	s := newSystem(t)
	p := s.approved(s.contact("ann@a.example"))
	busy := true
	s.cfg.Stores = append(s.cfg.Stores, datastore.Func{Name: "crm at the agency", Erase: func(context.Context, string, string) error {
		if busy {
			return datastore.ErrLater
		}
		return nil
	}}.Store())
	s.reopen()
	o, err := s.desk.Execute(t.Context(), p.ID)
	require.NoError(t, err)
	require.Equal(t, privacy.Waiting, o.State)
	require.ErrorIs(t, o.Stores[2].Err, datastore.ErrLater)
	busy = false
	_, err = s.desk.Execute(t.Context(), p.ID)
	require.NoError(t, err)
	s.now = s.now.Add(time.Minute)
	o, err = s.desk.Execute(t.Context(), p.ID)
	require.NoError(t, err)
	require.Equal(t, privacy.Done, o.State)
}

// Every call that leaves the desk fails once, at every place in turn; the next
// process finishes what was begun.
func TestACrashAtEveryStepIsFinishedByTheNextExecute(t *testing.T) {
	for n := 1; ; n++ {
		s := newSystem(t)
		ann, bob := s.contact("ann@a.example"), s.contact("bob@b.example")
		s.activity("both "+ann, ann, bob)
		p := s.approved(ann)
		s.fuse.left = n
		o, err := s.desk.Execute(t.Context(), p.ID)
		crashed := s.fuse.left == 0
		if err == nil && o.State == privacy.Waiting {
			s.now = s.now.Add(time.Minute)
			_, _ = s.desk.Execute(t.Context(), p.ID)
			crashed = s.fuse.left == 0
		}
		s.fuse.left = 0
		s.open() // a new process
		for range 3 {
			s.now = s.now.Add(time.Minute)
			o, err = s.desk.Execute(t.Context(), p.ID)
			require.NoError(t, err, "after a crash at call %d", n)
		}
		require.Equal(t, privacy.Done, o.State, "after a crash at call %d", n)
		require.NotNil(t, o.Certificate)
		require.Equal(t, 1, s.count(`SELECT COUNT(*) FROM contacts`))
		require.Equal(t, 0, s.count(`SELECT COUNT(*) FROM crmguard_privacy_retired`))
		require.Nil(t, s.keys.keys[ann])
		require.NoError(t, s.desk.Ready(t.Context()), "after a crash at call %d", n)
		entries := ops(t, s)
		require.Equal(t, 1, countOf(entries, "intent"), "after a crash at call %d", n)
		require.GreaterOrEqual(t, countOf(entries, "done"), 1)
		if !crashed {
			require.Greater(t, n, 25, "the fuse went through the whole execution")
			return
		}
	}
}

// The process dies (its context ends) at every place in turn.
func TestAProcessThatDiesAnywhereLosesNothing(t *testing.T) {
	for n := 1; ; n++ {
		s := newSystem(t)
		ann := s.contact("ann@a.example")
		p := s.approved(ann)
		ctx, cancel := context.WithCancel(t.Context())
		var calls, minutes atomic.Int64 // what was left behind may still ask for the time
		s.cfg.Now = func() time.Time {
			if calls.Add(1) == int64(n) {
				cancel()
			}
			return s.now.Add(time.Duration(minutes.Load()) * time.Minute)
		}
		s.cfg.Lease = -1
		s.reopen()
		_, err := s.desk.Execute(ctx, p.ID)
		died := ctx.Err() != nil
		cancel()
		now := s.cfg.Now
		s.open()
		s.cfg.Now = now
		s.reopen()
		for range 2 {
			minutes.Add(1)
			o, err := s.desk.Execute(t.Context(), p.ID)
			require.NoError(t, err, "after the end at %d", n)
			require.NotEqual(t, privacy.Partial, o.State)
		}
		require.Equal(t, 0, s.count(`SELECT COUNT(*) FROM contacts`))
		require.NoError(t, s.desk.Ready(t.Context()))
		if !died {
			require.NoError(t, err)
			require.Greater(t, n, 5)
			return
		}
	}
}

func countOf(list []string, want string) int {
	n := 0
	for _, s := range list {
		if s == want {
			n++
		}
	}
	return n
}

func TestMergedPersonsAreErasedTogether(t *testing.T) {
	s := newSystem(t)
	twelve, seventeen := s.contact("ann@a.example"), s.contact("ann.old@a.example")
	s.cfg.Aliases = func(_ context.Context, _, person string) ([]string, error) {
		if person == twelve {
			return []string{seventeen, twelve}, nil
		}
		return nil, nil
	}
	s.reopen()
	backup := s.snapshot()
	s.erase(twelve)
	require.Equal(t, 0, s.count(`SELECT COUNT(*) FROM contacts`))
	s.restore(backup)
	r, err := s.desk.Replay(t.Context())
	require.NoError(t, err)
	require.Equal(t, 2, r.Erased, "the alias is followed although the merge is not asked for again")
	require.Equal(t, 0, s.count(`SELECT COUNT(*) FROM contacts`))
}

func TestCancelForgetsThePerson(t *testing.T) {
	s := newSystem(t)
	p := s.approved(s.contact("ann@a.example"))
	require.NoError(t, s.desk.Cancel(t.Context(), p.ID))
	require.NoError(t, s.desk.Cancel(t.Context(), p.ID))
	shown, err := s.desk.Plan(t.Context(), p.ID)
	require.NoError(t, err)
	require.Empty(t, shown.Person)
	_, err = s.desk.Execute(t.Context(), p.ID)
	require.ErrorIs(t, err, privacy.ErrCancelled)
	require.ErrorIs(t, s.desk.Approve(t.Context(), p.ID, "user/3"), privacy.ErrCancelled)
	_, err = s.desk.Execute(t.Context(), newID())
	require.ErrorIs(t, err, privacy.ErrNoPlan)
	done := s.erase(s.contact("bob@b.example"))
	require.ErrorIs(t, s.desk.Cancel(t.Context(), done.Plan), privacy.ErrEnded)
}

func TestThereIsACapADay(t *testing.T) {
	s := newSystem(t)
	s.cfg.PerDay, s.cfg.Delay, s.cfg.Lease = 2, -1, -1
	s.reopen()
	for i := range 3 {
		p, err := s.desk.PlanErasure(t.Context(), privacy.Request{Tenant: "main", Person: s.contact("a@a.example"), Reason: "r", By: "user/1"})
		require.NoError(t, err)
		require.NoError(t, s.desk.Approve(t.Context(), p.ID, "user/2"))
		o, err := s.desk.Execute(t.Context(), p.ID)
		if i < 2 {
			require.NoError(t, err)
			require.Equal(t, privacy.Done, o.State)
			continue
		}
		require.ErrorIs(t, err, privacy.ErrTooMany)
		s.now = s.now.Add(25 * time.Hour)
		_, err = s.desk.Execute(t.Context(), p.ID)
		require.NoError(t, err)
	}
}

func TestNothingIsErasedWhileTheClockIsBehind(t *testing.T) {
	s := newSystem(t)
	s.erase(s.contact("ann@a.example"))
	p, err := s.desk.PlanErasure(t.Context(), privacy.Request{Tenant: "main", Person: s.contact("b@b.example"), Reason: "r", By: "user/1"})
	require.NoError(t, err)
	require.NoError(t, s.desk.Approve(t.Context(), p.ID, "user/2"))
	s.erase(s.contact("c@c.example"))
	s.now = s.now.Add(-2 * time.Minute) // hosts may differ by one
	_, err = s.desk.Execute(t.Context(), p.ID)
	require.ErrorIs(t, err, erasurelog.ErrClock)
}

func TestExecuteDoesNotHideARestore(t *testing.T) {
	s := newSystem(t)
	ann, bob := s.contact("ann@a.example"), s.contact("bob@b.example")
	p := s.approved(bob)
	backup := s.snapshot()
	s.erase(ann)
	s.restore(backup)
	_, err := s.desk.Execute(t.Context(), p.ID)
	require.ErrorIs(t, err, privacy.ErrBehind, "it would raise the mark over the other's erasure")
	require.ErrorIs(t, s.desk.Ready(t.Context()), privacy.ErrBehind)
}
