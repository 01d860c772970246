package encryption_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/encryption"
)

// What a key has sealed since the copy was written nobody knows when it comes
// back from one: a key that is counted counts as worn, and ends with its
// key version before it seals again.
func TestARepairedKeyCountsAsWorn(t *testing.T) {
	e := newEnv(t, 1)
	_, err := e.contacts.TenantWriter(t.Context(), tenant)
	require.NoError(t, err)
	e.insert(t, "c1", "p1")
	written, err := e.vault.WriteCopy(t.Context(), t.TempDir())
	require.NoError(t, err)
	e.spoil(t, `UPDATE crmguard_encryption_key SET wrapped = zeroblob(65)`)
	report, err := e.vault.RepairFromCopy(t.Context(), written.Path)
	require.NoError(t, err)
	require.Equal(t, 2, report.Keys)
	rows, err := e.store.Owners(t.Context(), tenant, []string{"t:", "p1"})
	require.NoError(t, err)
	seals := map[string]int64{}
	for _, row := range rows.Keys {
		seals[row.Owner] = row.Seals
	}
	require.Equal(t, map[string]int64{"t:": encryption.WornSeals, "p1": 0}, seals)

	fresh := e.another(t)
	_, err = e.table(t, fresh, contactsTable).TenantWriter(t.Context(), tenant)
	require.NoError(t, err)
	all, err := fresh.KeyVersions(t.Context(), tenant)
	require.NoError(t, err)
	require.Len(t, all, 2, "the next key version has begun")
}
