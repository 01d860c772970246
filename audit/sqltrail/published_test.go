package sqltrail_test

import (
	"io/fs"
	"maps"
	"testing"
	"testing/fstest"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/audit"
	"github.com/crmguard/crmguard/internal/testdb"
)

// Of the published log every database has each file, byte for byte, where
// nothing but the checkpoint is left of the folder.
func TestEachDatabaseHasThePublishedLog(t *testing.T) {
	testdb.EachDriver(t, func(t *testing.T, d testdb.Database, driver string) {
		s := newShop(t, d.OpenWith(t, driver), "crm.example/audit")
		files := fstest.MapFS{}
		for _, more := range []int{4, 260} {
			require.NoError(t, s.trail.Prepare(t.Context(), "main"))
			tx, err := s.db.BeginTx(t.Context(), nil)
			require.NoError(t, err)
			for range more {
				require.NoError(t, only(s.trail.Record(t.Context(), tx, audit.Event{Tenant: "main", Actor: "u-1", Action: "report.read"})))
			}
			require.NoError(t, tx.Commit())
			s.sequence()
			maps.Copy(files, s.sink.FS())
		}
		require.Len(t, files, 8)
		require.NoError(t, s.sink.RemoveAll(t.Context(), "tile"))
		for name, file := range files {
			data, err := s.trail.Published(t.Context(), name)
			require.NoError(t, err, name)
			require.Equal(t, string(file.Data), string(data), name)
		}
		_, err := s.trail.Published(t.Context(), "tile/0/001.p/10")
		require.ErrorIs(t, err, fs.ErrNotExist)
	})
}
