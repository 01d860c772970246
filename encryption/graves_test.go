package encryption_test

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/encryption"
	"github.com/crmguard/crmguard/encryption/jobs"
	"github.com/crmguard/crmguard/encryption/keycopy"
	"github.com/crmguard/crmguard/encryption/keystore"
)

const saysDestroyed = `UPDATE crmguard_encryption_generation SET state = 'destroyed' WHERE state = 'retired'`

// twoKeyVersions is an installation whose p1 has a key of an older key version only,
// with a copy of all of it in a folder, and one that an operator keeps.
func twoKeyVersions(t *testing.T) (e *env, first uint32, dir, copied string) {
	t.Helper()
	e = newEnv(t, 1)
	e.insert(t, "c1", "p1")
	rows, err := e.store.Tenant(t.Context(), tenant)
	require.NoError(t, err)
	first = rows.KeyVersions[0].KeyVersion
	_, err = e.vault.NewKeyVersion(t.Context(), tenant)
	require.NoError(t, err)
	e.insert(t, "c2", "p2")
	dir = t.TempDir()
	whole, err := e.vault.WriteCopy(t.Context(), dir)
	require.NoError(t, err)
	return e, first, dir, kept(t, whole.Path)
}

func (e *env) requireKeys(t *testing.T, person string, n int) {
	t.Helper()
	keys, err := e.another(t).WrappedKeys(t.Context(), tenant, person)
	require.NoError(t, err)
	require.Len(t, keys, n)
}

func nobodyHolds(context.Context, string, uint32) (int, string, error) { return 0, "", nil }

// A row that says that a key version is destroyed, while keys of it stand and open,
// is damage: a true destruction deletes them first. Nothing is deleted for its sake,
// and no copy without the keys replaces one that has them.
func TestKeysOutliveARowThatSaysDestroyed(t *testing.T) {
	for _, reads := range []bool{false, true} {
		e, first, dir, copied := twoKeyVersions(t)
		whole := names(t, dir)
		e.spoil(t, saysDestroyed)
		v := e.another(t)
		if reads { // what it knows then is what the tables say
			require.NoError(t, v.Ensure(t.Context(), tenant, "p2"))
		}
		_, err := v.WriteCopy(t.Context(), dir)
		damaged := damagedRows(t, err)
		require.Equal(t, keystore.KindKey, damaged.Rows[0].Kind)
		require.Equal(t, first, damaged.Rows[0].KeyVersion)
		require.Contains(t, names(t, dir), whole[0], "the whole copy stays")

		_, err = e.vault.Erase(t.Context(), tenant, "p9") // something narrows: no copy tells what happened since
		require.NoError(t, err)
		for _, by := range []*encryption.Vault{v, e.vault, e.another(t)} {
			_, err = by.RepairFromCopy(t.Context(), copied)
			require.Equal(t, keystore.KindKey, damagedRows(t, err).Rows[0].Kind)
		}
		_, err = v.RewrapKeys(t.Context(), keycopy.Rewrap{KEK: "kek-2", Copy: v.Copier(dir), Destroy: e.kms.destroy})
		require.ErrorIs(t, err, encryption.ErrRewrap)
		damagedRows(t, err)
		require.Empty(t, e.kms.gone)
		e.requireKeys(t, "p1", 1)

		e.spoil(t, `UPDATE crmguard_encryption_generation SET state = 'retired' WHERE state = 'destroyed'`)
		e.requireOpens(t, e.table(t, e.another(t), contactsTable))
		_, err = e.another(t).WriteCopy(t.Context(), dir)
		require.NoError(t, err)
	}
}

// Where nothing narrowed since, the copy brings the state back; an epoch does so by
// itself, and takes every value along.
func TestAnEpochBringsBackAKeyVersionThatOnlySaysDestroyed(t *testing.T) {
	e, first, dir, _ := twoKeyVersions(t)
	e.spoil(t, saysDestroyed)
	v := e.another(t)
	report, err := v.RewrapKeys(t.Context(), keycopy.Rewrap{KEK: "kek-2", Copy: v.Copier(dir), Destroy: e.kms.destroy})
	require.NoError(t, err)
	require.Equal(t, 1, report.Repaired)
	require.Equal(t, keystore.Retired, e.stateOf(t, first))
	e.requireOpens(t, e.table(t, e.another(t), contactsTable))
}

// A copy with holes was written of the very damage: what it says is gone is so only
// where the store does not know better.
func TestACopyWithHolesBuriesNobody(t *testing.T) {
	for name, spoil := range map[string][2]string{
		"a key version": {saysDestroyed, `UPDATE crmguard_encryption_generation SET state = 'retired' WHERE state = 'destroyed'`},
		"an owner":      {`UPDATE crmguard_encryption_owner SET state = 'tombstone' WHERE owner = 'p1'`, `UPDATE crmguard_encryption_owner SET state = 'live' WHERE state = 'tombstone'`},
	} {
		t.Run(name, func(t *testing.T) {
			e, first, dir, _ := twoKeyVersions(t)
			e.spoil(t, spoil[0])
			_, err := e.another(t).WriteCopy(t.Context(), dir)
			holes := holesOf(t, err)
			e.spoil(t, spoil[1])
			_, err = e.another(t).RepairFromCopy(t.Context(), holes)
			require.NoError(t, err)
			require.Equal(t, keystore.Retired, e.stateOf(t, first))
			e.requireKeys(t, "p1", 1)
			e.requireOpens(t, e.table(t, e.another(t), contactsTable))
		})
	}
}

// The operator decides: DestroyKeyVersion once more takes away what stands under a
// key version that is destroyed, unless a value needs it.
func TestAKeyVersionIsDestroyedOnceMore(t *testing.T) {
	e, first, dir, _ := twoKeyVersions(t)
	e.spoil(t, saysDestroyed)
	v := e.another(t)
	held := func(context.Context, string, uint32) (int, string, error) { return 1, "contacts", nil }
	inUse := (*jobs.InUseError)(nil)
	require.ErrorAs(t, v.DestroyKeyVersion(t.Context(), tenant, first, held), &inUse)
	e.requireKeys(t, "p1", 1)
	require.NoError(t, v.DestroyKeyVersion(t.Context(), tenant, first, nobodyHolds))
	e.requireKeys(t, "p1", 0)
	_, err := v.WriteCopy(t.Context(), dir)
	require.NoError(t, err)
	require.Equal(t, keystore.Destroyed, e.stateOf(t, first))
}

// A tombstone over a key that stands and opens is damage, or somebody put the key
// back: neither is the key deleted nor the person brought back before an operator
// says which. Erase once more takes it away for good.
func TestATombstoneOverALivingKeyDecidesNothing(t *testing.T) {
	for name, narrows := range map[string]bool{"nothing narrowed": false, "something narrowed": true} {
		t.Run(name, func(t *testing.T) {
			e, _, dir, copied := twoKeyVersions(t)
			whole := names(t, dir)
			if narrows {
				_, err := e.vault.Erase(t.Context(), tenant, "p9")
				require.NoError(t, err)
			}
			e.spoil(t, `UPDATE crmguard_encryption_owner SET state = 'tombstone' WHERE owner = 'p1'`)
			v := e.another(t)
			require.NoError(t, v.Ensure(t.Context(), tenant, "p2"))
			for range 2 {
				_, err := v.RepairFromCopy(t.Context(), copied)
				require.Equal(t, "p1", damagedRows(t, err).Rows[0].Owner)
				_, err = v.WriteCopy(t.Context(), dir)
				require.Equal(t, "p1", damagedRows(t, err).Rows[0].Owner)
				require.Contains(t, names(t, dir), whole[0])
				e.requireKeys(t, "p1", 1)
			}
			have, err := e.store.Owners(t.Context(), tenant, []string{"p1"})
			require.NoError(t, err)
			require.Equal(t, keystore.Tombstone, have.Owners[0].State, "nobody is brought back who may be erased")
			_, err = v.Erase(t.Context(), tenant, "p1")
			require.NoError(t, err)
			e.requireKeys(t, "p1", 0)
			_, err = v.WriteCopy(t.Context(), dir)
			require.NoError(t, err)
		})
	}
}

// beforeSnapshots is a key store with somebody beside it: before is called with the
// number of each snapshot.
type beforeSnapshots struct {
	keystore.Store
	n      int
	before func(n int)
}

func (s *beforeSnapshots) Snapshot(ctx context.Context, f func(keystore.Tx) error) error {
	s.n++
	s.before(s.n)
	return s.Store.Snapshot(ctx, f)
}

// A copy that somebody changes after it was verified, at whatever moment, is refused,
// and nothing that stands in it now is taken.
func TestACopyThatChangesBehindItsVerificationBuriesNobody(t *testing.T) {
	for name, forge := range map[string][3]string{
		"a tombstone":             {`"owner":"p1"`, `"live"`, `"tombstone"`},
		"a destroyed key version": {`"kind":"generation"`, `"retired"`, `"destroyed"`},
	} {
		t.Run(name, func(t *testing.T) {
			e, first, _, copied := twoKeyVersions(t)
			data, err := os.ReadFile(copied)
			require.NoError(t, err)
			lines := strings.Split(string(data), "\n")
			for i, line := range lines {
				if strings.Contains(line, forge[0]) {
					lines[i] = strings.Replace(line, forge[1], forge[2], 1)
				}
			}
			forged := strings.Join(lines, "\n")
			require.NotEqual(t, string(data), forged)
			before := e.dump(t)
			refused := 0
			for at := 1; ; at++ {
				path := filepath.Join(t.TempDir(), "kept.jsonl")
				require.NoError(t, os.WriteFile(path, data, 0o600))
				cfg := e.cfg
				beside := &beforeSnapshots{Store: e.store, before: func(int) {}}
				cfg.Keys = beside
				v, err := encryption.Open(t.Context(), cfg)
				require.NoError(t, err)
				beside.n = 0
				beside.before = func(n int) {
					if n == at {
						require.NoError(t, os.WriteFile(path, []byte(forged), 0o600))
					}
				}
				_, err = v.RepairFromCopy(t.Context(), path)
				require.Equal(t, before, e.dump(t), "changed at %d", at)
				if beside.n < at {
					require.NoError(t, err)
					break
				}
				if err != nil {
					require.ErrorIs(t, err, encryption.ErrCopy)
					refused++
				}
			}
			require.NotZero(t, refused)
			require.Equal(t, keystore.Retired, e.stateOf(t, first))
		})
	}
}
