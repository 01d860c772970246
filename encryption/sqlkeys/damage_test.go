package sqlkeys_test

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"os"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/tink-crypto/tink-go/v2/tink"

	"github.com/crmguard/crmguard/encryption"
	"github.com/crmguard/crmguard/encryption/insecurekeys"
	"github.com/crmguard/crmguard/encryption/keycopy"
	"github.com/crmguard/crmguard/encryption/keystore"
	"github.com/crmguard/crmguard/encryption/sqlkeys"
	"github.com/crmguard/crmguard/internal/testdb"
)

// On every database, rows that are damaged or gone are named, a copy brings them
// back as they were, and an epoch closes over them. Ids come in the order of
// their bytes everywhere, or a copy would be out of order.
func TestDamagedRowsComeBackFromACopy(t *testing.T) {
	for _, name := range testdb.Names() {
		t.Run(string(name), func(t *testing.T) {
			db := testdb.New(t, name).Open(t)
			require.NoError(t, sqlkeys.Install(t.Context(), db))
			store, err := sqlkeys.Open(t.Context(), db)
			require.NoError(t, err)
			kek := func(_ context.Context, _, name string) (tink.AEADWithContext, error) {
				return insecurekeys.KEK(bytes.Repeat([]byte{name[len(name)-1]}, 32))
			}
			cfg := encryption.Config{Keys: store, KEK: kek}
			vault, err := encryption.Create(t.Context(), cfg)
			require.NoError(t, err)
			require.NoError(t, vault.AddTenant(t.Context(), "t1"))
			people := []string{"P1", "a", "Ä", "ä-2", "p1", "p10", "p2", "Z", "z", "中"}
			require.NoError(t, vault.Ensure(t.Context(), "t1", people...))
			dir := t.TempDir()
			whole, err := vault.WriteCopy(t.Context(), dir)
			require.NoError(t, err)
			before := keysOf(t, store)

			exec(t, db, `UPDATE crmguard_encryption_key SET wrapped = (SELECT w FROM (SELECT wrapped AS w FROM crmguard_encryption_key WHERE owner = 'z') x) WHERE owner = 'p2'`)
			exec(t, db, `DELETE FROM crmguard_encryption_key WHERE owner = 'Z'`)
			exec(t, db, `UPDATE crmguard_encryption_owner SET state = 'ljve' WHERE owner = 'p1'`)
			exec(t, db, `DELETE FROM crmguard_encryption_owner WHERE owner = 'a'`)
			_, err = vault.WriteCopy(t.Context(), dir)
			require.ErrorIs(t, err, encryption.ErrDamaged)
			damaged, ok := errors.AsType[*keycopy.DamagedError](err)
			require.True(t, ok)
			require.Equal(t, 6, damaged.Count, "four rows, and the keys of the two owners: %v", err)
			report, err := vault.RepairFromCopy(t.Context(), whole.Path)
			require.NoError(t, err)
			require.Equal(t, keycopy.RepairReport{Owners: 2, Keys: 2}, report)
			require.Equal(t, before, keysOf(t, store))

			exec(t, db, `DELETE FROM crmguard_encryption_key WHERE owner = '中'`)
			closed, err := vault.RewrapKeys(t.Context(), keycopy.Rewrap{KEK: "kek-2", Copy: vault.Copier(dir)})
			require.NoError(t, err)
			require.Equal(t, 1, closed.Repaired)
			require.Equal(t, len(people), closed.Rewrapped)
			files, err := os.ReadDir(dir)
			require.NoError(t, err)
			require.Len(t, files, 1)
		})
	}
}

// A number that is none of 32 bits, in a table whose columns take larger ones, stops
// nothing but its row: it is named, and taken away or given up.
func TestANumberThatDoesNotFitStopsNothing(t *testing.T) {
	for _, name := range testdb.Names() {
		t.Run(string(name), func(t *testing.T) {
			db := testdb.New(t, name).Open(t)
			require.NoError(t, sqlkeys.Install(t.Context(), db))
			store, err := sqlkeys.Open(t.Context(), db)
			require.NoError(t, err)
			cfg := encryption.Config{
				Keys: store,
				KEK: func(context.Context, string, string) (tink.AEADWithContext, error) {
					return insecurekeys.KEK(make([]byte, 32))
				},
				Wait: func(context.Context, time.Duration) error { return nil }, // nobody else holds a lease
			}
			vault, err := encryption.Create(t.Context(), cfg)
			require.NoError(t, err)
			require.NoError(t, vault.AddTenant(t.Context(), "t1"))
			def := encryption.Table{Name: "contacts", Columns: []encryption.Column{{Name: "email", Find: encryption.Email}}}
			table, err := vault.Table(def)
			require.NoError(t, err)
			sealed := map[string][]byte{}
			for _, person := range []string{"p1", "p2", "p3", "p4"} {
				w, err := table.Writer(t.Context(), "t1", person)
				require.NoError(t, err)
				sealed[person], err = w.Seal("email", []byte(person))
				require.NoError(t, err)
			}
			dir := t.TempDir()
			whole, err := vault.WriteCopy(t.Context(), dir)
			require.NoError(t, err)

			exec(t, db, `UPDATE crmguard_encryption_key SET generation = generation + 4294967296 WHERE owner = 'p1'`)
			exec(t, db, `INSERT INTO crmguard_encryption_key (tenant, owner, generation, wrapped, seals) SELECT tenant, owner, -1, wrapped, 0 FROM crmguard_encryption_key WHERE owner = 'p2'`)
			exec(t, db, `INSERT INTO crmguard_encryption_key (tenant, owner, generation, wrapped, seals) SELECT tenant, owner, -2, wrapped, 0 FROM crmguard_encryption_key WHERE owner = 'p2' AND generation > 0`)
			exec(t, db, `INSERT INTO crmguard_encryption_key (tenant, owner, generation, wrapped, seals) SELECT tenant, owner, 9223372036854775807, wrapped, 0 FROM crmguard_encryption_key WHERE owner = 'p4'`)
			exec(t, db, `INSERT INTO crmguard_encryption_generation (tenant, generation, state, created) VALUES ('t1', 4294967297, 'active', 1), ('t1', -7, 'destroyed', 1)`)
			exec(t, db, `INSERT INTO crmguard_encryption_index (tenant, tab, idx, version, root, normaliser, bits, state) SELECT tenant, tab, idx, -5, root, normaliser, bits, state FROM crmguard_encryption_index`)
			exec(t, db, `UPDATE crmguard_encryption_index SET root = root + 4294967296 WHERE version = 1`)

			vault, err = encryption.Open(t.Context(), cfg)
			require.NoError(t, err)
			_, err = vault.WriteCopy(t.Context(), dir)
			damaged, ok := errors.AsType[*keycopy.DamagedError](err)
			require.True(t, ok, "%v", err)
			require.Equal(t, 6, damaged.Count, "%v: four keys, the one that p1 had, and the index as the copy has it", damaged.Rows)
			require.Contains(t, damaged.Error(), "which is no number of 32 bits")
			require.NotEmpty(t, damaged.Copy)
			versions, err := vault.KeyVersions(t.Context(), "t1")
			require.NoError(t, err)
			require.Len(t, versions, 1)
			status, err := vault.Inventory(t.Context())
			require.NoError(t, err)
			require.Len(t, status.Tenants[0].KeyVersions, 1)

			// Everybody else goes on, and so do those that have a sound key, too.
			table, err = vault.Table(def)
			require.NoError(t, err)
			for _, person := range []string{"p2", "p3", "p4"} {
				r, err := table.Reader(t.Context(), "t1", person)
				require.NoError(t, err)
				got, err := r.Row(person, "").Open(t.Context(), "email", sealed[person])
				require.NoError(t, err)
				require.Equal(t, person, string(got))
			}
			_, err = table.Writer(t.Context(), "t1", "p5")
			require.NoError(t, err, "its index is registered anew")
			_, err = table.Lookup(t.Context(), "t1", "email_idx", "p2")
			require.ErrorIs(t, err, encryption.ErrIncomplete)
			receipts, err := vault.EraseMany(t.Context(), "t1", "p2", "p3")
			require.NoError(t, err)
			require.Equal(t, []int{3, 1}, []int{receipts[0].Keys, receipts[1].Keys})

			_, err = vault.RepairFromCopy(t.Context(), whole.Path)
			damaged, ok = errors.AsType[*keycopy.DamagedError](err)
			require.True(t, ok, "%v", err)
			require.Equal(t, 2, damaged.Count, "%v", damaged.Rows)
			r, err := table.Reader(t.Context(), "t1", "p1")
			require.NoError(t, err)
			got, err := r.Row("p1", "").Open(t.Context(), "email", sealed["p1"])
			require.NoError(t, err)
			require.Equal(t, "p1", string(got))
			require.NoError(t, vault.GiveUp(t.Context(), damaged.Rows...))
			_, err = vault.RewrapKeys(t.Context(), keycopy.Rewrap{KEK: "kek-2", Copy: vault.Copier(dir)})
			require.NoError(t, err)
			for _, of := range []string{"key WHERE generation", "generation WHERE generation", "index WHERE version", "index WHERE root"} {
				var n int
				require.NoError(t, db.QueryRowContext(t.Context(), `SELECT COUNT(*) FROM crmguard_encryption_`+of+` NOT BETWEEN 1 AND 4294967295`).Scan(&n))
				require.Zero(t, n, of)
			}
		})
	}
}

func exec(t *testing.T, db *sql.DB, query string) {
	t.Helper()
	res, err := db.ExecContext(t.Context(), query)
	require.NoError(t, err)
	n, err := res.RowsAffected()
	require.NoError(t, err)
	require.NotZero(t, n)
}

// keysOf reads all owners and keys.
func keysOf(t *testing.T, store keystore.Store) (out keystore.Rows) {
	t.Helper()
	require.NoError(t, store.Snapshot(t.Context(), func(tx keystore.Tx) error {
		for _, kind := range []keystore.Kind{keystore.KindOwner, keystore.KindKey} {
			rows, err := tx.Page(t.Context(), keystore.Page{Kind: kind, Limit: 1000})
			if err != nil {
				return err
			}
			out.Owners, out.Keys = append(out.Owners, rows.Owners...), append(out.Keys, rows.Keys...)
		}
		return nil
	}))
	require.True(t, slices.IsSortedFunc(out.Keys, func(a, b keystore.KeyRow) int { return bytes.Compare([]byte(a.Owner), []byte(b.Owner)) }))
	return out
}
