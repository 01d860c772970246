package backup_test

import (
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/backup"
)

// Whatever step of the disk fails while a restore is written, the target stays
// closed, and the error names no file: names may be personal.
func TestADiskThatFailsLeavesTheTargetClosed(t *testing.T) {
	repo, _ := memoryRepo(t)
	mustRun(t, nightly([]*backup.Repository{repo}, backup.Folder("files", smallTree(t))))
	var steps []string
	backup.FailRestores(repo, func(step, _ string) error {
		steps = append(steps, step)
		return nil
	})
	_, err := repo.Restore(t.Context(), backup.Latest, filepath.Join(t.TempDir(), "restored"))
	require.NoError(t, err)
	for _, needed := range []string{"create", "write", "sync", "sync folder", "close", "link"} {
		require.Contains(t, steps, needed)
	}
	for failing, step := range steps {
		if step == "remove" { // of an unfinished file: it may stay
			continue
		}
		n := 0
		backup.FailRestores(repo, func(string, string) error {
			if n++; n == failing+1 {
				return syscall.EIO
			}
			return nil
		})
		dir := filepath.Join(t.TempDir(), "restored")
		_, err := repo.Restore(t.Context(), backup.Latest, dir)
		require.ErrorIs(t, err, syscall.EIO, "%d: %s", failing, step)
		require.NotContains(t, err.Error(), dir)
		require.ErrorIs(t, backup.Opened(dir), backup.ErrClosed, "%d: %s", failing, step)
	}
}

// Mode and time of what comes back are set before it is flushed, for they are
// what the flush is for, too; and each folder is flushed after the last change
// in it.
func TestARestoreFlushesAfterTheLastChange(t *testing.T) {
	source := t.TempDir()
	write(t, filepath.Join(source, "sub", "file"), []byte("x"))
	then := time.Date(2020, 1, 2, 3, 4, 5, 0, time.UTC)
	for _, name := range []string{filepath.Join("sub", "file"), "sub"} {
		require.NoError(t, os.Chtimes(filepath.Join(source, name), then, then))
	}
	require.NoError(t, os.Chmod(filepath.Join(source, "sub"), 0o750))
	repo, _ := memoryRepo(t)
	mustRun(t, nightly([]*backup.Repository{repo}, backup.Folder("files", source)))
	dir := filepath.Join(t.TempDir(), "restored")
	flushed := map[string]int{}
	backup.FailRestores(repo, func(step, name string) error {
		if (step == "sync" || step == "sync folder") && (name == "files/sub" || name == "files/sub/file") {
			info, err := os.Stat(filepath.Join(dir, filepath.FromSlash(name)))
			require.NoError(t, err)
			require.True(t, info.ModTime().Equal(then), "%s is not as it was", name)
			flushed[name]++
		}
		return nil
	})
	_, err := repo.Restore(t.Context(), backup.Latest, dir)
	require.NoError(t, err)
	require.Equal(t, map[string]int{"files/sub": 1, "files/sub/file": 1}, flushed)
}

// Links come after all else, so the folders that hold them are flushed once
// more.
func TestARestoreFlushesItsLinks(t *testing.T) {
	repo, memory := memoryRepo(t)
	id, err := backup.PutSnapshot(t.Context(), repo, func(save func(string, bool) string) string {
		const links = `{"name":"l","type":"symlink","linktarget":"x"},{"name":"m","type":"symlink","linktarget":"y"}`
		sub := save(`{"nodes":[`+links+`]}`, true)
		return save(`{"nodes":[{"name":"d","type":"dir","subtree":"`+sub+`"},`+links+`]}`, true)
	})
	require.NoError(t, err)
	foreign := open(t, memory, backup.Config{Key: backup.NewPassphrase(fixedKey.Password())})
	dir := filepath.Join(t.TempDir(), "restored")
	seen := map[string]bool{}
	backup.FailRestores(foreign, func(step, name string) error {
		if step == "sync folder" {
			_, l := os.Lstat(filepath.Join(dir, filepath.FromSlash(name), "l"))
			_, m := os.Lstat(filepath.Join(dir, filepath.FromSlash(name), "m"))
			seen[name] = l == nil && m == nil
		}
		return nil
	})
	_, err = foreign.Restore(t.Context(), id, dir)
	require.NoError(t, err)
	require.True(t, seen["d"], "its links were there when it was flushed last")
	require.True(t, seen["."])
}
