package encryption_test

import (
	"context"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/encryption"
	"github.com/crmguard/crmguard/encryption/keycopy"
	"github.com/crmguard/crmguard/encryption/keystore"
	"github.com/crmguard/crmguard/encryption/sqlkeys"
	"github.com/crmguard/crmguard/internal/testdb"
)

// newEnvOn is newEnv with the keys in a database of another kind.
func newEnvOn(t *testing.T, d testdb.Database) *env {
	t.Helper()
	e := &env{kms: &keks{keys: map[string][]byte{}, gone: map[string]bool{}}, clock: &clock{t: time.Date(2026, 11, 22, 10, 0, 0, 0, time.UTC)}}
	e.keysDB = d.Open(t)
	require.NoError(t, sqlkeys.Install(t.Context(), e.keysDB))
	var err error
	e.store, err = sqlkeys.Open(t.Context(), e.keysDB)
	require.NoError(t, err)
	e.cfg = encryption.Config{Keys: e.store, KEK: e.kms.get, Now: e.clock.Now, Wait: e.clock.Wait}
	e.vault, err = encryption.Create(t.Context(), e.cfg)
	require.NoError(t, err)
	require.NoError(t, e.vault.AddTenant(t.Context(), tenant))
	e.db = openDB(t, filepath.Join(t.TempDir(), "app.db"), 4)
	_, err = e.db.ExecContext(t.Context(), contactsSQL)
	require.NoError(t, err)
	e.contacts = e.table(t, e.vault, contactsTable)
	return e
}

// rewrapBeside closes an epoch, and does something once the epoch has begun.
func (e *env) rewrapBeside(t *testing.T, dir string, beside func()) error {
	t.Helper()
	cfg, done := e.cfg, false
	changes := &followed{Store: e.store}
	changes.after = func() {
		if !done {
			done = true
			beside()
		}
	}
	cfg.Keys = changes
	v, err := encryption.Open(t.Context(), cfg)
	require.NoError(t, err)
	_, err = v.RewrapKeys(t.Context(), keycopy.Rewrap{KEK: "kek-2", Copy: v.Copier(dir), Destroy: e.kms.destroy})
	require.True(t, done)
	return err
}

func (e *env) rewrapAgain(t *testing.T, dir string) error {
	t.Helper()
	v := e.another(t)
	_, err := v.RewrapKeys(t.Context(), keycopy.Rewrap{KEK: "kek-2", Copy: v.Copier(dir), Destroy: e.kms.destroy})
	return err
}

// One row that says of somebody that he was erased, or of a key version that it was
// destroyed, deletes no key, at whatever moment it is written: an epoch that meets it
// stops before the old KEK goes, and goes on once somebody has said what is true.
func TestAnEpochDeletesNoKeyForOneRow(t *testing.T) {
	testdb.Each(t, func(t *testing.T, d testdb.Database) {
		for name, says := range map[string][2]string{
			"erased":    {`UPDATE crmguard_encryption_owner SET state = 'tombstone' WHERE owner = 'p1'`, `UPDATE crmguard_encryption_owner SET state = 'live' WHERE owner = 'p1'`},
			"destroyed": {`UPDATE crmguard_encryption_generation SET state = 'destroyed'`},
		} {
			t.Run(name, func(t *testing.T) {
				e := newEnvOn(t, testdb.New(t, d.Name))
				e.insert(t, "c1", "p1")
				dir := t.TempDir()
				_, err := e.vault.WriteCopy(t.Context(), dir)
				require.NoError(t, err)
				err = e.rewrapBeside(t, dir, func() { e.spoil(t, says[0]) })
				require.ErrorIs(t, err, encryption.ErrRewrap)
				require.ErrorIs(t, err, encryption.ErrDamaged)
				require.Empty(t, e.kms.gone)
				e.requireKeys(t, "p1", 1)
				if name == "erased" { // the copy has a key version as it was, of an owner it does not know what is true
					err = e.rewrapAgain(t, dir)
					require.ErrorIs(t, err, encryption.ErrRewrap)
					require.True(t, slices.ContainsFunc(damagedRows(t, err).Rows, func(row keycopy.DamagedRow) bool { return row.Kind == keystore.KindKey && row.Owner == "p1" }))
					require.Empty(t, e.kms.gone)
					e.requireKeys(t, "p1", 1)
					e.spoil(t, says[1])
				}
				require.NoError(t, e.rewrapAgain(t, dir))
				e.requireOpens(t, e.table(t, e.another(t), contactsTable))
			})
		}
	})
}

// A key of somebody who was erased, which is put back while an epoch is closed, does
// not live on under the new wrap key: the next call takes it away.
func TestAnEpochWrapsNoKeyOfWhoWasErased(t *testing.T) {
	testdb.Each(t, func(t *testing.T, d testdb.Database) {
		e := newEnvOn(t, d)
		e.insert(t, "c1", "p1")
		rows, err := e.store.Owners(t.Context(), tenant, []string{"p1"})
		require.NoError(t, err)
		_, err = e.vault.Erase(t.Context(), tenant, "p1")
		require.NoError(t, err)
		dir := t.TempDir()
		_, err = e.vault.WriteCopy(t.Context(), dir)
		require.NoError(t, err)
		err = e.rewrapBeside(t, dir, func() {
			_, err := e.store.Update(t.Context(), func(tx keystore.Tx) error {
				return tx.Write(context.Background(), keystore.Change{Put: keystore.Rows{Keys: rows.Keys}})
			})
			require.NoError(t, err)
		})
		require.ErrorIs(t, err, encryption.ErrDamaged)
		require.NoError(t, e.rewrapAgain(t, dir))
		e.requireKeys(t, "p1", 0)
	})
}
