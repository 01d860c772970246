package privacy_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/privacy"
)

// state is what the plan table says.
func (s *system) state(plan string) string {
	var state string
	require.NoError(s.t, s.db.QueryRowContext(s.t.Context(), s.on.Bind(`SELECT state FROM crmguard_privacy_plan WHERE id = ?`), plan).Scan(&state))
	return state
}

// whenAsked runs f once, in the middle of the call that asks for the action,
// on a desk of another process.
func (s *system) whenAsked(action string, f func(other *privacy.Desk)) {
	other, asked := s.desk, false
	s.cfg.Allow = func(_ context.Context, a, _ string) error {
		if a == action && !asked {
			asked = true
			f(other)
		}
		return nil
	}
	s.reopen()
}

// A nil from Cancel would promise what a replay breaks: the intent stands in
// the ledger for good.
func TestCancelRefusesOnceTheIntentStandsInTheLedger(t *testing.T) {
	s := newSystem(t)
	ann := s.contact("ann@a.example")
	p := s.approved(ann)
	for n := 1; ; n++ { // to the place between ledger and database
		s.fuse.left = n
		_, err := s.desk.Execute(t.Context(), p.ID)
		s.fuse.left = 0
		require.Error(t, err)
		if s.state(p.ID) == "approved" && len(ops(t, s)) == 1 {
			break
		}
	}
	require.ErrorIs(t, s.desk.Cancel(t.Context(), p.ID), privacy.ErrBegun)
	require.Equal(t, "approved", s.state(p.ID), "the plan still knows whom it erases")
	for range 2 {
		_, err := s.desk.Execute(t.Context(), p.ID)
		require.NoError(t, err, "it can only be carried out")
		s.now = s.now.Add(time.Minute)
	}
	require.Equal(t, "done", s.state(p.ID))
	require.NoError(t, s.desk.Ready(t.Context()))
}

// Whoever was told that the plan is withdrawn finds the person there.
func TestACancelThatSucceedsWhileExecuteBeginsIsKept(t *testing.T) {
	s := newSystem(t)
	ann := s.contact("ann@a.example")
	p := s.approved(ann)
	s.whenAsked("privacy.execute", func(other *privacy.Desk) {
		require.NoError(t, other.Cancel(t.Context(), p.ID))
	})
	_, err := s.desk.Execute(t.Context(), p.ID)
	require.ErrorIs(t, err, privacy.ErrCancelled)
	require.Equal(t, 1, s.count(`SELECT COUNT(*) FROM contacts WHERE person = ?`, ann))
	require.NotNil(t, s.keys.keys[ann])
	require.Equal(t, []string{"cancel"}, ops(t, s), "nor does a replay know of an erasure")
	require.Equal(t, 0, s.count(`SELECT COUNT(*) FROM events WHERE action = 'privacy.erase.begin'`))
}

// The trail names no approval that was not stored.
func TestAnApprovalThatLosesToACancelSaysSo(t *testing.T) {
	s := newSystem(t)
	p, err := s.desk.PlanErasure(t.Context(), privacy.Request{Tenant: "main", Person: s.contact("ann@a.example"), Reason: "r", By: "user/1"})
	require.NoError(t, err)
	s.whenAsked("privacy.approve", func(other *privacy.Desk) {
		require.NoError(t, other.Cancel(t.Context(), p.ID))
	})
	require.ErrorIs(t, s.desk.Approve(t.Context(), p.ID, "user/2"), privacy.ErrPlanChanged)
	require.Equal(t, 0, s.count(`SELECT COUNT(*) FROM events WHERE action = 'privacy.approve'`))
	require.Equal(t, "cancelled", s.state(p.ID))
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
