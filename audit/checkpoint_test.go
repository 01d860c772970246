package audit_test

import (
	"crypto/sha256"
	"testing"
	"testing/fstest"

	"github.com/stretchr/testify/require"
	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/crmguard/crmguard/audit"
	"github.com/crmguard/crmguard/audit/auditlog"
)

// signed puts a checkpoint of this text, with a good signature of the log, into
// a folder.
func (b *bench) signed(text string) func(t *testing.T, f fstest.MapFS) {
	return func(t *testing.T, f fstest.MapFS) {
		t.Helper()
		signed, err := note.Sign(&note.Note{Text: text}, b.config.Signer)
		require.NoError(t, err)
		f["checkpoint"] = &fstest.MapFile{Data: signed}
	}
}

// No entries have one root. A signature under another one is no log that is
// empty, wherever the checkpoint comes from.
func TestNoEntriesHaveOneRoot(t *testing.T) {
	b := newBench(t)
	origin := "crm.example/audit/0\n0\n"
	for root, want := range map[tlog.Hash]auditlog.Verdict{sha256.Sum256(nil): auditlog.OK, {}: auditlog.Tampered, sha256.Sum256([]byte("x")): auditlog.Tampered} {
		f := fstest.MapFS{}
		b.signed(origin+root.String()+"\n")(t, f)
		r, err := auditlog.VerifyLog(t.Context(), f, b.trust())
		require.NoError(t, err)
		require.Equal(t, want, r.Log, "%+v", r.Faults)
		trust := b.trust()
		trust.Kept = f["checkpoint"].Data
		_, err = auditlog.VerifyLog(t.Context(), b.sink.FS(), trust)
		_, proofErr := auditlog.Verify(b.trust(), []byte("{}"), []byte("c2sp.org/tlog-proof@v1\nindex 0\n\n"+string(f["checkpoint"].Data)))
		require.Error(t, proofErr, "nothing is in it")
		for _, entryErr := range auditlog.Entries(t.Context(), f) {
			require.ErrorIs(t, entryErr, auditlog.ErrMalformed)
		}
		if want == auditlog.OK {
			require.NoError(t, err)
			continue
		}
		require.Contains(t, r.Faults[0].What, "no log can say")
		require.ErrorIs(t, err, auditlog.ErrInvalid)
		require.ErrorContains(t, err, "Kept")
	}
}

// A torn checkpoint is neither an absent one, which a first publication would
// replace, nor a forged one, which stops the sequencer for good: nothing is
// signed, and when the folder is back the passes go on.
func TestATornCheckpointStopsNothingForGood(t *testing.T) {
	b := newBench(t)
	b.fill(3)
	b.run()
	sound := b.checkpoint()
	for _, torn := range [][]byte{{}, sound[:40], sound[:len(sound)-1], make([]byte, len(sound))} {
		b.fill(1)
		require.NoError(t, b.sink.WriteFile(t.Context(), "checkpoint", torn))
		_, err := b.trail.RunOnce(t.Context())
		require.ErrorIs(t, err, auditlog.ErrMalformed)
		require.NotErrorIs(t, err, auditlog.ErrTampered)
		require.ErrorIs(t, b.trail.CatchUp(t.Context()), auditlog.ErrMalformed)
		there, err := b.sink.ReadFile(t.Context(), "checkpoint")
		require.NoError(t, err)
		require.Equal(t, len(torn), len(there), "nothing was written over it")
		findings, err := b.trail.Status(t.Context())
		require.NoError(t, err)
		for _, f := range findings {
			if f.Name == "audit.log" {
				require.Equal(t, audit.HealthAlarm, f.Level)
				require.Contains(t, f.Remedy, "ends too early")
			}
		}
		require.NoError(t, b.sink.WriteFile(t.Context(), "checkpoint", sound))
		b.run()
		sound = b.checkpoint()
	}
	require.Equal(t, auditlog.OK, b.verifyStore(sound).Verdict)

	// Nor is a kept checkpoint that was torn the same as none.
	for _, torn := range [][]byte{{}, sound[:40]} {
		b.config.Kept = func(ctx) ([]byte, error) { return torn, nil }
		b.open()
		_, err := b.trail.RunOnce(t.Context())
		require.ErrorIs(t, err, auditlog.ErrMalformed)
		trust := b.trust()
		trust.Kept = torn
		_, err = auditlog.VerifyLog(t.Context(), b.sink.FS(), trust)
		require.ErrorIs(t, err, auditlog.ErrInvalid)
	}
	require.NoError(t, b.sale(update("p1", 9)), "recording goes on")
}

// A file that is larger than any can be is read no further than that shows, and is
// none that was published.
func TestAHugeFileIsNotRead(t *testing.T) {
	b := newBench(t)
	b.fill(3)
	b.run()
	files := b.sink.FS()
	files["tile/entries/000.p/4"].Data = make([]byte, 256*65537+1)
	r, err := auditlog.VerifyLog(t.Context(), files, b.trust())
	require.NoError(t, err)
	require.Equal(t, auditlog.Tampered, r.Verdict)
}
