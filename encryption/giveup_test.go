package encryption_test

import (
	"errors"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/encryption"
	"github.com/crmguard/crmguard/encryption/keycopy"
)

// damagedKeys spoils the key of p2 and returns what a copy says of it.
func damagedKeys(t *testing.T, e *env, dir string) []keycopy.DamagedRow {
	t.Helper()
	e.spoil(t, `UPDATE crmguard_encryption_key SET wrapped = zeroblob(65) WHERE owner = 'p2'`)
	_, err := e.another(t).WriteCopy(t.Context(), dir)
	damaged, ok := errors.AsType[*keycopy.DamagedError](err)
	require.True(t, ok, "%v", err)
	return damaged.Rows
}

// A key that the newest copy brings back is not given up, and the refusal is no
// outage of the key store.
func TestAKeyThatACopyHasIsNotGivenUp(t *testing.T) {
	e := newEnv(t, 1)
	e.insert(t, "c1", "p1")
	e.insert(t, "c2", "p2")
	dir := t.TempDir()
	whole, err := e.vault.WriteCopy(t.Context(), dir)
	require.NoError(t, err)
	rows := damagedKeys(t, e, dir)
	err = e.vault.GiveUp(t.Context(), rows...)
	require.ErrorIs(t, err, encryption.ErrDamaged)
	require.NotErrorIs(t, err, encryption.ErrStore)
	require.ErrorContains(t, err, "RepairFromCopy")
	report, err := e.vault.RepairFromCopy(t.Context(), whole.Path)
	require.NoError(t, err)
	require.Equal(t, 1, report.Keys)
	err = e.another(t).GiveUp(t.Context(), rows...) // knows of no copy
	require.ErrorIs(t, err, encryption.ErrDamaged, "it has changed since")
	require.NotErrorIs(t, err, encryption.ErrStore)
}

// In a process that knows of no copy a key may be given up that one has. Where
// the person is written again, the new key is no damage to the copies that follow.
func TestAKeyThatIsMadeAfterOneWasGivenUpIsNoDamage(t *testing.T) {
	e := newEnv(t, 1)
	e.insert(t, "c1", "p1")
	e.insert(t, "c2", "p2")
	dir := t.TempDir()
	_, err := e.vault.WriteCopy(t.Context(), dir)
	require.NoError(t, err)
	rows := damagedKeys(t, e, dir)
	v := e.another(t)
	require.NoError(t, v.GiveUp(t.Context(), rows...))
	require.NoError(t, v.Ensure(t.Context(), tenant, "p2"))
	_, err = v.WriteCopy(t.Context(), dir)
	require.NoError(t, err)
	_, err = v.RewrapKeys(t.Context(), keycopy.Rewrap{KEK: "kek-2", Destroy: e.kms.destroy, Copy: v.Copier(dir)})
	require.NoError(t, err)
}

// Whoever gives up with an older keyset in memory takes the new one.
func TestAKeyIsGivenUpAfterAnEpoch(t *testing.T) {
	e := newEnv(t, 1)
	e.insert(t, "c1", "p1")
	e.insert(t, "c2", "p2")
	stale := e.another(t)
	require.NoError(t, stale.Ensure(t.Context(), tenant, "p1"))
	first := t.TempDir()
	_, err := e.vault.RewrapKeys(t.Context(), keycopy.Rewrap{KEK: "kek-2", Copy: e.vault.Copier(first)})
	require.NoError(t, err)
	rows := damagedKeys(t, e, t.TempDir())
	require.NoError(t, stale.GiveUp(t.Context(), rows...))
	_, err = e.another(t).WriteCopy(t.Context(), t.TempDir())
	require.NoError(t, err)
}

// Under keysets that were put back to before an epoch no key opens that was made since:
// it is sound, and is not given up before the keysets are back.
func TestNoKeyIsGivenUpUnderOlderKeysets(t *testing.T) {
	for _, knows := range []bool{true, false} {
		e := newEnv(t, 1)
		e.insert(t, "c1", "p1")
		_, err := e.keysDB.ExecContext(t.Context(), `CREATE TABLE before_epoch AS SELECT * FROM crmguard_encryption_keyset WHERE tenant = 't1'`)
		require.NoError(t, err)
		dir := t.TempDir()
		_, err = e.vault.RewrapKeys(t.Context(), keycopy.Rewrap{KEK: "kek-2", Copy: e.vault.Copier(dir)})
		require.NoError(t, err)
		e.contacts = e.table(t, e.vault, contactsTable)
		e.insert(t, "c3", "p3") // its key is in no copy
		e.spoil(t, `INSERT OR REPLACE INTO crmguard_encryption_keyset SELECT * FROM before_epoch`)
		v := e.another(t)
		_, err = v.WriteCopy(t.Context(), dir)
		keys := slices.DeleteFunc(damagedRows(t, err).Rows, func(row keycopy.DamagedRow) bool { return row.Owner != "p3" })
		require.Len(t, keys, 1)
		if !knows {
			v = e.another(t)
		}
		require.ErrorIs(t, v.GiveUp(t.Context(), keys...), encryption.ErrDamaged)
		newest, err := keycopy.Newest(dir)
		require.NoError(t, err)
		_, err = v.RepairFromCopy(t.Context(), newest)
		require.NoError(t, err)
		e.requireOpens(t, e.table(t, e.another(t), contactsTable))
	}
}
