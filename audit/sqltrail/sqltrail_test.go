package sqltrail_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/audit"
	"github.com/crmguard/crmguard/audit/audittest"
	"github.com/crmguard/crmguard/audit/sqltrail"
	"github.com/crmguard/crmguard/internal/testdb"
)

// eachDriver runs f on each of the four databases with each of its drivers.
func eachDriver(t *testing.T, f func(t *testing.T, name testdb.Name, driver string)) {
	t.Helper()
	for _, name := range testdb.Names() {
		for _, driver := range name.Drivers() {
			t.Run(string(name)+"/"+driver, func(t *testing.T) { f(t, name, driver) })
		}
	}
}

func TestATrailDoesItsWholeWorkOnEachDatabase(t *testing.T) {
	eachDriver(t, func(t *testing.T, name testdb.Name, driver string) {
		audittest.RunStore(t, func(t *testing.T) audit.Store {
			db := testdb.New(t, name).OpenWith(t, driver)
			require.NoError(t, sqltrail.Install(t.Context(), db))
			store, err := sqltrail.Open(t.Context(), db)
			require.NoError(t, err)
			return store
		})
	})
}
