package audit_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/audit"
	"github.com/crmguard/crmguard/audit/auditlog"
)

func (b *bench) merge(from, into string) error {
	b.t.Helper()
	return b.trail.Merge(b.t.Context(), "main", from, into)
}

// Two persons turn out to be one: one history, and one erasure.
func TestPersonsWhoAreOne(t *testing.T) {
	b := newBench(t)
	b.fill(6)
	b.run()
	for range 2 { // the second time changes nothing
		require.NoError(t, b.merge("p1", "p2"))
	}
	require.ErrorIs(t, b.merge("p2", "p1"), audit.ErrInvalid, "the other way round")
	require.ErrorIs(t, b.merge("p1", "p1"), audit.ErrInvalid)
	b.run()
	require.Len(t, b.history(audit.About("p2")), 5, "two each, and the merger itself")
	require.Len(t, b.history(audit.About("p1")), 3)
	leaves := b.leaves()
	require.Equal(t, auditlog.KindMerge, leaves[len(leaves)-1].Kind)
	require.Equal(t, auditlog.OK, b.verifyStore(b.checkpoint()).Verdict)
	require.NoError(t, b.trail.Erase(t.Context(), "main", "p2"))
	b.run()
	require.Empty(t, b.history(audit.About("p1")))
	require.Empty(t, b.history(audit.About("p2")))
	report := b.verifyStore(b.checkpoint())
	require.Equal(t, auditlog.OK, report.Verdict, "%+v", report.Faults)
	require.Equal(t, int64(4), report.Openings[audit.OpeningErased])
}

// Whoever others were merged into can be merged, too, and whoever was merged already
// is named for the one who stays: all are one, and an erasure reaches all of them,
// also after a restore from before.
func TestPersonsWhoAreOneInAChain(t *testing.T) {
	b := newBench(t)
	for _, p := range []string{"a", "b", "c", "d", "e"} {
		b.record(update(p, 1))
	}
	b.run()
	file := b.backup()
	require.NoError(t, b.merge("a", "b"))
	require.NoError(t, b.merge("b", "c")) // with a
	require.NoError(t, b.merge("a", "d")) // a is c, so c is d
	require.NoError(t, b.merge("e", "b")) // b is d
	require.NoError(t, b.merge("a", "e"), "they are one already")
	require.NoError(t, b.merge("c", "d"))
	require.ErrorIs(t, b.merge("d", "a"), audit.ErrInvalid, "a circle")
	b.run()
	const merged = `SELECT COUNT(*) FROM crmguard_audit_surrogates WHERE into_surrogate = ?`
	require.Equal(t, 4, b.count(merged, b.surrogate("d")), "nobody is merged into somebody who was merged")
	require.Len(t, b.history(audit.About("d")), 9, "one each, and four mergers")
	kept := b.checkpoint()
	report := b.verifyStore(kept)
	require.Equal(t, auditlog.OK, report.Verdict, "%+v", report.Faults)

	b.restore(file)
	require.NoError(t, b.trail.CatchUp(t.Context()))
	b.run()
	require.Equal(t, 4, b.count(merged, b.surrogate("d")))
	report = b.verifyStore(kept)
	require.Equal(t, auditlog.OK, report.Verdict, "%+v", report.Faults)
	require.Positive(t, b.left("d"))
	require.NoError(t, b.trail.Erase(t.Context(), "main", "d"))
	b.run()
	for _, p := range []string{"a", "b", "c", "d", "e"} {
		require.Empty(t, b.history(audit.About(p)))
		require.Zero(t, b.left(p))
	}
	report = b.verifyStore(kept)
	require.Equal(t, auditlog.OK, report.Verdict, "%+v", report.Faults)
	require.Equal(t, int64(5), report.Openings[audit.OpeningErased])
}

// Whom somebody was merged into is believed by the tag alone: what a hand wrote into
// the column leads nobody's history elsewhere.
func TestNobodyIsMergedByHand(t *testing.T) {
	b := newBench(t)
	b.fill(3)
	b.exec(`UPDATE crmguard_audit_surrogates SET into_surrogate = ? WHERE person = 'p1'`, b.surrogate("p2"))
	require.ErrorIs(t, b.merge("p1", "p0"), auditlog.ErrTampered)
	require.ErrorIs(t, b.merge("p0", "p1"), auditlog.ErrTampered)
	b.exec(`UPDATE crmguard_audit_surrogates SET into_surrogate = surrogate WHERE person = 'p1'`)
	require.ErrorIs(t, b.merge("p1", "p0"), auditlog.ErrTampered, "a circle of one")
}

// As many persons become one as a question can name.
func TestNoMorePersonsBecomeOneThanAQuestionNames(t *testing.T) {
	b := newBench(t)
	b.record(update("p1", 1))
	b.record(update("p2", 1))
	b.exec(`WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 9999)
		INSERT INTO crmguard_audit_surrogates (tenant, surrogate, k, state, into_surrogate, tag) SELECT 'main', randomblob(16), i, 0, ?, x'00' FROM n`, b.surrogate("p2"))
	require.ErrorIs(t, b.merge("p1", "p2"), audit.ErrTooLarge)
	require.Len(t, b.history(audit.About("p2")), 1, "and a question can")
	b.exec(`DELETE FROM crmguard_audit_surrogates WHERE k IN (1, 2) AND person IS NULL`)
	require.NoError(t, b.merge("p1", "p2"))
}
