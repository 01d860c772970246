package audit_test

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"testing/fstest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/audit"
	"github.com/crmguard/crmguard/audit/auditlog"
	"github.com/crmguard/crmguard/audit/audittest"
)

// weighed is a mirror that counts the bytes which go through it.
type weighed struct {
	audittest.Sink
	bytes, most atomic.Int64
}

func (w *weighed) weigh(n int) {
	w.bytes.Add(int64(n))
	w.most.Store(max(w.most.Load(), int64(n)))
}

func (w *weighed) ReadFile(ctx context.Context, name string) ([]byte, error) {
	data, err := w.Sink.ReadFile(ctx, name)
	w.weigh(len(data))
	return data, err
}

func (w *weighed) SwapFile(ctx context.Context, name string, old, data []byte) error {
	w.weigh(len(data))
	return w.Sink.SwapFile(ctx, name, old, data)
}

// large is an event about two persons with so many bytes of values about each.
func large(n int, persons ...string) audit.Event {
	e := update(persons[0], 1)
	e.Changes = nil
	for _, person := range persons {
		e.Persons = append(e.Persons, person)
		e.Changes = append(e.Changes, audit.Change{Path: "email", Who: person, New: bytes.Repeat([]byte("x"), n)})
	}
	return e
}

// A pass hands to the mirror what is new, and about as much again, however large the
// events of the block are; and no file of it is larger than one event.
func TestThePassesOfAMirrorWithLargeEvents(t *testing.T) {
	b := newBench(t)
	mirror := &weighed{}
	b.mirroredIn(mirror)
	const size = 1 << 20
	for range 30 {
		b.record(large(size, "p"))
		b.run()
	}
	mirror.bytes.Store(0)
	b.record(large(size, "p"))
	b.run()
	require.Less(t, mirror.bytes.Load(), int64(3*size))
	require.Less(t, mirror.most.Load(), int64(size+size/8))
	for name, f := range mirror.FS() {
		if strings.HasPrefix(name, "openings/") && !strings.Contains(name, ".p/") {
			require.Less(t, len(f.Data), 1<<16, name)
		}
	}
	b.advance(time.Hour) // a round
	mirror.most.Store(0)
	b.run()
	require.Less(t, mirror.most.Load(), int64(size+size/8))
}

// What lies in files of its own comes back with a restore, and is reached by erasures of
// one person after the other, by rounds and where the file of the block was damaged.
func TestLargeEventsInAMirror(t *testing.T) {
	b, mirror := mirrored(t)
	b.record(update("a", 1))
	b.run()
	file := b.backup()
	id := b.record(large(100_000, "p", "q"))
	b.record(update("r", 1))
	b.run()
	require.Contains(t, mirror.FS(), "openings/000.p/2")
	owner, other := b.surrogate("p"), b.surrogate("q")

	whole := mirror.FS()
	delete(whole, "openings/000.p/2") // and a round writes it anew
	mirror.Set(whole)
	b.advance(time.Hour)
	b.run()
	require.Contains(t, mirror.FS(), "openings/000.p/2")

	b.restore(file)
	b.config.Interval = time.Hour
	b.open()
	require.NoError(t, b.trail.CatchUp(t.Context()))
	b.run()
	require.NoError(t, b.trail.Prepare(t.Context(), "main", "p", "q"))
	e, err := b.trail.Event(t.Context(), id)
	require.NoError(t, err)
	for _, c := range e.Changes {
		require.Equal(t, audit.OpeningOK, c.Verdict)
	}
	require.Equal(t, auditlog.OK, b.verifyStore(b.checkpoint()).Verdict)

	require.NoError(t, b.trail.Erase(t.Context(), "main", "p"))
	require.Zero(t, held(mirror.FS(), owner))
	require.Positive(t, held(mirror.FS(), other))
	b.exec(`DELETE FROM crmguard_audit_openings WHERE owner = ?`, other) // only the mirror has it
	damaged := mirror.FS()
	damaged["openings/000"] = &fstest.MapFile{Data: []byte("no file of a mirror")}
	mirror.Set(damaged)
	b.advance(time.Hour)
	b.run()
	require.Equal(t, 2+1, held(mirror.FS(), other), "the entry's file, the block that names it, and the head")
	require.NoError(t, b.trail.Erase(t.Context(), "main", "q"))
	require.Zero(t, held(mirror.FS(), other))
}

// An erasure that the mirror stops at the file of an entry, or at that of its block,
// reaches both when it is called again.
func TestAnErasureThatIsStoppedReachesLargeEvents(t *testing.T) {
	for _, at := range []string{"openings/000.p/1", "openings/000"} {
		t.Run(at, func(t *testing.T) {
			b, mirror := mirrored(t)
			b.record(update("a", 1))
			b.record(large(100_000, "p", "q"))
			b.run()
			require.Contains(t, mirror.FS(), "openings/000.p/1")
			owner := b.surrogate("p")
			stopped := false
			mirror.Fail = func(op, name string) error {
				if op == "swap" && name == at && !stopped {
					stopped = true
					return errors.New("the mirror is away")
				}
				return nil
			}
			require.Error(t, b.trail.Erase(t.Context(), "main", "p"))
			require.True(t, stopped)
			require.NoError(t, b.trail.Erase(t.Context(), "main", "p"))
			require.Zero(t, held(mirror.FS(), owner))
			require.Positive(t, held(mirror.FS(), b.surrogate("q")))
		})
	}
}

// A write of the file of one entry that was made before an erasure and arrives after it
// brings nothing back.
func TestALargeEventThatArrivesLateBringsNothingBack(t *testing.T) {
	b := newBench(t)
	folder := &audittest.Sink{}
	reached, goOn, done := make(chan string, 1), make(chan struct{}), make(chan struct{})
	var stopping atomic.Bool
	b.mirroredIn(&stopSink{place: folder, at: func(op, name string) {
		if op == "before swap" && strings.HasPrefix(name, "openings/000.p/") && stopping.CompareAndSwap(true, false) {
			reached <- name
			<-goOn
		}
	}})
	b.record(update("q", 1))
	b.run()
	e := large(100_000, "p")
	b.prepare(e)
	require.NoError(t, b.in(func(tx *sql.Tx) error { return only(b.trail.Record(t.Context(), tx, e)) }))
	owner := b.surrogate("p")
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
	require.Zero(t, holding(folder, owner))
	close(goOn)
	<-done
	require.Zero(t, holding(folder, owner))
	b.run()
	require.Equal(t, auditlog.OK, b.verifyStore(b.checkpoint()).Verdict)
}
