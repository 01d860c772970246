package audit_test

import (
	"context"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/audit"
	"github.com/crmguard/crmguard/audit/auditlog"
	"github.com/crmguard/crmguard/audit/sqltrail"
)

// tagHook does something when a tag is made for the n-th time: between what a state
// row was planned from and the lock under which it is written.
type tagHook struct {
	audit.Keys
	left atomic.Int64
	do   func()
}

func (k *tagHook) Tag(ctx context.Context, tenant string, data []byte) ([]byte, error) {
	if k.left.Add(-1) == 0 {
		k.do()
	}
	return k.Keys.Tag(ctx, tenant, data)
}

// hooked is another process with such keys.
func (b *bench) hooked(do func()) (*audit.Trail, *tagHook) {
	b.t.Helper()
	hook := &tagHook{Keys: b.config.Keys, do: do}
	return b.beside(func(c *audit.Config) { c.Keys = hook }), hook
}

// Whatever another sequencer commits between plan and lock, the state row does not
// go back to what the plan knew.
func TestAPlanOfAnOlderStateIsMadeAnew(t *testing.T) {
	for at := int64(1); at <= 6; at++ {
		b := newBench(t)
		b.fill(3)
		b.run()
		met := false
		trail, hook := b.hooked(func() {
			met = true
			b.fill(2)
			b.run()
		})
		b.fill(1)
		hook.left.Store(at)
		_, err := trail.RunOnce(t.Context())
		require.NoError(t, err, at)
		b.run()
		if met {
			require.GreaterOrEqual(t, b.trailSize(), int64(6), at)
		}
		require.Equal(t, auditlog.OK, b.verifyStore(b.checkpoint()).Verdict, at)
	}
}

// While the state row is made anew others may write: an entry that comes meanwhile is
// one more that nobody proves, and another state row is not written over.
func TestAStateRowIsMadeAnewOverNothingNewer(t *testing.T) {
	for name, c := range map[string]struct {
		meanwhile string
		want      string
	}{
		"an entry":          {`INSERT INTO crmguard_audit_entries (idx, id, leaf, at, filed) SELECT 12, x'00', leaf, at, filed FROM crmguard_audit_entries WHERE idx = 5`, "the last 1 entries of the database, from 12 on"},
		"another state row": {`UPDATE crmguard_audit_state SET beat = beat + 1`, "other sequencers were first"},
	} {
		b := anchoredBench(t, 5, 5)
		b.fill(1)
		b.run()
		b.exec(`UPDATE crmguard_audit_state SET tag = x'00'`)
		trail, hook := b.hooked(func() { b.exec(c.meanwhile) })
		// RebuildTiles makes one tag in the row of its event, by other keys, and one of the state.
		hook.left.Store(2)
		_, err := trail.RebuildTiles(t.Context())
		require.Error(t, err, name)
		require.LessOrEqual(t, hook.left.Load(), int64(0), name)
		require.ErrorContains(t, err, c.want, name)
		require.Equal(t, 1, b.count(`SELECT COUNT(*) FROM crmguard_audit_state WHERE tag = x'00'`), name)
	}
}

// The checkpoints that are known must all be of the entries, not the largest alone;
// nothing is written before that is known.
func TestAStateRowIsMadeOfNoFork(t *testing.T) {
	b := anchoredBench(t, 5, 5)
	fork := newBench(t)
	fork.config.Signer, fork.config.Verifier = b.config.Signer, b.config.Verifier
	fork.open()
	fork.fill(4)
	fork.run()
	kept := fork.checkpoint()
	b.config.Kept = func(ctx) ([]byte, error) { return kept, nil }
	b.exec(`DELETE FROM crmguard_audit_state`)
	b.open()
	_, err := b.trail.RebuildTiles(t.Context())
	require.ErrorIs(t, err, auditlog.ErrForked)
	require.Zero(t, b.count(`SELECT COUNT(*) FROM crmguard_audit_state`))
}

// Tables that were used are not begun anew by a start, whatever was taken away from
// them: not while the row says that there were entries, nor while a stub does.
func TestAStartBeginsNoUsedLogAnew(t *testing.T) {
	for name, left := range map[string][]string{
		"the row says so":      {`DELETE FROM crmguard_audit_events`, `UPDATE crmguard_audit_state SET tag = x'00'`},
		"a stub says so":       {`UPDATE crmguard_audit_state SET size = 0, published = 0, tag = x'00'`},
		"a stub, without row":  {`DELETE FROM crmguard_audit_state`},
		"published says so":    {`DELETE FROM crmguard_audit_events`, `UPDATE crmguard_audit_state SET size = 0, tag = x'00'`},
		"the entries are left": {`UPDATE crmguard_audit_state SET size = 0, published = 0, tag = x'00'`, `DELETE FROM crmguard_audit_events`},
	} {
		b := newBench(t)
		b.fill(3)
		b.run()
		if name != "the entries are left" {
			b.exec(`DELETE FROM crmguard_audit_entries`)
		}
		for _, q := range left {
			b.exec(q)
		}
		b.sink.Set(nil)
		b.open()
		require.Zero(t, b.count(`SELECT COUNT(*) FROM crmguard_audit_state WHERE tag <> x'00'`), name)
		_, err := b.trail.RunOnce(t.Context())
		require.Error(t, err, name)
	}
}

// Two processes with other keys start at once on a log without entries: who comes
// second writes nothing over the first.
func TestTwoStartsOnAnEmptyLog(t *testing.T) {
	b := newBench(t)
	b.exec(`UPDATE crmguard_audit_state SET tag = x'00'`)
	hook := &tagHook{Keys: newBench(t).keys}
	hook.do = func() { b.beside(nil) }
	hook.left.Store(2) // whether the keys work, and the tag of the row
	b.beside(func(c *audit.Config) { c.Keys = hook })
	require.LessOrEqual(t, hook.left.Load(), int64(0))
	b.fill(1)
	require.Equal(t, 1, b.run().Sequenced, "the first one's keys count")
}

// Where the state row is gone nothing is a lock, and who needs one says so.
func TestWithoutItsRowNothingIsALock(t *testing.T) {
	b := newBench(t)
	b.fill(3)
	b.run()
	b.exec(`DELETE FROM crmguard_audit_state`)
	err := b.trail.Merge(t.Context(), "main", "p0", "p1")
	require.ErrorIs(t, err, auditlog.ErrTampered)
	require.ErrorContains(t, err, "RebuildTiles")
}

// The row by which sales know their log is compared at each start, and brought back
// where it is gone.
func TestTheNameOfTheLogAtEachStart(t *testing.T) {
	b := newBench(t)
	b.exec(`DELETE FROM crmguard_audit_log`)
	b.open()
	require.Equal(t, 1, b.count(`SELECT COUNT(*) FROM crmguard_audit_log WHERE id = 1 AND name = 'crm.example/audit/0'`))
	b.exec(`UPDATE crmguard_audit_log SET name = 'crm.example/audit/1'`)
	store, err := sqltrail.Open(t.Context(), b.db)
	require.NoError(t, err)
	_, err = audit.Open(t.Context(), store, b.config)
	require.ErrorIs(t, err, auditlog.ErrTampered)
	require.ErrorContains(t, err, "names another log")
}
