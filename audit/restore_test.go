package audit_test

import (
	"bytes"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/audit"
	"github.com/crmguard/crmguard/audit/auditlog"
	"github.com/crmguard/crmguard/audit/audittest"
)

func contains(data, part []byte) bool { return bytes.Contains(data, part) }

// A database was restored from before a person was first recorded. With a mirror
// the person's values and the knowledge whose they are come back; without one both
// are lost, and the log says so.
func TestWhatARestoreBringsBackOfAPerson(t *testing.T) {
	for _, mirrored := range []bool{true, false} {
		b := newBench(t)
		if mirrored {
			b.mirroredIn(&audittest.Sink{})
		}
		b.record(update("a", 1))
		b.run()
		file := b.backup()
		b.record(update("p", 1))
		b.record(update("q", 1))
		b.record(update("r", 1))
		require.NoError(t, b.trail.Erase(t.Context(), "main", "q"))
		b.run()
		kept := b.checkpoint()
		b.restore(file)
		recovered, err := b.trail.CatchUpReport(t.Context())
		require.NoError(t, err)
		want := audit.Recovered{Entries: 4, Openings: 5, People: 2} // of p and r; of the event about q what is about nobody
		if !mirrored {
			want = audit.Recovered{Entries: 4, Lost: 5}
		}
		require.Equal(t, want, recovered)
		b.run()
		report := b.verifyStore(kept)
		require.Equal(t, auditlog.OK, report.Verdict, "%+v", report.Faults)
		require.Equal(t, int64(1), report.Openings[audit.OpeningErased], "what was erased since the backup does not come back")
		if !mirrored {
			require.Equal(t, int64(5), report.Openings[audit.OpeningLost])
			require.Empty(t, b.history(audit.About("p")))
			require.NoError(t, b.trail.Erase(t.Context(), "main", "p"))
			require.Zero(t, b.count(`SELECT COUNT(*) FROM crmguard_audit_openings WHERE idx > 1`))
			continue
		}
		require.Equal(t, audit.HealthNotice, b.found("audit.unmapped", "").Level)
		require.Equal(t, int64(2), report.Openings[audit.OpeningUnmapped], "nobody has asked for them yet: %v", report.Openings)
		past := b.history(audit.About("p"))
		require.Len(t, past, 1)
		require.Equal(t, "new1@canary.example", past[0].Changes[0].New)
		old := b.surrogate("p")
		b.record(update("p", 2))
		require.Equal(t, old, b.surrogate("p"), "the same person")
		require.Empty(t, b.history(audit.About("q")))
		require.NoError(t, b.trail.Erase(t.Context(), "main", "r"), "who has no row any more is found and erased, too")
		b.run()
		report = b.verifyStore(kept)
		require.Equal(t, auditlog.OK, report.Verdict, "%+v", report.Faults)
		require.Equal(t, int64(2), report.Openings[audit.OpeningErased])
		require.Zero(t, report.Openings[audit.OpeningUnmapped])
	}
}

// A client delivers an event again after a restore and before CatchUp: it is in
// other bytes than what was published. CatchUp takes what was published, and the
// other bytes are set aside.
func TestARetryBetweenRestoreAndCatchUp(t *testing.T) {
	b := newBench(t)
	b.record(update("a", 1))
	b.run()
	file := b.backup()
	e := update("p", 1)
	e.ID = b.record(e)
	b.run()
	kept := b.checkpoint()
	b.restore(file)
	b.advance(1e9)
	b.record(e)
	recovered, err := b.trail.CatchUpReport(t.Context())
	require.NoError(t, err)
	require.Equal(t, audit.Recovered{Entries: 1, Lost: 2, Aside: 1}, recovered)
	require.NoError(t, b.trail.CatchUp(t.Context()))
	b.run()
	require.Equal(t, 1, b.count(`SELECT COUNT(*) FROM crmguard_audit_aside WHERE why = 'retry of a published event'`))
	report := b.verifyStore(kept)
	require.Equal(t, auditlog.OK, report.Verdict, "%+v", report.Faults)
	n := 0
	for _, leaf := range b.leaves() {
		if leaf.ID == e.ID {
			n++
		}
	}
	require.Equal(t, 1, n, "once in the log")
}

// A backup of any moment catches up.
func TestARestoreToAnyMoment(t *testing.T) {
	b := newBench(t)
	b.mirroredIn(&audittest.Sink{})
	var files []string
	for n := range 20 {
		files = append(files, b.backup())
		switch n % 4 {
		case 0, 1:
			b.fill(1 + 7*n)
		case 2:
			b.run()
		case 3:
			require.NoError(t, b.trail.Erase(t.Context(), "main", []string{"p0", "p1", "p2", "stranger"}[n/4%4]))
		}
	}
	b.run()
	kept, published := b.checkpoint(), b.leaves()
	folder := b.sink.FS()
	for n, file := range files {
		b.sink = &audittest.Sink{}
		b.sink.Set(folder)
		b.config.Sink = b.sink
		mirror := &audittest.Sink{}
		mirror.Set(b.config.Mirror.(*audittest.Sink).FS())
		c := b.config.Mirror
		b.config.Mirror = mirror
		b.restore(file)
		require.NoError(t, b.trail.CatchUp(t.Context()), "moment %d", n)
		b.fill(3)
		b.run()
		report := b.verifyStore(kept)
		require.Equal(t, auditlog.OK, report.Verdict, "moment %d: %+v", n, report.Faults)
		require.Equal(t, published, b.leaves()[:len(published)])
		b.config.Mirror = c
	}
}

// A mirror that is away is an alarm, and stops nothing.
func TestAMirrorThatIsAwayStopsNothing(t *testing.T) {
	b := newBench(t)
	mirror := &audittest.Sink{}
	b.mirroredIn(mirror)
	mirror.Fail = func(string, string) error { return errCue }
	b.fill(3)
	r := b.run()
	require.Equal(t, r.Size, r.Published)
	require.Equal(t, audit.HealthAlarm, b.found("audit.mirror", "").Level)
	require.EqualValues(t, r.Size, b.found("audit.mirror", "").Value)
	mirror.Fail = nil
	b.fill(1)
	b.run()
	require.Equal(t, audit.HealthOK, b.found("audit.mirror", "").Level)
	require.Zero(t, b.found("audit.mirror", "").Value)
}

// A person who is recorded between the restore and CatchUp has two surrogates
// afterwards: one history, and one erasure.
func TestAPersonWhoIsRecordedBeforeTheDatabaseHasCaughtUp(t *testing.T) {
	b := newBench(t)
	b.mirroredIn(&audittest.Sink{})
	b.record(update("a", 1))
	b.run()
	file := b.backup()
	b.record(update("p", 1))
	b.run()
	kept := b.checkpoint()
	b.restore(file)
	b.record(update("p", 2))
	require.NoError(t, b.trail.CatchUp(t.Context()))
	b.run()
	past := b.history(audit.About("p"))
	require.Len(t, past, 2)
	require.Equal(t, auditlog.OK, b.verifyStore(kept).Verdict)
	require.Positive(t, b.left("p"))
	require.NoError(t, b.trail.Erase(t.Context(), "main", "p"))
	b.run()
	require.Zero(t, b.left("p"))
	require.Zero(t, b.count(`SELECT COUNT(*) FROM crmguard_audit_surrogates WHERE head IS NOT NULL AND person IS NULL`))
	report := b.verifyStore(kept)
	require.Equal(t, auditlog.OK, report.Verdict, "%+v", report.Faults)
	require.Equal(t, int64(2), report.Openings[audit.OpeningErased])
}
