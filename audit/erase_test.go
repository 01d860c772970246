package audit_test

import (
	"errors"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/audit"
	"github.com/crmguard/crmguard/audit/auditlog"
	"github.com/crmguard/crmguard/audit/audittest"
)

func (b *bench) left(person string) int {
	b.t.Helper()
	n, err := b.trail.Left(b.t.Context(), "main", person)
	require.NoError(b.t, err)
	return n
}

// A sale that prepared before a person was erased, in another process, and
// commits after it leaves no sealed value behind.
func TestASaleThatCommitsAfterAnErasure(t *testing.T) {
	b := newBench(t)
	b.record(update("p1", 1))
	b.run()
	e := update("p1", 2)
	b.prepare(e)
	old := b.surrogate("p1")
	require.NoError(t, b.beside(nil).Erase(t.Context(), "main", "p1"))
	id := b.recordPrepared(e)
	require.Positive(t, b.count(`SELECT LENGTH(retry) FROM crmguard_audit_events WHERE id = ?`, key(id)))
	b.run()
	require.Zero(t, b.count(`SELECT COUNT(*) FROM crmguard_audit_openings WHERE owner = ?`, old))
	require.Zero(t, b.count(`SELECT LENGTH(retry) FROM crmguard_audit_events WHERE id = ?`, key(id)), "it is made of values")
	require.Zero(t, b.left("p1"))
	report := b.verifyStore(b.checkpoint())
	require.Equal(t, auditlog.OK, report.Verdict, "%+v", report.Faults)
	require.Equal(t, int64(2), report.Openings[audit.OpeningErased])
	require.Equal(t, int64(2), report.Openings[audit.OpeningOK], "what is about nobody")

	// The person comes back, under another surrogate.
	b.advance(2 * 60e9)
	b.record(update("p1", 3))
	b.run()
	require.NotEqual(t, old, b.surrogate("p1"))
	require.Len(t, b.history(audit.About("p1")), 1)
	require.Equal(t, auditlog.OK, b.verifyStore(b.checkpoint()).Verdict)
}

// What waits when a person is erased, and what was set aside, hold nothing of the
// person afterwards.
func TestAnErasureReachesWhatWaitsAndWhatWasSetAside(t *testing.T) {
	b := newBench(t)
	b.rewrite(b.record(update("p1", 1)), "u-1", "u-2")
	require.Equal(t, 1, b.run().Aside)
	b.record(update("p1", 2))
	require.Positive(t, b.left("p1"))
	old := b.surrogate("p1")
	require.NoError(t, b.trail.Erase(t.Context(), "main", "p1"))
	require.Zero(t, b.left("p1"))
	require.Zero(t, b.count(`SELECT COUNT(*) FROM crmguard_audit_openings WHERE owner = ?`, old))
	aside, err := auditlog.ParseRowBody(b.blob(`SELECT body FROM crmguard_audit_aside`))
	require.NoError(t, err)
	frames, err := auditlog.ParseFrames(aside.Sealed)
	require.NoError(t, err)
	require.Len(t, frames, 1, "what is about nobody")
	b.run()
	require.Equal(t, auditlog.Unanchored, b.verifyStore(nil).Verdict)
}

// Who sets a surrogate's mark by hand has nothing destroyed.
func TestAMarkWithoutItsTagDropsNothing(t *testing.T) {
	b := newBench(t)
	b.record(update("p1", 1))
	b.exec(`UPDATE crmguard_audit_surrogates SET state = 1 WHERE person = 'p1'`)
	b.run()
	require.Equal(t, 2, b.count(`SELECT COUNT(*) FROM crmguard_audit_openings`))
	require.Equal(t, auditlog.Tampered, b.verifyStore(nil).Verdict)
	b.exec(`UPDATE crmguard_audit_surrogates SET state = 0 WHERE person = 'p1'`)
	require.Equal(t, auditlog.Unanchored, b.verifyStore(nil).Verdict)
}

// An erasure reaches the mirror, and one that was stopped half way is ended by any
// pass of the sequencer.
func TestAnErasureThatWasStoppedIsEnded(t *testing.T) {
	b := newBench(t)
	mirror := &audittest.Sink{}
	b.mirroredIn(mirror)
	b.fill(6)
	b.run()
	require.NotEmpty(t, mirror.FS())
	owner, head := b.surrogate("p1"), b.blob(`SELECT head FROM crmguard_audit_surrogates WHERE person = 'p1'`)
	require.Equal(t, 2, holding(mirror, owner))
	require.Equal(t, 1, holding(mirror, head))
	down := errors.New("the mirror is away")
	mirror.Fail = func(string, string) error { return down }
	require.ErrorIs(t, b.trail.Erase(t.Context(), "main", "p1"), down)
	require.Equal(t, 1, b.count(`SELECT COUNT(*) FROM crmguard_audit_surrogates WHERE state = 3`))
	require.Empty(t, b.history(audit.About("p1")), "nothing opens from the first moment on")
	b.fill(1)
	r := b.run()
	require.Equal(t, r.Size, r.Published, "that stops no pass")
	require.Equal(t, audit.HealthAlarm, b.found("audit.mirror", "").Level)
	mirror.Fail = nil
	b.run()
	require.Equal(t, 1, b.count(`SELECT COUNT(*) FROM crmguard_audit_surrogates WHERE state = 1`))
	require.Zero(t, holding(mirror, owner))
	require.Zero(t, holding(mirror, head))
	b.run()
	require.Equal(t, auditlog.OK, b.verifyStore(b.checkpoint()).Verdict)
}
