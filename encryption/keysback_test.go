package encryption_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/encryption"
	"github.com/crmguard/crmguard/encryption/keycopy"
	"github.com/crmguard/crmguard/encryption/keystore"
)

// requireUnsearched shows that a search of an index does not miss a row in silence:
// it is refused, and finds the row once the index is rebuilt.
func requireUnsearched(t *testing.T, e *env, vault *encryption.Vault, person string) {
	t.Helper()
	people := e.table(t, vault, after())
	_, err := findMail(t, e.db, people, person)
	require.ErrorIs(t, err, encryption.ErrIncomplete)
	require.NoError(t, people.RebuildIndexes(e.db, tenant)(t.Context()))
	n, err := findMail(t, e.db, people, person)
	require.NoError(t, err)
	require.Equal(t, 1, n)
}

// An index that is declared while a failover has lost all keys is complete, for
// nothing seems to be sealed. Once the keys come back from memory it is not
// searched before it is rebuilt.
func TestAnIndexThatWasMadeWhileKeysWereLostIsNotSearched(t *testing.T) {
	e := newEnv(t, 1)
	l := &lossy{env: e, cells: map[string][]byte{}}
	l.behind, l.vault, l.contacts = e.restorable(t)
	l.keepStandby(t)
	require.NoError(t, insertMail(t, e.db, e.table(t, l.vault, before()), "c1", "p1", false))
	l.fail(t)
	fresh := l.over(t, l.standby)
	_, err := findMail(t, e.db, e.table(t, fresh, after()), "p1")
	require.NoError(t, err, "nothing seems to be sealed")
	report, err := l.vault.RepairFromCaches(t.Context())
	require.NoError(t, err)
	require.Equal(t, keycopy.RepairReport{Owners: 1, Keys: 1, Fenced: 1}, report)
	requireUnsearched(t, e, l.over(t, l.standby), "p1")

	again, err := l.vault.RepairFromCaches(t.Context())
	require.NoError(t, err)
	require.Zero(t, again, "what was lost once is there, and what was rebuilt stays so")
}

// The same where a copy brings the keys back.
func TestAnIndexThatWasMadeWhileACopyHadTheKeysIsNotSearched(t *testing.T) {
	e := newEnv(t, 1)
	require.NoError(t, insertMail(t, e.db, e.table(t, e.vault, before()), "c1", "p1", false))
	whole, err := e.vault.WriteCopy(t.Context(), t.TempDir())
	require.NoError(t, err)
	e.spoil(t, `DELETE FROM crmguard_encryption_key`)
	_, err = findMail(t, e.db, e.table(t, e.another(t), after()), "p1")
	require.NoError(t, err)
	report, err := e.another(t).RepairFromCopy(t.Context(), whole.Path)
	require.NoError(t, err)
	require.Equal(t, keycopy.RepairReport{Keys: 1, Fenced: 2}, report, "that of the other table, too")
	requireUnsearched(t, e, e.another(t), "p1")
}

// A Rebuild passes over what does not open. What opens again afterwards may lack the
// index that it called whole.
func TestAnIndexThatWasRebuiltWhileAKeyWasDamagedIsNotSearched(t *testing.T) {
	for name, c := range map[string]struct {
		damage string
		report keycopy.RepairReport
	}{
		"a key":         {`UPDATE crmguard_encryption_key SET wrapped = zeroblob(65) WHERE owner = 'p1'`, keycopy.RepairReport{Keys: 1, Fenced: 2}},
		"its owner":     {`DELETE FROM crmguard_encryption_owner WHERE owner = 'p1'`, keycopy.RepairReport{Owners: 1, Fenced: 2}},
		"a key version": {`UPDATE crmguard_encryption_generation SET state = 'destroyed' WHERE state = 'retired'`, keycopy.RepairReport{KeyVersions: 1, Fenced: 2}},
	} {
		t.Run(name, func(t *testing.T) {
			e := newEnv(t, 1)
			require.NoError(t, insertMail(t, e.db, e.table(t, e.vault, before()), "c1", "p1", false))
			_, err := e.vault.NewKeyVersion(t.Context(), tenant)
			require.NoError(t, err)
			require.NoError(t, e.vault.Ensure(t.Context(), tenant, "p2"))
			vault := e.another(t)
			_, err = findMail(t, e.db, e.table(t, vault, after()), "p1")
			require.ErrorIs(t, err, encryption.ErrIncomplete)
			whole, err := vault.WriteCopy(t.Context(), t.TempDir())
			require.NoError(t, err)
			e.spoil(t, c.damage)
			rows, err := e.store.Tenant(t.Context(), tenant)
			require.NoError(t, err)
			for i := range rows.Indexes { // as a Rebuild leaves it, and without a change that narrows
				rows.Indexes[i].State = keystore.IndexLive
			}
			overwrite(t, e.store, keystore.Change{Put: keystore.Rows{Indexes: rows.Indexes}})
			report, err := vault.RepairFromCopy(t.Context(), whole.Path)
			require.NoError(t, err)
			require.Equal(t, c.report, report)
			requireUnsearched(t, e, e.another(t), "p1")
		})
	}
}

// An index whose row was lost, or damaged, is not searched as the copy has it: whoever
// does not know it could write meanwhile.
func TestAnIndexThatWasLostIsNotSearchedAtOnce(t *testing.T) {
	for name, spoil := range map[string]string{
		"lost":    `DELETE FROM crmguard_encryption_index`,
		"damaged": `UPDATE crmguard_encryption_index SET state = 'alive'`,
	} {
		t.Run(name, func(t *testing.T) {
			e := newEnv(t, 1)
			people := e.table(t, e.vault, after())
			require.NoError(t, insertMail(t, e.db, people, "c1", "p1", true))
			whole, err := e.vault.WriteCopy(t.Context(), t.TempDir())
			require.NoError(t, err)
			e.spoil(t, `DELETE FROM crmguard_encryption_index`)
			require.NoError(t, insertMail(t, e.db, e.table(t, e.another(t), before()), "c2", "p2", false))
			_, err = e.another(t).RepairFromCopy(t.Context(), whole.Path)
			require.NoError(t, err)
			e.spoil(t, spoil)
			report, err := e.another(t).RepairFromCopy(t.Context(), whole.Path)
			require.NoError(t, err)
			require.Equal(t, 2, report.Indexes, "that of the other table, too")
			requireUnsearched(t, e, e.another(t), "p2")
		})
	}
}

// lostVersion makes an installation of which a retired key version has lost its row
// and nothing else, and returns the number.
func lostVersion(t *testing.T) (e *env, keyVersion uint32, copied string) {
	t.Helper()
	e = newEnv(t, 1)
	e.insert(t, "c1", "p1")
	rows, err := e.store.Tenant(t.Context(), tenant)
	require.NoError(t, err)
	whole, err := e.vault.WriteCopy(t.Context(), t.TempDir())
	require.NoError(t, err)
	_, err = e.vault.NewKeyVersion(t.Context(), tenant)
	require.NoError(t, err)
	e.insert(t, "c2", "p2")
	e.requireOpens(t, e.contacts) // and has its keys in memory
	e.spoil(t, `DELETE FROM crmguard_encryption_generation WHERE state = 'retired'`)
	return e, rows.KeyVersions[0].KeyVersion, whole.Path
}

func (e *env) stateOf(t *testing.T, keyVersion uint32) keystore.KeyVersionState {
	t.Helper()
	rows, err := e.store.Tenant(t.Context(), tenant)
	require.NoError(t, err)
	for _, row := range rows.KeyVersions {
		if row.KeyVersion == keyVersion {
			return row.State
		}
	}
	return ""
}

// A key that opens is not given up where nothing but the row of its key version is
// lost: an epoch, a copy of before, a copy with holes and a process that remembers
// the key bring that row back, as one that seals no more.
func TestAKeyVersionComesBackOfWhichKeysOpen(t *testing.T) {
	for name, repair := range map[string]func(t *testing.T, e *env, copied string){
		"an epoch": func(t *testing.T, e *env, _ string) {
			t.Helper()
			v := e.another(t)
			report, err := v.RewrapKeys(t.Context(), keycopy.Rewrap{KEK: "kek-2", Copy: v.Copier(t.TempDir())})
			require.NoError(t, err)
			require.Equal(t, 1, report.Repaired)
		},
		"an older copy": func(t *testing.T, e *env, copied string) {
			t.Helper()
			report, err := e.another(t).RepairFromCopy(t.Context(), copied)
			require.NoError(t, err)
			require.Equal(t, 1, report.KeyVersions)
		},
		"the copy with holes": func(t *testing.T, e *env, _ string) {
			t.Helper()
			v := e.another(t)
			_, err := v.WriteCopy(t.Context(), t.TempDir())
			report, err := v.RepairFromCopy(t.Context(), holesOf(t, err))
			require.NoError(t, err)
			require.Equal(t, 1, report.KeyVersions)
		},
		"a process that remembers": func(t *testing.T, e *env, _ string) {
			t.Helper()
			report, err := e.vault.RepairFromCaches(t.Context())
			require.NoError(t, err)
			require.Equal(t, keycopy.RepairReport{KeyVersions: 1, Fenced: 1}, report)
		},
	} {
		t.Run(name, func(t *testing.T) {
			e, keyVersion, copied := lostVersion(t)
			v := e.another(t)
			_, err := v.WriteCopy(t.Context(), t.TempDir())
			rows := damagedRows(t, err).Rows
			require.NotEmpty(t, rows)
			for _, row := range rows {
				err := v.GiveUp(t.Context(), row)
				require.ErrorIs(t, err, encryption.ErrDamaged)
				require.ErrorContains(t, err, "it opens, and is not given up")
			}
			repair(t, e, copied)
			require.Equal(t, keystore.Retired, e.stateOf(t, keyVersion))
			e.requireOpens(t, e.table(t, e.another(t), contactsTable))
			_, err = e.another(t).WriteCopy(t.Context(), t.TempDir())
			require.NoError(t, err)
		})
	}
}

// holesOf is the copy that was written without the damaged rows.
func holesOf(t *testing.T, err error) string {
	t.Helper()
	path := damagedRows(t, err).Copy
	require.NotEmpty(t, path)
	return path
}

// destroyedVersion is an installation whose first key version is destroyed, with the
// key that p1 had of it.
func destroyedVersion(t *testing.T) (e *env, first uint32, wrapped [][]byte) {
	t.Helper()
	e = newEnv(t, 1)
	require.NoError(t, e.vault.Ensure(t.Context(), tenant, "p1"))
	rows, err := e.store.Tenant(t.Context(), tenant)
	require.NoError(t, err)
	first = rows.KeyVersions[0].KeyVersion
	wrapped, err = e.vault.WrappedKeys(t.Context(), tenant, "p1")
	require.NoError(t, err)
	_, err = e.vault.NewKeyVersion(t.Context(), tenant)
	require.NoError(t, err)
	require.NoError(t, e.vault.Ensure(t.Context(), tenant, "p1"))
	require.NoError(t, e.vault.DestroyKeyVersion(t.Context(), tenant, first, nobodyHolds))
	return e, first, wrapped
}

// A key version that is destroyed does not come back as anything else, where a copy
// knows that it is, whatever was done since, and somebody put one of its keys back.
func TestADestroyedKeyVersionStaysDestroyed(t *testing.T) {
	for name, spoil := range map[string]string{
		"its row is gone":     `DELETE FROM crmguard_encryption_generation WHERE state = 'destroyed'`,
		"somebody revived it": `UPDATE crmguard_encryption_generation SET state = 'retired' WHERE state = 'destroyed'`,
		"nobody touched it":   `UPDATE crmguard_encryption_generation SET state = 'destroyed' WHERE state = 'destroyed'`,
	} {
		t.Run(name, func(t *testing.T) {
			e, first, wrapped := destroyedVersion(t)
			whole, err := e.vault.WriteCopy(t.Context(), t.TempDir())
			require.NoError(t, err)
			_, err = e.vault.NewKeyVersion(t.Context(), tenant) // something narrows
			require.NoError(t, err)
			e.spoil(t, spoil)
			e.spoil(t, `INSERT INTO crmguard_encryption_key (tenant, owner, generation, wrapped) VALUES (?, 'p1', ?, ?)`, tenant, int64(first), wrapped[0])
			report, err := e.another(t).RepairFromCopy(t.Context(), whole.Path)
			require.NoError(t, err)
			require.Equal(t, 1, report.Removed, "the key that was put back")
			require.Equal(t, keystore.Destroyed, e.stateOf(t, first))
			left, err := e.another(t).WrappedKeys(t.Context(), tenant, "p1")
			require.NoError(t, err)
			require.Len(t, left, 1)
		})
	}
}

// Nor where no copy does, but the process that brings it back.
func TestAKeyVersionThatAProcessSawDestroyedStaysDestroyed(t *testing.T) {
	e, first, wrapped := destroyedVersion(t)
	require.NoError(t, e.vault.Ensure(t.Context(), tenant, "p2")) // and so reads the tenant
	e.spoil(t, `DELETE FROM crmguard_encryption_generation WHERE state = 'destroyed'`)
	e.spoil(t, `INSERT INTO crmguard_encryption_key (tenant, owner, generation, wrapped) VALUES (?, 'p1', ?, ?)`, tenant, int64(first), wrapped[0])
	report, err := e.vault.RewrapKeys(t.Context(), keycopy.Rewrap{KEK: "kek-2", Copy: e.vault.Copier(t.TempDir())})
	require.NoError(t, err)
	require.Equal(t, 1, report.Repaired)
	require.Equal(t, keystore.Destroyed, e.stateOf(t, first))
	left, err := e.vault.WrappedKeys(t.Context(), tenant, "p1")
	require.NoError(t, err)
	require.Len(t, left, 1)
}
