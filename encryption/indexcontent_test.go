package encryption_test

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/encryption"
	"github.com/crmguard/crmguard/encryption/keystore"
)

// What an index version is never changes. A row of the key store that says another
// width, normaliser or root than a copy is damaged: it is named, whatever was taken away
// since, and comes back with the state that it has, fenced where it was live.
func TestAnIndexRowThatSaysAnotherThingIsDamaged(t *testing.T) {
	for name, c := range map[string]struct {
		spoil string
		is    error
		says  string
	}{
		"width":           {`UPDATE crmguard_encryption_index SET bits = 40 WHERE tab = 'people'`, encryption.ErrDefinition, `"email/2" of 40 bits, and it is declared as "email/2" of 32`},
		"a width of none": {`UPDATE crmguard_encryption_index SET bits = -7 WHERE tab = 'people'`, encryption.ErrDefinition, `of -7 bits`},
		"normaliser":      {`UPDATE crmguard_encryption_index SET normaliser = 'phone/1' WHERE tab = 'people'`, encryption.ErrDefinition, `"phone/1" of 32 bits, and it is declared as "email/2" of 32`},
		"root":            {`UPDATE crmguard_encryption_index SET root = (root + 1) % 4294967296 WHERE tab = 'people'`, encryption.ErrDamaged, "root"},
	} {
		for _, narrowed := range []bool{false, true} {
			t.Run(fmt.Sprint(name, " ", narrowed), func(t *testing.T) {
				e := newEnv(t, 1)
				require.NoError(t, insertMail(t, e.db, e.table(t, e.vault, after()), "c1", "p1", true))
				dir := t.TempDir()
				whole, err := e.vault.WriteCopy(t.Context(), dir)
				require.NoError(t, err)
				copied := kept(t, whole.Path)
				if narrowed {
					_, err = e.vault.Erase(t.Context(), tenant, "p9")
					require.NoError(t, err)
				}
				e.spoil(t, c.spoil)
				v := e.another(t)
				_, err = findMail(t, e.db, e.table(t, v, after()), "p1")
				require.ErrorIs(t, err, c.is)
				require.ErrorContains(t, err, c.says)
				require.ErrorContains(t, err, "RepairFromCopy")

				_, err = v.WriteCopy(t.Context(), dir)
				damaged := damagedRows(t, err)
				require.Equal(t, 1, damaged.Count)
				require.Equal(t, keystore.KindIndex, damaged.Rows[0].Kind)
				require.Equal(t, encryption.HealthAlarm, found(t, v, "encryption.store.damaged", "").Level)

				report, err := v.RepairFromCopy(t.Context(), copied)
				require.NoError(t, err)
				require.Equal(t, []int{1, 1, 0}, []int{report.Indexes, report.Fenced, report.Removed})
				requireUnsearched(t, e, e.another(t), "p1")
				_, err = e.another(t).WriteCopy(t.Context(), dir)
				require.NoError(t, err)
			})
		}
	}
}

// The state that an index has got since the copy is no damage, and stays when the rest
// comes back.
func TestAnIndexThatWasRetiredSinceComesBackRetired(t *testing.T) {
	e := newEnv(t, 1)
	people := e.table(t, e.vault, after())
	require.NoError(t, insertMail(t, e.db, people, "c1", "p1", true))
	whole, err := e.vault.WriteCopy(t.Context(), t.TempDir())
	require.NoError(t, err)
	require.NoError(t, e.table(t, e.another(t), before()).RetireIndex(t.Context(), tenant, "email_idx", 1))
	e.spoil(t, `UPDATE crmguard_encryption_index SET bits = 40 WHERE tab = 'people'`)
	report, err := e.another(t).RepairFromCopy(t.Context(), whole.Path)
	require.NoError(t, err)
	require.Equal(t, []int{1, 0}, []int{report.Indexes, report.Fenced})
	rows, err := e.store.Tenant(t.Context(), tenant)
	require.NoError(t, err)
	require.Equal(t, "people", rows.Indexes[1].Table)
	require.Equal(t, keystore.IndexRetired, rows.Indexes[1].State)
	require.Equal(t, 32, rows.Indexes[1].Bits)
}

// A row by which nothing can be searched, and that no copy has otherwise, is in nobody's
// way: it goes, and is registered anew.
func TestAnIndexRowThatNoCopyHasIsRegisteredAnew(t *testing.T) {
	for _, spoil := range []string{`UPDATE crmguard_encryption_index SET root = (root + 1) % 4294967296 WHERE tab = 'people'`, `UPDATE crmguard_encryption_index SET bits = 3 WHERE tab = 'people'`} {
		e := newEnv(t, 1)
		require.NoError(t, insertMail(t, e.db, e.table(t, e.vault, after()), "c1", "p1", true))
		e.spoil(t, spoil)
		v := e.another(t)
		whole, err := v.WriteCopy(t.Context(), t.TempDir())
		require.NoError(t, err, "nothing is missing in it")
		require.Equal(t, encryption.HealthNotice, found(t, v, "encryption.store.stray", "").Level)
		report, err := v.RepairFromCopy(t.Context(), whole.Path)
		require.NoError(t, err)
		require.Equal(t, 1, report.Removed)
		people := e.table(t, e.another(t), after())
		require.NoError(t, people.FenceOldWriters(t.Context(), tenant))
		require.NoError(t, people.RebuildIndexes(e.db, tenant)(t.Context()))
		requireFound(t, e, "p1")
	}
}
