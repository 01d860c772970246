package tilesink_test

import (
	"context"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/audit"
	"github.com/crmguard/crmguard/audit/tilesink"
	"github.com/crmguard/crmguard/internal/durable"
	"github.com/crmguard/crmguard/internal/durable/durabletest"
	"github.com/crmguard/crmguard/internal/filelock"
)

// Whoever finds the lock held does not write, and says that it is the lock.
func TestASwapWaitsForTheLock(t *testing.T) {
	dir := t.TempDir()
	sink, err := tilesink.Open(dir)
	require.NoError(t, err)
	require.NoError(t, sink.SwapFile(t.Context(), "checkpoint", nil, []byte("1")))
	lock, _, err := filelock.Take(filepath.Join(dir, ".lock"))
	require.NoError(t, err)
	stopped, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- sink.SwapFile(stopped, "checkpoint", []byte("1"), []byte("2")) }()
	require.NoError(t, sink.WriteFile(t.Context(), "tile/0/000", []byte("x")), "tiles need no lock")
	cancel()
	err = <-done
	require.ErrorIs(t, err, context.Canceled)
	data, err := sink.ReadFile(t.Context(), "checkpoint")
	require.NoError(t, err)
	require.Equal(t, "1", string(data))

	go func() { done <- sink.SwapFile(t.Context(), "checkpoint", []byte("1"), []byte("2")) }()
	lock.Release()
	require.NoError(t, <-done)
}

// A process that stands still with the lock in hand is told of in the end, and
// nothing was written.
func TestALockThatIsNeverLetGo(t *testing.T) {
	dir := t.TempDir()
	sink, err := tilesink.Open(dir)
	require.NoError(t, err)
	sink.Patience(0)
	require.NoError(t, sink.SwapFile(t.Context(), "checkpoint", nil, []byte("1")))
	lock, _, err := filelock.Take(filepath.Join(dir, ".lock"))
	require.NoError(t, err)
	defer lock.Release()
	require.ErrorIs(t, sink.SwapFile(t.Context(), "checkpoint", []byte("1"), []byte("2")), tilesink.ErrBusy)
	data, err := sink.ReadFile(t.Context(), "checkpoint")
	require.NoError(t, err)
	require.Equal(t, "1", string(data))
}

// The comparison and the write are under one lock, every step of them.
func TestEveryStepOfASwapIsUnderTheLock(t *testing.T) {
	dir := t.TempDir()
	sink, err := tilesink.Open(dir)
	require.NoError(t, err)
	steps := map[string]bool{}
	sink.Over(durabletest.Ask(func(step, _ string) error {
		steps[step] = true
		_, busy, err := filelock.Take(filepath.Join(dir, ".lock"))
		require.Error(t, err)
		require.True(t, busy, "%s without the lock", step)
		return nil
	}))
	require.NoError(t, sink.SwapFile(t.Context(), "checkpoint", nil, []byte("1")))
	require.NoError(t, sink.SwapFile(t.Context(), "checkpoint", []byte("1"), []byte("2")))
	require.NotEmpty(t, steps)
	lock, _, err := filelock.Take(filepath.Join(dir, ".lock"))
	require.NoError(t, err, "and none is held afterwards")
	lock.Release()
}

// Where the folder is removed and made anew the lock of the old one is no lock
// of the new one, and keeps nobody waiting.
func TestTheLockIsThatOfTheFolder(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("SKIPPED: what is open cannot be removed")
	}
	dir := filepath.Join(t.TempDir(), "log")
	sink, err := tilesink.Open(dir)
	require.NoError(t, err)
	require.NoError(t, sink.SwapFile(t.Context(), "checkpoint", nil, []byte("1")))
	lock, _, err := filelock.Take(filepath.Join(dir, ".lock"))
	require.NoError(t, err)
	defer lock.Release()
	require.NoError(t, os.RemoveAll(dir))
	require.ErrorIs(t, sink.SwapFile(t.Context(), "checkpoint", []byte("1"), []byte("2")), audit.ErrChanged)
	require.NoError(t, sink.SwapFile(t.Context(), "checkpoint", nil, []byte("2")))
}

// A folder that is replaced between being opened and being locked is not written
// to under the lock of another one: it is opened again.
func TestTheFolderIsReplacedBeforeItIsLocked(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("SKIPPED: what is open cannot be moved")
	}
	dir := filepath.Join(t.TempDir(), "log")
	sink, err := tilesink.Open(dir)
	require.NoError(t, err)
	require.NoError(t, sink.SwapFile(t.Context(), "checkpoint", nil, []byte("1")))
	again := 0
	sink.Opened(func() {
		if again++; again > 1 {
			return
		}
		require.NoError(t, os.Rename(dir, dir+".old"))
		other, err := tilesink.Open(dir)
		require.NoError(t, err)
		require.NoError(t, other.SwapFile(t.Context(), "checkpoint", nil, []byte("1 of the new one")))
	})
	require.ErrorIs(t, sink.SwapFile(t.Context(), "checkpoint", []byte("1"), []byte("2")), audit.ErrChanged)
	require.Equal(t, 2, again)
	data, err := sink.ReadFile(t.Context(), "checkpoint")
	require.NoError(t, err)
	require.Equal(t, "1 of the new one", string(data))
	data, err = os.ReadFile(filepath.Join(dir+".old", "checkpoint"))
	require.NoError(t, err)
	require.Equal(t, "1", string(data))

	sink.Opened(func() {
		again++
		require.NoError(t, os.Rename(dir, dir+strconv.Itoa(again)))
		require.NoError(t, os.Mkdir(dir, 0o755))
		require.NoError(t, os.WriteFile(filepath.Join(dir, ".lock"), nil, 0o644))
	})
	require.ErrorContains(t, sink.SwapFile(t.Context(), "checkpoint", nil, []byte("2")), "the folder was replaced")
}

// The lock is no published file, and what is planted in its place leads nowhere.
func TestTheLockIsNoFileOfTheLog(t *testing.T) {
	dir := t.TempDir()
	sink, err := tilesink.Open(dir)
	require.NoError(t, err)
	for _, do := range []func() error{
		func() error { return sink.WriteFile(t.Context(), ".lock", nil) },
		func() error { return sink.SwapFile(t.Context(), ".lock", nil, nil) },
		func() error { return sink.RemoveAll(t.Context(), ".lock") },
	} {
		require.ErrorIs(t, do(), fs.ErrInvalid)
	}
	outside := filepath.Join(t.TempDir(), "victim")
	require.NoError(t, os.Symlink(outside, filepath.Join(dir, ".lock")))
	require.Error(t, sink.SwapFile(t.Context(), "checkpoint", nil, []byte("1")))
	require.NoFileExists(t, outside)
	require.NoFileExists(t, filepath.Join(dir, "checkpoint"))
	require.NoError(t, os.Remove(filepath.Join(dir, ".lock")))
	require.NoError(t, sink.SwapFile(t.Context(), "checkpoint", nil, []byte("1")))
	info, err := os.Stat(filepath.Join(dir, ".lock"))
	require.NoError(t, err)
	require.Equal(t, fs.FileMode(0o600), info.Mode().Perm(), "whoever may read a file may hold its lock")
}

// Whatever moment the power fails at, the old checkpoint stands or the new one,
// and a swap that was acknowledged is there.
func TestASwapAndPowerFailures(t *testing.T) {
	for seed := range uint64(8) {
		for failAt := 1; ; failAt++ {
			m := durabletest.NewMemory(seed)
			sink, err := tilesink.Open(t.TempDir())
			require.NoError(t, err)
			sink.Over(func(durable.Disk) durable.Disk { return m })
			require.NoError(t, sink.WriteFile(t.Context(), "checkpoint", []byte("old")))
			m.FailAt(failAt)
			swapped := sink.SwapFile(t.Context(), "checkpoint", []byte("old"), []byte("newer"))
			failed := m.Failed()
			m.Crash()
			data, err := sink.ReadFile(t.Context(), "checkpoint")
			require.NoError(t, err)
			if swapped == nil {
				require.Equal(t, "newer", string(data))
			}
			require.Contains(t, []string{"old", "newer"}, string(data))
			if !failed {
				break
			}
		}
	}
}
