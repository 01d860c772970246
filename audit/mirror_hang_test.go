package audit_test

import (
	"context"
	"log/slog"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/audit"
	"github.com/crmguard/crmguard/audit/auditlog"
	"github.com/crmguard/crmguard/audit/audittest"
)

// mirroredIn opens the trail with a mirror, which a pass waits for as long as it
// takes.
func (b *bench) mirroredIn(mirror audit.Sink) {
	b.t.Helper()
	b.config.Mirror, b.config.Interval = mirror, time.Hour
	b.open()
}

// holding counts the files of a mirror in which something stands.
func holding(mirror *audittest.Sink, what []byte) (n int) {
	for _, f := range mirror.FS() {
		if len(what) > 0 && contains(f.Data, what) {
			n++
		}
	}
	return n
}

// A mirror that hangs for ever keeps one call waiting and nothing else: the log
// goes on and is published, erasures take effect and say what they wait for, each
// pass ends well, and Status says that it does not answer. Once it answers, what is
// behind is done by itself.
func TestAMirrorThatHangsHoldsUpNothing(t *testing.T) {
	for _, op := range []string{"read", "swap"} {
		t.Run(op, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := newBench(t)
				mirror := newStuck(op)
				b.config.Mirror, b.config.Interval = mirror, time.Nanosecond
				b.open()
				b.fill(10)
				begun := time.Now()
				b.run()
				<-mirror.reached
				for range 3 {
					b.fill(10)
					r := b.run()
					require.Equal(t, r.Size, r.Published)
				}
				require.Equal(t, time.Nanosecond, time.Since(begun), "one pass waits, for a pause, and no other")

				owner := b.surrogate("p1")
				require.ErrorIs(t, b.trail.Erase(t.Context(), "main", "p1"), audit.ErrWaiting)
				require.Equal(t, 5*time.Second+time.Nanosecond, time.Since(begun))
				require.ErrorContains(t, b.trail.Erase(t.Context(), "main", "p2"), "does not answer")
				require.Equal(t, 5*time.Second+time.Nanosecond, time.Since(begun), "nobody waits for what others waited for in vain")
				require.Empty(t, b.history(audit.About("p1")))
				require.Zero(t, b.count(`SELECT COUNT(*) FROM crmguard_audit_openings WHERE owner = ?`, owner))
				require.Equal(t, 2, b.count(`SELECT COUNT(*) FROM crmguard_audit_surrogates WHERE state = 3`))

				b.fill(1)
				r := b.run()
				require.Equal(t, r.Size, r.Published, "erasures that are open stop no pass")
				require.Equal(t, audit.HealthOK, b.found("audit.run.failing", "").Level)
				f := b.found("audit.mirror", "")
				require.Equal(t, audit.HealthAlarm, f.Level)
				require.Contains(t, f.Remedy, "does not answer")
				require.EqualValues(t, r.Size, f.Value)
				require.EqualValues(t, 1, mirror.inside.Load(), "nobody else waits for it")
				b.advance(2 * time.Minute)

				close(mirror.goOn)
				synctest.Wait()
				for range 3 {
					b.run()
					synctest.Wait()
				}
				require.Equal(t, 2, b.count(`SELECT COUNT(*) FROM crmguard_audit_surrogates WHERE state = 1`))
				require.Zero(t, holding(&mirror.Sink, owner))
				f = b.found("audit.mirror", "")
				require.Equal(t, audit.HealthOK, f.Level, f.Remedy)
				require.Zero(t, f.Value)
				require.Positive(t, holding(&mirror.Sink, b.surrogate("p0")))
				require.Equal(t, auditlog.OK, b.verifyStore(b.checkpoint()).Verdict)
			})
		})
	}
}

// A pass waits for the mirror for the length of a pause and no longer, and no call
// takes more than half a minute if it minds its context. Where the log is idle
// afterwards, the mirror is filled all the same when it answers.
func TestHowLongTheMirrorIsWaitedFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		var deaf atomic.Bool
		deaf.Store(true)
		mirror := &sometimesWaiting{waits: &deaf}
		b.config.Mirror, b.config.Interval = mirror, 3*time.Second
		failed := make(chan time.Time, 10)
		b.config.Observe = func(_ context.Context, name string, _ float64, _ ...slog.Attr) {
			if name == "audit.mirror.failed" {
				failed <- time.Now()
			}
		}
		b.open()
		b.fill(1)
		begun := time.Now()
		r := b.run()
		require.Equal(t, r.Size, r.Published)
		require.Equal(t, 3*time.Second, time.Since(begun))
		b.fill(1)
		b.run()
		require.Equal(t, 3*time.Second, time.Since(begun), "while it is asked nobody waits again")
		require.Equal(t, 30*time.Second, (<-failed).Sub(begun))
		synctest.Wait()
		require.Equal(t, audit.HealthAlarm, b.found("audit.mirror", "").Level)
		deaf.Store(false)
		b.run()
		f := b.found("audit.mirror", "")
		require.Equal(t, audit.HealthOK, f.Level, f.Remedy)
		require.Zero(t, f.Value, "nothing was recorded since")
	})
}

// sometimesWaiting comes back when its context ends.
type sometimesWaiting struct {
	audittest.Sink
	waits *atomic.Bool
}

func (s *sometimesWaiting) ReadFile(ctx context.Context, name string) ([]byte, error) {
	if s.waits.Load() {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	return s.Sink.ReadFile(ctx, name)
}

// CatchUp does not go on without the mirror, for what it holds would count as lost
// for ever, and does not wait for ever either.
func TestCatchUpDoesNotWaitForAMirrorThatHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		mirror := &audittest.Sink{}
		b.mirroredIn(mirror)
		b.record(update("a", 1))
		b.run()
		file := b.backup()
		b.record(update("p", 1))
		b.run()
		kept := b.checkpoint()
		hanging := newStuck("read")
		hanging.Set(mirror.FS())
		b.config.Mirror = hanging
		b.restore(file)
		begun := time.Now()
		err := b.trail.CatchUp(t.Context())
		require.ErrorContains(t, err, "the store does not answer")
		require.Equal(t, 30*time.Second, time.Since(begun))
		require.Equal(t, 2, b.count(`SELECT COUNT(*) FROM crmguard_audit_entries`), "nothing was taken")
		require.Error(t, b.trail.CatchUp(t.Context()))
		require.Equal(t, 30*time.Second, time.Since(begun), "nobody waits for what others waited for in vain")
		require.EqualValues(t, 1, hanging.inside.Load())
		close(hanging.goOn)
		synctest.Wait()
		require.NoError(t, b.trail.CatchUp(t.Context()))
		require.Len(t, b.history(audit.About("p")), 1)
		b.run()
		report := b.verifyStore(kept)
		require.Equal(t, auditlog.OK, report.Verdict, "%+v", report.Faults)
		require.Zero(t, report.Openings[audit.OpeningLost])
	})
}

// A write to the mirror that was made before an erasure and arrives after it brings
// nothing back, by whichever process.
func TestWhatArrivesLateBringsNothingBack(t *testing.T) {
	for _, file := range []string{"openings/", "people/"} {
		t.Run(strings.TrimSuffix(file, "/"), func(t *testing.T) {
			b := newBench(t)
			folder := &audittest.Sink{}
			var stopping atomic.Bool
			reached, goOn, done := make(chan string, 1), make(chan struct{}), make(chan struct{})
			b.mirroredIn(&stopSink{place: folder, at: func(op, name string) {
				if op == "before swap" && strings.HasPrefix(name, file) && stopping.CompareAndSwap(true, false) {
					reached <- name
					<-goOn
				}
			}})
			b.record(update("q", 1))
			b.run()
			b.record(update("p", 1))
			owner, head := b.surrogate("p"), b.blob(`SELECT head FROM crmguard_audit_surrogates WHERE person = 'p'`)
			other := b.impatient(b.sink)
			other.mirroredIn(folder)
			stopping.Store(true)
			go func() {
				defer close(done)
				if _, err := b.trail.RunOnce(context.WithoutCancel(t.Context())); err != nil {
					t.Error(err)
				}
			}()
			<-reached
			require.NoError(t, other.trail.Erase(t.Context(), "main", "p"))
			require.Zero(t, holding(folder, owner)+holding(folder, head))
			close(goOn)
			<-done
			require.Zero(t, holding(folder, owner), "the opening")
			require.Zero(t, holding(folder, head), "the head")
			require.Equal(t, audit.HealthOK, b.found("audit.mirror", "").Level)
			b.run()
			require.Equal(t, auditlog.OK, b.verifyStore(b.checkpoint()).Verdict)
		})
	}
}

// A mirror that comes back late with old news is asked again, and nothing is
// written over what is newer.
func TestAMirrorThatAnswersOldNewsIsAskedAgain(t *testing.T) {
	b := newBench(t)
	folder := &audittest.Sink{}
	mirror := &olderSink{place: folder, name: "openings/000"}
	b.mirroredIn(mirror)
	b.record(update("p0", 1))
	b.run()
	mirror.older = folder.FS()["openings/000"].Data
	b.fill(3)
	b.run()
	newer := folder.FS()["openings/000"].Data
	require.NotEqual(t, mirror.older, newer)
	mirror.late.Store(true)
	b.fill(3)
	b.run()
	require.False(t, mirror.late.Load(), "it was asked")
	require.Equal(t, audit.HealthOK, b.found("audit.mirror", "").Level)
	require.Greater(t, len(folder.FS()["openings/000"].Data), len(newer))
	owner := b.surrogate("p1")
	mirror.late.Store(true)
	require.NoError(t, b.trail.Erase(t.Context(), "main", "p1"))
	require.False(t, mirror.late.Load(), "it was asked")
	require.Zero(t, holding(folder, owner))
}

// olderSink answers with an older file when it is told to, once.
type olderSink struct {
	place
	name  string
	older []byte
	late  atomic.Bool
}

func (s *olderSink) ReadFile(ctx context.Context, name string) ([]byte, error) {
	if name == s.name && s.late.CompareAndSwap(true, false) {
		return s.older, nil
	}
	return s.place.ReadFile(ctx, name)
}
