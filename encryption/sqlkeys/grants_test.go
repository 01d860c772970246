package sqlkeys_test

import (
	"context"
	"database/sql"
	"io/fs"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/encryption/keystore"
	"github.com/crmguard/crmguard/encryption/sqlkeys"
	"github.com/crmguard/crmguard/internal/testdb"
)

// onServers runs f on each kind of database that knows roles, through each
// driver: what a role may do does not depend on the order of text.
func onServers(t *testing.T, f func(t *testing.T, name testdb.Name, driver string)) {
	for _, name := range testdb.Names() {
		for _, driver := range name.Drivers() {
			if name != testdb.SQLite && name != testdb.PostgresICU {
				t.Run(string(name)+"/"+driver, func(t *testing.T) { f(t, name, driver) })
			}
		}
	}
}

// asRole is a fresh database with the tables of the store, opened as a role
// that has the rights of Grants.
func asRole(t *testing.T, name testdb.Name, driver string) (db, owner *sql.DB, rights []testdb.Right) {
	t.Helper()
	d := testdb.New(t, name)
	owner = d.Open(t)
	require.NoError(t, sqlkeys.Install(t.Context(), owner))
	role, as := d.Role(t)
	rights = d.Rights(t, sqlkeys.Grants(), role)
	for _, right := range rights {
		must(t, owner, right.Grant)
	}
	return as.OpenWith(t, driver), owner, rights
}

func must(t *testing.T, db *sql.DB, statement string) {
	t.Helper()
	_, err := db.ExecContext(t.Context(), statement)
	require.NoError(t, err, statement)
}

// The whole work of the store is done under the rights that it asks for.
func TestARoleWithTheGrantsDoesTheWholeWork(t *testing.T) {
	onServers(t, func(t *testing.T, name testdb.Name, driver string) {
		db, owner, _ := asRole(t, name, driver)
		require.NoError(t, sqlkeys.Install(t.Context(), db), "nothing is missing, so nothing more is needed")
		judge(t, owner, db)
	})
}

// Each right is needed: without it a verb fails, and says which table it is
// about and that a right is missing.
func TestEachOfTheGrantsIsNeeded(t *testing.T) {
	onServers(t, func(t *testing.T, name testdb.Name, driver string) {
		db, owner, rights := asRole(t, name, driver)
		require.NoError(t, everyVerb(t.Context(), db))
		for _, right := range rights {
			must(t, owner, right.Revoke)
			err := everyVerb(t.Context(), db)
			require.ErrorIs(t, err, fs.ErrPermission, right.Revoke)
			require.ErrorContains(t, err, "this role lacks a right")
			require.ErrorContains(t, err, "table "+right.Table)
			must(t, owner, right.Grant)
		}
		require.NoError(t, everyVerb(t.Context(), db))
	})
}

// everyVerb opens the store and calls each verb of it on each kind of rows.
func everyVerb(ctx context.Context, db *sql.DB) error {
	store, err := sqlkeys.Open(ctx, db)
	if err != nil {
		return err
	}
	rows := keystore.Rows{
		Keysets:     []keystore.KeysetRow{{Tenant: "main", Purpose: "index", Epoch: 1, KEK: "kek", Version: 1, Wrapped: []byte{1}}},
		KeyVersions: []keystore.KeyVersionRow{{Tenant: "main", KeyVersion: 1, State: "active", Created: time.Unix(1, 0)}},
		Owners:      []keystore.OwnerRow{{Tenant: "main", Owner: "p1", State: "live", Sequence: 1}},
		Keys:        []keystore.KeyRow{{Tenant: "main", Owner: "p1", KeyVersion: 1, Wrapped: []byte{1}}},
		Aliases:     []keystore.AliasRow{{Tenant: "main", Alias: "p2", Owner: "p1"}},
		Indexes:     []keystore.IndexRow{{Tenant: "main", Table: "contacts", Index: "email_idx", Version: 1, State: "active"}},
		Marks:       []keystore.MarkRow{{Sequence: 1 << 40, Mark: "mark", Created: time.Unix(1, 0)}},
	}
	if err := store.Create(ctx, func(tx keystore.Tx) error {
		return tx.Write(ctx, keystore.Change{Put: keystore.Rows{Owners: rows.Owners, Keys: rows.Keys}})
	}); err != nil {
		return err
	}
	for _, change := range []keystore.Change{
		{Put: rows, Store: &keystore.State{Store: "store", Epoch: 1, KEK: "kek"}}, {Put: rows, Narrows: true},
	} {
		if _, err := store.Update(ctx, func(tx keystore.Tx) error { return tx.Write(ctx, change) }); err != nil {
			return err
		}
	}
	if _, err := store.State(ctx); err != nil {
		return err
	}
	if _, err := store.Tenant(ctx, "main"); err != nil {
		return err
	}
	if _, err := store.Owners(ctx, "main", []string{"p1"}); err != nil {
		return err
	}
	err = store.Snapshot(ctx, func(tx keystore.Tx) error {
		for _, kind := range []keystore.Kind{
			keystore.KindKeyset, keystore.KindKeyVersion, keystore.KindOwner, keystore.KindKey, keystore.KindAlias, keystore.KindIndex, keystore.KindMark,
		} {
			if _, err := tx.Page(ctx, keystore.Page{Kind: kind, Limit: 10}); err != nil {
				return err
			}
		}
		_, err := tx.Merged(ctx, "main", "p1")
		return err
	})
	if err != nil {
		return err
	}
	if _, err := store.Update(ctx, func(tx keystore.Tx) error { return tx.Write(ctx, keystore.Change{Remove: rows}) }); err != nil {
		return err
	}
	_, err = store.Scrub(ctx)
	return err
}
