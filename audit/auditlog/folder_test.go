package auditlog

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
	"testing/fstest"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/crmguard/crmguard/audit/internal/c2sp"
)

// hangs never answers, and does not know the context.
type hangs struct {
	fs.FS
	at    string
	until chan struct{}
}

func (h hangs) Open(name string) (fs.File, error) {
	if name == h.at {
		<-h.until
	}
	return h.FS.Open(name)
}

// A file system that hangs holds nobody beyond their context.
func TestAContextEndsTheReadingOfAFileThatHangs(t *testing.T) {
	m := newMadeLog(t)
	files, _ := m.files(t, madeLeaves(t, 3*c2sp.TileWidth), 0)
	for _, at := range []string{CheckpointFile, "tile/entries/001", "tile/0/002", "tile/1/000.p/3"} {
		for name, verify := range map[string]func(context.Context, fs.FS, Trust) (Report, error){"log": VerifyLog, "hashes": VerifyHashes} {
			until := make(chan struct{})
			ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
			r, err := verify(ctx, hangs{files, at, until}, Trust{Key: m.key})
			require.ErrorIs(t, err, context.DeadlineExceeded, "%s %s", name, at)
			require.Equal(t, Incomplete, r.Verdict, "%s %s", name, at)
			cancel()
			close(until)
		}
	}
	until := make(chan struct{})
	defer close(until)
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	var last error
	for _, err := range Entries(ctx, hangs{files, "tile/entries/000", until}) {
		last = err
	}
	require.ErrorIs(t, last, context.DeadlineExceeded)
}

// One who signs a log of all the entries that there can be, and makes its files of
// one and of links to it, keeps no verifier: links are no files of a log. Nor do
// they lead anybody out of the folder.
func TestLinksAreNoFilesOfALog(t *testing.T) {
	m := newMadeLog(t)
	sound, _ := m.files(t, madeLeaves(t, c2sp.TileWidth), 0)
	link := func(to, name string) {
		if err := os.Symlink(to, name); err != nil {
			t.Skip("no links here:", err)
		}
	}
	dir := t.TempDir()
	writeFiles(t, dir, sound)
	require.NoError(t, os.Remove(filepath.Join(dir, CheckpointFile)))
	for _, level := range []string{"entries", "0", "1", "2", "3", "4", "5", "6", "7"} {
		at := filepath.Join(dir, "tile", level)
		require.NoError(t, os.MkdirAll(at, 0o700))
		for i := range 1000 {
			link(".", filepath.Join(at, "x"+fmt.Sprintf("%03d", i)))
			if i > 0 {
				link("000", filepath.Join(at, fmt.Sprintf("%03d", i)))
			}
		}
	}
	require.NoError(t, os.WriteFile(filepath.Join(dir, CheckpointFile), m.sign(t, tlog.Tree{N: c2sp.MaxSize}), 0o600))
	r, err := VerifyLog(t.Context(), os.DirFS(dir), Trust{Key: m.key})
	require.NoError(t, err)
	require.Equal(t, Incomplete, r.Verdict)
	require.EqualValues(t, c2sp.TileWidth, r.Verified, "the one bundle that is a file")
	require.LessOrEqual(t, len(r.Faults), 4)

	// Outside, or a folder that is a link.
	for name, spoil := range map[string]func(dir, other string){
		"file": func(dir, other string) {
			link(filepath.Join(other, CheckpointFile), filepath.Join(dir, CheckpointFile))
		},
		"folder": func(dir, other string) { link(filepath.Join(other, "tile"), filepath.Join(dir, "tile")) },
	} {
		other, dir := t.TempDir(), t.TempDir()
		writeFiles(t, other, sound)
		writeFiles(t, dir, sound)
		if name == "file" {
			require.NoError(t, os.Remove(filepath.Join(dir, CheckpointFile)))
		} else {
			require.NoError(t, os.RemoveAll(filepath.Join(dir, "tile")))
		}
		spoil(dir, other)
		r, err := VerifyLog(t.Context(), os.DirFS(dir), Trust{Key: m.key})
		require.NoError(t, err)
		require.Equal(t, Incomplete, r.Verdict, name)
		require.Zero(t, r.Verified, name)

		// The folder itself may stand behind one: its reader named it.
		behind := filepath.Join(t.TempDir(), "log")
		link(other, behind)
		r, err = VerifyLog(t.Context(), os.DirFS(behind), Trust{Key: m.key})
		require.NoError(t, err)
		require.Equal(t, Unanchored, r.Verdict)
	}
}

// A file of holes is as long as somebody likes. What is read of it is one byte more
// than any such file can have, and it is not what was signed.
func TestNoFileTakesMoreMemoryThanItCanHave(t *testing.T) {
	m := newMadeLog(t)
	sound, _ := m.files(t, madeLeaves(t, c2sp.TileWidth), 0)
	for name, want := range map[string]Verdict{CheckpointFile: Incomplete, "tile/0/000": Tampered, "tile/entries/000": Tampered} {
		dir := t.TempDir()
		writeFiles(t, dir, sound)
		require.NoError(t, os.Truncate(filepath.Join(dir, filepath.FromSlash(name)), 1<<33))
		f := &folder{fsys: os.DirFS(dir)}
		data, err := f.read(t.Context(), name)
		require.NoError(t, err)
		require.Len(t, data, c2sp.MaxFile(name)+1)
		require.LessOrEqual(t, cap(data), 2*c2sp.MaxFile(name))
		r, err := VerifyLog(t.Context(), os.DirFS(dir), Trust{Key: m.key})
		require.NoError(t, err)
		require.Equal(t, want, r.Verdict, name)
	}
}

// unending says that it is short, and is not.
type unending struct{ fs.File }

func (unending) Read(p []byte) (int, error) { return len(p), nil }

type unendingFS struct{ fstest.MapFS }

func (e unendingFS) Open(name string) (fs.File, error) {
	f, err := e.MapFS.Open(name)
	return unending{f}, err
}

func TestAFileThatNeverEndsIsReadNoFurther(t *testing.T) {
	f := &folder{fsys: unendingFS{fstest.MapFS{CheckpointFile: {Data: []byte("x")}}}}
	data, err := f.read(t.Context(), CheckpointFile)
	require.NoError(t, err)
	require.Len(t, data, c2sp.MaxCheckpoint+1)
	_, err = readUpTo(io.MultiReader(bytes.NewReader(make([]byte, 10)), failing{}), nil, 100)
	require.ErrorIs(t, err, errFailing)
}

var errFailing = errors.New("failing")

type failing struct{}

func (failing) Read([]byte) (int, error) { return 0, errFailing }
