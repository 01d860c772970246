package audit_test

import (
	"context"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/audit"
	"github.com/crmguard/crmguard/audit/auditlog"
)

// cachedSink answers with an older checkpoint for so many readings.
type cachedSink struct {
	audit.Sink
	stale []byte
	left  atomic.Int64
}

func (s *cachedSink) ReadFile(ctx context.Context, name string) ([]byte, error) {
	if name == "checkpoint" && s.left.Add(-1) >= 0 {
		return s.stale, nil
	}
	return s.Sink.ReadFile(ctx, name)
}

// A process reads the folder through a cache that is behind, while another one
// publishes and keeps. Nothing is signed until the cache has caught up, and Run goes
// on then.
func TestACacheThatIsBehindEndsNoRun(t *testing.T) {
	b := newBench(t)
	b.fill(3)
	b.run()
	stale := b.checkpoint()
	kept := stale
	b.config.Kept = func(ctx) ([]byte, error) { return kept, nil }
	b.config.Interval = time.Millisecond
	b.open()
	cache := &cachedSink{Sink: b.sink, stale: stale}
	other := b.beside(func(c *audit.Config) { c.Sink = cache })
	_, err := other.RunOnce(t.Context())
	require.NoError(t, err)
	b.fill(3)
	b.run()
	kept = b.checkpoint()
	b.fill(3)
	cache.left.Store(40)
	_, err = other.RunOnce(t.Context())
	require.ErrorIs(t, err, auditlog.ErrRolledBack)
	require.Equal(t, kept, b.checkpoint(), "nothing is signed meanwhile")
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Second)
	defer cancel()
	done := make(chan error, 1)
	go func() { done <- other.Run(ctx) }()
	require.Eventually(t, func() bool {
		p, err := b.trail.Progress(t.Context())
		return err == nil && p.Queued == 0 && p.Published == p.Size
	}, 45*time.Second, 5*time.Millisecond)
	cancel()
	require.ErrorIs(t, <-done, context.Canceled)
	require.Equal(t, auditlog.OK, b.verifyLog(kept).Verdict)
}

// What lasts is believed in the end, and what no cache explains at once.
func TestAContradictionThatLastsEndsRun(t *testing.T) {
	b := newBench(t)
	b.fill(3)
	b.run()
	folder := b.sink.FS()
	b.fill(3)
	b.run()
	kept := b.checkpoint()
	b.config.Kept = func(ctx) ([]byte, error) { return kept, nil }
	b.config.Interval = time.Millisecond
	b.open()
	b.sink.Set(folder)
	b.trail.LateFor(20 * time.Millisecond)
	require.ErrorIs(t, b.trail.Run(t.Context()), auditlog.ErrRolledBack)
	b.sink.Set(nil)
	require.ErrorIs(t, b.trail.Run(t.Context()), audit.ErrLogLost)

	forked := newBench(t)
	forked.fill(3)
	forked.run()
	other := newBench(t)
	other.config.Signer, other.config.Verifier = forked.config.Signer, forked.config.Verifier
	other.open()
	other.fill(2)
	other.run()
	forked.sink.Set(other.sink.FS())
	forked.trail.LateFor(1000 * time.Hour)
	require.ErrorIs(t, forked.trail.Run(t.Context()), auditlog.ErrForked)
}

// A store that had a checkpoint and has none any more is a store that is down, for
// whoever has seen it, and an older one does not take the place of what was kept.
func TestAKeptStoreThatForgets(t *testing.T) {
	b := newBench(t)
	b.fill(5)
	b.run()
	older := b.checkpoint()
	b.copyState()
	folder := b.sink.FS()
	b.fill(5)
	b.run()
	kept := b.checkpoint()
	answer := kept
	b.config.Kept = func(ctx) ([]byte, error) { return answer, nil }
	b.open()
	b.run()
	answer = nil
	b.fill(1)
	for range 2 {
		_, err := b.trail.RunOnce(t.Context())
		require.ErrorIs(t, err, audit.ErrUnanchored)
		require.Equal(t, kept, b.checkpoint(), "nothing is signed without it")
		require.Equal(t, audit.HealthAlarm, b.found("audit.kept", "").Level)
		require.ErrorIs(t, b.trail.CatchUp(t.Context()), audit.ErrUnanchored)
	}
	require.NoError(t, b.sale(update("p1", 9)), "recording goes on")

	answer = older // by processes that keep them out of order
	b.run()
	require.Equal(t, auditlog.OK, b.verifyLog(kept).Verdict)
	answer = b.checkpoint()
	b.run()
	b.sink.Set(folder)
	answer = older
	b.fill(1)
	_, err := b.trail.RunOnce(t.Context())
	require.ErrorIs(t, err, auditlog.ErrRolledBack)
}

// A process with other keys that merely starts, before the first event has its
// place, takes nothing from the one that is at work; whose keys are the right ones is
// the operator's to say.
func TestAStartWithOtherKeysEndsNoRun(t *testing.T) {
	b := newBench(t)
	b.fill(2)
	strange := newBench(t)
	stranger := b.beside(func(c *audit.Config) { c.Keys = strange.keys })
	_, err := stranger.RunOnce(t.Context())
	require.ErrorIs(t, err, auditlog.ErrTampered)
	r := b.run()
	require.Equal(t, 2, r.Sequenced)

	b = newBench(t)
	b.fill(2)
	b.config.Keys = strange.keys
	b.open()
	_, err = b.trail.RunOnce(t.Context())
	require.ErrorIs(t, err, auditlog.ErrTampered)
	require.NoError(t, b.trail.CatchUp(t.Context()), "these are the keys from now on")
	r = b.run()
	require.Len(t, r.Refused, 2, "the others have tags of keys that are not known any more")
}

// Whatever stands in the column that is the lock: nobody is kept out by it.
func TestTheLockCountsNothing(t *testing.T) {
	b := newBench(t)
	for _, n := range []int64{1<<63 - 1, -1 << 63, 7, 1, 0} {
		b.exec(`UPDATE crmguard_audit_state SET drains = ?`, n)
		b.fill(1)
		require.Equal(t, 1, b.run().Sequenced)
	}
	require.Equal(t, auditlog.OK, b.verifyStore(b.checkpoint()).Verdict)
}
