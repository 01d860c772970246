package audit_test

import (
	"maps"
	"path"
	"strings"
	"sync"
	"testing"
	"testing/fstest"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/mod/sumdb/note"

	"github.com/crmguard/crmguard/audit"
	"github.com/crmguard/crmguard/audit/auditlog"
)

// anchoredBench is a published log with a kept checkpoint and entries since.
func anchoredBench(t *testing.T, kept, since int) *bench {
	t.Helper()
	b := newBench(t)
	b.fill(kept)
	b.run()
	checkpoint := b.checkpoint()
	b.config.Kept = func(ctx) ([]byte, error) { return checkpoint, nil }
	b.open()
	b.fill(since)
	b.run()
	return b
}

// goesOn records and publishes, and verifies everything.
func (b *bench) goesOn() {
	b.t.Helper()
	b.record(update("p1", 1000))
	b.run()
	kept, err := b.config.Kept(b.t.Context())
	require.NoError(b.t, err)
	r := b.verifyStore(kept)
	require.Equal(b.t, auditlog.OK, r.Verdict, "%+v", r.Faults)
	require.Equal(b.t, auditlog.OK, b.verifyLog(kept).Verdict)
}

// current are the files of a log of 321 entries, without those of 301 that have
// been there before.
func current(files fstest.MapFS) fstest.MapFS {
	maps.DeleteFunc(files, func(name string, _ *fstest.MapFile) bool { return strings.HasSuffix(name, ".p/45") })
	return files
}

func (b *bench) actions(action string) (n int) {
	b.t.Helper()
	for _, leaf := range b.leaves() {
		if leaf.Action == action {
			n++
		}
	}
	return n
}

// Whatever files of the published log are gone or damaged: the database has
// them all, and they come back byte for byte.
func TestRepublish(t *testing.T) {
	signed := map[string]bool{"everything": true, "checkpoint": true, "checkpoint empty": true, "checkpoint torn": true, "checkpoint half signed": true, "checkpoint an older one": true}
	lost := func(name string) func(f fstest.MapFS) { return func(f fstest.MapFS) { delete(f, name) } }
	torn := func(name string, n int) func(f fstest.MapFS) {
		return func(f fstest.MapFS) { f[name].Data = f[name].Data[:n] }
	}
	var older []byte
	damages := map[string]func(f fstest.MapFS){
		"nothing":                 func(fstest.MapFS) {},
		"everything":              func(f fstest.MapFS) { clear(f) },
		"checkpoint":              lost("checkpoint"),
		"checkpoint empty":        torn("checkpoint", 0),
		"checkpoint torn":         torn("checkpoint", 40),
		"checkpoint half signed":  func(f fstest.MapFS) { f["checkpoint"].Data = f["checkpoint"].Data[:len(f["checkpoint"].Data)-9] },
		"checkpoint an older one": func(f fstest.MapFS) { f["checkpoint"].Data = older },
		"tile":                    lost("tile/0/000"),
		"tile torn":               torn("tile/0/000", 40),
		"tile of the edge torn":   torn("tile/0/001.p/65", 5),
		"upper tile":              lost("tile/1/000.p/1"),
		"entries":                 lost("tile/entries/000"),
		"entries torn":            torn("tile/entries/000", 40),
		"entries of the edge":     lost("tile/entries/001.p/65"),
		"zeros": func(f fstest.MapFS) {
			clear(f["tile/0/000"].Data)
			clear(f["tile/entries/000"].Data)
		},
	}
	for name, damage := range damages {
		t.Run(name, func(t *testing.T) {
			b := anchoredBench(t, 300, 20)
			kept, err := b.config.Kept(t.Context())
			require.NoError(t, err)
			older = kept
			sound, files := current(b.sink.FS()), b.sink.FS()
			damage(files)
			b.sink.Set(files)
			r, err := b.trail.Republish(t.Context())
			require.NoError(t, err)
			written := 0
			for name, f := range sound {
				if d, ok := files[name]; name != "checkpoint" && (!ok || string(d.Data) != string(f.Data)) {
					written++
				}
			}
			require.Equal(t, audit.Repair{Kept: 301, Size: 321, Checked: int64(len(sound) - 1), Written: int64(written), Signed: signed[name]}, r)
			require.Equal(t, sound, current(b.sink.FS()))
			again, err := b.trail.Republish(t.Context())
			require.NoError(t, err)
			require.Zero(t, again.Written, "a second call finds nothing to do")
			require.False(t, again.Signed)
			b.goesOn()
			want := 1
			if name == "nothing" {
				want = 0
			}
			require.Equal(t, want, b.actions("audit.republish"), "the log says that it was repaired")
		})
	}
}

// Without a kept checkpoint a repair would be the rewind itself.
func TestNoRepairWithoutAKeptCheckpoint(t *testing.T) {
	b := newBench(t)
	b.fill(3)
	b.run()
	kept := b.checkpoint()
	b.sink.Set(nil)
	b.exec(`DELETE FROM crmguard_audit_tiles`)
	empty := newBench(t)
	empty.config.Signer, empty.config.Verifier = b.config.Signer, b.config.Verifier
	signedEmpty := signedLog(t, empty, false)["checkpoint"].Data
	for _, from := range []func(ctx) ([]byte, error){
		nil,
		func(ctx) ([]byte, error) { return nil, nil },
		func(ctx) ([]byte, error) { return signedEmpty, nil },
	} {
		b.config.Kept = from
		b.open()
		_, err := b.trail.Republish(t.Context())
		require.ErrorIs(t, err, audit.ErrUnanchored)
		_, err = b.trail.RebuildTiles(t.Context())
		require.ErrorIs(t, err, audit.ErrUnanchored)
	}
	b.config.Kept = func(ctx) ([]byte, error) { return nil, errCue }
	b.open()
	_, err := b.trail.Republish(t.Context())
	require.ErrorIs(t, err, errCue)
	b.config.Kept = func(ctx) ([]byte, error) { return kept[:40], nil }
	b.open()
	_, err = b.trail.Republish(t.Context())
	require.ErrorIs(t, err, auditlog.ErrMalformed)
	require.Empty(t, b.sink.FS())
	require.Zero(t, b.count(`SELECT COUNT(*) FROM crmguard_audit_tiles`))
	require.Zero(t, b.count(`SELECT COUNT(*) FROM crmguard_audit_events WHERE idx IS NULL`), "and no event tells of a repair")
	_, err = new(audit.Trail).Republish(t.Context())
	require.ErrorIs(t, err, audit.ErrNotOpen)
	_, err = new(audit.Trail).RebuildTiles(t.Context())
	require.ErrorIs(t, err, audit.ErrNotOpen)
}

// Whoever owns database and folder takes an event out and lets the log begin
// anew, or waits for a repair to do it for them: the kept checkpoint tells.
func TestARepairIsNoRewind(t *testing.T) {
	rewinds := map[string]struct {
		do   func(b *bench)
		want error
	}{
		"the state begins anew": {func(b *bench) {
			b.exec(`UPDATE crmguard_audit_state SET published = 0, size = 0, root = x'e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855', beat = 0, beat_size = 0`)
			b.exec(`DELETE FROM crmguard_audit_tiles`)
			b.takeAway(`idx = 5`)
			b.exec(`UPDATE crmguard_audit_events SET idx = NULL`)
		}, auditlog.ErrTampered},
		"another history of the same log": {func(b *bench) {
			other := newBench(b.t)
			other.config.Signer, other.config.Verifier = b.config.Signer, b.config.Verifier
			other.config.Keys = b.config.Keys
			other.open()
			other.fill(400)
			other.run()
			b.file, b.db = other.file, other.db
			b.open()
		}, auditlog.ErrForked},
		"an entry that was kept is another one": {func(b *bench) {
			b.rewriteEntry(5, "u-1", "u-2")
		}, auditlog.ErrTampered},
		"an entry since then is another one": {func(b *bench) {
			b.rewriteEntry(310, "u-1", "u-2")
		}, auditlog.ErrTampered},
	}
	for name, rewind := range rewinds {
		t.Run(name, func(t *testing.T) {
			b := anchoredBench(t, 300, 20)
			b.sink.Set(nil)
			rewind.do(b)
			rows := b.count(`SELECT COUNT(*) FROM crmguard_audit_events`)
			_, err := b.trail.Republish(t.Context())
			require.ErrorIs(t, err, rewind.want)
			require.NotContains(t, b.sink.FS(), "checkpoint", "nothing is signed")
			_, err = b.trail.RebuildTiles(t.Context())
			require.ErrorIs(t, err, rewind.want)
			if name != "an entry since then is another one" { // the files before it were made anew
				require.Equal(t, rows, b.count(`SELECT COUNT(*) FROM crmguard_audit_events`), "and no event tells of a repair")
			}
		})
	}
	t.Run("a state that was true once", func(t *testing.T) {
		b := newBench(t)
		b.fill(3)
		b.run()
		b.copyState()
		b.fill(20)
		b.run()
		kept := b.checkpoint()
		b.config.Kept = func(ctx) ([]byte, error) { return kept, nil }
		b.putBack()
		b.sink.Set(nil)
		b.open() // in a process that has seen nothing
		_, err := b.trail.Republish(t.Context())
		require.ErrorIs(t, err, auditlog.ErrRolledBack)
		_, err = b.trail.RebuildTiles(t.Context())
		require.ErrorIs(t, err, auditlog.ErrRolledBack)
		require.NotContains(t, b.sink.FS(), "checkpoint", "nothing is signed")
	})
	t.Run("what this process has seen was not kept yet", func(t *testing.T) {
		b := newBench(t)
		b.fill(3)
		b.run()
		kept := b.checkpoint()
		b.config.Kept = func(ctx) ([]byte, error) { return kept, nil }
		b.open()
		b.copyState()
		b.fill(20)
		b.run()
		b.putBack()
		b.sink.Set(nil)
		_, err := b.trail.Republish(t.Context())
		require.ErrorIs(t, err, auditlog.ErrRolledBack)
		_, err = b.trail.RebuildTiles(t.Context())
		require.ErrorIs(t, err, auditlog.ErrRolledBack)
		require.NotContains(t, b.sink.FS(), "checkpoint", "nothing is signed")
	})
	t.Run("a database behind the folder", func(t *testing.T) {
		b := anchoredBench(t, 300, 20)
		old := b.backup()
		b.fill(5)
		b.run()
		b.restore(old)
		_, err := b.trail.Republish(t.Context())
		require.ErrorIs(t, err, audit.ErrBehind)
		_, err = b.trail.RebuildTiles(t.Context())
		require.ErrorIs(t, err, audit.ErrBehind)
	})
}

// The folder of another log is not written over, whatever Config.Sink says.
func TestRepublishWritesOverNoOtherLog(t *testing.T) {
	b, other := anchoredBench(t, 3, 3), newBench(t)
	skey, vkey, err := audit.GenerateKey("other.example/audit", 0)
	require.NoError(t, err)
	signer, err := note.NewSigner(skey)
	require.NoError(t, err)
	other.config.Name, other.config.Signer, other.config.Verifier = "other.example/audit", signer, vkey
	other.exec(`DELETE FROM crmguard_audit_state`)
	other.exec(`DELETE FROM crmguard_audit_log`)
	other.open()
	other.fill(1)
	other.run()
	theirs := other.sink.FS()
	b.sink.Set(theirs)
	_, err = b.trail.Republish(t.Context())
	require.ErrorIs(t, err, auditlog.ErrNotSigned)
	require.Equal(t, theirs, b.sink.FS())

	// One that says it is of this log, and that another key signed, may be of the key
	// of today, of which this process was not told.
	skey, _, err = audit.GenerateKey("crm.example/audit", 0)
	require.NoError(t, err)
	mine := b.config.Signer
	b.config.Signer, err = note.NewSigner(skey)
	require.NoError(t, err)
	forged := signedLog(t, b, true, "x")
	b.config.Signer = mine
	b.sink.Set(forged)
	_, err = b.trail.Republish(t.Context())
	require.ErrorIs(t, err, auditlog.ErrNotSigned)
	require.Equal(t, forged["checkpoint"].Data, b.sink.FS()["checkpoint"].Data)
	require.Equal(t, forged["tile/0/000.p/1"].Data, b.sink.FS()["tile/0/000.p/1"].Data)
	delete(forged, "checkpoint")
	b.sink.Set(forged)
	_, err = b.trail.Republish(t.Context())
	require.NoError(t, err)
	b.goesOn()
}

// Each row of tiles that is gone or damaged comes back from the entries.
func TestRebuildTiles(t *testing.T) {
	rows := map[string]string{"full": `level = 0 AND n = 0`, "edge": `level = 0 AND n = 1`, "upper": `level = 1`, "all": `1`}
	damages := map[string]string{
		"zeroed":  `UPDATE crmguard_audit_tiles SET data = zeroblob(length(data)) WHERE `,
		"gone":    `DELETE FROM crmguard_audit_tiles WHERE `,
		"cut off": `UPDATE crmguard_audit_tiles SET data = substr(data, 1, 33) WHERE `,
	}
	for which, where := range rows {
		for how, damage := range damages {
			if which == "upper" && how == "cut off" {
				continue // it is of one hash: 33 bytes are all of it
			}
			t.Run(path.Join(which, how), func(t *testing.T) {
				b := anchoredBench(t, 300, 20)
				sum := func() int {
					return b.count(`SELECT COUNT(*) FROM crmguard_audit_tiles WHERE length(data) % 32 = 0 AND data <> zeroblob(length(data))`)
				}
				require.Equal(t, 3, sum())
				n := b.exec(damage + where)
				b.sink.Set(nil)
				_, err := b.trail.Republish(t.Context())
				require.ErrorIs(t, err, auditlog.ErrTampered)
				require.Empty(t, b.sink.FS())
				r, err := b.trail.RebuildTiles(t.Context())
				require.NoError(t, err)
				if which == "all" && how == "cut off" {
					n-- // the upper one is of one hash
				}
				require.Equal(t, audit.Repair{Kept: 301, Size: 321, Checked: 3, Written: n}, r)
				require.Equal(t, 3, sum())
				r, err = b.trail.RebuildTiles(t.Context())
				require.NoError(t, err)
				require.Zero(t, r.Written, "a second call finds nothing to do")
				_, err = b.trail.Republish(t.Context())
				require.NoError(t, err)
				b.goesOn()
				require.Equal(t, 1, b.actions("audit.rebuild"))
			})
		}
	}
}

// An entry that was changed or is gone is no matter of tiles.
func TestTilesAreNotRebuiltOverAnotherEntry(t *testing.T) {
	for name, damage := range map[string]string{
		"kept":   `UPDATE crmguard_audit_entries SET leaf = CAST(replace(CAST(leaf AS TEXT), 'u-1', 'u-2') AS BLOB) WHERE idx = 5`,
		"since":  `UPDATE crmguard_audit_entries SET leaf = CAST(replace(CAST(leaf AS TEXT), 'u-1', 'u-2') AS BLOB) WHERE idx = 310`,
		"gone":   `DELETE FROM crmguard_audit_entries WHERE idx = 5`,
		"newest": `DELETE FROM crmguard_audit_entries WHERE idx = 320`,
	} {
		b := anchoredBench(t, 300, 20)
		b.sink.Set(nil)
		b.exec(`DELETE FROM crmguard_audit_tiles`)
		require.Positive(t, b.exec(damage))
		_, err := b.trail.RebuildTiles(t.Context())
		require.ErrorIs(t, err, auditlog.ErrTampered, name)
		require.Zero(t, b.count(`SELECT COUNT(*) FROM crmguard_audit_tiles`), name)
	}
}

// Several processes that repair and sequence at the same time do no harm.
func TestRepairsThatMeet(t *testing.T) {
	b := anchoredBench(t, 300, 20)
	b.sink.Set(nil)
	b.exec(`DELETE FROM crmguard_audit_tiles`)
	both := func(repair func() (audit.Repair, error)) {
		var wg sync.WaitGroup
		errs := make([]error, 3)
		for i := range errs {
			wg.Go(func() { errs[i] = retryBusy(func() error { _, err := repair(); return err }) })
		}
		wg.Wait()
		for _, err := range errs {
			require.NoError(t, err)
		}
	}
	both(func() (audit.Repair, error) { return b.trail.RebuildTiles(t.Context()) })
	both(func() (audit.Repair, error) { return b.trail.Republish(t.Context()) })
	b.goesOn()
}

// A repair that is interrupted at any file is finished by the next.
func TestRepublishIsInterruptedAnywhere(t *testing.T) {
	b := anchoredBench(t, 300, 20)
	sound := current(b.sink.FS())
	for n := 0; ; n++ {
		b.sink.Set(nil)
		calls := 0
		b.sink.Fail = func(op, _ string) error {
			if op == "write" || op == "swap" {
				if calls++; calls > n {
					return errCue
				}
			}
			return nil
		}
		_, err := b.trail.Republish(t.Context())
		b.sink.Fail = nil
		if err == nil {
			break
		}
		require.ErrorIs(t, err, errCue)
		require.NotContains(t, b.sink.FS(), "checkpoint", "it comes last")
		_, err = b.trail.Republish(t.Context())
		require.NoError(t, err)
		require.Equal(t, sound, b.sink.FS())
	}
	b.goesOn()
}

// Retry tags are made of values: they go in time, also where nothing happens
// any more, and however many an import left.
func TestRetryTagsGoOnAnIdleLog(t *testing.T) {
	b := newBench(t)
	b.fill(2500)
	b.run()
	tags := func() int { return b.count(`SELECT COUNT(*) FROM crmguard_audit_events WHERE LENGTH(retry) > 0`) }
	require.Equal(t, 2500, tags())
	b.advance(23 * time.Hour)
	b.run()
	require.Equal(t, 2500, tags(), "a retry can still be compared")
	b.advance(2 * time.Hour)
	require.False(t, b.run().Beat, "the log is idle")
	require.Zero(t, tags())
	b.advance(-48 * time.Hour) // a clock that is put back keeps no tag for ever
	b.fill(1)
	b.run()
	require.Equal(t, 1, tags())
	b.advance(73 * time.Hour)
	b.run()
	require.Zero(t, tags())
}
