package audit_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/audit"
	"github.com/crmguard/crmguard/audit/auditlog"
)

// clone is another database with the same content, over the same folder.
func (b *bench) clone(sink audit.Sink) *bench {
	b.t.Helper()
	c := &bench{t: b.t, file: b.backup(), sink: b.sink, keys: b.keys, config: b.config}
	c.clock.Store(b.clock.Load())
	c.db = openDB(b.t, c.file)
	c.config.Sink = sink
	c.open()
	return c
}

// standstill lets a pass stand still at its n-th call of the sink that counts.
type standstill struct {
	left    int
	counts  func(op, name string) bool
	reached chan struct{}
	goOn    chan struct{}
}

func stand(at int, counts func(op, name string) bool) *standstill {
	return &standstill{left: at, counts: counts, reached: make(chan struct{}), goOn: make(chan struct{})}
}

func (s *standstill) at(op, name string) {
	if !s.counts(op, name) {
		return
	}
	if s.left--; s.left == 0 {
		close(s.reached)
		<-s.goOn
	}
}

// A primary goes on beside the replica that took its place. Whatever moments both
// stand still at: one of them is refused, and what the other has published is whole,
// without anybody's help.
func TestTheFilesOfAnotherLogAreNotSpoilt(t *testing.T) {
	swaps := func(op, _ string) bool { return op == "before swap" }
	any := func(op, name string) bool {
		return strings.HasPrefix(op, "before") || name == "checkpoint" || op == "after read"
	}
	for first := 1; first <= 4; first++ {
		for second := 1; ; second++ {
			b := newBench(t)
			b.fill(5)
			b.run()
			kept := b.checkpoint()
			b.config.Kept = func(ctx) ([]byte, error) { return kept, nil }
			one, other := stand(first, swaps), stand(second, any)
			late := b.clone(&stopSink{place: b.sink, at: other.at})
			b.config.Sink = &stopSink{place: b.sink, at: one.at}
			b.open()
			b.fill(1)
			late.fill(1)
			pass := func(b *bench) chan error {
				done := make(chan error, 1)
				go func() { _, err := b.trail.RunOnce(t.Context()); done <- err }()
				return done
			}
			moment := fmt.Sprintf("%d, %d", first, second)
			of, otherOf := pass(b), (chan error)(nil)
			var err, otherErr error
			stood := false
			select {
			case <-one.reached:
				otherOf = pass(late)
				select {
				case <-other.reached:
					stood = true
					close(one.goOn)
					err = <-of
					close(other.goOn)
					otherErr = <-otherOf
				case otherErr = <-otherOf:
					close(one.goOn)
					err = <-of
				}
			case err = <-of:
			}
			if otherOf == nil { // there were fewer calls
				require.Greater(t, first, 3, moment)
				break
			}
			require.True(t, (err == nil) != (otherErr == nil), "%s: %v, %v", moment, err, otherErr)
			refused := errors.Join(err, otherErr)
			require.True(t, errors.Is(refused, auditlog.ErrForked) || errors.Is(refused, audit.ErrBehind), "%s: %v", moment, refused)
			r := b.verifyLog(kept)
			require.Equal(t, auditlog.OK, r.Verdict, "%s: %+v", moment, r.Faults)
			require.EqualValues(t, 7, r.Size, moment)
			if !stood {
				require.Greater(t, second, 10, moment)
				break
			}
		}
	}
}

// A damaged file is written anew with the next publication, as ever.
func TestADamagedFileIsReplaced(t *testing.T) {
	b := newBench(t)
	b.fill(5)
	b.run()
	kept := b.checkpoint()
	for _, garbage := range []string{"", "garbage"} {
		name := fmt.Sprintf("tile/0/000.p/%d", b.trailSize()+1)
		require.NoError(t, b.sink.WriteFile(t.Context(), name, []byte(garbage)))
		b.fill(1)
		b.run()
		require.Equal(t, auditlog.OK, b.verifyLog(kept).Verdict)
	}
}
