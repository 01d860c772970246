package sqlitesource

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/backup"
	"github.com/crmguard/crmguard/internal/filelock"
)

// Others name folders like that, too: a restore, say. Only what looks in every
// respect like a staging folder is removed.
func TestAFolderOfSomebodyElseIsNotRemoved(t *testing.T) {
	staging := t.TempDir()
	old := time.Now().AddDate(-1, 0, 0)
	for _, name := range []string{"restore", "20261126", "20261127", "1", "2", "3"} {
		dir := filepath.Join(staging, stagingPrefix+name)
		file := filepath.Join(dir, map[string]string{"restore": "live.db", "20261126": "db/crm.db", "20261127": "crm.db", "1": "live.db/mine", "2": "live.db.bak", "3": "stripped.db"}[name])
		require.NoError(t, os.MkdirAll(filepath.Dir(file), 0o700))
		require.NoError(t, os.WriteFile(file, []byte("precious"), 0o600))
		if name == "3" {
			require.NoError(t, os.WriteFile(filepath.Join(dir, "mine"), []byte("precious"), 0o600))
		}
		require.NoError(t, os.Chtimes(dir, old, old))
		require.NoError(t, removeLeft(staging, filelock.Try))
		require.NoError(t, removeLeft(staging, withoutLocks))
		data, err := os.ReadFile(file)
		require.NoError(t, err, "%s", name)
		require.Equal(t, "precious", string(data))
	}
	// What a killed job left goes, with the journals that SQLite wrote.
	dir := filepath.Join(staging, stagingPrefix+"4")
	require.NoError(t, os.Mkdir(dir, 0o700))
	for _, name := range []string{"live.db", "live.db-journal", "stripped.db", "stripped.db-wal", "stripped.db-shm"} {
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), nil, 0o600))
	}
	require.NoError(t, removeLeft(staging, filelock.Try))
	require.NoDirExists(t, dir)
}

// A staging folder that is not there is not taken for a missing database.
func TestAMissingStagingFolderIsNamed(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "unmounted")
	err := removeLeft(dir, filelock.Try)
	require.ErrorIs(t, err, os.ErrNotExist)
	require.ErrorContains(t, err, "Config.Staging")
	require.ErrorContains(t, err, dir)
	_, err = New(Config{})
	require.ErrorIs(t, err, backup.ErrConfig)
	require.Regexp(t, "^backup: bad configuration: sqlitesource: ", err.Error())
}
