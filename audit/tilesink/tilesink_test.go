package tilesink_test

import (
	"context"
	"crypto/rand"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/audit"
	"github.com/crmguard/crmguard/audit/audittest"
	"github.com/crmguard/crmguard/audit/tilesink"
	"github.com/crmguard/crmguard/internal/durable"
	"github.com/crmguard/crmguard/internal/durable/durabletest"
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
	for failing := range 4 { // the root, tile, tile/0 for the file; and none
		sink, err := tilesink.Open(filepath.Join(t.TempDir(), "log"))
		require.NoError(t, err)
		flushed, fails := map[string]bool{}, true
		n := 0
		sink.Over(durabletest.Ask(func(step, folder string) error {
			if step != "sync folder" {
				return nil
			}
			if n++; fails && n > failing {
				return syscall.EIO
			}
			flushed[folder] = true
			return nil
		}))
		if failing < 3 {
			require.ErrorIs(t, sink.WriteFile(t.Context(), "tile/0/000", []byte("x")), syscall.EIO)
			require.ErrorIs(t, sink.WriteFile(t.Context(), "tile/0/000", []byte("x")), syscall.EIO)
		}
		fails = false
		require.NoError(t, sink.WriteFile(t.Context(), "tile/0/000", []byte("x")))
		require.Equal(t, map[string]bool{".": true, "tile": true, "tile/0": true}, flushed, "every folder above the file")
	}
}

// A folder that others removed and made anew since the last write may not have
// its name on disk.
func TestAFolderThatWasMadeAnewIsFlushedAgain(t *testing.T) {
	dir := t.TempDir()
	sink, err := tilesink.Open(dir)
	require.NoError(t, err)
	flushed := map[string]int{}
	sink.Over(durabletest.Ask(func(step, folder string) error {
		if step == "sync folder" {
			flushed[folder]++
		}
		return nil
	}))
	for n, anew := range []bool{false, false, true} {
		if anew {
			require.NoError(t, os.RemoveAll(filepath.Join(dir, "tile", "0")))
			require.NoError(t, os.Mkdir(filepath.Join(dir, "tile", "0"), 0o755))
		}
		require.NoError(t, sink.WriteFile(t.Context(), "tile/0/00"+strconv.Itoa(n), []byte("x")))
	}
	require.Equal(t, map[string]int{".": 1, "tile": 2, "tile/0": 3}, flushed)
}

// Whatever moment the power fails at, every published file is whole, the new
// one or the one before it, and what was acknowledged is the new one.
func TestPowerFailureAtEveryMoment(t *testing.T) {
	names := []string{"tile/0/000", "tile/entries/000", "checkpoint", "tile/0/001", "checkpoint"}
	for seed := range uint64(8) {
		for failAt := 1; ; failAt++ {
			m := durabletest.NewMemory(seed)
			sink, err := tilesink.Open(t.TempDir())
			require.NoError(t, err)
			sink.Over(func(durable.Disk) durable.Disk { return m })
			m.FailAt(failAt)
			kept, tried := map[string]string{}, map[string]string{}
			for i, name := range names {
				content := strings.Repeat(name, i+1)
				tried[name] = content
				if sink.WriteFile(t.Context(), name, []byte(content)) != nil {
					break
				}
				kept[name] = content
			}
			failed := m.Failed()
			m.Crash()
			for name := range tried {
				data, err := sink.ReadFile(t.Context(), name)
				if err != nil {
					require.ErrorIs(t, err, fs.ErrNotExist)
					require.Empty(t, kept[name], "%s: an acknowledged file is gone", name)
					continue
				}
				require.Contains(t, []string{kept[name], tried[name]}, string(data), name)
			}
			if !failed {
				break
			}
		}
	}
}

// Nothing is flushed more often than it must be: the file, and its folder.
func TestTwoFlushesAFile(t *testing.T) {
	sink, err := tilesink.Open(t.TempDir())
	require.NoError(t, err)
	m := durabletest.NewMemory(1)
	sink.Over(func(durable.Disk) durable.Disk { return m })
	require.NoError(t, sink.WriteFile(t.Context(), "tile/0/000", []byte("x")))
	m.Log = nil
	require.NoError(t, sink.WriteFile(t.Context(), "tile/0/000", []byte("y")))
	require.NoError(t, sink.WriteFile(t.Context(), "tile/0/001", []byte("y")))
	flushes := slices.DeleteFunc(m.Log, func(step string) bool { return !strings.HasPrefix(step, "sync") })
	require.Len(t, flushes, 4)
}

// What a killed process left goes with the next write of the folder; what a
// living one holds, and whatever else lies there, stays.
func TestTheNextWriteRemovesWhatAKilledOneLeft(t *testing.T) {
	dir := t.TempDir()
	require.NoError(t, os.MkdirAll(filepath.Join(dir, "tile", "0"), 0o755))
	left := filepath.Join(dir, "tile", "0", ".tmp-"+rand.Text())
	stays := filepath.Join(dir, "tile", "0", ".tmp-123")
	for _, name := range []string{left, stays} {
		require.NoError(t, os.WriteFile(name, []byte("half"), 0o600))
	}
	folder, err := durable.Open(dir, ".tmp-")
	require.NoError(t, err)
	defer folder.Close()
	living, err := folder.Begin("tile/0", 0o644)
	require.NoError(t, err)
	sink, err := tilesink.Open(dir)
	require.NoError(t, err)
	require.NoError(t, sink.WriteFile(t.Context(), "tile/0/000", []byte("x")))
	require.NoFileExists(t, left)
	require.FileExists(t, stays)
	require.NoError(t, living.Replace("tile/0/001"))
	require.NoError(t, living.Discard())
}

// A planted link leads nowhere.
func TestLinksLeadNowhereElse(t *testing.T) {
	dir, outside := t.TempDir(), t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(outside, "victim"), []byte("of others"), 0o600))
	require.NoError(t, os.Symlink(outside, filepath.Join(dir, "tile")))
	sink, err := tilesink.Open(dir)
	require.NoError(t, err)
	require.Error(t, sink.WriteFile(t.Context(), "tile/victim", []byte("x")))
	require.Error(t, sink.WriteFile(t.Context(), "tile/0/000", []byte("x")))
	require.Error(t, sink.RemoveAll(t.Context(), "tile/victim"))
	_, err = sink.ReadFile(t.Context(), "tile/victim")
	require.Error(t, err)
	data, err := os.ReadFile(filepath.Join(outside, "victim"))
	require.NoError(t, err)
	require.Equal(t, "of others", string(data))
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

// Whoever may write the folder and makes a file of holes takes nobody's memory: of
// a file that is longer than any can be, one byte more is read, and it is replaced as
// any other that is damaged.
func TestAFileOfHolesTakesNoMemory(t *testing.T) {
	dir := t.TempDir()
	sink, err := tilesink.Open(dir)
	require.NoError(t, err)
	for name, most := range map[string]int{"checkpoint": 1_000_000, "tile/0/000": 8192, "tile/3/000.p/7": 8192, "tile/entries/000": 256 * 65537} {
		require.NoError(t, sink.WriteFile(t.Context(), name, []byte("sound")))
		require.NoError(t, os.Truncate(filepath.Join(dir, filepath.FromSlash(name)), 1<<33))
		data, err := sink.ReadFile(t.Context(), name)
		require.NoError(t, err)
		require.Len(t, data, most+1, name)
		require.ErrorIs(t, sink.SwapFile(t.Context(), name, []byte("sound"), []byte("new")), audit.ErrChanged)
		require.NoError(t, sink.SwapFile(t.Context(), name, data, []byte("new")))
		data, err = sink.ReadFile(t.Context(), name)
		require.NoError(t, err)
		require.Equal(t, "new", string(data))
	}
}
