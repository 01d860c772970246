package privacy_test

import (
	"runtime"
	"slices"
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/privacy"
	"github.com/crmguard/crmguard/privacy/erasurelog"
)

// allocations of the erasure of one person, beside a ledger of so many entries.
func allocations(t *testing.T, entries int) uint64 {
	t.Helper()
	d := newDirectory(t, 40, 0)
	for range entries / 2 {
		plan := uuid.NewString()
		for _, op := range []erasurelog.Op{erasurelog.Intent, erasurelog.Done} {
			e, err := d.cfg.Ledger.NewEntry(t.Context(), op, plan, "main", plan)
			require.NoError(t, err)
			if op == erasurelog.Done {
				e.Cert = "47DEQpj8HBSa-_TImW-5JCeuQeRkm5NMpJWZG3hSuFU"
			}
			_, err = d.cfg.Ledger.Append(t.Context(), nil, func(*erasurelog.State) (*erasurelog.Entry, error) { return &e, nil })
			require.NoError(t, err)
		}
	}
	d.cfg.Delay, d.cfg.Lease, d.cfg.PerDay = privacy.None, privacy.None, privacy.None
	desk, err := privacy.Open(t.Context(), d.cfg)
	require.NoError(t, err)
	_, err = desk.Replay(t.Context()) // the database is behind
	require.NoError(t, err)
	var counts []uint64
	for i := range 15 {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		p, err := desk.PlanErasure(t.Context(), privacy.Request{Tenant: "main", Person: d.person(i), Reason: "r", By: "user/1"})
		require.NoError(t, err)
		require.NoError(t, desk.Approve(t.Context(), p.ID, "user/2"))
		o, err := desk.Execute(t.Context(), p.ID)
		require.NoError(t, err)
		require.Equal(t, privacy.Done, o.State)
		runtime.ReadMemStats(&after)
		counts = append(counts, after.Mallocs-before.Mallocs)
	}
	slices.Sort(counts)
	return counts[len(counts)/2]
}

// What an erasure does in memory does not grow with the ledger.
func TestAnErasureDoesNotGrowWithTheLedger(t *testing.T) {
	few, many := allocations(t, 20), allocations(t, 4000)
	t.Logf("%d allocations at 20 entries, %d at 4000", few, many)
	require.Less(t, many, few+few/10)
}
