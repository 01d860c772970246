package audit_test

import (
	"context"
	"log/slog"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/audit"
	"github.com/crmguard/crmguard/audit/audittest"
)

// hangs has a pass wait for nobody, for the tests in which a copy does not come
// back.
func (b *bench) hangs(copies ...audit.Sink) {
	b.t.Helper()
	b.config.Copies, b.config.Interval = copies, time.Nanosecond
	b.open()
}

// stuck does not come back from an operation, whatever becomes of its context.
type stuck struct {
	audittest.Sink
	op      string
	goOn    chan struct{}
	reached chan struct{}
	inside  atomic.Int64
}

func newStuck(op string) *stuck {
	s := &stuck{op: op, goOn: make(chan struct{}), reached: make(chan struct{}, 1000)}
	s.Fail = func(what, _ string) error {
		if what == s.op {
			s.inside.Add(1)
			defer s.inside.Add(-1)
			s.reached <- struct{}{}
			<-s.goOn
		}
		return nil
	}
	return s
}

// A copy that hangs for ever keeps one call waiting and nothing else: the log
// goes on, other copies are filled, and Status says which one does not answer.
func TestACopyThatHangsHoldsUpNothing(t *testing.T) {
	for _, op := range []string{"read", "write", "swap"} {
		t.Run(op, func(t *testing.T) {
			b := newBench(t)
			copied, well := newStuck(op), &audittest.Sink{}
			b.hangs(copied, well)
			b.fill(10)
			b.run()
			<-copied.reached
			for range 5 {
				b.fill(10)
				r := b.run()
				require.Equal(t, r.Size, r.Published)
				require.EqualValues(t, 1, copied.inside.Load(), "nobody else waits for it")
			}
			require.Equal(t, audit.HealthOK, b.found("audit.run.failing", "").Level)
			b.advance(2 * time.Minute)
			f := b.found("audit.copies", "Copies[0]")
			require.Equal(t, audit.HealthAlarm, f.Level)
			require.Contains(t, f.Remedy, "does not answer")
			require.EqualValues(t, 61, f.Value)
			require.EqualValues(t, 1, copied.inside.Load(), "not even Status")
			close(copied.goOn)
			require.Eventually(t, func() bool {
				b.run()
				f, g := b.found("audit.copies", "Copies[0]"), b.found("audit.copies", "Copies[1]")
				return f.Level == audit.HealthOK && g.Level == audit.HealthOK && f.Value == 0 && g.Value == 0
			}, time.Minute, time.Millisecond)
			b.sameLog(copied.FS())
			b.sameLog(well.FS())
		})
	}
}

// waiting comes back when its context ends.
type waiting struct{ audittest.Sink }

func (*waiting) ReadFile(ctx context.Context, _ string) ([]byte, error) {
	<-ctx.Done()
	return nil, ctx.Err()
}

// A pass waits for a copy for the length of a pause and no longer, and no call of
// a copy takes more than half a minute if it minds its context. The time is that
// of the bubble, which is exact.
func TestHowLongACopyIsWaitedFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		b.config.Copies, b.config.Interval = []audit.Sink{&waiting{}}, 3*time.Second
		failed := make(chan string, 10)
		b.config.Observe = func(_ context.Context, name string, _ float64, attrs ...slog.Attr) {
			if name == "audit.copy.failed" {
				failed <- attrs[0].String()
			}
		}
		b.open()
		b.fill(1)
		begun := time.Now()
		b.run()
		require.Equal(t, 3*time.Second, time.Since(begun))
		b.run()
		require.Equal(t, 3*time.Second, time.Since(begun), "while it is asked nobody waits again")
		require.Equal(t, "copy=Copies[0]", <-failed)
		require.Equal(t, 30*time.Second, time.Since(begun))
		synctest.Wait()
		begun = time.Now()
		require.Contains(t, b.found("audit.copies", "Copies[0]").Remedy, "does not answer")
		require.Equal(t, 3*time.Second, time.Since(begun))
		time.Sleep(time.Minute)
		synctest.Wait()
	})
}

// Where the pass does not run Status asks the copies itself, and each of them once.
func TestAnyProcessSaysHowItsCopiesAre(t *testing.T) {
	b := newBench(t)
	b.fill(10)
	b.run()
	copied := &audittest.Sink{}
	b.copied(copied)
	f := b.found("audit.copies", "Copies[0]")
	require.EqualValues(t, 11, f.Value)
	require.Equal(t, audit.HealthOK, f.Level, "not yet")
	require.Equal(t, b.config.Now().UTC(), f.Since)
	b.advance(20 * time.Hour)
	require.Equal(t, audit.HealthAlarm, b.found("audit.copies", "Copies[0]").Level)
	require.Empty(t, copied.FS(), "and does nothing about it")

	hanging := newStuck("read")
	b.hangs(hanging)
	for range 3 {
		f := b.found("audit.copies", "Copies[0]")
		require.Equal(t, audit.HealthAlarm, f.Level)
		require.Contains(t, f.Remedy, "does not answer")
	}
	<-hanging.reached
	require.EqualValues(t, 1, hanging.inside.Load())
	b.run()
	require.Empty(t, hanging.FS(), "who asks is waited for before it is filled")
	close(hanging.goOn)
}

// Those who ask at the same time share one question and its answer: the second is
// not told that the copy does not answer.
func TestThoseWhoAskAtTheSameTimeShareTheAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		b.fill(10)
		b.run()
		slow := newStuck("read")
		b.copied(slow)
		b.advance(20 * time.Hour)
		remedies := make(chan string, 2)
		for range 2 {
			go func() { remedies <- b.found("audit.copies", "Copies[0]").Remedy }()
		}
		synctest.Wait()
		require.Empty(t, remedies, "both wait")
		require.EqualValues(t, 1, slow.inside.Load())
		close(slow.goOn)
		for range 2 {
			require.Contains(t, <-remedies, "this copy is behind")
		}
	})
}

// At whatever moment of its work for a copy a process stands still: another one
// fills the copy, and when the first goes on the copy's checkpoint does not go
// back.
func TestAProcessStandsStillWhileItCopies(t *testing.T) {
	seen := map[string]bool{}
	for moment := int64(1); ; moment++ {
		op := copyingStandsStill(t, moment)
		if op == "" {
			break
		}
		seen[op] = true
	}
	for _, op := range []string{"after read checkpoint", "before write tile/0/000.p/5", "before swap checkpoint", "after swap checkpoint"} {
		require.True(t, seen[op], "the moment %s was among them", op)
	}
}

func copyingStandsStill(t *testing.T, n int64) (moment string) {
	t.Helper()
	b := newBench(t)
	var (
		moments  atomic.Int64
		reached  = make(chan string, 1)
		goOn     = make(chan struct{})
		done     = make(chan struct{})
		stopping atomic.Bool
		folder   = &audittest.Sink{}
	)
	b.copied(&stopSink{place: folder, at: func(op, name string) {
		if stopping.Load() && moments.Add(1) == n {
			reached <- op + " " + name
			<-goOn
		}
	}})
	b.fill(2)
	b.run()
	b.fill(2)
	other := b.impatient(b.sink)
	other.copied(folder)
	stopping.Store(true)
	go func() {
		defer close(done)
		if _, err := b.trail.RunOnce(context.WithoutCancel(t.Context())); err != nil {
			t.Error(err)
		}
	}()
	select {
	case moment = <-reached:
	case <-done:
		return ""
	}
	other.advance(time.Hour)
	other.fill(3)
	other.run()
	f := other.found("audit.copies", "Copies[0]")
	require.Equal(t, audit.HealthOK, f.Level, moment)
	require.Zero(t, f.Value, moment)
	close(goOn)
	<-done
	published := other.checkpoint()
	require.Equal(t, published, b.checkpoint(), moment)
	require.Equal(t, published, folder.FS()["checkpoint"].Data, moment)
	f = b.found("audit.copies", "Copies[0]")
	require.Equal(t, audit.HealthOK, f.Level, "%s: that another one was first is no failure", moment)
	b.sameLog(folder.FS())
	return moment
}

// A pass that is cut short is no fault of the copy, which is filled by the next.
func TestAPassThatIsCutShortSaysNothingOfACopy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		ctx, cancel := context.WithCancel(t.Context())
		copied := &audittest.Sink{}
		copied.Fail = func(op, _ string) error {
			if op == "write" && ctx.Err() == nil {
				cancel()
				return context.Canceled
			}
			return nil
		}
		b.copied(copied)
		b.fill(10)
		_, err := b.trail.RunOnce(ctx)
		require.NoError(t, err, "the log itself was done")
		synctest.Wait() // for the turn of the copy, which the pass did not wait for
		f := b.found("audit.copies", "Copies[0]")
		require.Equal(t, audit.HealthOK, f.Level, f.Remedy)
		require.EqualValues(t, 11, f.Value)
		b.run()
		require.Zero(t, b.found("audit.copies", "Copies[0]").Value)
		b.sameLog(copied.FS())
	})
}

// A store that answers late is no contradiction between log and copy: it is asked
// again.
func TestALateAnswerIsNoContradiction(t *testing.T) {
	b := newBench(t)
	copied, late := &audittest.Sink{}, &olderSink{place: b.sink, name: "checkpoint"}
	b.config.Sink = late
	b.copied(copied)
	b.fill(10)
	b.run()
	late.older = b.checkpoint()
	b.fill(10)
	b.run()
	copied.Fail = func(op, _ string) error {
		if op == "read" {
			late.late.Store(true) // the copy is read first
			copied.Fail = nil
		}
		return nil
	}
	b.run()
	require.False(t, late.late.Load(), "it was asked")
	f := b.found("audit.copies", "Copies[0]")
	require.Equal(t, audit.HealthOK, f.Level, f.Remedy)
	b.sameLog(copied.FS())
}
