package sqlitesource_test

import (
	"errors"
	"os"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/backup/sqlitesource"
	"github.com/crmguard/crmguard/internal/testdb"
)

// A handle of another database is refused by name, before any statement that
// only SQLite understands, and before anything is staged.
func TestAnotherDatabaseIsRefusedByName(t *testing.T) {
	kinds := map[testdb.Name]string{testdb.PostgresC: "PostgreSQL", testdb.PostgresICU: "PostgreSQL", testdb.MariaDB: "MariaDB"}
	testdb.Each(t, func(t *testing.T, d testdb.Database) {
		for _, driver := range d.Name.Drivers() {
			staging := t.TempDir()
			source, err := sqlitesource.New(sqlitesource.Config{Name: "db", File: "crm.db", DB: d.OpenWith(t, driver), Staging: staging})
			require.NoError(t, err)
			if d.Name == testdb.SQLite {
				continue // copied by all other tests
			}
			err = source.Snapshot(t.Context(), nil)
			require.ErrorIs(t, err, errors.ErrUnsupported)
			require.ErrorContains(t, err, "sqlitesource: the database is "+kinds[d.Name])
			left, err := os.ReadDir(staging)
			require.NoError(t, err)
			require.Empty(t, left)
		}
	})
}
