package audit_test

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/audit"
)

// No tenant is that of the caller, for what deletes as for what asks; where there is
// no caller it is refused.
func TestNoTenantIsTheCallers(t *testing.T) {
	b := newBench(t)
	b.record(update("p1", 1))
	b.record(update("p2", 1))
	b.record(update("p3", 1))
	require.ErrorIs(t, b.trail.Erase(t.Context(), "", "p1"), audit.ErrInvalid)
	_, err := b.trail.Left(t.Context(), "", "p1")
	require.ErrorIs(t, err, audit.ErrInvalid)
	require.ErrorIs(t, b.trail.Merge(t.Context(), "", "p2", "p3"), audit.ErrInvalid)

	b.config.From = func(context.Context) audit.Caller { return audit.Caller{Tenant: "main", Actor: "u-1"} }
	b.open()
	n, err := b.trail.Left(t.Context(), "", "p1")
	require.NoError(t, err)
	require.Positive(t, n)
	require.NoError(t, b.trail.Erase(t.Context(), "", "p1"))
	require.Zero(t, b.left("p1"))
	require.NoError(t, b.trail.Merge(t.Context(), "", "p2", "p3"))
	require.Len(t, b.history(audit.About("p3")), 3, "two updates and the merger")
}

// What is missing is said with where it comes from, and a part of an action is no
// action: it would find nothing, and say nothing.
func TestMistakesOfAFirstDayAreExplained(t *testing.T) {
	b := newBench(t)
	_, err := b.trail.Note(t.Context(), audit.Event{Tenant: "main", Action: "contact.create"})
	require.ErrorIs(t, err, audit.ErrInvalid)
	require.ErrorContains(t, err, "Config.From")
	for _, action := range []string{"contact.*", "contact export", "*"} {
		_, err = b.trail.Find(t.Context(), audit.Filter{Tenant: "main", Action: action}, audit.Page{})
		require.ErrorIs(t, err, audit.ErrInvalid)
		require.ErrorContains(t, err, "one whole action")
	}
}
