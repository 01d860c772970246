package sqltrail_test

import (
	"context"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/internal/testdb"
)

// shift is an application at work: writers that record whatever happens, and a
// sequencer that runs by itself.
type shift struct {
	w       *works
	stop    context.CancelFunc
	work    sync.WaitGroup
	ended   chan error // what Run answered
	sold    atomic.Int64
	refused atomic.Int64
	failed  atomic.Int64 // passes

	mu  sync.Mutex
	ids []string // answered for
}

// works begins a shift. What fails must be something that passes.
func (w *works) works(writers int) *shift {
	s := &shift{w: w, ended: make(chan error, 1)}
	var ctx context.Context
	ctx, s.stop = context.WithCancel(w.t.Context())
	for n := range writers {
		s.work.Go(func() {
			for i := n; ctx.Err() == nil; i++ {
				id, err := w.sell(ctx, i)
				if ctx.Err() != nil {
					return
				}
				if err != nil {
					passing(w.t, err)
					s.refused.Add(1)
					time.Sleep(time.Millisecond)
					continue
				}
				s.mu.Lock()
				s.ids = append(s.ids, id)
				s.mu.Unlock()
				s.sold.Add(1)
			}
		})
	}
	s.work.Go(func() { s.ended <- w.trail.Run(ctx) })
	return s
}

// await waits until something is so, and fails where Run has ended.
func (s *shift) await(what string, is func() bool) {
	s.w.t.Helper()
	for deadline := time.Now().Add(2 * time.Minute); !is(); time.Sleep(2 * time.Millisecond) {
		select {
		case err := <-s.ended:
			require.FailNow(s.w.t, "Run has ended", "%s: %v", what, err)
		default:
		}
		require.True(s.w.t, time.Now().Before(deadline), "%s: %d sales, %d refused, %d passes failed", what, s.sold.Load(), s.refused.Load(), s.failed.Load())
	}
}

// end ends the shift and checks that each sale that was answered for is in the log,
// once, as all others are.
func (s *shift) end(kept []byte) tally {
	s.w.t.Helper()
	s.stop()
	s.work.Wait()
	require.ErrorIs(s.w.t, <-s.ended, context.Canceled)
	s.w.settle()
	s.w.verified(kept)
	s.w.verified(s.w.checkpoint())
	got := s.w.agrees()
	for _, id := range s.ids {
		require.Equal(s.w.t, 1, got.events[id], "what was answered for is in the log")
	}
	return got
}

// runs has Run make passes often, and counts those that fail.
func runs(s **shift) func(w *works) {
	return func(w *works) {
		w.config.Interval = 10 * time.Millisecond
		w.config.Observe = observed(func(name string) {
			if name == "audit.run.failed" && *s != nil {
				(*s).failed.Add(1)
			}
		})
	}
}

// The server is killed under load, again and again, and comes back: the sequencer
// that runs goes on by itself, no published entry is missing, and no sale that was
// answered for.
func TestTheSequencerGoesOnByItselfWhenTheServerIsBack(t *testing.T) {
	const rounds = 3
	for _, on := range []struct {
		name   testdb.Name
		driver string
	}{{testdb.PostgresC, "pgx"}, {testdb.PostgresICU, "postgres"}, {testdb.MariaDB, "mysql"}} {
		t.Run(string(on.name), func(t *testing.T) {
			server := testdb.Own(t, on.name)
			d := server.New(t)
			var s *shift
			w := join(t, begin(t, d, on.driver, d.DSN(on.driver)).dir, runs(&s))
			s = w.works(4)
			var kept []byte
			for range rounds {
				sold := s.sold.Load()
				s.await("sales and passes", func() bool { return s.sold.Load() >= sold+30 && w.published() > 0 })
				published := w.published()
				s.await("something is published under load", func() bool { return w.published() > published })
				kept = w.checkpoint()
				refused := s.refused.Load()
				server.Kill(t)
				s.await("sales are refused", func() bool { return s.refused.Load() > refused })
				failed := s.failed.Load()
				s.await("passes fail", func() bool { return s.failed.Load() > failed })
				w.contains(kept)
				server.Restart(t)
			}
			sold := s.sold.Load()
			s.await("sales go on", func() bool { return s.sold.Load() >= sold+30 })
			got := s.end(kept)
			t.Logf("%d rounds: %d sales, %d refused, %d passes failed, %d entries: 0 lost, 0 twice", rounds, len(got.events), s.refused.Load(), s.failed.Load(), got.leaves)
		})
	}
}
