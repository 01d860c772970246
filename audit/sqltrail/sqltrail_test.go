package sqltrail_test

import (
	"database/sql"
	"testing"

	"github.com/crmguard/crmguard/internal/testdb"
)

func TestATrailDoesItsWholeWorkOnEachDatabase(t *testing.T) {
	testdb.EachDriver(t, func(t *testing.T, d testdb.Database, driver string) {
		judge(t, func(tb testing.TB) *sql.DB { return testdb.New(tb, d.Name).OpenWith(tb, driver) })
	})
}

// Settings of a connection to MariaDB that change what a trail gets to see:
// rows that were found count as changed, and values are written into the
// statement.
func TestATrailDoesItsWholeWorkUnderOtherSettingsOfMariaDB(t *testing.T) {
	judge(t, func(tb testing.TB) *sql.DB {
		return openAt(tb, "mysql", testdb.New(tb, testdb.MariaDB).DSN("mysql")+"&clientFoundRows=true&interpolateParams=true")
	})
}
