package audit_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/audit"
	"github.com/crmguard/crmguard/audit/auditlog"
	"github.com/crmguard/crmguard/audit/audittest"
)

// backup copies the database as a backup does.
func (b *bench) backup() string {
	b.t.Helper()
	file := filepath.Join(b.t.TempDir(), "backup.db")
	_, err := b.db.ExecContext(b.t.Context(), `VACUUM INTO ?`, file)
	require.NoError(b.t, err)
	return file
}

// restore replaces the database by a copy of a backup.
func (b *bench) restore(file string) {
	b.t.Helper()
	require.NoError(b.t, b.db.Close())
	data, err := os.ReadFile(file)
	require.NoError(b.t, err)
	b.file = filepath.Join(b.t.TempDir(), "restored.db")
	require.NoError(b.t, os.WriteFile(b.file, data, 0o600))
	b.db = openDB(b.t, b.file)
	b.open()
}

func TestCatchUp(t *testing.T) {
	b := newBench(t)
	early := b.fill(30)
	b.run()
	queued := b.fill(3) // in the queue when the backup is taken
	file := b.backup()
	b.run()
	later := b.fill(1200)
	require.NoError(t, b.trail.Erase(t.Context(), "main", "p1"))
	b.run()
	kept := b.checkpoint()
	published := b.leaves()

	b.restore(file)
	b.config.Kept = func(ctx) ([]byte, error) { return kept, nil }
	b.open()
	b.record(update("p9", 9))
	folder := b.sink.FS()
	_, err := b.trail.RunOnce(t.Context())
	var behind *audit.BehindError
	require.ErrorAs(t, err, &behind)
	require.Equal(t, audit.BehindError{Database: 31, Published: int64(len(published))}, *behind)
	require.ErrorIs(t, b.trail.Beat(t.Context()), audit.ErrBehind)
	require.ErrorIs(t, b.trail.Run(t.Context()), audit.ErrBehind)
	require.Equal(t, folder, b.sink.FS(), "nothing is signed while behind")
	require.Equal(t, auditlog.RolledBack, b.verifyStore(kept).Verdict)

	recovered, err := b.trail.CatchUpReport(t.Context())
	require.NoError(t, err)
	// p1 was erased since the backup: of it nothing counts, neither what waited nor what is gone
	require.Equal(t, audit.Recovered{Entries: int64(len(published)) - 31, Openings: 5, Lost: 800 + 1200}, recovered)
	recovered, err = b.trail.CatchUpReport(t.Context())
	require.NoError(t, err)
	require.Zero(t, recovered, "a second call finds nothing to do")
	r := b.run()
	require.Equal(t, 2, r.Sequenced, "what was recorded since, and the recovery")
	report := b.verifyLog(kept)
	require.Equal(t, auditlog.OK, report.Verdict, "%+v", report.Faults)
	leaves := b.leaves()
	require.Equal(t, published, leaves[:len(published)], "same origin, same history")
	var recovery *auditlog.Leaf
	for _, leaf := range leaves[len(published):] {
		if leaf.Kind == auditlog.KindRecover {
			recovery = &leaf
		}
	}
	require.NotNil(t, recovery)
	require.Equal(t, audit.Object{Kind: "entries", ID: "31/1235"}, recovery.Object)

	// p1 was erased after the backup: the log itself says so, and it is done again.
	store := b.verifyStore(kept)
	require.Equal(t, auditlog.OK, store.Verdict, "%+v", store.Faults)
	// early and queued ones of p1; 400 later ones of p1 are erased too, for the erasure names them as well
	require.Equal(t, int64(11+400), store.Openings[audit.OpeningErased])
	require.Equal(t, int64(800+1200), store.Openings[audit.OpeningLost])
	require.Equal(t, int64(20+30+2+3+2), store.Openings[audit.OpeningOK], "what the backup had, the queue included, and what came since")

	past := b.history(audit.About("p0"))
	require.Equal(t, audit.OpeningLost, past[0].Changes[0].Verdict)
	require.Equal(t, audit.OpeningOK, past[len(past)-1].Changes[0].Verdict)
	for _, id := range []string{early[0], queued[0], later[0]} {
		proof, err := b.trail.Proof(t.Context(), id)
		require.NoError(t, err)
		raw, err := b.trail.Leaf(t.Context(), id)
		require.NoError(t, err)
		_, err = auditlog.Verify(b.trust(), raw, proof)
		require.NoError(t, err)
	}
	// a lost opening is not a licence: deleting one that the backup had is found
	b.exec(`DELETE FROM crmguard_audit_openings WHERE idx = (SELECT idx FROM crmguard_audit_events WHERE id = ?)`, key(early[0]))
	require.Equal(t, auditlog.Tampered, b.verifyStore(kept).Verdict)
}

func TestCatchUpRefuses(t *testing.T) {
	t.Run("a fork", func(t *testing.T) {
		b, other := newBench(t), newBench(t)
		b.fill(10)
		b.run()
		other.config.Signer, other.config.Verifier = b.config.Signer, b.config.Verifier
		other.open()
		other.fill(20)
		other.run()
		b.sink.Set(other.sink.FS())
		before := b.count(`SELECT COUNT(*) FROM crmguard_audit_events`)
		require.ErrorIs(t, b.trail.CatchUp(t.Context()), auditlog.ErrForked)
		require.Equal(t, before, b.count(`SELECT COUNT(*) FROM crmguard_audit_events`))
		b.fill(15)
		_, err := b.trail.RunOnce(t.Context())
		require.ErrorIs(t, err, audit.ErrBehind)
	})
	t.Run("a fork that is not longer", func(t *testing.T) {
		b, other := newBench(t), newBench(t)
		b.fill(20)
		b.run()
		other.config.Signer, other.config.Verifier = b.config.Signer, b.config.Verifier
		other.open()
		other.fill(10)
		other.run()
		b.sink.Set(other.sink.FS())
		require.ErrorIs(t, b.trail.CatchUp(t.Context()), auditlog.ErrForked)
		_, err := b.trail.RunOnce(t.Context())
		require.ErrorIs(t, err, auditlog.ErrForked)
	})
	t.Run("a lost log", func(t *testing.T) {
		b := newBench(t)
		b.fill(10)
		b.run()
		b.sink.Set(nil)
		require.ErrorIs(t, b.trail.CatchUp(t.Context()), audit.ErrLogLost)
		_, err := b.trail.RunOnce(t.Context())
		require.ErrorIs(t, err, audit.ErrLogLost)
		require.ErrorContains(t, err, "bring the folder back")
		_, err = b.trail.Checkpoint(t.Context())
		require.ErrorIs(t, err, audit.ErrNotPublished)
	})
	t.Run("a tampered entry", func(t *testing.T) {
		b := newBench(t)
		b.fill(10)
		b.run()
		file := b.backup()
		b.fill(10)
		b.run()
		b.restore(file)
		files := b.sink.FS()
		data := files["tile/entries/000.p/21"].Data
		data[len(data)-5] ^= 1
		b.sink.Set(files)
		for range 2 {
			require.ErrorIs(t, b.trail.CatchUp(t.Context()), auditlog.ErrTampered)
		}
		require.Equal(t, 11, b.count(`SELECT COUNT(*) FROM crmguard_audit_events`))
	})
	t.Run("a kept checkpoint of another log", func(t *testing.T) {
		b, other := newBench(t), newBench(t)
		other.fill(1)
		other.run()
		b.config.Kept = func(ctx) ([]byte, error) { return other.checkpoint(), nil }
		b.open()
		require.ErrorIs(t, b.trail.CatchUp(t.Context()), auditlog.ErrTampered)
		b.config.Kept = func(ctx) ([]byte, error) { return nil, errCue }
		b.open()
		require.ErrorIs(t, b.trail.CatchUp(t.Context()), errCue)
	})
	t.Run("nothing, where nothing is missing", func(t *testing.T) {
		b := newBench(t)
		require.NoError(t, b.trail.CatchUp(t.Context()))
		b.fill(3)
		b.run()
		b.fill(3)
		b.config.Kept = func(ctx) ([]byte, error) { return nil, nil }
		b.open()
		require.NoError(t, b.trail.CatchUp(t.Context()))
		require.Equal(t, 3, b.count(`SELECT COUNT(*) FROM crmguard_audit_events WHERE idx IS NULL`), "and no event tells of a recovery")
	})
}

// Database and published log restored to the same earlier moment agree with
// each other. Whoever signs on forks the log that others have seen: the kept
// checkpoint is asked before each signature.
func TestNothingIsSignedBehindTheKeptCheckpoint(t *testing.T) {
	b := newBench(t)
	b.fill(10)
	b.run()
	file, folder := b.backup(), b.sink.FS()
	b.fill(5)
	b.run()
	kept := b.checkpoint()
	asked := 0
	b.config.Kept = func(ctx) ([]byte, error) { asked++; return kept, nil }

	b.sink = &audittest.Sink{}
	b.sink.Set(folder)
	b.config.Sink = b.sink
	b.restore(file)
	b.fill(7)
	_, err := b.trail.RunOnce(t.Context())
	require.ErrorIs(t, err, auditlog.ErrRolledBack)
	require.ErrorIs(t, b.trail.Beat(t.Context()), auditlog.ErrRolledBack)
	require.Equal(t, folder, b.sink.FS(), "no second history stands under the same origin")
	require.Equal(t, auditlog.RolledBack, b.verifyLog(kept).Verdict)

	// A process whose log is the kept one signs, and asks each time, and once when
	// it begins.
	sound := newBench(t)
	sound.fill(3)
	sound.run()
	kept, asked = sound.checkpoint(), 0
	sound.config.Kept = b.config.Kept
	sound.open()
	sound.fill(3)
	sound.run()
	require.NoError(t, sound.trail.Beat(t.Context()))
	sound.run()
	require.Equal(t, 3, asked)
	require.Equal(t, auditlog.OK, sound.verifyLog(kept).Verdict)
}

// An empty database, everything lost but the published log.
func TestCatchUpFromNothing(t *testing.T) {
	b := newBench(t)
	b.fill(300)
	b.run()
	fresh := newBench(t)
	fresh.config = b.config
	fresh.sink = b.sink
	fresh.open()
	require.NoError(t, fresh.trail.CatchUp(t.Context()))
	fresh.run()
	r := fresh.verifyStore(b.checkpoint())
	require.Equal(t, auditlog.OK, r.Verdict, "%+v", r.Faults)
	require.Equal(t, int64(600), r.Openings[audit.OpeningLost])
}
