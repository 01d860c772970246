package sqlitesource

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// A job that takes long is not mistaken for a dead one.
func TestARunningJobKeepsItsFolderAlive(t *testing.T) {
	staging := t.TempDir()
	dir := filepath.Join(staging, stagingPrefix+"running")
	require.NoError(t, os.Mkdir(dir, 0o700))
	old := time.Now().Add(-2 * stagingStale)
	require.NoError(t, os.Chtimes(dir, old, old))
	stop := keepAlive(dir, time.Millisecond)
	require.Eventually(t, func() bool {
		info, err := os.Stat(dir)
		return err == nil && time.Since(info.ModTime()) < stagingRefresh
	}, 10*time.Second, time.Millisecond)
	stop()
	require.NoError(t, removeLeft(staging))
	require.DirExists(t, dir)
	require.NoError(t, os.Chtimes(dir, old, old))
	require.NoError(t, removeLeft(staging))
	require.NoDirExists(t, dir, "without the refreshing it is taken for dead")
	require.Error(t, removeLeft(dir))
}
