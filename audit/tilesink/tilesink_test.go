package tilesink_test

import (
	"context"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/audit"
	"github.com/crmguard/crmguard/audit/audittest"
	"github.com/crmguard/crmguard/audit/tilesink"
)

func TestDirIsASink(t *testing.T) {
	audittest.Run(t, func(t *testing.T) audit.Sink {
		t.Helper()
		sink, err := tilesink.Open(filepath.Join(t.TempDir(), "deep", "log"))
		require.NoError(t, err)
		return sink
	})
}

func TestAFailedWriteLeavesTheOldFile(t *testing.T) {
	dir := t.TempDir()
	sink, err := tilesink.Open(dir)
	require.NoError(t, err)
	require.NoError(t, sink.WriteFile(t.Context(), "checkpoint", []byte("old")))
	require.NoError(t, os.Mkdir(filepath.Join(dir, "tile"), 0o755))
	require.Error(t, sink.WriteFile(t.Context(), "tile", []byte("x")), "a folder is in the way")
	require.Error(t, sink.WriteFile(t.Context(), "checkpoint/x", []byte("x")), "a file is in the way")
	data, err := fs.ReadFile(sink.FS(), "checkpoint")
	require.NoError(t, err)
	require.Equal(t, "old", string(data))
	require.NoError(t, filepath.WalkDir(dir, func(name string, _ fs.DirEntry, err error) error {
		require.NotContains(t, filepath.Base(name), ".tmp-", "nothing is left behind")
		return err
	}))
	info, err := os.Stat(filepath.Join(dir, "checkpoint"))
	require.NoError(t, err)
	require.Equal(t, fs.FileMode(0o644), info.Mode().Perm())
}

// A folder whose name may not have reached the disk is no success, now or when
// the write is repeated.
func TestAFlushThatFailsIsNoSuccess(t *testing.T) {
	for failing := range 4 { // the root, tile, tile/0, and tile/0 once more for the file
		sink, err := tilesink.Open(filepath.Join(t.TempDir(), "log"))
		require.NoError(t, err)
		flushed, fails := map[string]bool{}, true
		n := 0
		sink.FailSync(func(folder string) error {
			if n++; fails && n > failing {
				return syscall.EIO
			}
			flushed[filepath.Base(folder)] = true
			return nil
		})
		if failing < 3 {
			require.ErrorIs(t, sink.WriteFile(t.Context(), "tile/0/000", []byte("x")), syscall.EIO)
			require.ErrorIs(t, sink.WriteFile(t.Context(), "tile/0/000", []byte("x")), syscall.EIO)
		}
		fails = false
		require.NoError(t, sink.WriteFile(t.Context(), "tile/0/000", []byte("x")))
		require.Equal(t, map[string]bool{"log": true, "tile": true, "0": true}, flushed, "every folder above the file")
	}
}

func TestRefusals(t *testing.T) {
	_, err := tilesink.Open("")
	require.Error(t, err)
	dir := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(dir, "file"), nil, 0o600))
	_, err = tilesink.Open(filepath.Join(dir, "file"))
	require.Error(t, err)
	_, err = tilesink.Open(filepath.Join(dir, "file", "below"))
	require.Error(t, err)
	sink, err := tilesink.Open(dir)
	require.NoError(t, err)
	require.Error(t, sink.RemoveAll(t.Context(), "."), "never the log itself")
	require.Error(t, sink.RemoveAll(t.Context(), "../x"))
	_, err = sink.ReadFile(t.Context(), strings.Repeat("../", 9)+"etc/passwd")
	require.Error(t, err)
	stopped, cancel := context.WithCancel(t.Context())
	cancel()
	require.ErrorIs(t, sink.WriteFile(stopped, "checkpoint", nil), context.Canceled)
}
