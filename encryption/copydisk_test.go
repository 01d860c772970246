package encryption_test

import (
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/encryption"
	"github.com/crmguard/crmguard/encryption/keycopy"
)

// Whatever step of writing a key copy fails, also for good, no older copy is
// deleted before the new one is durable: one that opens is always there. A
// later run ends with the newest alone.
func TestADiskThatFailsCostsNoOlderCopy(t *testing.T) {
	steps := []string{"create", "write", "sync", "rename", "close", "sync folder", "remove older", "sync folder"}
	for n, failing := range steps {
		for _, stays := range []bool{false, true} {
			e := newEnv(t, 4)
			dir := t.TempDir()
			e.insert(t, "c1", "p1")
			older, err := e.vault.WriteCopy(t.Context(), dir)
			require.NoError(t, err)
			rows := e.read(t)
			e.insert(t, "c2", "p2")
			position, err := e.vault.Position(t.Context())
			require.NoError(t, err)

			var done []string
			failed := false
			e.vault.FailDisk(func(step string) error {
				if step == "remove unfinished" {
					return nil
				}
				if len(done) == 0 || done[len(done)-1] != step { // writes come in pieces
					done = append(done, step)
				}
				if len(done) == n+1 && step == failing && (stays || !failed) || stays && failed {
					failed = true
					return syscall.EIO
				}
				return nil
			})
			_, err = e.vault.WriteCopy(t.Context(), dir)
			require.ErrorIs(t, err, encryption.ErrCopy, failing)
			require.ErrorIs(t, err, syscall.EIO, failing)
			require.Equal(t, steps[:n+1], done[:n+1])
			if n <= 6 {
				require.NoError(t, openWith(t, e, e.kms, older.Path, rows), "the older copy opens")
			}
			path, err := keycopy.Newest(dir)
			require.NoError(t, err)
			require.NoError(t, openWith(t, e, e.kms, path, rows))

			e.vault.FailDisk(func(string) error { return nil })
			require.NoError(t, e.vault.KeyCopy(dir)(t.Context(), position))
			require.Len(t, names(t, dir), 1, "failed at %s", failing)
			path, err = keycopy.Newest(dir)
			require.NoError(t, err)
			good, err := e.vault.VerifyCopy(t.Context(), path)
			require.NoError(t, err)
			require.NoError(t, good.Covers(position))
		}
	}
}

// A copy whose name did not reach the disk, as far as anybody knows, counts as
// a copy only when the folder has been flushed.
func TestNoSnapshotReliesOnACopyThatMayVanish(t *testing.T) {
	e := newEnv(t, 4)
	dir := t.TempDir()
	e.insert(t, "c1", "p1")
	position, err := e.vault.Position(t.Context())
	require.NoError(t, err)
	e.vault.FailDisk(func(step string) error {
		if step == "sync folder" {
			return syscall.EIO
		}
		return nil
	})
	require.ErrorIs(t, e.vault.KeyCopy(dir)(t.Context(), position), syscall.EIO)
	require.Len(t, names(t, dir), 1, "it has its name")
	require.ErrorIs(t, e.vault.KeyCopy(dir)(t.Context(), position), syscall.EIO, "asked again")
	other := e.another(t)
	require.NoError(t, other.KeyCopy(dir)(t.Context(), position))
}

// A newer copy of another writer that came after the folder was flushed is no
// reason to delete this one: nobody has made it durable yet.
func TestACopyThatCameAfterTheFlushCountsForNothing(t *testing.T) {
	e := newEnv(t, 4)
	dir, elsewhere := t.TempDir(), t.TempDir()
	e.insert(t, "c1", "p1")
	older, err := e.vault.WriteCopy(t.Context(), dir)
	require.NoError(t, err)
	e.insert(t, "c2", "p2")
	var newer keycopy.Copy
	e.vault.FailDisk(func(step string) error {
		if step == "remove older" && newer.Path == "" {
			e.insert(t, "c3", "p3")
			newer, err = e.another(t).WriteCopy(t.Context(), elsewhere)
			require.NoError(t, err)
			require.NoError(t, os.Rename(newer.Path, filepath.Join(dir, filepath.Base(newer.Path))))
		}
		return nil
	})
	written, err := e.vault.WriteCopy(t.Context(), dir)
	require.NoError(t, err)
	require.NoFileExists(t, older.Path)
	require.ElementsMatch(t, []string{filepath.Base(written.Path), filepath.Base(newer.Path)}, names(t, dir))
}

// A newer copy of another writer that was there before may not have been
// flushed by that one: it is, before this one goes.
func TestANewerCopyIsFlushedBeforeTheOlderGoes(t *testing.T) {
	e := newEnv(t, 4)
	dir, elsewhere := t.TempDir(), t.TempDir()
	e.insert(t, "c1", "p1")
	var newer keycopy.Copy
	var steps []string
	e.vault.FailDisk(func(step string) error {
		if step == "rename" {
			e.insert(t, "c3", "p3")
			var err error
			newer, err = e.another(t).WriteCopy(t.Context(), elsewhere)
			require.NoError(t, err)
		}
		if step == "sync folder" && len(steps) == 0 {
			require.NoError(t, os.Rename(newer.Path, filepath.Join(dir, filepath.Base(newer.Path))))
		}
		if step == "sync folder" || step == "remove older" {
			steps = append(steps, step)
		}
		return nil
	})
	written, err := e.vault.WriteCopy(t.Context(), dir)
	require.NoError(t, err)
	require.Equal(t, filepath.Base(newer.Path), filepath.Base(written.Path))
	require.Equal(t, []string{filepath.Base(newer.Path)}, names(t, dir))
	require.Equal(t, []string{"sync folder", "sync folder", "remove older", "sync folder"}, steps)
}
