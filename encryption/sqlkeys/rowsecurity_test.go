package sqlkeys_test

import (
	"database/sql"
	"io/fs"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/encryption/keystore"
	"github.com/crmguard/crmguard/encryption/sqlkeys"
	"github.com/crmguard/crmguard/internal/testdb"
)

// onPostgres runs f on PostgreSQL under each collation, through each driver.
func onPostgres(t *testing.T, f func(t *testing.T, name testdb.Name, driver string)) {
	for _, name := range []testdb.Name{testdb.PostgresC, testdb.PostgresICU} {
		for _, driver := range name.Drivers() {
			t.Run(string(name)+"/"+driver, func(t *testing.T) { f(t, name, driver) })
		}
	}
}

// wholeTables are the tables of the store and a condition that hides half of each.
var wholeTables = map[string]string{
	"crmguard_encryption_store":      "false",
	"crmguard_encryption_keyset":     "tenant > 'm'",
	"crmguard_encryption_generation": "tenant > 'm'",
	"crmguard_encryption_owner":      "owner > 'm'",
	"crmguard_encryption_key":        "owner > 'm'",
	"crmguard_encryption_alias":      "alias > 'm'",
	"crmguard_encryption_index":      "tenant > 'm'",
	"crmguard_encryption_mark":       "sequence > 5",
}

// filled is a store of two tenants, opened by a role that is no owner of the
// tables, with one row of each kind on either side of those conditions.
func filled(t *testing.T, name testdb.Name, driver string) (store *sqlkeys.Store, db, owner *sql.DB) {
	t.Helper()
	db, owner, _ = asRole(t, name, driver)
	store, err := sqlkeys.Open(t.Context(), db)
	require.NoError(t, err)
	var rows keystore.Rows
	for i, x := range []string{"a", "z"} {
		rows.Append(keystore.Rows{
			Keysets:     []keystore.KeysetRow{{Tenant: x, Purpose: "wrap", Epoch: 1, KEK: "kek", Version: 1, Wrapped: []byte{1}}},
			KeyVersions: []keystore.KeyVersionRow{{Tenant: x, KeyVersion: 1, State: keystore.Active, Created: time.Unix(1, 0)}},
			Owners:      []keystore.OwnerRow{{Tenant: "a", Owner: x, State: keystore.Live, Sequence: 1}},
			Keys:        []keystore.KeyRow{{Tenant: "a", Owner: x, KeyVersion: 1, Wrapped: []byte{1}}},
			Aliases:     []keystore.AliasRow{{Tenant: "a", Alias: x, Owner: "q"}},
			Indexes:     []keystore.IndexRow{{Tenant: x, Table: "contacts", Index: "email_idx", Version: 1, State: "active"}},
			Marks:       []keystore.MarkRow{{Sequence: 4 + 1<<(20*i), Mark: "mark", Created: time.Unix(1, 0)}},
		})
	}
	_, err = store.Update(t.Context(), func(tx keystore.Tx) error { return tx.Write(t.Context(), keystore.Change{Put: rows}) })
	require.NoError(t, err)
	return store, db, owner
}

// wholeCalls are what decides by rows that are not there, by the table that it
// reads.
func wholeCalls(t *testing.T, store *sqlkeys.Store, table string) map[string]func() error {
	ctx := t.Context()
	reads := func(tx keystore.Tx) (err error) {
		switch kind := map[string]keystore.Kind{
			"crmguard_encryption_keyset": keystore.KindKeyset, "crmguard_encryption_generation": keystore.KindKeyVersion,
			"crmguard_encryption_owner": keystore.KindOwner, "crmguard_encryption_key": keystore.KindKey,
			"crmguard_encryption_alias": keystore.KindAlias, "crmguard_encryption_index": keystore.KindIndex,
			"crmguard_encryption_mark": keystore.KindMark,
		}[table]; kind {
		case "":
			_, err = tx.State(ctx)
		default:
			_, err = tx.Page(ctx, keystore.Page{Kind: kind, Limit: 10})
		}
		return err
	}
	calls := map[string]func() error{
		"Snapshot": func() error { return store.Snapshot(ctx, reads) },
		"Create":   func() error { return store.Create(ctx, reads) },
		"Update":   func() error { _, err := store.Update(ctx, reads); return err },
	}
	switch table {
	case "crmguard_encryption_store":
		calls["State"] = func() error { _, err := store.State(ctx); return err }
	case "crmguard_encryption_keyset", "crmguard_encryption_generation", "crmguard_encryption_index":
		calls["Tenant"] = func() error { _, err := store.Tenant(ctx, "a"); return err }
	case "crmguard_encryption_owner", "crmguard_encryption_key", "crmguard_encryption_alias":
		calls["Owners of one"] = func() error { _, err := store.Owners(ctx, "a", []string{"a"}); return err }
		calls["Owners"] = func() error { _, err := store.Owners(ctx, "a", []string{"a", "z", "none"}); return err }
		calls["Owners in a change"] = func() error {
			return store.Create(ctx, func(tx keystore.Tx) error { _, err := tx.Owners(ctx, "a", []string{"a"}); return err })
		}
	}
	return calls
}

// Whoever is shown some of the rows only writes no copy, closes no epoch, destroys
// no key version and takes nobody for one without a key: a policy that is there
// when the store is opened, and one that comes while it is open, is an error, of
// whichever table it is.
func TestAStoreThatShowsSomeRowsOnlyIsRefused(t *testing.T) {
	onPostgres(t, func(t *testing.T, name testdb.Name, driver string) {
		store, db, owner := filled(t, name, driver)
		for table, condition := range wholeTables {
			calls := wholeCalls(t, store, table)
			for call, do := range calls {
				require.NoError(t, do(), "%s of %s", call, table)
			}
			must(t, owner, `CREATE POLICY half ON `+table+` USING (`+condition+`)`)
			must(t, owner, `ALTER TABLE `+table+` ENABLE ROW LEVEL SECURITY`)
			calls["Open"] = func() error { _, err := sqlkeys.Open(t.Context(), db); return err }
			for call, do := range calls {
				err := do()
				require.ErrorIs(t, err, sqlkeys.ErrRowSecurity, "%s of %s", call, table)
				require.ErrorContains(t, err, "BYPASSRLS", "%s of %s", call, table)
			}
			require.ErrorIs(t, calls["Open"](), fs.ErrPermission)
			require.ErrorContains(t, calls["Open"](), "table "+table)
			_, err := sqlkeys.Open(t.Context(), owner)
			require.NoError(t, err, "the owner of the tables is shown all")
			must(t, owner, `ALTER TABLE `+table+` DISABLE ROW LEVEL SECURITY`)
			must(t, owner, `DROP POLICY half ON `+table)
			for call, do := range calls {
				require.NoError(t, do(), "%s of %s", call, table)
			}
		}
	})
}

// A policy that comes in the middle of a change or of a view ends it: what was read
// before and what comes after are of one store.
func TestRowsThatAreHiddenInTheMiddleOfATransactionEndIt(t *testing.T) {
	onPostgres(t, func(t *testing.T, name testdb.Name, driver string) {
		store, _, owner := filled(t, name, driver)
		must(t, owner, `CREATE POLICY half ON crmguard_encryption_key USING (owner > 'm')`)
		hide := func(tx keystore.Tx) error {
			if _, err := tx.Tenant(t.Context(), "a"); err != nil {
				return err
			}
			must(t, owner, `ALTER TABLE crmguard_encryption_key ENABLE ROW LEVEL SECURITY`)
			_, err := tx.Page(t.Context(), keystore.Page{Kind: keystore.KindKey, Limit: 10})
			return err
		}
		for call, do := range map[string]func() error{
			"Snapshot": func() error { return store.Snapshot(t.Context(), hide) },
			"Create":   func() error { return store.Create(t.Context(), hide) },
			"Update":   func() error { _, err := store.Update(t.Context(), hide); return err },
		} {
			require.ErrorIs(t, do(), sqlkeys.ErrRowSecurity, call)
			must(t, owner, `ALTER TABLE crmguard_encryption_key DISABLE ROW LEVEL SECURITY`)
		}
	})
}

// A key that a policy hides is neither made anew nor deleted, and what is not seen
// is not taken for destroyed.
func TestAHiddenKeyIsNeitherMadeNorDeleted(t *testing.T) {
	onPostgres(t, func(t *testing.T, name testdb.Name, driver string) {
		store, _, owner := filled(t, name, driver)
		key := keystore.Rows{Keys: []keystore.KeyRow{{Tenant: "a", Owner: "a", KeyVersion: 1, Wrapped: []byte{2}}}}
		must(t, owner, `CREATE POLICY half ON crmguard_encryption_key USING (owner > 'm')`)
		must(t, owner, `ALTER TABLE crmguard_encryption_key ENABLE ROW LEVEL SECURITY`)
		require.ErrorIs(t, store.Create(t.Context(), func(tx keystore.Tx) error {
			return tx.Write(t.Context(), keystore.Change{Put: key})
		}), sqlkeys.ErrRowSecurity)
		for _, change := range []keystore.Change{{Put: key}, {Remove: key, Narrows: true}} {
			_, err := store.Update(t.Context(), func(tx keystore.Tx) error { return tx.Write(t.Context(), change) })
			require.ErrorIs(t, err, sqlkeys.ErrRowSecurity)
		}
		must(t, owner, `ALTER TABLE crmguard_encryption_key DISABLE ROW LEVEL SECURITY`)
		rows, err := store.Owners(t.Context(), "a", []string{"a", "z"})
		require.NoError(t, err)
		require.Len(t, rows.Keys, 2)
		require.Equal(t, []byte{1}, rows.Keys[0].Wrapped)
	})
}

// The store leaves a connection of the application's pool as it was: rows of its
// own tables are hidden there as before.
func TestTheSettingOfAConnectionStaysAsItWas(t *testing.T) {
	onPostgres(t, func(t *testing.T, name testdb.Name, driver string) {
		store, db, _ := filled(t, name, driver)
		db.SetMaxOpenConns(1)
		_, err := store.Update(t.Context(), func(tx keystore.Tx) error {
			return tx.Write(t.Context(), keystore.Change{Put: keystore.Rows{Owners: []keystore.OwnerRow{{Tenant: "a", Owner: "b", State: keystore.Live}}}})
		})
		require.NoError(t, err)
		_, err = store.State(t.Context())
		require.NoError(t, err)
		var setting string
		require.NoError(t, db.QueryRowContext(t.Context(), `SHOW row_security`).Scan(&setting))
		require.Equal(t, "on", setting)
	})
}

// What another connection of the pool may see is asked on that connection: here it
// works as another role than the one that opened the store.
func TestAnotherConnectionOfThePoolIsAskedForItself(t *testing.T) {
	onPostgres(t, func(t *testing.T, name testdb.Name, driver string) {
		_, db, owner := filled(t, name, driver)
		var role string
		require.NoError(t, db.QueryRowContext(t.Context(), `SELECT current_user`).Scan(&role))
		must(t, owner, `CREATE POLICY half ON crmguard_encryption_key USING (owner > 'm')`)
		must(t, owner, `ALTER TABLE crmguard_encryption_key ENABLE ROW LEVEL SECURITY`)
		owner.SetMaxOpenConns(1)
		store, err := sqlkeys.Open(t.Context(), owner)
		require.NoError(t, err)
		calls := wholeCalls(t, store, "crmguard_encryption_key")
		for call, do := range calls {
			require.NoError(t, do(), call)
		}
		must(t, owner, `SET ROLE `+role)
		for call, do := range calls {
			require.ErrorIs(t, do(), sqlkeys.ErrRowSecurity, call)
		}
		must(t, owner, `RESET ROLE`)
		for call, do := range calls {
			require.NoError(t, do(), call)
		}
	})
}
