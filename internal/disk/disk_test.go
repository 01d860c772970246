package disk

import (
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestSyncFolder(t *testing.T) {
	dir := t.TempDir()
	require.NoError(t, SyncFolder(dir))
	require.ErrorIs(t, SyncFolder(filepath.Join(dir, "missing")), fs.ErrNotExist)
	if f, err := os.Open("/proc"); err == nil { // a file system that refuses
		require.ErrorIs(t, f.Sync(), syscall.EINVAL)
		require.NoError(t, f.Close())
		require.NoError(t, SyncFolder("/proc"))
	}
}

// A refusal by the file system is told from a failure of the disk.
func TestOnlyARefusalIsNoError(t *testing.T) {
	for err, want := range map[error]bool{
		syscall.EINVAL: true, syscall.ENOTSUP: true, syscall.ENOSYS: true,
		syscall.EIO: false, syscall.ENOSPC: false, syscall.EACCES: false, syscall.EPERM: false, syscall.EROFS: false,
	} {
		require.Equal(t, want, cannot(&fs.PathError{Op: "sync", Path: "folder", Err: err}), "%v", err)
	}
	require.False(t, cannot(nil))
}
