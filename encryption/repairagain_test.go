package encryption_test

import (
	"context"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/encryption"
	"github.com/crmguard/crmguard/encryption/keystore"
)

// widelyDamaged makes an installation of two tenants, writes a copy and loses rows
// of several kinds.
func widelyDamaged(t *testing.T) (e *env, copied string) {
	t.Helper()
	e = newEnv(t, 4)
	require.NoError(t, e.vault.AddTenant(t.Context(), "t2"))
	for _, p := range []string{"p1", "p2", "p3"} {
		e.insert(t, "c"+p, p)
	}
	require.NoError(t, e.vault.AddAlias(t.Context(), tenant, "p3", "p2"))
	require.NoError(t, e.vault.Ensure(t.Context(), "t2", "q1"))
	whole, err := e.vault.WriteCopy(t.Context(), t.TempDir())
	require.NoError(t, err)
	for _, lost := range []string{
		`DELETE FROM crmguard_encryption_keyset WHERE tenant = 't2' AND purpose = 'log'`,
		`DELETE FROM crmguard_encryption_generation WHERE tenant = 't2'`,
		`DELETE FROM crmguard_encryption_key WHERE owner IN ('p1', 'q1')`,
		`DELETE FROM crmguard_encryption_owner WHERE owner IN ('p1', 'q1')`,
		`DELETE FROM crmguard_encryption_alias`,
		`DELETE FROM crmguard_encryption_index`,
	} {
		e.spoil(t, lost)
	}
	return e, whole.Path
}

// requireWhole shows that nothing of what the copy has is missing.
func requireWhole(t *testing.T, e *env) {
	t.Helper()
	_, err := e.another(t).WriteCopy(t.Context(), t.TempDir())
	require.NoError(t, err)
	e.requireOpens(t, e.table(t, e.another(t), contactsTable))
	rows, err := e.store.Owners(t.Context(), "t2", []string{"q1"})
	require.NoError(t, err)
	require.Len(t, rows.Owners, 1)
	require.Len(t, rows.Keys, 1)
	rows, err = e.store.Owners(t.Context(), tenant, []string{"p3"})
	require.NoError(t, err)
	require.Len(t, rows.Aliases, 1)
}

// A repair that was killed after any of its changes is called again, and goes on.
func TestARepairThatWasInterruptedGoesOn(t *testing.T) {
	for left := 0; ; left++ {
		require.Less(t, left, 20)
		e, copied := widelyDamaged(t)
		cfg := e.cfg
		cfg.Keys = &failing{Store: e.store, left: left}
		dying, err := encryption.Open(t.Context(), cfg)
		require.NoError(t, err)
		_, killed := dying.RepairFromCopy(t.Context(), copied)
		if killed != nil {
			require.ErrorIs(t, killed, errKilled)
			_, err := e.another(t).RepairFromCopy(t.Context(), copied)
			require.NoError(t, err, "after %d changes", left)
		}
		requireWhole(t, e)
		if killed == nil {
			require.Greater(t, left, 3)
			return
		}
	}
}

// Two at once, as two replicas do it, take each other for no erasure.
func TestTwoRepairsAtOnceBringEverythingBack(t *testing.T) {
	for range 5 {
		e, copied := widelyDamaged(t)
		var group sync.WaitGroup
		errs := make([]error, 2)
		for i := range errs {
			v := e.another(t)
			group.Go(func() { _, errs[i] = v.RepairFromCopy(context.Background(), copied) })
		}
		group.Wait()
		require.NoError(t, errs[0])
		require.NoError(t, errs[1])
		requireWhole(t, e)
	}
}

// What only adds, and what takes away nothing that a copy is asked for, leaves a copy
// as good as it was: also for a second loss.
func TestACopyStaysGoodForARepairWhereNothingWasTakenAway(t *testing.T) {
	for name, change := range map[string]func(t *testing.T, e *env, copied string){
		"nothing": func(*testing.T, *env, string) {},
		"a repair of another loss": func(t *testing.T, e *env, copied string) {
			t.Helper()
			e.spoil(t, `DELETE FROM crmguard_encryption_owner WHERE owner = 'p2'`)
			_, err := e.another(t).RepairFromCopy(t.Context(), copied)
			require.NoError(t, err)
		},
		"a repair from memory": func(t *testing.T, e *env, _ string) {
			t.Helper()
			e.spoil(t, `DELETE FROM crmguard_encryption_key WHERE owner = 'p2'`)
			report, err := e.vault.RepairFromCaches(t.Context())
			require.NoError(t, err)
			require.NotZero(t, report.Keys)
		},
		"a stray that was removed": func(t *testing.T, e *env, copied string) {
			t.Helper()
			e.spoil(t, `INSERT INTO crmguard_encryption_generation (tenant, generation, state, created) VALUES ('t1', -1, 'active', 0)`)
			report, err := e.another(t).RepairFromCopy(t.Context(), copied)
			require.NoError(t, err)
			require.Equal(t, 1, report.Removed)
		},
		"a key that was given up": func(t *testing.T, e *env, _ string) {
			t.Helper()
			require.NoError(t, e.vault.Ensure(t.Context(), tenant, "p9"))
			e.spoil(t, `UPDATE crmguard_encryption_key SET wrapped = zeroblob(65) WHERE owner = 'p9'`)
			v := e.another(t)
			_, err := v.WriteCopy(t.Context(), t.TempDir())
			require.NoError(t, v.GiveUp(t.Context(), damagedRows(t, err).Rows...))
		},
		"a tenant": func(t *testing.T, e *env, _ string) {
			t.Helper()
			require.NoError(t, e.vault.AddTenant(t.Context(), "t3"))
		},
		"a merge": func(t *testing.T, e *env, _ string) {
			t.Helper()
			require.NoError(t, e.vault.AddAlias(t.Context(), tenant, "p2", "p3"))
		},
		"an index": func(t *testing.T, e *env, _ string) {
			t.Helper()
			people := e.table(t, e.another(t), after())
			require.NoError(t, people.FenceOldWriters(t.Context(), tenant))
			require.NoError(t, people.RebuildIndexes(e.db, tenant)(t.Context()))
		},
		"a longer lease": func(t *testing.T, e *env, _ string) {
			t.Helper()
			require.NoError(t, e.vault.ChangeLease(t.Context(), encryption.DefaultLease*2))
		},
		"a position": func(t *testing.T, e *env, _ string) {
			t.Helper()
			mustPosition(t, e.vault)
		},
	} {
		t.Run(name, func(t *testing.T) {
			e := newEnv(t, 1)
			for _, p := range []string{"p1", "p2", "p3"} {
				e.insert(t, "c"+p, p)
			}
			whole, err := e.vault.WriteCopy(t.Context(), t.TempDir())
			require.NoError(t, err)
			change(t, e, whole.Path)
			e.spoil(t, `DELETE FROM crmguard_encryption_owner WHERE owner = 'p1'`)
			report, err := e.another(t).RepairFromCopy(t.Context(), whole.Path)
			require.NoError(t, err)
			require.Equal(t, 1, report.Owners)
			e.requireOpens(t, e.table(t, e.another(t), contactsTable))
		})
	}
}

// What was taken away on purpose may be what is missing: a copy of before brings no
// owner back then.
func TestACopyBringsNobodyBackWhereSomethingWasTakenAway(t *testing.T) {
	none := func(context.Context, string, uint32) (int, string, error) { return 0, "", nil }
	for name, take := range map[string]func(t *testing.T, e *env) error{
		"an erasure": func(t *testing.T, e *env) error {
			t.Helper()
			_, err := e.vault.Erase(t.Context(), tenant, "p2")
			return err
		},
		"a new key version": func(t *testing.T, e *env) error {
			t.Helper()
			_, err := e.vault.NewKeyVersion(t.Context(), tenant)
			return err
		},
		"a key version that was destroyed": func(t *testing.T, e *env) error {
			t.Helper()
			rows, err := e.store.Tenant(t.Context(), tenant)
			require.NoError(t, err)
			for _, row := range rows.KeyVersions {
				if row.State == keystore.Retired {
					return e.vault.DestroyKeyVersion(t.Context(), tenant, row.KeyVersion, none)
				}
			}
			return nil
		},
		"a merge that was taken back": func(t *testing.T, e *env) error {
			t.Helper()
			return e.vault.Unmerge(t.Context(), tenant, "p3", "p2")
		},
		"an index that was retired": func(t *testing.T, e *env) error {
			t.Helper()
			def := contactsTable
			def.Columns = []encryption.Column{{Name: "email"}, {Name: "note", Level: encryption.LevelRow}}
			return e.table(t, e.another(t), def).RetireIndex(t.Context(), tenant, "email_index", 1)
		},
	} {
		t.Run(name, func(t *testing.T) {
			e := newEnv(t, 1)
			require.NoError(t, e.vault.Ensure(t.Context(), tenant, "p9"))
			_, err := e.vault.NewKeyVersion(t.Context(), tenant)
			require.NoError(t, err)
			require.NoError(t, e.vault.Ensure(t.Context(), tenant, "p1", "p2", "p3"))
			_, err = e.contacts.Writer(t.Context(), tenant, "p1") // which makes the index known
			require.NoError(t, err)
			require.NoError(t, e.vault.AddAlias(t.Context(), tenant, "p3", "p2"))
			whole, err := e.vault.WriteCopy(t.Context(), t.TempDir())
			require.NoError(t, err)
			require.NoError(t, take(t, e))
			e.spoil(t, `DELETE FROM crmguard_encryption_owner WHERE owner = 'p1'`)
			report, err := e.another(t).RepairFromCopy(t.Context(), whole.Path)
			damagedRows(t, err)
			require.Zero(t, report.Owners)
		})
	}
}

// What the newest copy that a process knows of has as gone for ever does not come back
// out of an older one that is handed in, whatever somebody did to the store.
func TestAnOlderCopyRevivesNothing(t *testing.T) {
	e := newEnv(t, 1)
	none := func(context.Context, string, uint32) (int, string, error) { return 0, "", nil }
	e.insert(t, "c1", "p1")
	e.insert(t, "c2", "p2")
	rows, err := e.store.Tenant(t.Context(), tenant)
	require.NoError(t, err)
	first := rows.KeyVersions[0].KeyVersion
	wrapped, err := e.vault.WrappedKeys(t.Context(), tenant, "p1")
	require.NoError(t, err)
	_, err = e.vault.NewKeyVersion(t.Context(), tenant)
	require.NoError(t, err)
	require.NoError(t, e.vault.Ensure(t.Context(), tenant, "p1", "p2"))
	older, err := e.vault.WriteCopy(t.Context(), t.TempDir())
	require.NoError(t, err)
	require.NoError(t, e.vault.DestroyKeyVersion(t.Context(), tenant, first, none))
	_, err = e.vault.Erase(t.Context(), tenant, "p2")
	require.NoError(t, err)
	dir := t.TempDir()
	_, err = e.vault.WriteCopy(t.Context(), dir)
	require.NoError(t, err)
	e.spoil(t, `DELETE FROM crmguard_encryption_generation WHERE state = 'destroyed'`)
	e.spoil(t, `INSERT INTO crmguard_encryption_key (tenant, owner, generation, wrapped) VALUES (?, 'p1', ?, ?)`, tenant, int64(first), wrapped[0])
	e.spoil(t, `UPDATE crmguard_encryption_owner SET state = 'live' WHERE owner = 'p2'`)

	v := e.another(t)
	_, err = v.WriteCopy(t.Context(), dir) // as an application is wired: it knows the folder
	damagedRows(t, err)
	report, err := v.RepairFromCopy(t.Context(), older.Path)
	require.NoError(t, err)
	require.Equal(t, 1, report.Tombstones)
	require.Equal(t, 1, report.Removed, "the key that was put back")
	require.Equal(t, keystore.Destroyed, e.stateOf(t, first))
	have, err := e.store.Owners(t.Context(), tenant, []string{"p1", "p2"})
	require.NoError(t, err)
	require.Len(t, have.Keys, 1, "p1's newest")
	_, err = v.WriteCopy(t.Context(), dir)
	require.NoError(t, err)
}
