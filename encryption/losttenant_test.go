package encryption_test

import (
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/encryption"
)

// A tenant whose keysets are lost is no new one: an application that adds its
// tenants at each start is told so, and everything comes back from a copy. Else
// what it sealed meanwhile would be lost with keysets that nobody has.
func TestATenantWhoseKeysetsAreLostIsNotMadeAgain(t *testing.T) {
	for _, left := range []string{"crmguard_encryption_generation", "crmguard_encryption_index", "crmguard_encryption_owner", "crmguard_encryption_key", "crmguard_encryption_alias"} {
		e := newEnv(t, 1)
		e.insert(t, "c1", "p1")
		require.NoError(t, e.vault.AddAlias(t.Context(), tenant, "p2", "p3"))
		dir := t.TempDir()
		require.NoError(t, e.vault.Copier(dir)(t.Context()))
		before, err := e.vault.KeyVersions(t.Context(), tenant)
		require.NoError(t, err)
		for _, table := range []string{"keyset", "generation", "index", "owner", "key", "alias"} {
			if name := "crmguard_encryption_" + table; name != left {
				_, err := e.keysDB.ExecContext(t.Context(), `DELETE FROM `+name+` WHERE tenant = ?`, tenant)
				require.NoError(t, err)
			}
		}
		vault := e.another(t)
		err = vault.AddTenant(t.Context(), tenant)
		require.ErrorIs(t, err, encryption.ErrDamaged, left)
		require.ErrorContains(t, err, "RepairFromCopy")

		copies, err := filepath.Glob(filepath.Join(dir, "keys-*.jsonl"))
		require.NoError(t, err)
		_, err = vault.RepairFromCopy(t.Context(), copies[len(copies)-1])
		require.NoError(t, err, left)
		require.NoError(t, vault.AddTenant(t.Context(), tenant))
		require.NoError(t, vault.AddTenant(t.Context(), "another"), "nothing is there of it")
		after, err := vault.KeyVersions(t.Context(), tenant)
		require.NoError(t, err)
		require.Equal(t, before, after, left)
		require.NoError(t, encryption.OpenAll(t.Context(), e.table(t, vault, contactsTable), tenant, e.read(t)), left)
	}
}
