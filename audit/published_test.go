package audit_test

import (
	"bytes"
	"fmt"
	"io/fs"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/audit"
	"github.com/crmguard/crmguard/audit/auditlog"
)

// published is a file as the database has it.
func (b *bench) published(name string) []byte {
	b.t.Helper()
	data, err := b.trail.Published(b.t.Context(), name)
	require.NoError(b.t, err, name)
	return data
}

// What the database serves is the folder, byte for byte, also where of the
// folder only the checkpoint is left; partial tiles of earlier checkpoints are
// served as well.
func TestTheDatabaseHasThePublishedLog(t *testing.T) {
	b := newBench(t)
	earlier, size := fstest.MapFS{}, 1 // the first beat is an entry, too
	for _, until := range []int{2, 255, 256, 257, 600} {
		b.fill(until - size)
		require.EqualValues(t, until, b.run().Published)
		size = until
		now := b.sink.FS()
		for name, file := range now {
			require.True(t, bytes.Equal(file.Data, b.published(name)), "%s of %d", name, size)
			if name != "checkpoint" {
				earlier[name] = file
			}
		}
		b.sink.Set(fstest.MapFS{"checkpoint": now["checkpoint"]})
		for name, file := range earlier {
			require.True(t, bytes.Equal(file.Data, b.published(name)), "%s by %d", name, size)
		}
		b.sink.Set(now)
		require.Equal(t, auditlog.OK, b.verifyLog(now["checkpoint"].Data).Verdict)
	}
	require.Len(t, earlier, 14)
}

// Nothing is there but the log as it is published: no other name, nothing behind
// the checkpoint, and nothing at all before the first one.
func TestNothingElseIsPublished(t *testing.T) {
	b := newBench(t)
	absent := func(name string) {
		t.Helper()
		data, err := b.trail.Published(t.Context(), name)
		require.ErrorIs(t, err, fs.ErrNotExist, name)
		require.Nil(t, data)
		require.NotContains(t, err.Error(), "canary")
	}
	b.fill(10)
	b.sink.Fail = func(op, _ string) error {
		if op == "swap" {
			return errCue
		}
		return nil
	}
	_, err := b.trail.RunOnce(t.Context())
	require.ErrorIs(t, err, errCue)
	for _, name := range []string{"checkpoint", "tile/0/000.p/1", "tile/entries/000.p/1"} {
		absent(name) // sequenced, and not published
	}
	b.sink.Fail = nil
	require.EqualValues(t, 11, b.run().Published)
	bundle := b.published("tile/entries/000.p/11")
	b.sink.Fail = func(op, _ string) error {
		if op == "swap" {
			return errCue
		}
		return nil
	}
	b.fill(300)
	_, err = b.trail.RunOnce(t.Context())
	require.ErrorIs(t, err, errCue)
	for _, name := range []string{
		"tile/entries/000.p/12", "tile/entries/000", "tile/0/000.p/12", "tile/0/000", "tile/0/001.p/1", "tile/1/000.p/1", "tile/63/000", "tile/0/x009/x223/x372/x036/x854/x775/807",
		"", ".", "..", "/checkpoint", "../checkpoint", "checkpoint/", "Checkpoint", "state", "canary@canary.example", "tile", "tile/0", "tile/entries", "tile/data/000.p/11", "tile/entries/000.p/011",
		"tile/entries/../entries/000.p/11", ".lock", strings.Repeat("tile/", 1000),
	} {
		absent(name)
	}
	require.True(t, bytes.Equal(bundle, b.published("tile/entries/000.p/11")))
	require.Len(t, b.published("tile/0/000.p/7"), 7*32)
	_, err = new(audit.Trail).Published(t.Context(), "checkpoint")
	require.ErrorIs(t, err, audit.ErrNotOpen)
}

// What the checkpoint does not prove is not served, whoever changed it where.
func TestWhatWasChangedIsNotPublished(t *testing.T) {
	changes := map[string]struct {
		do    func(b *bench)
		names []string
		want  error
	}{
		"an entry": {func(b *bench) {
			b.exec(`UPDATE crmguard_audit_entries SET leaf = CAST(replace(CAST(leaf AS TEXT), 'u-1', 'u-2') AS BLOB) WHERE idx = 5`)
		}, []string{"tile/entries/000"}, auditlog.ErrTampered},
		"two entries in each other's place": {func(b *bench) {
			b.exec(`UPDATE crmguard_audit_entries SET idx = -1 WHERE idx = 5`)
			b.exec(`UPDATE crmguard_audit_entries SET idx = 5 WHERE idx = 6`)
			b.exec(`UPDATE crmguard_audit_entries SET idx = 6 WHERE idx = -1`)
		}, []string{"tile/entries/000"}, auditlog.ErrTampered},
		"an entry that is gone": {func(b *bench) { b.exec(`DELETE FROM crmguard_audit_entries WHERE idx = 299`) }, []string{"tile/entries/001.p/45"}, auditlog.ErrTampered},
		"a tile": {
			func(b *bench) {
				b.exec(`UPDATE crmguard_audit_tiles SET data = zeroblob(8192) WHERE level = 0 AND n = 0`)
			},
			[]string{"tile/0/000", "tile/entries/000"},
			auditlog.ErrTampered,
		},
		"the tiles": {func(b *bench) { b.exec(`DELETE FROM crmguard_audit_tiles`) }, []string{"tile/0/000", "tile/0/001.p/45", "tile/1/000.p/1", "tile/entries/000"}, auditlog.ErrTampered},
		"an older database": {func(b *bench) {
			b.exec(`DELETE FROM crmguard_audit_entries WHERE idx > 10`)
			b.exec(`DELETE FROM crmguard_audit_tiles`)
			b.exec(`UPDATE crmguard_audit_state SET size = 11`)
		}, []string{"tile/0/000", "tile/entries/000", "tile/entries/001.p/45"}, audit.ErrBehind},
		"the checkpoint of somebody else": {func(b *bench) {
			other := newBench(b.t)
			other.fill(300)
			other.run()
			b.sink.Set(other.sink.FS())
		}, []string{"checkpoint", "tile/0/000", "tile/entries/000"}, auditlog.ErrNotSigned},
		"the checkpoint, torn": {func(b *bench) {
			files := b.sink.FS()
			files["checkpoint"].Data = files["checkpoint"].Data[:40]
			b.sink.Set(files)
		}, []string{"checkpoint", "tile/0/000", "tile/entries/000"}, auditlog.ErrMalformed},
		"another history": {func(b *bench) {
			other := newBench(b.t)
			other.config.Signer, other.config.Verifier, other.config.Keys = b.config.Signer, b.config.Verifier, b.config.Keys
			other.open()
			other.fill(300)
			other.run()
			b.sink.Set(other.sink.FS())
		}, []string{"tile/0/000", "tile/entries/000", "tile/1/000.p/1"}, auditlog.ErrTampered},
		"a sink that does not answer": {
			func(b *bench) { b.sink.Fail = func(string, string) error { return errCue } },
			[]string{"checkpoint", "tile/0/000", "tile/entries/000"},
			errCue,
		},
	}
	for name, change := range changes {
		t.Run(name, func(t *testing.T) {
			b := newBench(t)
			b.fill(300)
			require.EqualValues(t, 301, b.run().Published)
			change.do(b)
			for _, file := range change.names {
				data, err := b.trail.Published(t.Context(), file)
				require.ErrorIs(t, err, change.want, file)
				require.True(t, data == nil, file)
				require.NotErrorIs(t, err, fs.ErrNotExist, fmt.Sprint("nobody takes it for a log without this file: ", file))
			}
		})
	}
}
