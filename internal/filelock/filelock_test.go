package filelock_test

import (
	"os"
	"path/filepath"
	"runtime"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/internal/filelock"
)

// Files and folders alike: one holder at a time, and none once it is closed.
func TestOneHolderAtATime(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("SKIPPED: this system has no such locks")
	}
	dir := t.TempDir()
	file := filepath.Join(dir, "file")
	require.NoError(t, os.WriteFile(file, nil, 0o600))
	for _, name := range []string{dir, file} {
		first, err := os.Open(name)
		require.NoError(t, err)
		second, err := os.Open(name)
		require.NoError(t, err)
		held, err := filelock.Try(first)
		require.NoError(t, err)
		require.True(t, held)
		held, err = filelock.Try(second)
		require.NoError(t, err)
		require.False(t, held, "somebody holds it")
		require.NoError(t, first.Close())
		held, err = filelock.Try(second)
		require.NoError(t, err)
		require.True(t, held, "the holder is gone")
		require.NoError(t, second.Close())
	}
}

// Whoever was overtaken between making and locking is told so.
func TestHoldTellsWhenTheFileIsNotThereAnyMore(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("SKIPPED: this system has no such locks")
	}
	name := filepath.Join(t.TempDir(), "file")
	create := func() *os.File {
		f, err := os.Create(name)
		require.NoError(t, err)
		t.Cleanup(func() { _ = f.Close() })
		return f
	}
	stat := func() (os.FileInfo, error) { return os.Lstat(name) }
	f := create()
	require.NoError(t, filelock.Hold(f, stat))
	other, err := os.Open(name)
	require.NoError(t, err)
	require.ErrorIs(t, filelock.Hold(other, stat), filelock.ErrSwept, "somebody holds it")
	require.NoError(t, other.Close())

	require.NoError(t, os.Remove(name))
	gone := f
	f = create()
	require.NoError(t, gone.Close())
	require.NoError(t, filelock.Hold(f, stat))
	require.NoError(t, os.Remove(name))
	require.ErrorIs(t, filelock.Hold(f, stat), filelock.ErrSwept, "removed")
	create()
	require.ErrorIs(t, filelock.Hold(f, stat), filelock.ErrSwept, "another file stands there")
}

// A lock file has one holder, is made where it is missing, and is no way to
// make a file elsewhere.
func TestTake(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "lock")
	for range 2 {
		lock, busy, err := filelock.Take(path)
		require.NoError(t, err)
		require.False(t, busy)
		_, busy, err = filelock.Take(path)
		require.Error(t, err)
		require.True(t, busy)
		lock.Release()
	}
	_, busy, err := filelock.Take(filepath.Join(dir, "missing", "lock"))
	require.ErrorIs(t, err, os.ErrNotExist)
	require.False(t, busy)
	if runtime.GOOS == "windows" {
		return
	}
	outside := filepath.Join(t.TempDir(), "planted")
	require.NoError(t, os.Symlink(outside, filepath.Join(dir, "link")))
	_, busy, err = filelock.Take(filepath.Join(dir, "link"))
	require.Error(t, err)
	require.False(t, busy)
	require.NoFileExists(t, outside)
}
