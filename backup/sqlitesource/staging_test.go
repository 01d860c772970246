package sqlitesource

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/internal/filelock"
)

func withoutLocks(*os.File) (bool, error) { return false, errors.ErrUnsupported }

// Where there are no locks, a job that takes long is not mistaken for a dead
// one.
func TestARunningJobKeepsItsFolderAlive(t *testing.T) {
	staging := t.TempDir()
	dir := filepath.Join(staging, stagingPrefix+"1")
	require.NoError(t, os.Mkdir(dir, 0o700))
	old := time.Now().Add(-2 * stagingStale)
	require.NoError(t, os.Chtimes(dir, old, old))
	stop := keepAlive(dir, time.Millisecond)
	require.Eventually(t, func() bool {
		info, err := os.Stat(dir)
		return err == nil && time.Since(info.ModTime()) < stagingRefresh
	}, time.Minute, time.Millisecond)
	stop()
	require.NoError(t, removeLeft(staging, withoutLocks))
	require.DirExists(t, dir)
	require.NoError(t, os.Chtimes(dir, old, old))
	require.NoError(t, removeLeft(staging, withoutLocks))
	require.NoDirExists(t, dir, "without the refreshing it is taken for dead")
	require.Error(t, removeLeft(dir, withoutLocks))
}

// Where there are locks, nothing else counts: not the age of the folder of a
// job that lives, nor the youth of one that was killed. The clock may jump.
func TestOnlyTheLockSaysWhoLives(t *testing.T) {
	staging := t.TempDir()
	dir, release, err := makeStaging(staging)
	require.NoError(t, err)
	for _, at := range []time.Time{time.Now(), time.Now().AddDate(-10, 0, 0), time.Now().AddDate(10, 0, 0)} {
		require.NoError(t, os.Chtimes(dir, at, at))
		killed := filepath.Join(staging, stagingPrefix+"2")
		require.NoError(t, os.Mkdir(killed, 0o700))
		require.NoError(t, os.WriteFile(filepath.Join(killed, liveCopy), nil, 0o600))
		require.NoError(t, os.Chtimes(killed, at, at))
		require.NoError(t, removeLeft(staging, filelock.Try))
		require.DirExists(t, dir, "its job lives")
		require.NoDirExists(t, killed)
	}
	require.NoError(t, release())
	left, err := os.ReadDir(staging)
	require.NoError(t, err)
	require.Empty(t, left)
}

// Without a folder of its own a job clears up in the system's.
func TestTheSystemsTemporaryFolderIsClearedToo(t *testing.T) {
	temp := t.TempDir()
	t.Setenv("TMPDIR", temp)
	killed, foreign := filepath.Join(temp, stagingPrefix+"2"), filepath.Join(temp, "foreign")
	require.NoError(t, os.Mkdir(killed, 0o700))
	require.NoError(t, os.Mkdir(foreign, 0o700))
	require.NoError(t, removeLeft("", filelock.Try))
	require.NoDirExists(t, killed)
	require.DirExists(t, foreign)
}
