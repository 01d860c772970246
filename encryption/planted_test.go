package encryption_test

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/encryption"
	"github.com/crmguard/crmguard/encryption/keycopy"
)

const entombs = `UPDATE crmguard_encryption_owner SET state = 'tombstone' WHERE owner IN ('p1', 'p2')`

// warmAndFresh are a process that has just opened all contacts, and one that erases,
// and has known for longer than a lease what the store holds.
func (e *env) warmAndFresh(t *testing.T) (warm, fresh *encryption.Vault) {
	t.Helper()
	warm, fresh = e.another(t), e.another(t)
	e.clock.Move(encryption.DefaultLease + time.Second)
	e.requireOpens(t, e.table(t, warm, contactsTable))
	return warm, fresh
}

// An erasure that deletes keys waits until nobody else has them, also where the
// tombstone stood before: somebody wrote that one, and nobody has waited for it.
func TestAnErasureThatDeletesKeysWaits(t *testing.T) {
	e := newEnv(t, 4)
	e.insert(t, "c1", "p1")
	e.insert(t, "c2", "p2")
	warm, fresh := e.warmAndFresh(t)
	e.spoil(t, entombs)
	begun := e.clock.Now()
	receipts, err := fresh.EraseMany(t.Context(), tenant, "p1", "p2")
	require.NoError(t, err)
	require.Equal(t, encryption.DefaultLease, e.clock.Now().Sub(begun))
	state, err := e.store.State(t.Context())
	require.NoError(t, err)
	for i, id := range []string{"c1", "c2"} {
		require.Equal(t, 1, receipts[i].Keys)
		require.Equal(t, state.Sequence, receipts[i].Sequence)
		require.Equal(t, e.clock.Now(), receipts[i].Unreadable)
		require.ErrorIs(t, e.openError(t, warm, id), encryption.ErrErased)
	}
	// Once more, and nothing is waited for.
	e.clock.Move(encryption.DefaultLease)
	begun = e.clock.Now()
	again, err := fresh.Erase(t.Context(), tenant, "p1")
	require.NoError(t, err)
	require.Equal(t, begun, e.clock.Now())
	require.Zero(t, again.Unreadable)
	require.Equal(t, receipts[0].Sequence, again.Sequence)
}

// revived is an installation whose p1 was erased, copied so, and put back by hand: one
// process has the key in memory, the other one has just begun.
func revived(t *testing.T) (e *env, copied string, warm, fresh *encryption.Vault) {
	t.Helper()
	e = newEnv(t, 4)
	e.insert(t, "c1", "p1")
	wrapped, err := e.vault.WrappedKeys(t.Context(), tenant, "p1")
	require.NoError(t, err)
	_, err = e.vault.Erase(t.Context(), tenant, "p1")
	require.NoError(t, err)
	whole, err := e.vault.WriteCopy(t.Context(), t.TempDir())
	require.NoError(t, err)
	e.spoil(t, `UPDATE crmguard_encryption_owner SET state = 'live' WHERE owner = 'p1'`)
	require.NoError(t, putBack(t, e, wrapped[0]))
	warm, fresh = e.warmAndFresh(t)
	return e, whole.Path, warm, fresh
}

// A tombstone that a repair puts over a revived person takes the keys along just now,
// whenever the person was erased: who erases then waits for the others.
func TestAnErasureAfterATombstoneCameBackWaits(t *testing.T) {
	e, copied, warm, fresh := revived(t)
	report, err := fresh.RepairFromCopy(t.Context(), copied)
	require.NoError(t, err)
	require.Equal(t, keycopy.RepairReport{Owners: 1, Tombstones: 1}, report)
	_, err = fresh.Erase(t.Context(), tenant, "p1")
	require.NoError(t, err)
	require.ErrorIs(t, e.openError(t, warm, "c1"), encryption.ErrErased)
	_, err = fresh.WriteCopy(t.Context(), t.TempDir())
	require.NoError(t, err)
}

// So is a key that a repair removes from under a tombstone: who was revived for a
// while may be in the memory of others.
func TestAnErasureAfterAStrayKeyWasRemovedWaits(t *testing.T) {
	e, copied, warm, fresh := revived(t)
	e.spoil(t, entombs)
	report, err := fresh.RepairFromCopy(t.Context(), copied)
	require.NoError(t, err)
	require.Equal(t, keycopy.RepairReport{Removed: 1}, report)
	_, err = fresh.Erase(t.Context(), tenant, "p1")
	require.NoError(t, err)
	require.ErrorIs(t, e.openError(t, warm, "c1"), encryption.ErrErased)
}

// Whatever state a key version is found in, a slip may have written it over the active
// one: a value that was sealed before comes within the longest transaction, and is
// asked about then.
func TestADestructionWaitsWhateverStateItFinds(t *testing.T) {
	for _, state := range []string{"retired", "destroying", "deleting", "destroyed"} {
		t.Run(state, func(t *testing.T) {
			e := newEnv(t, 4)
			e.insert(t, "c1", "p1")
			first := keyVersionOf(t, e, "c1")
			_, err := e.db.ExecContext(t.Context(), `ALTER TABLE contacts RENAME TO later`) // its INSERT is on its way
			require.NoError(t, err)
			_, err = e.db.ExecContext(t.Context(), contactsSQL)
			require.NoError(t, err)
			begun, came := e.clock.Now(), false
			holder := e.contacts.Holder(e.db)
			asked := func(ctx context.Context, of string, keyVersion uint32) (int, string, error) {
				if !came && e.clock.Now().Sub(begun) >= encryption.DefaultLongestTransaction {
					came = true
					_, err := e.db.ExecContext(ctx, `INSERT INTO contacts SELECT * FROM later`)
					require.NoError(t, err)
				}
				return holder(ctx, of, keyVersion)
			}
			e.spoil(t, `UPDATE crmguard_encryption_generation SET state = '`+state+`'`)
			v := e.another(t)
			_, err = v.NewKeyVersion(t.Context(), tenant)
			require.NoError(t, err)
			require.ErrorIs(t, v.DestroyKeyVersion(t.Context(), tenant, first, asked), encryption.ErrInUse)
			require.True(t, came)
			e.requireKeys(t, "p1", 1)
		})
	}
}

// What a process knew of a key version before it was the active one again is about
// another time: the wait begins when it is retired.
func TestADestructionWaitsFromTheLastRetirementOn(t *testing.T) {
	e := newEnv(t, 4)
	e.insert(t, "c1", "p1")
	first := keyVersionOf(t, e, "c1")
	e.spoil(t, `UPDATE crmguard_encryption_generation SET state = 'destroyed'`)
	v := e.another(t)
	require.ErrorIs(t, v.DestroyKeyVersion(t.Context(), tenant, first, e.contacts.Holder(e.db)), encryption.ErrInUse)
	e.spoil(t, `UPDATE crmguard_encryption_generation SET state = 'active'`)
	e.clock.Move(time.Hour)
	_, err := v.NewKeyVersion(t.Context(), tenant)
	require.NoError(t, err)
	begun := e.clock.Now()
	require.NoError(t, v.DestroyKeyVersion(t.Context(), tenant, first, nobodyHolds))
	require.Equal(t, 2*encryption.DefaultLease+encryption.DefaultLongestTransaction, e.clock.Now().Sub(begun))
}

// A row that says erased or destroyed while the key stands may be put right, and the
// value is found then: a rebuild before leaves its index value.
func TestAnIndexValueStaysWhileItsKeyStands(t *testing.T) {
	for name, spoil := range map[string][2]string{
		"destroyed": {saysDestroyed, `UPDATE crmguard_encryption_generation SET state = 'retired' WHERE state = 'destroyed'`},
		"erased":    {entombs, `UPDATE crmguard_encryption_owner SET state = 'live'`},
	} {
		t.Run(name, func(t *testing.T) {
			e := newEnv(t, 4)
			people := e.table(t, e.vault, after())
			require.NoError(t, insertMail(t, e.db, people, "c1", "p1", true))
			_, err := e.vault.NewKeyVersion(t.Context(), tenant)
			require.NoError(t, err)
			require.NoError(t, insertMail(t, e.db, people, "c3", "p3", true))
			e.spoil(t, spoil[0])
			report, err := e.table(t, e.another(t), after()).Rebuild(t.Context(), e.db, tenant)
			require.NoError(t, err)
			require.Equal(t, []int{2, 0, 1}, []int{report.Rows, report.Corrected, report.Unreadable})
			e.spoil(t, spoil[1])
			n, err := findMail(t, e.db, e.table(t, e.another(t), after()), "p1")
			require.NoError(t, err)
			require.Equal(t, 1, n)

			// Once the key is gone, the index value goes.
			_, err = e.vault.Erase(t.Context(), tenant, "p1")
			require.NoError(t, err)
			report, err = e.table(t, e.another(t), after()).Rebuild(t.Context(), e.db, tenant)
			require.NoError(t, err)
			require.Equal(t, []int{2, 1, 0}, []int{report.Rows, report.Corrected, report.Unreadable})
		})
	}
}

// A merge that no call makes keeps a person from being written: Unmerge takes it.
// One of two who were erased together stays.
func TestAMergeThatNoCallMakesIsTakenBack(t *testing.T) {
	for _, into := range []string{"p1", "p9"} {
		t.Run(into, func(t *testing.T) {
			e := newEnv(t, 4)
			e.insert(t, "c1", "p1")
			require.NoError(t, e.vault.Ensure(t.Context(), tenant, "p9"))
			_, err := e.vault.Erase(t.Context(), tenant, "p9")
			require.NoError(t, err)
			require.ErrorIs(t, e.vault.AddAlias(t.Context(), tenant, "p1", "p1"), encryption.ErrID)
			require.ErrorIs(t, e.vault.Unmerge(t.Context(), tenant, "p1", "p9"), encryption.ErrErased)
			e.spoil(t, `INSERT INTO crmguard_encryption_alias VALUES ('t1', 'p1', ?)`, into)
			v := e.another(t)
			require.ErrorIs(t, e.writes(t, v, "p1"), encryption.ErrMerged)
			require.NoError(t, v.Unmerge(t.Context(), tenant, "p1", into))
			require.NoError(t, e.writes(t, v, "p1"))
			e.requireOpens(t, e.table(t, v, contactsTable))

			require.NoError(t, v.AddAlias(t.Context(), tenant, "p1", "p5"))
			_, err = v.Erase(t.Context(), tenant, "p5")
			require.NoError(t, err)
			require.ErrorIs(t, v.Unmerge(t.Context(), tenant, "p1", "p5"), encryption.ErrErased)
		})
	}
}

// A state row that was reset makes no store empty: neither a copy nor a new
// installation is put over the rows that stand.
func TestOnlyAnEmptyStoreIsFilled(t *testing.T) {
	e := newEnv(t, 4)
	e.insert(t, "c1", "p1")
	whole, err := e.vault.WriteCopy(t.Context(), t.TempDir())
	require.NoError(t, err)
	e.spoil(t, `UPDATE crmguard_encryption_store SET store = '', sequence = 0, mark = '', epoch = 0, kek = '', lease = 0, lease_wait = 0`)
	for _, kind := range []string{"alias", "key", "owner", "generation", "index", "keyset", "mark"} { // to the last row
		_, err = encryption.RestoreCopy(t.Context(), e.cfg, whole.Path)
		require.ErrorIs(t, err, encryption.ErrNotEmpty)
		require.ErrorIs(t, keycopy.Restore(t.Context(), alone(e.cfg), whole.Path), encryption.ErrNotEmpty)
		_, err = encryption.Create(t.Context(), e.cfg)
		require.ErrorIs(t, err, encryption.ErrNotEmpty)
		_, err = e.keysDB.ExecContext(t.Context(), `DELETE FROM crmguard_encryption_`+kind)
		require.NoError(t, err)
	}
	v, err := encryption.RestoreCopy(t.Context(), e.cfg, whole.Path)
	require.NoError(t, err)
	e.requireOpens(t, e.table(t, v, contactsTable))
}
