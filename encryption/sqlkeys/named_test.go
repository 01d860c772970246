package sqlkeys_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/encryption/keystore"
	"github.com/crmguard/crmguard/encryption/sqlkeys"
	"github.com/crmguard/crmguard/internal/testdb"
)

// An error says once which package it is of, wherever in a transaction it comes from,
// and one of the caller's own is handed on as it is.
func TestAnErrorNamesThePackageOnce(t *testing.T) {
	testdb.Each(t, func(t *testing.T, d testdb.Database) {
		db := d.Open(t)
		require.NoError(t, sqlkeys.Install(t.Context(), db))
		store, err := sqlkeys.Open(t.Context(), db)
		require.NoError(t, err)
		own := errors.New("the caller's own")
		fails := func(keystore.Tx) error { return own }
		_, updated := store.Update(t.Context(), fails)
		for _, err := range []error{store.Snapshot(t.Context(), fails), store.Create(t.Context(), fails), updated} {
			require.Equal(t, own.Error(), err.Error())
		}
		for _, table := range []string{"key", "index", "owner"} {
			must(t, db, `DROP TABLE crmguard_encryption_`+table)
		}
		page := func(kind keystore.Kind) func(tx keystore.Tx) error {
			return func(tx keystore.Tx) error {
				_, err := tx.Page(t.Context(), keystore.Page{Kind: kind, Limit: 1})
				return err
			}
		}
		write := func(tx keystore.Tx) error {
			return tx.Write(t.Context(), keystore.Change{Put: keystore.Rows{Owners: []keystore.OwnerRow{{Tenant: "t", Owner: "p", State: keystore.Live}}}})
		}
		_, tenant := store.Tenant(t.Context(), "t")
		_, owners := store.Owners(t.Context(), "t", []string{"p"})
		_, updated = store.Update(t.Context(), write)
		all := map[string]error{
			"page": store.Snapshot(t.Context(), page(keystore.KindKey)), "page of nothing": store.Snapshot(t.Context(), page("none")),
			"tenant": tenant, "owners": owners, "update": updated, "create": store.Create(t.Context(), write), "view": store.Snapshot(t.Context(), write),
		}
		must(t, db, `DROP TABLE crmguard_encryption_store`)
		_, all["state"] = store.State(t.Context())
		_, all["update without a state row"] = store.Update(t.Context(), write)
		all["create without a state row"] = store.Create(t.Context(), write)
		must(t, db, `DROP TABLE crmguard_encryption_mark`)
		require.NoError(t, db.Close())
		_, all["closed"] = store.State(t.Context())
		all["closed create"] = store.Create(t.Context(), write)
		for what, err := range all {
			require.Error(t, err, what)
			require.True(t, strings.HasPrefix(err.Error(), "sqlkeys: "), "%s: %v", what, err)
			require.Equal(t, 1, strings.Count(err.Error(), "sqlkeys: "), "%s: %v", what, err)
		}
	})
}
