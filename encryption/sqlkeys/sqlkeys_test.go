package sqlkeys_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/encryption/sqlkeys"
	"github.com/crmguard/crmguard/internal/testdb"
)

// The same judge passes on every database, through every driver.
func TestAStoreIsAKeyStore(t *testing.T) {
	for _, name := range testdb.Names() {
		for _, driver := range name.Drivers() {
			t.Run(string(name)+"/"+driver, func(t *testing.T) {
				db := testdb.New(t, name).OpenWith(t, driver)
				require.NoError(t, sqlkeys.Install(t.Context(), db))
				judge(t, db, db)
			})
		}
	}
}
