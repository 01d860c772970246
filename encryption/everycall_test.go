package encryption_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/encryption"
	"github.com/crmguard/crmguard/encryption/keystore"
)

// refusedAt requires that an error refuses the persons at these positions, and no
// other one.
func refusedAt(t *testing.T, err error, positions ...int) {
	t.Helper()
	var refused *encryption.PersonsError
	require.ErrorAs(t, err, &refused)
	require.Len(t, refused.Persons, len(positions))
	for _, i := range positions {
		require.ErrorIs(t, refused.Persons[i], encryption.ErrNoKey, "it names a wrap key that there is not")
	}
}

// wornPersons are steps over a page of persons of whom one has a damaged key, taken
// while p3 is the one.
func wornPersons() []wornStep {
	ensured := func(t *testing.T, w *worn, vault *encryption.Vault, err error) {
		t.Helper()
		refusedAt(t, err, 1, 2)
		for _, person := range []string{"p2", "p6"} {
			keys, err := vault.WrappedKeys(t.Context(), tenant, person)
			require.NoError(t, err)
			require.Len(t, keys, 1, "of %s", person)
		}
	}
	return []wornStep{
		{"Vault.Ensure", func(t *testing.T, w *worn) {
			vault := w.another(t)
			ensured(t, w, vault, vault.Ensure(t.Context(), tenant, "p2", "p3", "new", "p6"))
		}},
		{"PersonSealer.Ensure", func(t *testing.T, w *worn) {
			vault := w.another(t)
			ensured(t, w, vault, vault.PersonSealer("opening").Ensure(t.Context(), tenant, "p2", "p3", "new", "p6"))
		}},
		{"SealedTable.Writers", func(t *testing.T, w *worn) {
			table := w.table(t, w.another(t), peopleTable)
			writers, err := table.Writers(t.Context(), tenant, "p2", "p3", "p6")
			refusedAt(t, err, 1)
			require.Len(t, writers, 3)
			for i, person := range map[int]string{0: "p2", 2: "p6"} {
				sealed := writers[i].Text("note", "more of "+person)
				require.NoError(t, sealed.Err())
				row, err := table.Row(t.Context(), tenant, person, "r"+person[1:])
				require.NoError(t, err)
				text, err := row.Text(t.Context(), "note", sealed.Bytes())
				require.NoError(t, err)
				require.Equal(t, "more of "+person, text)
			}
		}},
	}
}

// wornCaches is the step in which a process that has keys in memory finds one of
// them lost and one damaged.
func wornCaches() wornStep {
	return wornStep{"Vault.RepairFromCaches", func(t *testing.T, w *worn) {
		key := func(person string) []byte {
			rows, err := w.store.Owners(t.Context(), tenant, []string{person})
			require.NoError(t, err)
			require.Len(t, rows.Keys, 1)
			return rows.Keys[0].Wrapped
		}
		vault := w.another(t)
		require.NoError(t, vault.Ensure(t.Context(), tenant, "p2", "p3", "p6"))
		whole := key("p3")
		w.spoilKey(t, "p3")
		w.exec(t, `DELETE FROM crmguard_encryption_key WHERE owner = 'p2'`)
		require.Equal(t, without("p2", "p3"), w.opens(t))
		report, err := vault.RepairFromCaches(t.Context())
		require.NoError(t, err)
		require.Equal(t, 1, report.Keys, "of p2")
		require.Empty(t, report.Conflicts)
		require.Equal(t, make([]byte, 65), key("p3"), "a copy may have it")
		require.Equal(t, without("p3"), w.opens(t))
		w.exec(t, `UPDATE crmguard_encryption_key SET wrapped = ? WHERE owner = 'p3'`, whole)
	}}
}

// wornEnd are steps whose bad row is one of what a tenant is described by.
func wornEnd() []wornStep {
	return []wornStep{
		{"SealedTable.RetireIndex", func(t *testing.T, w *worn) {
			index := `INSERT INTO crmguard_encryption_index (tenant, tab, idx, version, root, normaliser, bits, state) VALUES (?, 'people', ?, ?, 1, 'email/1', 64, ?)`
			w.exec(t, index, tenant, "gone_idx", 1, string(keystore.IndexLive))
			w.exec(t, index, tenant, "gone_idx", int64(1)<<40, "ljve")
			w.exec(t, index, tenant, "odd_idx", -1, "")
			require.NoError(t, w.table(t, w.another(t), peopleTable).RetireIndex(t.Context(), tenant, "gone_idx", 1))
			states := map[int64]string{}
			rows, err := w.db.QueryContext(t.Context(), `SELECT version, state FROM crmguard_encryption_index WHERE idx IN ('gone_idx', 'odd_idx')`)
			require.NoError(t, err)
			for rows.Next() {
				var version int64
				var state string
				require.NoError(t, rows.Scan(&version, &state))
				states[version] = state
			}
			require.NoError(t, rows.Err())
			require.NoError(t, rows.Close())
			require.Equal(t, map[int64]string{1: string(keystore.IndexRetired), 1 << 40: "ljve", -1: ""}, states, "what is odd stays as it is")
		}},
		{"Vault.NewKeyVersion", func(t *testing.T, w *worn) {
			w.spoilKey(t, "p0")
			version := `INSERT INTO crmguard_encryption_generation (tenant, generation, state, created) VALUES (?, ?, ?, 1)`
			w.exec(t, version, tenant, -7, string(keystore.Active))
			w.exec(t, version, tenant, 4711, "actjve")
			w.exec(t, `UPDATE crmguard_encryption_keyset SET wrapped = ? WHERE tenant = ? AND purpose = 'seal'`, []byte{1}, tenant)
			vault := w.another(t)
			fresh, err := vault.NewKeyVersion(t.Context(), tenant)
			require.NoError(t, err)
			require.Equal(t, keystore.Active, stateOf(t, vault, fresh))
			require.Equal(t, keystore.Retired, stateOf(t, vault, w.fresh))
			require.EqualValues(t, "actjve", stateOf(t, vault, 4711), "what is odd stays as it is")
			table := w.table(t, vault, peopleTable)
			writer, err := table.Writer(t.Context(), tenant, "p0")
			require.NoError(t, err)
			require.NoError(t, writer.Text("note", "a new beginning").Err(), "the new key is a whole one")
			require.Equal(t, without("p0", "p1", "p2", "p3", "p6", "p7"), w.opens(t))
		}},
	}
}

// A tenant whose wrap keyset is damaged keeps no key of another tenant from coming
// back, and is named.
func TestADamagedKeysetOfATenantStopsNoRepairOfAnother(t *testing.T) {
	e := newEnv(t, 1)
	const first = "a" // before the other one, in the order of the work
	require.NoError(t, e.vault.AddTenant(t.Context(), first))
	require.NoError(t, e.vault.Ensure(t.Context(), first, "q1"))
	require.NoError(t, e.vault.Ensure(t.Context(), tenant, "p1", "p2"))
	e.spoil(t, `UPDATE crmguard_encryption_keyset SET wrapped = x'00' WHERE tenant = 'a' AND purpose = 'wrap'`)
	e.spoil(t, `DELETE FROM crmguard_encryption_key WHERE owner IN ('q1', 'p1')`)
	report, err := e.vault.RepairFromCaches(t.Context())
	require.ErrorIs(t, err, encryption.ErrKeyset)
	require.ErrorContains(t, err, `tenant "a"`)
	require.Equal(t, 1, report.Keys)
	keys, err := e.another(t).WrappedKeys(t.Context(), tenant, "p1")
	require.NoError(t, err)
	require.Len(t, keys, 1)
}
