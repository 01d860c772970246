package audit_test

import (
	"log/slog"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/audit"
	"github.com/crmguard/crmguard/audit/audittest"
)

// between has something done once, before a store answers a call, and says what came
// of it. Copies are filled beside the test.
func between(s *audittest.Sink, op, name string, do func() error) func() error {
	var done atomic.Bool
	err := errCue
	s.Fail = func(o, n string) error {
		if o == op && n == name && done.CompareAndSwap(false, true) {
			err = do()
		}
		return nil
	}
	return func() error { return err }
}

// failures counts what is observed of copies that could not be filled.
func (b *bench) failures() *int {
	n := new(int)
	b.config.Observe = func(_ ctx, name string, _ float64, _ ...slog.Attr) {
		if name == "audit.copy.failed" {
			*n++
		}
	}
	return n
}

// Two processes fill one copy: who comes second finds it filled, and nothing has failed.
func TestTwoProcessesFillACopy(t *testing.T) {
	b := newBench(t)
	failed := b.failures()
	copied := &audittest.Sink{}
	b.copied(copied)
	b.fill(3)
	b.run()
	other := b.beside(func(*audit.Config) {})
	b.fill(3)
	done := between(copied, "swap", "checkpoint", func() error { return only(other.RunOnce(t.Context())) })
	b.run()
	require.NoError(t, done())
	require.Zero(t, *failed)
	b.sameLog(copied.FS())
}

// Retention takes entries while a copy is filled: the copy is filled without them.
func TestRetentionWhileACopyIsFilled(t *testing.T) {
	b, _ := oldBench(t, 800, 30)
	failed := b.failures()
	copied := &audittest.Sink{}
	beside := b.beside(func(*audit.Config) {})
	b.copied(copied)
	done := between(copied, "write", "tile/0/000", func() error { return only(beside.Prune(t.Context(), b.yearAgo())) })
	b.fill(1)
	b.run()
	b.run()
	require.NoError(t, done())
	require.Zero(t, *failed)
	require.Contains(t, copied.FS(), "tile/0/001")
	require.NotContains(t, copied.FS(), "tile/entries/001")
	require.Equal(t, b.checkpoint(), copied.FS()["checkpoint"].Data)
}
