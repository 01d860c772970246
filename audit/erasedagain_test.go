package audit_test

import (
	"context"
	"log/slog"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/audit"
)

// Who deletes a row behind the erasure of its person records the person again: the
// process that erased them says so, until they are erased once more, by whomever.
func TestARowDeletedBehindTheErasureIsTold(t *testing.T) {
	eachAsker(t, func(t *testing.T, a *asker) {
		again := 0.0
		a.config.Observe = func(_ context.Context, name string, value float64, _ ...slog.Attr) {
			if name == "audit.erased.again" {
				again += value
			}
		}
		a.open()
		deletion := func(person string) audit.Event {
			return audit.Event{
				Tenant: "main", Actor: "u-7", Action: "contact.delete", Object: audit.PersonRef("contact", person),
				Changes: audit.Diff(person, map[string]any{"email": person + "@canary.example"}, nil),
			}
		}
		finding := func() audit.Finding {
			t.Helper()
			all, err := a.trail.Status(t.Context())
			require.NoError(t, err)
			for _, f := range all {
				if f.Name == "audit.erased" {
					return f
				}
			}
			t.Fatal("there is no such finding")
			return audit.Finding{}
		}
		a.tell(deletion("p1")) // row first
		require.NoError(t, a.trail.Erase(t.Context(), "main", "p1"))
		require.Equal(t, audit.HealthOK, finding().Level)
		a.tell(deletion("p2"))
		require.Equal(t, audit.HealthOK, finding().Level, "another person")

		a.tell(deletion("p1")) // and once more, behind it
		a.tell(deletion("p1"))
		told := finding()
		require.Equal(t, audit.HealthNotice, told.Level)
		require.InDelta(t, 1, told.Value, 0)
		require.False(t, told.Since.IsZero())
		require.NotContains(t, told.String(), "p1")
		require.InDelta(t, 1, again, 0)
		left, err := a.trail.Left(t.Context(), "main", "p1")
		require.NoError(t, err)
		require.Positive(t, left)

		first := a.trail
		a.open() // another process
		require.NoError(t, a.trail.Erase(t.Context(), "main", "p1"))
		a.trail = first
		require.Equal(t, audit.HealthOK, finding().Level)
		left, err = a.trail.Left(t.Context(), "main", "p1")
		require.NoError(t, err)
		require.Zero(t, left)

		a.advance(time.Hour) // and whom another one erased counts no more
		require.NoError(t, a.trail.Erase(t.Context(), "main", "p2"))
		a.tell(deletion("p2"))
		told = finding()
		require.InDelta(t, 1, told.Value, 0)
		require.True(t, told.Since.Equal(time.UnixMicro(a.clock.Load())), "%v", told.Since)
	})
}
