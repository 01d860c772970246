package audit_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/audit"
	"github.com/crmguard/crmguard/audit/auditlog"
)

// callers are the leaves of a kind, under their actors and requests.
func (b *bench) callers(kind string) (out []string) {
	for _, leaf := range b.leaves() {
		if leaf.Kind == kind {
			out = append(out, leaf.Actor+" "+leaf.Request)
		}
	}
	return out
}

// Who erased whom, and who brought two persons or an old database together, stands
// in the log: the caller, as Config.From says; never somebody who erased themselves,
// and never what the log would refuse.
func TestWhoErasedStandsInTheLog(t *testing.T) {
	b := newBench(t)
	caller := audit.Caller{Tenant: "main", Actor: "u-7", Request: "r-1"}
	b.config.From = func(context.Context) audit.Caller { return caller }
	b.open()
	for i := range 6 {
		b.record(update(fmt.Sprintf("p%d", i), 1))
	}
	b.run()
	file := b.backup()
	require.NoError(t, b.trail.Erase(t.Context(), "main", "p1"))
	caller = audit.Caller{Tenant: "main", Actor: "p2", Request: "p2"}
	require.NoError(t, b.trail.Erase(t.Context(), "main", "p2"))
	caller = audit.Caller{Actor: "ann@canary.example", Request: "ann@canary.example"}
	require.NoError(t, b.trail.Erase(t.Context(), "main", "p3"))
	caller = audit.Caller{}
	require.NoError(t, b.trail.Erase(t.Context(), "main", "p4"))
	caller = audit.Caller{Tenant: "main", Actor: "u-8"}
	require.NoError(t, b.trail.Merge(t.Context(), "main", "p5", "p0"))
	b.run()
	require.Equal(t, []string{"u-7 r-1", "crmguard/audit ", "crmguard/audit ", "crmguard/audit "}, b.callers(auditlog.KindErase))
	require.Equal(t, []string{"u-8 "}, b.callers(auditlog.KindMerge))

	b.restore(file)
	require.NoError(t, b.trail.CatchUp(t.Context()))
	b.run()
	require.Equal(t, []string{"u-8 "}, b.callers(auditlog.KindRecover))
	require.Empty(t, b.verifyStore(b.checkpoint()).Faults)
}

// saying is a denial that says why.
type saying struct{ reason, policies string }

func (saying) Error() string           { return "no" }
func (d saying) Why() (string, string) { return d.reason, d.policies }

// A denial says why and by which policies, where its error does; what the log would
// refuse is left out, and the denial is there all the same.
func TestADenialSaysWhy(t *testing.T) {
	a := newAsker(t, openDB(t, t.TempDir()+"/crm.db"))
	a.from("u-7")
	sum := fmt.Sprintf("%064x", 42)
	for _, d := range []error{saying{"not_permitted", sum}, fmt.Errorf("page: %w", saying{"forbidden", ""}), saying{"Ann may not", "none"}, errNo} {
		require.ErrorIs(t, a.trail.Decisions(t.Context(), "deal.read", "deal/7", d), d)
	}
	var got []string
	for _, e := range a.decided("deal.read") {
		got = append(got, e.Leaf.Reason+" "+e.Leaf.Policy)
	}
	require.ElementsMatch(t, []string{"not_permitted " + sum, "forbidden ", " ", " "}, got)
}

// A database that is behind ends Run at once, with the error that says what to do,
// and whoever observes hears of it.
func TestADatabaseThatIsBehindEndsRun(t *testing.T) {
	for name, kept := range map[string]bool{"without a kept checkpoint": false, "with one": true} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t)
			b.fill(3)
			b.run()
			file := b.backup()
			b.fill(3)
			b.run()
			if kept {
				signed := b.checkpoint()
				b.config.Kept = func(context.Context) ([]byte, error) { return signed, nil }
			}
			failed := 0
			b.config.Observe = func(_ context.Context, name string, _ float64, _ ...slog.Attr) {
				if name == "audit.run.failed" {
					failed++
				}
			}
			b.restore(file)
			b.fill(1)
			err := b.trail.Run(t.Context())
			behind, ok := errors.AsType[*audit.BehindError](err)
			require.True(t, ok, "%v", err)
			require.ErrorContains(t, err, "call CatchUp")
			require.Less(t, behind.Database, behind.Published)
			require.Equal(t, 1, failed)
		})
	}
}
