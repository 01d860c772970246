package sqlkeys_test

import (
	"database/sql"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/encryption/sqlkeys"
	"github.com/crmguard/crmguard/internal/testdb"
)

// The judge passes behind a pooler that gives each transaction another
// connection, and where an administrator has made transactions serializable.
func TestAStoreIsAKeyStoreBehindAPoolerAndSerializable(t *testing.T) {
	testdb.Variants(t, func(t *testing.T, open func(tb testing.TB) *sql.DB) {
		db := open(t)
		require.NoError(t, sqlkeys.Install(t.Context(), db))
		judge(t, db, db)
	})
}
