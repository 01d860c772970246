package audit_test

import (
	"context"
	"fmt"
	"log/slog"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/audit"
)

func (a *asker) waits() (n int) {
	a.t.Helper()
	require.NoError(a.t, a.db.QueryRowContext(a.t.Context(), `SELECT COUNT(*) FROM crmguard_audit_events WHERE idx IS NULL`).Scan(&n))
	return n
}

// The request that happens to come when the minute of others is over writes a few of
// their counts; a pass writes all, and none is lost.
func TestOneReaderWritesAFewCounts(t *testing.T) {
	actor := ""
	a := withConfig(t, func(c *audit.Config) {
		c.From = func(context.Context) audit.Caller { return audit.Caller{Tenant: "main", Actor: actor} }
	})
	const actors = 100
	for i := range actors {
		actor = fmt.Sprintf("u-%d", i)
		require.NoError(t, a.trail.Decisions(t.Context(), "contact.read", "deal/7", nil))
	}
	a.advance(2 * time.Minute)
	for n := range 3 {
		require.NoError(t, a.trail.Decisions(t.Context(), "contact.read", "deal/7", nil))
		require.Equal(t, 8*(n+1), a.waits())
	}
	a.run()
	require.NoError(t, a.trail.Flush(t.Context()))
	total := int64(0)
	for _, e := range a.allowed("contact.read") {
		total += e.Changes[0].New.(int64)
	}
	require.EqualValues(t, actors+3, total)
}

// While the database is away one request a minute finds that out, with one try, and
// what was counted is written when it is back.
func TestOneRequestAMinuteTriesADatabaseThatIsAway(t *testing.T) {
	actor, tries := "", 0
	a := withConfig(t, func(c *audit.Config) {
		c.From = func(context.Context) audit.Caller { return audit.Caller{Tenant: "main", Actor: actor} }
	})
	a.config.Observe = func(_ context.Context, name string, _ float64, _ ...slog.Attr) {
		if name == "audit.decisions.failed" {
			tries++
		}
	}
	a.open()
	decide := func() {
		for i := range 30 {
			actor = fmt.Sprintf("u-%d", i)
			require.NoError(t, a.trail.Decisions(t.Context(), "contact.read", "deal/7", nil))
		}
	}
	decide()
	a.exec(`ALTER TABLE crmguard_audit_events RENAME TO elsewhere`)
	for minute := range 5 {
		a.advance(time.Minute)
		decide()
		require.Equal(t, minute+1, tries)
	}
	a.exec(`ALTER TABLE elsewhere RENAME TO crmguard_audit_events`)
	require.NoError(t, a.trail.Flush(t.Context()))
	total := int64(0)
	for before := ""; ; {
		found, err := a.trail.Find(t.Context(), audit.Filter{Tenant: "main"}, audit.Page{Size: 1000, Before: before})
		require.NoError(t, err)
		for _, e := range found.Entries {
			total += e.Changes[0].New.(int64)
		}
		if before = found.Next; before == "" {
			break
		}
	}
	require.EqualValues(t, 30*6, total)
}

// Whoever is denied and has hung up by then was denied all the same: it is counted.
func TestADenialOfAnEndedRequestIsCounted(t *testing.T) {
	a := withConfig(t, func(c *audit.Config) {
		c.From = func(context.Context) audit.Caller { return audit.Caller{Tenant: "main", Actor: "u-7"} }
	})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for range 50 {
		require.Equal(t, errNo, a.trail.Decisions(ctx, "contact.read", "deal/7", errNo))
	}
	require.ErrorIs(t, a.trail.Decisions(ctx, "contact.read", "deal/7", fmt.Errorf("ask: %w", ctx.Err())), context.Canceled)
	require.NoError(t, a.trail.Flush(t.Context()))
	denied := a.decided("contact.read")
	require.Len(t, denied, 1)
	require.Equal(t, int64(50), denied[0].Changes[0].New)
	require.Equal(t, audit.OutcomeDenied, denied[0].Leaf.Outcome)
}
