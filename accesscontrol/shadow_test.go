package accesscontrol_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/accesscontrol"
)

func ownerIs(_ context.Context, p accesscontrol.Principal, _ string, r accesscontrol.Resource) bool {
	return r.Attrs["owner"] == p.ID
}

// reports collects differences.
type reports struct {
	mu  sync.Mutex
	all []accesscontrol.Difference
}

func (r *reports) add(_ context.Context, d accesscontrol.Difference) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.all = append(r.all, d)
}

func (r *reports) list() []accesscontrol.Difference {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.all
}

// The old answer holds, whatever the policy says; what differs is reported with
// the policies, and with nothing about anybody.
func TestAShadowAnswersWhatTheOldCodeAnswers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var seen reports
		people := crmPeople()
		shadow := &accesscontrol.Shadow{Policy: loadCRM(t), Old: ownerIs, Report: seen.add}
		require.True(t, shadow.Check(t.Context(), people["sales"], "contact.read", contactOf("ann")), "both say yes")
		require.False(t, shadow.Check(t.Context(), people["support"], "contact.read", contactOf("ann")), "the policy permits it")
		require.True(t, shadow.Check(t.Context(), people["outsider"], "contact.read", contactOf("out")), "the policy does not")
		require.True(t, shadow.Check(t.Context(), people["sales"], "contact.fly", contactOf("ann")), "the policy cannot say")
		require.False(t, shadow.Check(t.Context(), people["sales"], "contact.fly", contactOf("bob")), "an error is a no that nobody meant")
		broken := contactOf("ann")
		broken.Attrs["country"] = 7
		require.True(t, shadow.Check(t.Context(), people["sales"], "contact.read", broken))
		audit := accesscontrol.Resource{Type: "audit", ID: "main", Tenant: "main"}
		require.False(t, shadow.Check(t.Context(), people["auditor"], "audit.read", audit))
		synctest.Wait()
		got := seen.list()
		require.Len(t, got, 6)
		require.Equal(t, []string{"support-read"}, got[0].New.Policies)
		require.True(t, got[0].New.Allowed)
		require.Equal(t, accesscontrol.NotPermitted, got[1].New.Reason)
		for _, d := range got[2:5] {
			require.ErrorIs(t, d.Err, accesscontrol.ErrRequest)
		}
		require.Equal(t, []string{"auditor-trail"}, got[5].New.Policies)
		for _, d := range got {
			require.Equal(t, accesscontrol.Request{}, d.Request)
		}
		require.Equal(t, accesscontrol.ShadowCount{Asked: 7, Compared: 7, Differed: 6}, shadow.Count())
	})
}

// The decision is the one that the policy would give.
func TestAShadowAsksThePolicyItself(t *testing.T) {
	db := openDB(t, crmDDL)
	policy := loadCRM(t)
	records, err := contacts(t.Context(), db)
	require.NoError(t, err)
	n := 0
	for _, who := range crmPeople() {
		for _, r := range records {
			want, err := policy.Decide(t.Context(), accesscontrol.Request{Principal: who, Action: "contact.read", Resource: r})
			require.NoError(t, err)
			var seen reports
			shadow := &accesscontrol.Shadow{
				Policy: policy, Report: seen.add, Wait: time.Minute,
				Old: func(context.Context, accesscontrol.Principal, string, accesscontrol.Resource) bool {
					return !want.Allowed
				},
			}
			require.Equal(t, !want.Allowed, shadow.Check(t.Context(), who, "contact.read", r))
			require.Len(t, seen.list(), 1)
			require.Equal(t, want, seen.list()[0].New)
			n++
		}
	}
	require.Equal(t, 30, n)
}

// A report that hangs costs a call what Wait says, and no more; while as many as
// the limit hang, nothing is compared, and the old answers go on.
func TestAShadowIsNeverSlowerThanItsBound(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hang := make(chan struct{})
		shadow := &accesscontrol.Shadow{
			Policy: loadCRM(t), Wait: 7 * time.Millisecond,
			Report: func(context.Context, accesscontrol.Difference) { <-hang },
		}
		who := crmPeople()["support"]
		for range accesscontrol.ShadowLimit {
			began := time.Now()
			require.False(t, shadow.Check(t.Context(), who, "contact.read", contactOf("ann")))
			require.Equal(t, 7*time.Millisecond, time.Since(began))
		}
		began := time.Now()
		require.False(t, shadow.Check(t.Context(), who, "contact.read", contactOf("ann")))
		require.Zero(t, time.Since(began))
		require.Equal(t, int64(1), shadow.Count().Skipped)
		close(hang)
		synctest.Wait()
		shadow.Check(t.Context(), who, "contact.read", contactOf("ann"))
		synctest.Wait()
		require.Equal(t, accesscontrol.ShadowCount{Asked: accesscontrol.ShadowLimit + 2, Compared: accesscontrol.ShadowLimit + 1, Differed: accesscontrol.ShadowLimit + 1, Skipped: 1}, shadow.Count())
	})
}

// Whoever leaves is not held, and what they asked is compared all the same.
func TestAShadowLetsGoOfWhoeverLeaves(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hang := make(chan struct{})
		var alive error
		shadow := &accesscontrol.Shadow{Policy: loadCRM(t), Wait: time.Hour, Report: func(ctx context.Context, _ accesscontrol.Difference) {
			<-hang
			alive = ctx.Err()
		}}
		ctx, leave := context.WithCancel(t.Context())
		leave()
		began := time.Now()
		require.False(t, shadow.Check(ctx, crmPeople()["support"], "contact.read", contactOf("ann")))
		require.Zero(t, time.Since(began))
		close(hang)
		synctest.Wait()
		require.Equal(t, int64(1), shadow.Count().Differed)
		require.NoError(t, alive)
	})
}

// What was handed in may be changed at once: under the race detector, a
// comparison that still reads it is found.
func TestAShadowReadsBeforeItReturns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var seen reports
		shadow := &accesscontrol.Shadow{Policy: loadCRM(t), Report: seen.add, Old: func(context.Context, accesscontrol.Principal, string, accesscontrol.Resource) bool { return true }}
		ctx, leave := context.WithCancel(t.Context())
		leave() // so that the call may come back first
		for range 50 {
			record, who := contactOf("ann"), crmUser("sales", "ann")
			who.Context = map[string]any{}
			shadow.Check(ctx, who, "contact.read", record)
			record.Attrs["owner"], who.Attrs["accounts"] = "bob", []string{"acme"}
			synctest.Wait()
		}
		require.Empty(t, seen.list(), "ann owned it when it was asked")
	})
}

func TestAShadowComparesOneInSoMany(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		shadow := &accesscontrol.Shadow{Policy: loadCRM(t), Old: ownerIs, Every: 10}
		for range 95 {
			require.True(t, shadow.Check(t.Context(), crmPeople()["sales"], "contact.read", contactOf("ann")))
		}
		synctest.Wait()
		require.Equal(t, accesscontrol.ShadowCount{Asked: 95, Compared: 10}, shadow.Count())
	})
}

type panicking struct{}

func (panicking) Error() string { return "secret" }

// Nothing of the new side ends what would have gone on without it.
func TestAShadowSurvivesWhatThePolicyDoes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var seen reports
		who, record := crmPeople()["support"], contactOf("ann")
		for _, shadow := range []*accesscontrol.Shadow{
			{}, // no policy
			{Policy: loadCRM(t), Report: func(context.Context, accesscontrol.Difference) { panic(panicking{}) }},
		} {
			if shadow.Report == nil {
				shadow.Report = seen.add
			}
			require.False(t, shadow.Check(t.Context(), who, "contact.read", record))
			synctest.Wait()
			require.Equal(t, int64(1), shadow.Count().Differed)
		}
		require.ErrorIs(t, seen.list()[0].Err, accesscontrol.ErrNotLoaded)
		verbose := &accesscontrol.Shadow{Policy: loadCRM(t), Report: seen.add, Verbose: true}
		verbose.Check(t.Context(), who, "contact.read", record)
		synctest.Wait()
		require.Equal(t, record, seen.list()[1].Request.Resource)
		require.False(t, errors.Is(seen.list()[1].Err, panicking{}))
	})
}
