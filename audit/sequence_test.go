package audit_test

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/audit"
	"github.com/crmguard/crmguard/audit/auditlog"
)

// 16 writers and 2 sequencers: each event once, in one log without gaps, and
// every checkpoint ever published is of that log.
func TestWritersAndSequencers(t *testing.T) {
	b := newBench(t)
	const writers, each = 16, 8
	var (
		mu          sync.Mutex
		checkpoints [][]byte
		wrote       sync.Map
		done        atomic.Int32
		wg          sync.WaitGroup
	)
	b.sink.Fail = func(op, name string) error { return nil }
	b.prepare(update("p0", 0), update("p1", 0), update("p2", 0), update("p3", 0), update("p4", 0))
	fail := make(chan error, writers+2)
	for w := range writers {
		wg.Go(func() {
			defer done.Add(1)
			for i := range each {
				e := update(fmt.Sprintf("p%d", w%5), i)
				e.ID, _ = audit.NewID()
				if err := retryBusy(func() error { return write(t, b, e, fmt.Sprintf("c%d-%d", w, i)) }); err != nil {
					fail <- err
					return
				}
				wrote.Store(e.ID, true)
			}
		})
	}
	for range 2 {
		wg.Go(func() {
			for last := false; ; {
				if err := retryBusy(func() error { _, err := b.trail.RunOnce(t.Context()); return err }); err != nil {
					fail <- err
					return
				}
				if c, err := b.trail.Checkpoint(t.Context()); err == nil {
					mu.Lock()
					checkpoints = append(checkpoints, c)
					mu.Unlock()
				}
				if last {
					return
				}
				last = done.Load() == writers
			}
		})
	}
	wg.Wait()
	close(fail)
	for err := range fail {
		require.NoError(t, err)
	}
	seen := make(map[string]bool)
	for _, leaf := range b.leaves() {
		require.False(t, seen[leaf.ID], "twice")
		seen[leaf.ID] = true
	}
	n := 0
	wrote.Range(func(id, _ any) bool { n++; require.True(t, seen[id.(string)], "lost"); return true })
	require.Equal(t, writers*each, n)
	for _, c := range checkpoints {
		require.Equal(t, auditlog.OK, b.verifyLog(c).Verdict)
	}
	r := b.verifyStore(b.checkpoint())
	require.Equal(t, auditlog.OK, r.Verdict, "%+v", r.Faults)
	require.Zero(t, r.Waiting)
	require.Equal(t, writers*each, b.count(`SELECT COUNT(*) FROM contacts`))
}

func write(t *testing.T, b *bench, e audit.Event, contact string) error {
	t.Helper()
	tx, err := b.db.BeginTx(t.Context(), nil)
	if err != nil {
		return err
	}
	_, err = tx.ExecContext(t.Context(), `INSERT INTO contacts (id, email) VALUES (?, 'x')`, contact)
	if err == nil {
		err = only(b.trail.Record(t.Context(), tx, e))
	}
	if err != nil {
		return errors.Join(err, tx.Rollback())
	}
	return tx.Commit()
}

// retryBusy is what an application on SQLite does about a full queue of writers.
func retryBusy(fn func() error) error {
	for {
		if err := fn(); err == nil || !strings.Contains(err.Error(), "SQLITE_BUSY") {
			return err
		}
	}
}

// A row whose transaction commits late is not lost, whatever came after it.
func TestALateCommitIsNotLost(t *testing.T) {
	b := newBench(t)
	ids := b.fill(3)
	// as another database would show it: seq 2 is not visible yet, seq 3 is
	b.exec(`CREATE TABLE later AS SELECT * FROM crmguard_audit_events WHERE id = ?`, key(ids[1]))
	b.exec(`DELETE FROM crmguard_audit_events WHERE id = ?`, key(ids[1]))
	require.Equal(t, 2, b.run().Sequenced)
	b.exec(`INSERT INTO crmguard_audit_events SELECT * FROM later`)
	b.open() // SQLite's numbers are in the order of its commits: a process that begins looks at all, every pass does elsewhere
	require.Equal(t, 1, b.run().Sequenced)
	leaves := b.leaves()
	require.Equal(t, ids[1], leaves[len(leaves)-1].ID)
	require.Equal(t, auditlog.Unanchored, b.verifyStore(nil).Verdict)
}

var errCue = errors.New("disk full")

// The sink fails at its first, second, third … call, at every step of
// publishing, after the sequencing has committed: the next pass completes it,
// and what was published before stays whole and consistent throughout.
func TestAFailureAtEveryStepRecovers(t *testing.T) {
	for step := 1; ; step++ {
		b := newBench(t)
		b.fill(250)
		b.run()
		kept := b.checkpoint()
		b.fill(20) // 251 -> 271: a full tile, a new partial one, an upper one, and partial ones to remove
		calls := 0
		b.sink.Fail = func(op, name string) error {
			if calls++; calls == step {
				return errCue
			}
			return nil
		}
		_, err := b.trail.RunOnce(t.Context())
		b.sink.Fail = nil
		if err == nil {
			require.Greater(t, step, 8, "the steps were tried")
			require.Equal(t, auditlog.OK, b.verifyLog(kept).Verdict)
			return
		}
		require.ErrorIs(t, err, errCue)
		r := b.verifyLog(kept)
		require.Equal(t, auditlog.OK, r.Verdict, "step %d: %+v", step, r.Faults)
		b.open() // a new process
		b.run()
		r = b.verifyLog(kept)
		require.Equal(t, auditlog.OK, r.Verdict, "step %d: %+v", step, r.Faults)
		require.Equal(t, int64(271), r.Size)
		require.Equal(t, auditlog.OK, b.verifyStore(kept).Verdict)
		if step%5 == 1 {
			everyProof(t, b)
		}
	}
}

// The transaction of the sequencer fails at its commit: nothing is published.
func TestNothingIsSignedBeforeTheCommit(t *testing.T) {
	b := newBench(t)
	b.fill(5)
	b.exec(`CREATE TRIGGER stop BEFORE UPDATE OF size ON crmguard_audit_state BEGIN SELECT RAISE(ABORT, 'no'); END`)
	_, err := b.trail.RunOnce(t.Context())
	require.Error(t, err)
	require.Empty(t, b.sink.FS())
	require.Zero(t, b.count(`SELECT COUNT(*) FROM crmguard_audit_events WHERE idx IS NOT NULL`))
	b.exec(`DROP TRIGGER stop`)
	require.Equal(t, 5, b.run().Sequenced)
}

// A slow publisher that signed 21 entries does not replace the checkpoint of
// 41 that another published meanwhile.
func TestTheCheckpointNeverGoesBackwards(t *testing.T) {
	b := newBench(t)
	b.fill(20)
	entered := false
	b.sink.Fail = func(op, name string) error {
		if op == "swap" && strings.HasPrefix(name, "tile/0/") && !entered {
			entered = true // in the middle of publishing 21, another process does everything
			b.fill(20)
			r, err := b.trail.RunOnce(t.Context())
			require.NoError(t, err)
			require.Equal(t, int64(41), r.Published)
		}
		return nil
	}
	r := b.run()
	require.True(t, entered)
	require.Equal(t, int64(41), r.Published)
	require.Equal(t, int64(41), b.verifyLog(nil).Size)
}

// everyProof reads the published log and proves each entry offline. That a
// client by others reads it too is shown in examples/peers.
func everyProof(t *testing.T, b *bench) {
	t.Helper()
	n := int64(0)
	for e, err := range auditlog.Entries(t.Context(), b.sink.FS()) {
		require.NoError(t, err)
		require.Equal(t, n, e.Index)
		leaf, err := auditlog.ParseLeaf(e.Leaf)
		require.NoError(t, err)
		proof, err := b.trail.Proof(t.Context(), leaf.ID)
		require.NoError(t, err)
		got, err := auditlog.Verify(b.trust(), e.Leaf, proof)
		require.NoError(t, err)
		require.Equal(t, leaf, got)
		n++
	}
	require.Equal(t, b.verifyLog(nil).Size, n, "every entry")
}

func TestEveryEntryHasItsProof(t *testing.T) {
	for _, n := range []int{1, 255, 256, 300} {
		b := newBench(t)
		b.fill(n / 2)
		b.run()
		b.fill(n - n/2)
		b.run()
		everyProof(t, b)
	}
}

func TestPartialTilesGoWhenTheFullOneIsPublished(t *testing.T) {
	b := newBench(t)
	b.fill(100)
	b.run()
	old := b.sink.FS()["checkpoint"]
	b.fill(100)
	b.run()
	require.Contains(t, b.sink.FS(), "tile/entries/000.p/101")
	b.fill(100)
	b.run()
	files := b.sink.FS()
	for name := range files {
		require.NotContains(t, name, "000.p/101")
		require.NotContains(t, name, "000.p/201")
	}
	files["checkpoint"] = old // a reader that still has the older checkpoint
	r, err := auditlog.VerifyLog(t.Context(), files, b.trust())
	require.NoError(t, err)
	require.Equal(t, auditlog.Unanchored, r.Verdict, "the full tile begins with the partial one: %+v", r.Faults)
}

func TestMoreThanOneBatch(t *testing.T) {
	b := newBench(t)
	b.fill(1100)
	r := b.run()
	require.Equal(t, 1100, r.Sequenced)
	require.Equal(t, auditlog.Unanchored, b.verifyLog(nil).Verdict)
	require.Equal(t, auditlog.Unanchored, b.verifyStore(nil).Verdict)
	b.fill(1)
	require.Equal(t, 1, b.run().Sequenced)
	require.Equal(t, auditlog.Unanchored, b.verifyLog(nil).Verdict)
}
