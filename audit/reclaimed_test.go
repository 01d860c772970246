package audit_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/audit"
	"github.com/crmguard/crmguard/audit/auditlog"
	"github.com/crmguard/crmguard/audit/audittest"
)

// A person whom a restore has left without a row gets their own surrogate back when
// they are prepared, before a new one is drawn, and nobody else's.
func TestPreparingGivesASurrogateBack(t *testing.T) {
	b := newBench(t)
	b.config.Mirror = &audittest.Sink{}
	b.open()
	b.record(update("a", 1))
	b.run()
	file := b.backup()
	b.record(update("p", 1))
	b.record(update("q", 1))
	p, q := b.surrogate("p"), b.surrogate("q")
	b.run()
	kept := b.checkpoint()
	b.restore(file)
	require.NoError(t, b.trail.CatchUp(t.Context()))
	b.run()
	require.Zero(t, b.count(`SELECT COUNT(*) FROM crmguard_audit_surrogates WHERE person IN ('p', 'q')`))
	require.NoError(t, b.trail.Prepare(t.Context(), "main", "q", "new", "p"))
	require.Equal(t, p, b.surrogate("p"))
	require.Equal(t, q, b.surrogate("q"))
	require.NotEqual(t, q, b.surrogate("new"))
	require.Equal(t, audit.HealthOK, b.found("audit.unmapped", "").Level)
	b.record(update("p", 2))
	b.run()
	require.Equal(t, auditlog.OK, b.verifyStore(kept).Verdict)
}
