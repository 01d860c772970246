package audit_test

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/audit"
)

// hungStore does not answer while it hangs; one that is deaf does not heed the
// context either, as a mount that does not come back.
type hungStore struct {
	audit.Sink
	hangs atomic.Bool
	deaf  bool
	freed chan struct{}
	waits atomic.Int32
}

func (h *hungStore) wait(ctx context.Context) error {
	if !h.hangs.Load() {
		return nil
	}
	h.waits.Add(1)
	if h.deaf {
		<-h.freed
		return nil
	}
	select {
	case <-h.freed:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (h *hungStore) ReadFile(ctx context.Context, name string) ([]byte, error) {
	if err := h.wait(ctx); err != nil {
		return nil, err
	}
	return h.Sink.ReadFile(ctx, name)
}

// statusOf is every finding without a subject, asked with little time.
func (b *bench) statusOf() map[string]audit.Finding {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.t.Context(), 4*time.Second)
	defer cancel()
	findings, err := b.trail.Status(ctx)
	require.NoError(b.t, err)
	out := map[string]audit.Finding{}
	for _, f := range findings {
		out[f.Name] = f
	}
	return out
}

// While a store hangs, Status says so, and all that the others know.
func TestStatusSaysWhichStoreHangs(t *testing.T) {
	for name, deaf := range map[string]bool{"heeds its context": false, "deaf": true} {
		for _, what := range []string{"audit.log", "audit.kept"} {
			t.Run(what+"/"+name, func(t *testing.T) {
				b := newBench(t)
				hung := &hungStore{Sink: b.sink, deaf: deaf, freed: make(chan struct{})}
				t.Cleanup(func() { close(hung.freed) })
				b.fill(3)
				b.run()
				kept := b.checkpoint()
				if what == "audit.log" {
					b.config.Sink = hung
				}
				b.config.Kept = func(ctx context.Context) ([]byte, error) {
					if what == "audit.kept" {
						return kept, hung.wait(ctx)
					}
					return kept, nil
				}
				b.open()
				b.fill(5)
				b.advance(24 * time.Hour)
				hung.hangs.Store(true)
				for range 3 { // the later ones while the first still hangs
					all := b.statusOf()
					require.Equal(t, audit.HealthAlarm, all["audit.queue"].Level)
					require.EqualValues(t, 5, all["audit.queue"].Value)
					require.Equal(t, audit.HealthAlarm, all[what].Level)
					require.Contains(t, all[what].Remedy, "does not answer")
					for _, other := range []string{"audit.log", "audit.kept"} {
						if other != what {
							require.Equal(t, audit.HealthOK, all[other].Level, all[other])
						}
					}
				}
			})
		}
	}
}

// A store that has come back is asked again.
func TestStatusAsksAStoreThatCameBack(t *testing.T) {
	b := newBench(t)
	hung := &hungStore{Sink: b.sink, deaf: true, freed: make(chan struct{})}
	b.config.Sink = hung
	b.open()
	b.fill(1)
	b.run()
	hung.hangs.Store(true)
	require.Equal(t, audit.HealthAlarm, b.statusOf()["audit.log"].Level)
	hung.hangs.Store(false)
	close(hung.freed)
	require.Eventually(t, func() bool { return b.statusOf()["audit.log"].Level == audit.HealthOK }, time.Minute, time.Millisecond)
}

// A pass that hangs fails, as one does that says so.
func TestAPassThatDoesNotEndIsFound(t *testing.T) {
	b := newBench(t)
	hung := &hungStore{Sink: b.sink, freed: make(chan struct{})}
	b.config.Sink = hung
	b.open()
	b.fill(1)
	hung.hangs.Store(true)
	ended := make(chan error)
	began := time.UnixMicro(b.clock.Load())
	go func() {
		_, err := b.trail.RunOnce(t.Context())
		ended <- err
	}()
	for hung.waits.Load() == 0 {
		time.Sleep(time.Millisecond)
	}
	b.advance(3 * time.Minute)
	require.Equal(t, audit.HealthNotice, b.statusOf()["audit.run.failing"].Level, "it may have much to do")
	b.advance(time.Hour)
	f := b.statusOf()["audit.run.failing"]
	require.Equal(t, audit.HealthAlarm, f.Level)
	require.Contains(t, f.Remedy, "has not ended")
	require.True(t, began.Equal(f.Since))
	close(hung.freed)
	require.NoError(t, <-ended)
	require.Equal(t, audit.HealthOK, b.statusOf()["audit.run.failing"].Level)
}

// downKeys are keys whose service can be down.
type downKeys struct {
	audit.Keys
	down *atomic.Bool
}

var errKeysDown = errors.New("the key service is down")

func (k downKeys) Tag(ctx context.Context, tenant string, data []byte) ([]byte, error) {
	if k.down.Load() {
		return nil, errKeysDown
	}
	return k.Keys.Tag(ctx, tenant, data)
}

func (k downKeys) Verify(ctx context.Context, tenant string, data, tag []byte) error {
	if k.down.Load() {
		return errKeysDown
	}
	return k.Keys.Verify(ctx, tenant, data, tag)
}

// What is down is named, and nothing else is.
func TestStatusNamesWhatIsDown(t *testing.T) {
	b := newBench(t)
	var down atomic.Bool
	b.config.Keys = downKeys{b.config.Keys, &down}
	b.open()
	b.fill(1)
	b.run()
	down.Store(true)
	f := b.found("audit.log", "")
	require.Equal(t, audit.HealthAlarm, f.Level)
	require.Contains(t, f.Remedy, "key service")
	require.NotContains(t, f.Remedy, "store back")
	_, err := b.trail.RunOnce(t.Context())
	require.ErrorIs(t, err, errKeysDown)
	down.Store(false)
	require.Equal(t, audit.HealthOK, b.found("audit.log", "").Level)
}
