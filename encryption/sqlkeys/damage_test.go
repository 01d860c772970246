package sqlkeys_test

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"os"
	"slices"
	"testing"

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
			closed, err := vault.RewrapKeys(t.Context(), encryption.Rewrap{KEK: "kek-2", Copy: vault.Copier(dir)})
			require.NoError(t, err)
			require.Equal(t, 1, closed.Repaired)
			require.Equal(t, len(people), closed.Rewrapped)
			files, err := os.ReadDir(dir)
			require.NoError(t, err)
			require.Len(t, files, 1)
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
