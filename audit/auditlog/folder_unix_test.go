//go:build unix

package auditlog

import (
	"context"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// A pipe in the place of a file keeps nobody waiting, whichever file system hands
// the folder in.
func TestAPipeKeepsNobodyWaiting(t *testing.T) {
	m := newMadeLog(t)
	sound, _ := m.files(t, madeLeaves(t, 3), 0)
	above := t.TempDir()
	for _, name := range []string{CheckpointFile, "tile/entries/000.p/3", "tile/0/000.p/3"} {
		dir := filepath.Join(above, filepath.Base(filepath.Dir(name)))
		writeFiles(t, dir, sound)
		require.NoError(t, os.Remove(filepath.Join(dir, filepath.FromSlash(name))))
		require.NoError(t, syscall.Mkfifo(filepath.Join(dir, filepath.FromSlash(name)), 0o600))
		sub, err := fs.Sub(os.DirFS(above), filepath.Base(dir))
		require.NoError(t, err)
		for _, fsys := range []fs.FS{os.DirFS(dir), sub} {
			r, err := VerifyLog(context.Background(), fsys, Trust{Key: m.key}) // without an end of its own
			require.NoError(t, err)
			require.Equal(t, Incomplete, r.Verdict, name)
		}
		require.NoError(t, os.RemoveAll(dir))
	}
}

// opensOnly is a file system that tells nothing about a file before it is open.
type opensOnly struct{ fs.FS }

// Where nobody can tell before the opening, and where a pipe takes the place of a
// file between the look and the opening, the context ends the wait.
func TestAContextEndsTheWaitForAPipe(t *testing.T) {
	dir := t.TempDir()
	at := filepath.Join(dir, CheckpointFile)
	require.NoError(t, syscall.Mkfifo(at, 0o600))
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	r, err := VerifyLog(ctx, opensOnly{os.DirFS(dir)}, Trust{Key: newMadeLog(t).key})
	require.ErrorIs(t, err, context.DeadlineExceeded)
	require.Equal(t, Incomplete, r.Verdict)
	// Whoever still waits is let go.
	w, err := os.OpenFile(at, os.O_WRONLY|syscall.O_NONBLOCK, 0)
	require.NoError(t, err, "nobody had opened the pipe")
	require.NoError(t, w.Close())
}
