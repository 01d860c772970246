package backup_test

import (
	"io/fs"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/backup"
	"github.com/crmguard/crmguard/backup/backuptest"
)

// What was not handed in is refused by name, before anything is made.
func TestWhatWasNotHandedInIsNamed(t *testing.T) {
	memory := backuptest.NewMemory("a")
	_, err := backup.Create(t.Context(), config(fixedKey), memory, nil)
	require.ErrorIs(t, err, backup.ErrConfig)
	require.ErrorContains(t, err, "nil store")
	require.Empty(t, memory.Files())
	repo, _ := memoryRepo(t)
	_, err = repo.Mirror(t.Context(), nil)
	require.ErrorIs(t, err, backup.ErrConfig)
	_, err = repo.Restore(t.Context(), "", filepath.Join(t.TempDir(), "x"))
	require.ErrorIs(t, err, backup.ErrNoSnapshot)
	require.ErrorContains(t, err, "LatestOf")
	mustRun(t, nightly([]*backup.Repository{repo}, oneFile("f")))
	_, err = repo.Restore(t.Context(), backup.Latest, "")
	require.ErrorIs(t, err, backup.ErrTarget)
	require.ErrorContains(t, err, "name a folder")
}

// The folder that the operator named stands in the error, those below it do
// not.
func TestAMissingFolderIsNamed(t *testing.T) {
	repo, _ := memoryRepo(t)
	dir := filepath.Join(t.TempDir(), "unmounted")
	_, err := nightly([]*backup.Repository{repo}, backup.Folder("files", dir)).RunOnce(t.Context())
	require.ErrorIs(t, err, backup.ErrSource)
	require.ErrorIs(t, err, fs.ErrNotExist)
	require.ErrorContains(t, err, dir)
	require.ErrorContains(t, err, "mounted")
}
