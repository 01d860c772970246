package audit_test

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/audit"
	"github.com/crmguard/crmguard/audit/auditlog"
	"github.com/crmguard/crmguard/audit/audittest"
)

// beforeCall has something done once, in the middle of what reads a file of the
// published log.
func (b *bench) beforeCall(op, name string, do func()) {
	done := false
	b.sink.Fail = func(o, n string) error {
		if o == op && n == name && !done {
			done = true
			do()
		}
		return nil
	}
}

// Retention takes entries while others read them: nobody takes that for tampering.
func TestNobodyTakesRetentionForTampering(t *testing.T) {
	prune := func(b *bench) {
		b.t.Helper()
		require.Equal(b.t, int64(512), b.prune().Pruned)
	}
	t.Run("VerifyStore", func(t *testing.T) {
		b, _ := oldBench(t, 530, 30)
		kept := b.checkpoint()
		b.beforeCall("read", "tile/entries/000", func() { prune(b) })
		report, err := b.trail.VerifyStore(t.Context(), kept)
		require.NoError(t, err)
		require.Equal(t, auditlog.OK, report.Verdict, "%+v", report.Faults)
		require.Equal(t, int64(512), report.Log.Pruned)
	})
	t.Run("Republish", func(t *testing.T) {
		b, _ := oldBench(t, 530, 30)
		b.lose("tile/0/000")
		b.beforeCall("read", "tile/entries/000", func() { prune(b) })
		_, err := b.trail.Republish(t.Context())
		require.NoError(t, err)
		require.Empty(t, files(b.sink, "tile/entries/000"), "it does not come back")
		b.run()
		b.sound()
	})
	t.Run("RebuildTiles", func(t *testing.T) {
		b, _ := oldBench(t, 530, 30)
		b.exec(`DELETE FROM crmguard_audit_tiles WHERE level = 1`)
		_, err := b.trail.Prune(t.Context(), b.yearAgo())
		require.Error(t, err, "the tree is damaged")
		_, err = b.trail.RebuildTiles(t.Context())
		require.NoError(t, err)
		prune(b)
		b.sound()
	})
	t.Run("a copy", func(t *testing.T) {
		b, _ := oldBench(t, 530, 30)
		late := &audittest.Sink{}
		b.config.Copies = []audit.Sink{late}
		b.open()
		other := b.beside(func(c *audit.Config) { c.Copies = nil })
		done := false
		late.Fail = func(op, name string) error {
			if op == "write" && !done {
				done = true
				_, err := other.Prune(context.WithoutCancel(t.Context()), b.yearAgo())
				require.NoError(t, err)
			}
			return nil
		}
		b.run()
		late.Fail = nil
		b.run()
		b.prune()
		require.Empty(t, files(late, "tile/entries/000"))
		r, err := auditlog.VerifyLog(t.Context(), late.FS(), auditlog.Trust{Key: b.config.Verifier, Kept: b.checkpoint()})
		require.NoError(t, err)
		require.Equal(t, auditlog.OK, r.Verdict, "%+v", r.Faults)
	})
	t.Run("another prune", func(t *testing.T) {
		b, _ := oldBench(t, 530, 30)
		other := b.beside(func(*audit.Config) {})
		asked := false
		b.config.Hold = func(c ctx, _ string) (time.Time, error) {
			if !asked {
				asked = true
				_, err := other.Prune(context.WithoutCancel(c), b.yearAgo())
				require.NoError(t, err)
			}
			return time.Time{}, nil
		}
		b.open()
		prune(b)
		b.sound()
	})
}
