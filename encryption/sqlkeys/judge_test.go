package sqlkeys_test

import (
	"database/sql"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/encryption/encryptiontest"
	"github.com/crmguard/crmguard/encryption/keystore"
	"github.com/crmguard/crmguard/encryption/sqlkeys"
)

// judge lets the judge of key stores look at a store in a database on which Install
// has run. For each of its rules the owner puts the tables back to what Install has
// made: to make a database for each would take most of the time.
func judge(t *testing.T, owner, db *sql.DB) {
	t.Helper()
	must(t, owner, `CREATE TABLE installed AS SELECT * FROM crmguard_encryption_store`)
	encryptiontest.Run(t, func(t *testing.T) keystore.Store {
		for _, table := range []string{"store", "keyset", "generation", "owner", "key", "alias", "index", "mark"} {
			must(t, owner, `DELETE FROM crmguard_encryption_`+table)
		}
		must(t, owner, `INSERT INTO crmguard_encryption_store SELECT * FROM installed`)
		store, err := sqlkeys.Open(t.Context(), db)
		require.NoError(t, err)
		return store
	})
}
