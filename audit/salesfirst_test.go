package audit_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/audit"
)

// On SQLite the sequencer stays away from the lock for a while between two batches
// where sales come, and goes on at once where none do.
func TestTheSequencerLetsSalesIn(t *testing.T) {
	b := newBench(t)
	b.fill(3)
	b.run()
	stays := func() time.Duration {
		t.Helper()
		began := time.Now()
		require.NoError(t, b.trail.LetSalesIn(t.Context()))
		return time.Since(began)
	}
	shortest := time.Hour
	for range 5 { // of a machine that has other things to do
		shortest = min(shortest, stays())
	}
	require.Less(t, shortest, audit.LetIn, "nobody sells")
	b.record(update("p1", 1))
	require.GreaterOrEqual(t, stays(), audit.LetIn)
	require.GreaterOrEqual(t, stays(), audit.LetIn, "others will follow")
	b.run()
	require.Eventually(t, func() bool { return stays() < audit.LetIn }, time.Minute, 50*time.Millisecond, "none followed")
}

// It does so in each pass.
func TestAPassLetsSalesIn(t *testing.T) {
	b := newBench(t)
	b.fill(700) // two batches
	other := b.impatient(b.sink)
	var calls []time.Time
	keys := &fedKeys{hookKeys: &hookKeys{Keys: b.keys}, feeds: 2, feed: func() {
		calls = append(calls, time.Now())
		if len(calls) == 1 {
			other.fill(1)
		}
	}}
	keys.after = func() { keys.begun = true }
	b.config.Keys = keys
	b.open()
	b.run()
	require.Len(t, calls, 2, "one before each batch")
	require.GreaterOrEqual(t, calls[1].Sub(calls[0]), audit.LetIn)
}
