package audit_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/audit"
	"github.com/crmguard/crmguard/audit/auditlog"
)

// A database from before two persons became one learns it from the published log.
func TestARestoreLearnsWhoBecameOne(t *testing.T) {
	b := newBench(t)
	b.record(update("p0", 1))
	b.record(update("p1", 1))
	b.run()
	file := b.backup()
	require.NoError(t, b.trail.Merge(t.Context(), "main", "p0", "p1"))
	b.run()
	require.Len(t, b.history(audit.About("p1")), 3)
	kept := b.checkpoint()
	b.restore(file)
	require.Len(t, b.history(audit.About("p1")), 1)
	require.NoError(t, b.trail.CatchUp(t.Context()))
	b.run()
	require.Len(t, b.history(audit.About("p1")), 3)
	report := b.verifyStore(kept)
	require.Equal(t, auditlog.OK, report.Verdict, "%+v", report.Faults)
	require.NoError(t, b.trail.Erase(t.Context(), "main", "p1"))
	b.run()
	require.Zero(t, b.left("p1"))
	report = b.verifyStore(kept)
	require.Equal(t, auditlog.OK, report.Verdict, "%+v", report.Faults)
}
