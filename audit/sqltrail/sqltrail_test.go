package sqltrail_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/audit"
	"github.com/crmguard/crmguard/audit/audittest"
	"github.com/crmguard/crmguard/audit/sqltrail"
	"github.com/crmguard/crmguard/internal/testdb"
)

func TestATrailDoesItsWholeWorkOnEachDatabase(t *testing.T) {
	eachDatabase(t, func(t *testing.T, d testdb.Database, driver string) {
		audittest.RunStore(t, func(t *testing.T) audit.Store {
			db := testdb.New(t, d.Name).OpenWith(t, driver)
			require.NoError(t, sqltrail.Install(t.Context(), db))
			return storeOf(t, db)
		})
	})
}

// Settings of a connection to MariaDB that change what a trail gets to see:
// rows that were found count as changed, and values are written into the
// statement.
func TestATrailDoesItsWholeWorkUnderOtherSettingsOfMariaDB(t *testing.T) {
	audittest.RunStore(t, func(t *testing.T) audit.Store {
		d := testdb.New(t, testdb.MariaDB)
		db := openAt(t, "mysql", d.DSN("mysql")+"&clientFoundRows=true&interpolateParams=true")
		require.NoError(t, sqltrail.Install(t.Context(), db))
		return storeOf(t, db)
	})
}
