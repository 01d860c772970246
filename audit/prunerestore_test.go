package audit_test

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/audit"
	"github.com/crmguard/crmguard/audit/auditlog"
	"github.com/crmguard/crmguard/audit/audittest"
)

// What the log said about itself it says again, so that nothing of what is gone is
// needed: erasures, merges, restores and revocations.
func TestWhatTheLogSaysAboutItselfOutlivesAPrune(t *testing.T) {
	b := newBench(t)
	b.keeps()
	b.fill(100)
	require.NoError(t, b.trail.Erase(t.Context(), "main", "p1"))
	e := update("q1", 1)
	e.Tenant = "other"
	b.record(e)
	e = update("q2", 1)
	e.Tenant = "other"
	b.record(e)
	require.NoError(t, b.trail.Merge(t.Context(), "other", "q1", "q2"))
	b.run()
	file := b.backup()
	b.fill(300)
	b.run()
	b.advance(2 * year)
	b.record(update("p0", 1))
	b.run()
	before := b.sound()
	require.Positive(t, before.Openings[audit.OpeningErased])
	require.Equal(t, int64(256), b.prune().Pruned)
	b.sound()
	again := 0
	for e, err := range auditlog.Entries(t.Context(), b.sink.FS()) {
		require.NoError(t, err)
		leaf, err := auditlog.ParseLeaf(e.Leaf)
		require.NoError(t, err)
		if leaf.Kind == auditlog.KindErase || leaf.Kind == auditlog.KindMerge {
			again++
			require.NotEmpty(t, leaf.For, "of the entry of kind prune")
		}
	}
	require.Equal(t, 2, again)
	require.Equal(t, auditlog.OK, b.sound().Verdict)

	// Once more, two years later: what was said again is said again.
	b.advance(2 * year)
	b.fill(300)
	b.run()
	b.advance(2 * year)
	b.record(update("p0", 1))
	b.run()
	require.Equal(t, int64(512), b.prune().Pruned)
	b.sound()

	// The backup is from when p1 was there.
	b.restore(file)
	require.NoError(t, b.trail.CatchUp(t.Context()))
	b.run()
	b.sound()
	require.Empty(t, b.history2(audit.About("p1")))
	require.Zero(t, b.left("p1"))
}

// history2 is a history that ends at the mark.
func (b *bench) history2(of audit.Object) (out []audit.Entry) {
	b.t.Helper()
	for e, err := range b.trail.History(b.t.Context(), "main", of, audit.Page{Size: 1000}) {
		if err != nil {
			require.ErrorIs(b.t, err, audit.ErrPruned)
			break
		}
		out = append(out, e)
	}
	return out
}

// A backup of any moment before, while or after a prune is level with the log
// afterwards, and has nothing of what went.
func TestABackupFromBeforeAPruneIsPrunedAgain(t *testing.T) {
	b := newBench(t)
	b.config.Mirror = &audittest.Sink{}
	b.keeps()
	var moments []string
	keep := func() { moments = append(moments, b.backup()) }
	keep()
	var ids []string
	for n := range 6 {
		ids = append(ids, b.fill(90)...)
		if n%2 == 0 {
			keep() // with rows that wait
		}
		b.run()
		keep()
	}
	require.NoError(t, b.trail.Erase(t.Context(), "main", "p2"))
	b.advance(2 * year)
	b.fill(20)
	b.run()
	keep()
	b.sink.Fail = func(op, name string) error { // the prune is told, and its sink fails
		if op == "remove" {
			return errCue
		}
		return nil
	}
	_, err := b.trail.Prune(t.Context(), b.yearAgo())
	require.ErrorIs(t, err, errCue)
	b.sink.Fail = nil
	keep()
	b.prune()
	keep()
	b.fill(20)
	b.run()
	folder := b.sink.FS()
	mirror := b.config.Mirror.(*audittest.Sink).FS()
	for n, file := range moments {
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			b.t = t
			b.sink = &audittest.Sink{}
			b.sink.Set(folder)
			b.config.Sink = b.sink
			m := &audittest.Sink{}
			m.Set(mirror)
			b.config.Mirror = m
			b.restore(file)
			require.NoError(t, b.trail.CatchUp(t.Context()))
			b.run()
			b.sound()
			require.Equal(t, 512, b.pruned())
			for _, table := range []string{"entries", "found", "persons", "openings"} {
				require.Zero(t, b.count(`SELECT COUNT(*) FROM crmguard_audit_`+table+` WHERE idx < 512`), table)
			}
			require.Zero(t, b.count(`SELECT COUNT(*) FROM crmguard_audit_events WHERE idx IS NULL`))
			require.NoError(t, b.trail.CatchUp(t.Context()), "again")
			b.fill(5)
			b.run()
			b.sound()
			seen := make(map[string]int)
			for e, err := range auditlog.Entries(t.Context(), b.sink.FS()) {
				require.NoError(t, err)
				leaf, err := auditlog.ParseLeaf(e.Leaf)
				require.NoError(t, err)
				seen[leaf.ID]++
				require.Equal(t, 1, seen[leaf.ID])
			}
			for _, id := range ids[:400] {
				require.Zero(t, seen[id], "nothing that went comes into the log again")
			}
		})
	}
}
