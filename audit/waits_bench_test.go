package audit_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/audit"
)

// How long a sale on SQLite waits at most while the sequencer works off a long
// queue: sales come one after the other all the while, and the longest is told.
func BenchmarkSalesWhileAQueueIsSequenced(b *testing.B) {
	var longest time.Duration
	sales := 0
	for b.Loop() {
		b.StopTimer()
		s := newBench(b)
		s.fill(5000)
		b.StartTimer()
		done := make(chan error, 1)
		go func() {
			_, err := s.trail.RunOnce(b.Context())
			done <- err
		}()
		for running := true; running; sales++ {
			select {
			case err := <-done:
				require.NoError(b, err)
				running = false
			default:
			}
			e := update("p1", sales)
			id, err := audit.NewID()
			require.NoError(b, err)
			e.ID = id
			began := time.Now()
			require.NoError(b, s.sale(e))
			longest = max(longest, time.Since(began))
		}
	}
	b.ReportMetric(float64(longest.Milliseconds()), "ms-longest")
	b.ReportMetric(float64(sales)/float64(b.N), "sales/op")
}
