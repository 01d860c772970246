package encryption_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/encryption"
	"github.com/crmguard/crmguard/encryption/keycopy"
	"github.com/crmguard/crmguard/encryption/keystore"
	"github.com/crmguard/crmguard/internal/testdb"
)

// Whom a process has erased, and what key version it has destroyed, after the newest
// copy was written, it brings back for no row that says otherwise: neither from the
// copy nor out of memory, neither by itself nor when it closes an epoch. The state is
// put right again, or is named where the copy does not know the row.
func TestWhatAProcessTookAwayAfterTheLastCopyStaysAway(t *testing.T) {
	testdb.Each(t, func(t *testing.T, d testdb.Database) {
		for name, says := range map[string]string{
			"erased, lives":         `UPDATE crmguard_encryption_owner SET state = 'live' WHERE owner = 'p1'`,
			"erased, lost":          `DELETE FROM crmguard_encryption_owner WHERE owner = 'p1'`,
			"destroyed, is retired": `UPDATE crmguard_encryption_generation SET state = 'retired' WHERE state = 'destroyed'`,
			"destroyed, lost":       `DELETE FROM crmguard_encryption_generation WHERE state = 'destroyed'`,
		} {
			t.Run(name, func(t *testing.T) {
				e := newEnvOn(t, testdb.New(t, d.Name))
				e.insert(t, "c1", "p1")
				rows, err := e.store.Tenant(t.Context(), tenant)
				require.NoError(t, err)
				_, err = e.vault.NewKeyVersion(t.Context(), tenant)
				require.NoError(t, err)
				dir := t.TempDir()
				whole, err := e.vault.WriteCopy(t.Context(), dir)
				require.NoError(t, err)
				v := e.another(t)
				if name[0] == 'e' {
					_, err = v.Erase(t.Context(), tenant, "p1")
				} else {
					err = v.DestroyKeyVersion(t.Context(), tenant, rows.KeyVersions[0].KeyVersion, nobodyHolds)
				}
				require.NoError(t, err)
				e.spoil(t, says)
				_, err = v.RepairFromCopy(t.Context(), whole.Path)
				require.NoError(t, err)
				e.requireKeys(t, "p1", 0)

				e.spoil(t, says)
				_, err = v.RewrapKeys(t.Context(), keycopy.Rewrap{KEK: "kek-2", Copy: v.Copier(dir), Destroy: e.kms.destroy})
				require.NoError(t, err)
				e.requireKeys(t, "p1", 0)
				newest, err := keycopy.Newest(dir)
				require.NoError(t, err)
				_, err = e.another(t).RepairFromCopy(t.Context(), newest)
				require.NoError(t, err)
				e.requireKeys(t, "p1", 0)
			})
		}
	})
}

// Where no copy knows the owner there is none to put back, and he is named.
func TestWhoLivesAgainAfterThisProcessErasedHimIsDamage(t *testing.T) {
	e := newEnv(t, 1)
	e.insert(t, "c1", "p1")
	_, err := e.vault.Erase(t.Context(), tenant, "p1")
	require.NoError(t, err)
	e.spoil(t, `UPDATE crmguard_encryption_owner SET state = 'live' WHERE owner = 'p1'`)
	_, err = e.vault.WriteCopy(t.Context(), t.TempDir())
	require.Equal(t, "p1", damagedRows(t, err).Rows[0].Owner)
	_, err = e.vault.Erase(t.Context(), tenant, "p1")
	require.NoError(t, err)
	_, err = e.vault.WriteCopy(t.Context(), t.TempDir())
	require.NoError(t, err)
}

// The same for a key version that no copy knows: a key that is put back under it opens,
// and brings it back as destroyed, which takes the key along.
func TestADestroyedKeyVersionComesBackForNoKeyThatIsPutBack(t *testing.T) {
	e := newEnv(t, 1)
	whole, err := e.vault.WriteCopy(t.Context(), t.TempDir())
	require.NoError(t, err)
	id, err := e.vault.NewKeyVersion(t.Context(), tenant)
	require.NoError(t, err)
	e.insert(t, "c1", "p1")
	rows, err := e.store.Owners(t.Context(), tenant, []string{"p1"})
	require.NoError(t, err)
	_, err = e.vault.NewKeyVersion(t.Context(), tenant)
	require.NoError(t, err)
	v := e.another(t)
	require.NoError(t, v.DestroyKeyVersion(t.Context(), tenant, id, nobodyHolds))
	e.spoil(t, `DELETE FROM crmguard_encryption_generation WHERE state = 'destroyed'`)
	overwrite(t, e.store, keystore.Change{Put: keystore.Rows{Keys: rows.Keys}, Narrows: true})
	_, err = v.NewKeyVersion(t.Context(), tenant) // what it knows then is what the tables say
	require.NoError(t, err)
	_, err = v.RepairFromCopy(t.Context(), whole.Path)
	require.NoError(t, err)
	require.Equal(t, keystore.Destroyed, e.stateOf(t, id))
	e.requireKeys(t, "p1", 0)
}

// Nor does memory bring back what somebody put back, and this process read.
func TestMemoryBringsNobodyBackWhomThisProcessErased(t *testing.T) {
	for _, what := range []string{"owner", "key version"} {
		t.Run(what, func(t *testing.T) {
			e, first, _, _ := twoKeyVersions(t)
			owners, err := e.store.Owners(t.Context(), tenant, []string{"p1"})
			require.NoError(t, err)
			versions, err := e.store.Tenant(t.Context(), tenant)
			require.NoError(t, err)
			v := e.another(t)
			if what == "owner" {
				_, err = v.Erase(t.Context(), tenant, "p1")
			} else {
				err = v.DestroyKeyVersion(t.Context(), tenant, first, nobodyHolds)
			}
			require.NoError(t, err)
			overwrite(t, e.store, keystore.Change{Put: keystore.Rows{Owners: owners.Owners, Keys: owners.Keys, KeyVersions: versions.KeyVersions}, Narrows: true})
			e.clock.Move(encryption.DefaultLease)
			_, err = e.table(t, v, contactsTable).Reader(t.Context(), tenant, "p1")
			require.NoError(t, err)
			e.spoil(t, `DELETE FROM crmguard_encryption_key WHERE owner = 'p1'`)
			_, err = v.RepairFromCaches(t.Context())
			require.NoError(t, err)
			e.requireKeys(t, "p1", 0)
		})
	}
}

// Nor does the memory of a process that stood idle meanwhile, where the row is lost
// that says what another process took away: the history tells. What nobody took away
// it brings back.
func TestAnIdleProcessBringsNobodyBackWhoWasErasedMeanwhile(t *testing.T) {
	testdb.Each(t, func(t *testing.T, d testdb.Database) {
		for _, what := range []string{"owner", "key version"} {
			t.Run(what, func(t *testing.T) {
				e := newEnvOn(t, testdb.New(t, d.Name))
				e.insert(t, "c1", "p1")
				rows, err := e.store.Tenant(t.Context(), tenant)
				require.NoError(t, err)
				_, err = e.vault.NewKeyVersion(t.Context(), tenant)
				require.NoError(t, err)
				e.insert(t, "c2", "p2")
				idle := e.another(t)
				_, err = e.table(t, idle, contactsTable).Reader(t.Context(), tenant, "p1", "p2")
				require.NoError(t, err)
				e.clock.Move(time.Hour)
				v := e.another(t)
				if what == "owner" {
					_, err = v.Erase(t.Context(), tenant, "p1")
					require.NoError(t, err)
					e.spoil(t, `DELETE FROM crmguard_encryption_owner WHERE owner = 'p1'`)
				} else {
					require.NoError(t, v.DestroyKeyVersion(t.Context(), tenant, rows.KeyVersions[0].KeyVersion, nobodyHolds))
					e.spoil(t, `DELETE FROM crmguard_encryption_generation WHERE state = 'destroyed'`)
				}
				e.spoil(t, `DELETE FROM crmguard_encryption_key WHERE owner = 'p2'`)
				e.clock.Move(time.Hour)
				_, err = idle.RepairFromCaches(t.Context())
				require.NoError(t, err)
				e.requireKeys(t, "p1", 0)
				if what == "owner" { // a key version is the whole tenant's, and so is what it narrows
					e.requireKeys(t, "p2", 1)
				}
			})
		}
	})
}
