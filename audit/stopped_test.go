package audit_test

import (
	"context"
	"database/sql"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/audit"
	"github.com/crmguard/crmguard/audit/auditlog"
	"github.com/crmguard/crmguard/audit/audittest"
	"github.com/crmguard/crmguard/audit/tilesink"
)

// place is where a log is published.
type place interface {
	audit.Sink
	audit.Remover
}

// stopSink is a place before and behind each call of which somebody may stand
// still.
type stopSink struct {
	place
	at func(op, name string)
}

func (s *stopSink) ReadFile(ctx context.Context, name string) ([]byte, error) {
	s.at("before read", name)
	data, err := s.place.ReadFile(ctx, name)
	s.at("after read", name)
	return data, err
}

func (s *stopSink) WriteFile(ctx context.Context, name string, data []byte) error {
	s.at("before write", name)
	err := s.place.WriteFile(ctx, name, data)
	s.at("after write", name)
	return err
}

func (s *stopSink) SwapFile(ctx context.Context, name string, old, data []byte) error {
	s.at("before swap", name)
	err := s.place.SwapFile(ctx, name, old, data)
	s.at("after swap", name)
	return err
}

func (s *stopSink) RemoveAll(ctx context.Context, name string) error {
	s.at("before remove", name)
	err := s.place.RemoveAll(ctx, name)
	s.at("after remove", name)
	return err
}

// impatient opens the trail as another process does, which waits for no lock of
// the database at all: where one is held, it fails.
func (b *bench) impatient(sink audit.Sink) *bench {
	b.t.Helper()
	other := &bench{t: b.t, file: b.file, sink: b.sink, keys: b.keys, config: b.config}
	other.clock.Store(b.clock.Load())
	other.config.Sink = sink
	other.config.Now = func() time.Time { return time.UnixMicro(other.clock.Load()) }
	var err error
	other.db, err = sql.Open("sqlite", "file:"+b.file+strings.Replace(pragmas, "busy_timeout(5000)", "busy_timeout(0)", 1))
	require.NoError(b.t, err)
	b.t.Cleanup(func() { other.db.Close() })
	other.open()
	return other
}

// At whatever moment of its work with the sink a sequencer stands still, for an
// hour: sales commit without waiting, another sequencer publishes, and the
// checkpoint never goes backwards when the first one goes on.
func TestASequencerThatStandsStillHoldsUpNobody(t *testing.T) {
	for kind, open := range map[string]func(t *testing.T) place{
		"memory": func(*testing.T) place { return &audittest.Sink{} },
		"folder": func(t *testing.T) place {
			t.Helper()
			sink, err := tilesink.Open(filepath.Join(t.TempDir(), "log"))
			require.NoError(t, err)
			return sink
		},
	} {
		t.Run(kind, func(t *testing.T) {
			seen := map[string]bool{}
			for moment := int64(1); ; moment++ {
				op := standsStill(t, open(t), moment)
				if op == "" {
					break
				}
				seen[op] = true
			}
			for _, op := range []string{"after read checkpoint", "before swap checkpoint", "after swap checkpoint"} {
				require.True(t, seen[op], "the moment %s was among them", op)
			}
		})
	}
}

// standsStill lets a sequencer stand still at its n-th moment, and says which
// that was, "" if there are not so many.
func standsStill(t *testing.T, sink place, n int64) (moment string) {
	t.Helper()
	b := newBench(t)
	var (
		moments  atomic.Int64
		reached  = make(chan string, 1)
		goOn     = make(chan struct{})
		done     = make(chan error, 1)
		stopping atomic.Bool
	)
	b.config.Sink = &stopSink{place: sink, at: func(op, name string) {
		if stopping.Load() && moments.Add(1) == n {
			reached <- op + " " + name
			<-goOn
		}
	}}
	b.open()
	b.fill(2)
	b.run()
	b.fill(2)
	other := b.impatient(sink)
	stopping.Store(true)
	go func() {
		_, err := b.trail.RunOnce(t.Context())
		done <- err
	}()
	select {
	case moment = <-reached:
	case err := <-done:
		require.NoError(t, err)
		return ""
	}
	other.advance(time.Hour)
	other.fill(1) // fails where a lock is held
	r := other.run()
	require.Equal(t, r.Size, r.Published, "%s: the other one publishes", moment)
	published := other.checkpoint()
	close(goOn)
	require.NoError(t, <-done, moment)
	require.Equal(t, published, other.checkpoint(), "%s: the checkpoint is another one", moment)
	report, err := other.trail.VerifyStore(t.Context(), published)
	require.NoError(t, err)
	require.Equal(t, auditlog.OK, report.Verdict, "%s: %+v", moment, report.Faults)
	return moment
}

// Who signed a tree that the database has lost since does not publish it.
func TestWhatTheDatabaseHasLostIsNotPublished(t *testing.T) {
	b := newBench(t)
	b.fill(10)
	b.run()
	published := b.checkpoint()
	old := b.backup()
	b.fill(10)
	sink := &stopSink{place: b.sink}
	sink.at = func(op, name string) {
		if op == "after swap" && strings.HasPrefix(name, "tile/0/") { // an older state comes back before it is signed
			sink.at = func(string, string) {}
			b.exec(`ATTACH ? AS old`, old)
			for _, table := range []string{"crmguard_audit_state", "crmguard_audit_tiles"} {
				b.exec(`DELETE FROM ` + table)
				b.exec(`INSERT INTO ` + table + ` SELECT * FROM old.` + table)
			}
		}
	}
	b.config.Sink = sink
	b.db.SetMaxOpenConns(1) // to which the older state is attached
	b.open()
	_, err := b.trail.RunOnce(t.Context())
	require.ErrorIs(t, err, audit.ErrBehind)
	require.Equal(t, published, b.checkpoint())
}

// A sink in which others keep replacing the checkpoint is tried again by the
// next pass.
func TestAnotherOneAlwaysComesFirst(t *testing.T) {
	b := newBench(t)
	b.fill(1)
	b.sink.Fail = func(op, _ string) error {
		if op == "swap" {
			return audit.ErrChanged
		}
		return nil
	}
	_, err := b.trail.RunOnce(t.Context())
	require.ErrorIs(t, err, audit.ErrChanged)
	b.sink.Fail = nil
	require.Equal(t, int64(2), b.run().Published)
}
