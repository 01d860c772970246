package audit_test

import (
	"context"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/audit"
	"github.com/crmguard/crmguard/audit/auditlog"
)

// replacing counts the files that a pass replaces, and lets another pass by before
// the first.
type replacing struct {
	audit.Sink
	first    sync.Once
	meets    func()
	replaced int
}

func (r *replacing) SwapFile(ctx context.Context, name string, old, data []byte) error {
	r.first.Do(r.meets)
	err := r.Sink.SwapFile(ctx, name, old, data)
	if err == nil && old != nil && name != "checkpoint" {
		r.replaced++
	}
	return err
}

// A sequencer that another log has overtaken replaces none of its files: it does not
// rely on being able to put them back.
func TestAFileOfAnotherLogIsNotReplaced(t *testing.T) {
	b := newBench(t)
	b.fill(5)
	b.run()
	sink := &replacing{Sink: b.sink}
	late := b.clone(sink)
	b.fill(1)
	late.fill(1)
	sink.meets = func() { b.run() }
	_, err := late.trail.RunOnce(t.Context())
	require.ErrorIs(t, err, auditlog.ErrForked)
	require.Zero(t, sink.replaced)
}

// The entry that is gone is named.
func TestTheGapIsNamed(t *testing.T) {
	b := anchoredBench(t, 10, 10)
	b.takeAway(`idx = 3`)
	_, err := b.trail.RebuildTiles(t.Context())
	require.ErrorIs(t, err, auditlog.ErrTampered)
	require.ErrorContains(t, err, "entry 3 is gone")
}

// While CatchUp tags a state row anew, another one may have written: it is not
// written over.
func TestAStateRowThatMovedIsNotTaggedAnew(t *testing.T) {
	b := newBench(t)
	b.fill(3)
	b.run()
	b.exec(`UPDATE crmguard_audit_state SET tag = x'00'`)
	trail, hook := b.hooked(func() { b.exec(`UPDATE crmguard_audit_state SET beat = beat + 1`) })
	hook.left.Store(2) // whether the keys work, and the tag of the row
	require.ErrorIs(t, trail.CatchUp(t.Context()), auditlog.ErrTampered)
	require.LessOrEqual(t, hook.left.Load(), int64(0))
	require.Equal(t, 1, b.count(`SELECT COUNT(*) FROM crmguard_audit_state WHERE tag = x'00'`))
}
