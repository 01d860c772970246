package sqlkeys_test

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/encryption/keystore"
	"github.com/crmguard/crmguard/encryption/sqlkeys"
	"github.com/crmguard/crmguard/internal/sqldb"
	"github.com/crmguard/crmguard/internal/testdb"
)

// next is the store's tables as a later library would have them.
func next(t *testing.T) (later sqldb.Schema, version map[string]int) {
	t.Helper()
	files, version := testdb.NextVersion(t, "encryption", sqlkeys.Migrations())
	return sqldb.Schema{Package: "encryption", Migrations: files}, version
}

// During a rolling deployment this library works on the tables of the next one:
// its whole judge passes there.
func TestAStoreWorksOnTheTablesOfTheNextVersion(t *testing.T) {
	later, _ := next(t)
	testdb.Each(t, func(t *testing.T, d testdb.Database) {
		db := d.Open(t)
		require.NoError(t, later.Install(t.Context(), db))
		require.NoError(t, sqlkeys.Install(t.Context(), db), "Install of the version before changes nothing")
		judge(t, db, db)
	})
}

// And the next one refuses the tables of this one with what to do, until its
// migrations have run beside the work of this one.
func TestTheNextVersionRefusesTheTablesOfThisOne(t *testing.T) {
	later, version := next(t)
	testdb.Each(t, func(t *testing.T, d testdb.Database) {
		handle := d.Open(t)
		require.NoError(t, sqlkeys.Install(t.Context(), handle))
		store, err := sqlkeys.Open(t.Context(), handle)
		require.NoError(t, err)
		db, err := sqldb.Open(t.Context(), handle)
		require.NoError(t, err)
		folder := map[sqldb.Kind]string{sqldb.SQLite: "sqlite", sqldb.Postgres: "postgres", sqldb.MariaDB: "mysql"}[db.Kind]
		var old *sqlkeys.ErrSchema
		require.ErrorAs(t, later.Check(t.Context(), db), &old)
		require.Equal(t, sqlkeys.ErrSchema{Package: "encryption", Have: version[folder] - 1, Want: version[folder]}, *old)
		require.ErrorContains(t, old, "call Install, or apply the migrations it ships")

		require.NoError(t, later.Install(t.Context(), handle))
		require.NoError(t, later.Check(t.Context(), db))
		_, err = store.Update(t.Context(), func(tx keystore.Tx) error {
			return tx.Write(context.Background(), keystore.Change{Put: keystore.Rows{Owners: []keystore.OwnerRow{{Tenant: "main", Owner: "p1", State: "live"}}}})
		})
		require.NoError(t, err, "a store that was open meanwhile goes on")
	})
}
