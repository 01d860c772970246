package audit_test

import (
	"context"
	"io/fs"
	"log/slog"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/audit"
)

// A folder that is gone for a moment, as a mount that is made anew, ends no Run.
func TestAFolderThatIsGoneForAMomentEndsNoRun(t *testing.T) {
	b := newBench(t)
	failed := make(chan struct{}, 1000)
	b.config.Interval = time.Millisecond
	b.config.Observe = func(_ ctx, name string, _ float64, _ ...slog.Attr) {
		if name == "audit.run.failed" {
			select {
			case failed <- struct{}{}:
			default:
			}
		}
	}
	b.open()
	b.fill(3)
	b.run()
	files := map[string][]byte{}
	for name, f := range b.sink.FS() {
		if f.Mode&fs.ModeDir == 0 {
			files[name] = f.Data
		}
	}
	b.sink.Set(nil)
	b.fill(1)
	_, err := b.trail.RunOnce(t.Context())
	require.ErrorIs(t, err, audit.ErrLogLost)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	done := make(chan error, 1)
	go func() { done <- b.trail.Run(ctx) }()
	for range 3 {
		select {
		case <-failed:
		case err := <-done:
			require.NoError(t, err, "Run has ended")
		}
	}
	for name, data := range files {
		require.NoError(t, b.sink.WriteFile(t.Context(), name, data))
	}
	require.Eventually(t, func() bool {
		p, err := b.trail.Progress(t.Context())
		return err == nil && p.Queued == 0 && p.Published == p.Size
	}, 45*time.Second, 5*time.Millisecond)
	cancel()
	require.ErrorIs(t, <-done, context.Canceled)
}
