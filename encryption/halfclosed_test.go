package encryption_test

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/encryption"
	"github.com/crmguard/crmguard/encryption/keycopy"
	"github.com/crmguard/crmguard/internal/testdb"
)

// halfClosed closes an epoch as far as the copy of that number, which fails
// once it is written or, where written is false, before.
func (e *env) halfClosed(t *testing.T, dir string, number int, written bool) {
	t.Helper()
	copies := 0
	_, err := e.vault.RewrapKeys(t.Context(), keycopy.Rewrap{KEK: "kek-2", Destroy: e.kms.destroy, Copy: func(ctx context.Context) error {
		if copies++; copies == number && !written {
			return errStoodStill
		}
		_, err := e.vault.WriteCopy(ctx, dir)
		if err == nil && copies == number {
			err = errStoodStill
		}
		return err
	}})
	require.ErrorIs(t, err, errStoodStill)
}

// A key that was repaired from a copy of before the epoch is the same key, and
// no damage to the copies that follow.
func TestARepairFromAnOlderCopyIsNoDamageAfterwards(t *testing.T) {
	e := newEnv(t, 1)
	e.insert(t, "c1", "p1")
	e.insert(t, "c2", "p2")
	dir := t.TempDir()
	old, err := e.vault.WriteCopy(t.Context(), dir)
	require.NoError(t, err)
	older := kept(t, old.Path)
	e.halfClosed(t, dir, 1, true)
	e.spoil(t, `UPDATE crmguard_encryption_key SET wrapped = zeroblob(65) WHERE owner = 'p2'`)
	report, err := e.vault.RepairFromCopy(t.Context(), older)
	require.NoError(t, err)
	require.Equal(t, 1, report.Keys)
	_, err = e.vault.WriteCopy(t.Context(), dir)
	require.NoError(t, err)
	_, err = e.vault.RewrapKeys(t.Context(), keycopy.Rewrap{KEK: "kek-2", Copy: e.vault.Copier(dir), Destroy: e.kms.destroy})
	require.NoError(t, err)
	e.requireOpens(t, e.contacts)
}

// A keyset that is lost or damaged while an epoch is half closed comes back from
// the copy of that epoch, wherever it stopped.
func TestAKeysetThatIsLostInAHalfClosedEpochComesBack(t *testing.T) {
	for what, spoil := range map[string]string{
		"tags, gone":    `DELETE FROM crmguard_encryption_keyset WHERE tenant = 't1' AND purpose = 'seal'`,
		"keys, gone":    `DELETE FROM crmguard_encryption_keyset WHERE tenant = 't1' AND purpose = 'wrap'`,
		"all, damaged":  `UPDATE crmguard_encryption_keyset SET wrapped = zeroblob(80) WHERE tenant = 't1' AND purpose = 'branch'`,
		"all, gone":     `DELETE FROM crmguard_encryption_keyset WHERE tenant = 't1' AND purpose = 'branch'`,
		"half, gone":    `DELETE FROM crmguard_encryption_keyset WHERE tenant = 't1' AND purpose IN ('branch', 'wrap', 'log')`,
		"ours, gone":    `DELETE FROM crmguard_encryption_keyset WHERE tenant = '' AND purpose = 'branch'`,
		"ledger, gone":  `DELETE FROM crmguard_encryption_keyset WHERE tenant = '' AND purpose = 'ledger'`,
		"no row left":   `DELETE FROM crmguard_encryption_keyset WHERE tenant = 't1' AND purpose <> 'seal'`,
		"keys, damaged": `UPDATE crmguard_encryption_keyset SET wrapped = zeroblob(80) WHERE tenant = 't1' AND purpose = 'wrap'`,
	} {
		for _, stop := range []struct {
			number  int
			written bool
		}{{1, true}, {2, false}, {2, true}} {
			e := newEnv(t, 1)
			e.insert(t, "c1", "p1")
			dir := t.TempDir()
			e.halfClosed(t, dir, stop.number, stop.written)
			e.spoil(t, spoil)
			newest, err := keycopy.Newest(dir)
			require.NoError(t, err)
			_, err = keycopy.Repair(t.Context(), alone(e.cfg), newest)
			require.NoError(t, err, "%s, %+v", what, stop)
			requireOneBranch(t, e, tenant)
			_, err = e.another(t).RewrapKeys(t.Context(), keycopy.Rewrap{KEK: "kek-2", Copy: e.vault.Copier(dir), Destroy: e.kms.destroy})
			require.NoError(t, err, "%s, %+v", what, stop)
			e.clock.Move(encryption.DefaultLease)
			e.requireOpens(t, e.table(t, e.another(t), contactsTable))
			require.Equal(t, []uint32{requireOneBranch(t, e, tenant)}, wrapKeys(t, e, tenant), "%s, %+v: an old wrap key lives on", what, stop)
		}
	}
}

// A keyset, or an owner, that is lost in an epoch before its first copy is written
// comes back from the copy of before, and the epoch goes on.
func TestWhatIsLostBeforeTheFirstCopyOfAnEpochComesBack(t *testing.T) {
	testdb.Each(t, func(t *testing.T, d testdb.Database) {
		e := newEnvOn(t, d)
		e.insert(t, "c1", "p1")
		dir := t.TempDir()
		_, err := e.vault.WriteCopy(t.Context(), dir)
		require.NoError(t, err)
		e.halfClosed(t, dir, 1, false)
		for what, spoil := range map[string]string{
			"tags":     `DELETE FROM crmguard_encryption_keyset WHERE tenant = 't1' AND purpose = 'seal'`,
			"keys":     `DELETE FROM crmguard_encryption_keyset WHERE tenant = 't1' AND purpose = 'wrap'`,
			"damaged":  `UPDATE crmguard_encryption_keyset SET wrapped = former WHERE tenant = 't1' AND purpose = 'wrap'`,
			"all":      `DELETE FROM crmguard_encryption_keyset WHERE tenant = 't1' AND purpose = 'branch'`,
			"ours":     `DELETE FROM crmguard_encryption_keyset WHERE tenant = '' AND purpose = 'branch'`,
			"manifest": `DELETE FROM crmguard_encryption_keyset WHERE tenant = '' AND purpose = 'manifest'`,
			"owner":    `DELETE FROM crmguard_encryption_owner WHERE owner = 'p1'`,
		} {
			e.spoil(t, spoil)
			newest, err := keycopy.Newest(dir)
			require.NoError(t, err)
			_, err = keycopy.Repair(t.Context(), alone(e.cfg), newest)
			require.NoError(t, err, what)
			e.clock.Move(encryption.DefaultLease)
			e.requireOpens(t, e.table(t, e.another(t), contactsTable))
		}
		require.NoError(t, e.rewrapAgain(t, dir))
		e.requireOpens(t, e.table(t, e.another(t), contactsTable))
		require.Equal(t, []uint32{requireOneBranch(t, e, tenant)}, wrapKeys(t, e, tenant), "an old wrap key lives on")
	})
}

// The keyset of before an epoch, which an older copy brought back, goes for that of
// the epoch's own copy, under which the newest keys are wrapped.
func TestTheCopyOfAnEpochBringsItsWrapKeyBackOverAnOlderCopys(t *testing.T) {
	e := newEnv(t, 1)
	e.insert(t, "c1", "p1")
	dir := t.TempDir()
	first, err := e.vault.WriteCopy(t.Context(), t.TempDir())
	require.NoError(t, err)
	older := kept(t, first.Path)
	e.halfClosed(t, dir, 1, true)
	e.contacts = e.table(t, e.another(t), contactsTable)
	e.insert(t, "c2", "p2") // under the new wrap key, and in no copy
	e.spoil(t, `UPDATE crmguard_encryption_keyset SET wrapped = zeroblob(80) WHERE tenant = 't1' AND purpose = 'wrap'`)
	_, err = keycopy.Repair(t.Context(), alone(e.cfg), older)
	damaged := damagedRows(t, err).Rows
	require.Equal(t, "p2", damaged[0].Owner)
	v := e.another(t)
	v.Copier(dir)
	require.ErrorIs(t, v.GiveUp(t.Context(), damaged...), encryption.ErrDamaged)
	newest, err := keycopy.Newest(dir)
	require.NoError(t, err)
	_, err = keycopy.Repair(t.Context(), alone(e.cfg), newest)
	require.NoError(t, err)
	e.requireOpens(t, e.table(t, e.another(t), contactsTable))
}
