package encryption_test

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/encryption"
	"github.com/crmguard/crmguard/encryption/encryptiontest"
	"github.com/crmguard/crmguard/encryption/keycopy"
	"github.com/crmguard/crmguard/encryption/keystore"
)

// kept copies a key copy out of its folder, as an operator would.
func kept(t *testing.T, path string) string {
	t.Helper()
	data, err := os.ReadFile(path)
	require.NoError(t, err)
	out := filepath.Join(t.TempDir(), "kept.jsonl")
	require.NoError(t, os.WriteFile(out, data, 0o600))
	return out
}

func (e *env) dump(t *testing.T) map[string][]any {
	t.Helper()
	out := map[string][]any{}
	for _, table := range []string{"keyset", "generation", "owner", "key", "alias", "index"} {
		rows, err := e.keysDB.QueryContext(t.Context(), `SELECT * FROM crmguard_encryption_`+table+` ORDER BY 1, 2, 3`)
		require.NoError(t, err)
		columns, err := rows.Columns()
		require.NoError(t, err)
		for rows.Next() {
			row := make([]any, len(columns))
			into := make([]any, len(columns))
			for i := range row {
				into[i] = &row[i]
			}
			require.NoError(t, rows.Scan(into...))
			out[table] = append(out[table], row)
		}
		require.NoError(t, rows.Err())
		require.NoError(t, rows.Close())
	}
	return out
}

// A repair never undoes an erasure or a destruction, whatever the copy has.
func TestARepairBringsNobodyBackWhoWasErased(t *testing.T) {
	e := newEnv(t, 1)
	for _, p := range []string{"p1", "p2", "p3"} {
		e.insert(t, "c"+p, p)
	}
	rows, err := e.store.Tenant(t.Context(), tenant)
	require.NoError(t, err)
	first := rows.KeyVersions[0].KeyVersion
	whole, err := e.vault.WriteCopy(t.Context(), t.TempDir())
	require.NoError(t, err)
	copied := kept(t, whole.Path)
	_, err = e.vault.Erase(t.Context(), tenant, "p1")
	require.NoError(t, err)
	_, err = e.vault.NewKeyVersion(t.Context(), tenant)
	require.NoError(t, err)
	require.NoError(t, e.vault.Ensure(t.Context(), tenant, "p2", "p3"))
	before := e.dump(t)
	report, err := e.vault.RepairFromCopy(t.Context(), copied)
	require.NoError(t, err)
	require.Equal(t, keycopy.RepairReport{}, report)
	require.Equal(t, before, e.dump(t), "a sound store is left as it is")

	// Whether an owner who is gone was erased, an older copy cannot know, nor can a
	// process that did not do it.
	e.spoil(t, `DELETE FROM crmguard_encryption_owner WHERE owner = 'p1'`)
	_, err = e.another(t).RepairFromCopy(t.Context(), copied)
	damaged := damagedRows(t, err)
	require.Equal(t, "p1", damaged.Rows[0].Owner)
	_, err = e.vault.Erase(t.Context(), tenant, "p1")
	require.NoError(t, err, "the way out of that")
	_, err = e.vault.RepairFromCopy(t.Context(), copied)
	require.NoError(t, err)

	none := func(context.Context, string, uint32) (int, string, error) { return 0, "", nil }
	require.NoError(t, e.vault.DestroyKeyVersion(t.Context(), tenant, first, none))
	before = e.dump(t)
	report, err = e.vault.RepairFromCopy(t.Context(), copied)
	require.NoError(t, err)
	require.Equal(t, keycopy.RepairReport{}, report)
	require.Equal(t, before, e.dump(t))
}

// Whoever revives an erased person in the tables is found by the copy that has
// the tombstone, and a repair buries the person again.
func TestATombstoneIsForEver(t *testing.T) {
	e := newEnv(t, 1)
	e.insert(t, "c1", "p1")
	e.insert(t, "c2", "p2")
	wrapped, err := e.vault.WrappedKeys(t.Context(), tenant, "p1")
	require.NoError(t, err)
	_, err = e.vault.Erase(t.Context(), tenant, "p1")
	require.NoError(t, err)
	dir := t.TempDir()
	whole, err := e.vault.WriteCopy(t.Context(), dir)
	require.NoError(t, err)
	revive := func() {
		e.spoil(t, `UPDATE crmguard_encryption_owner SET state = 'live' WHERE owner = 'p1'`)
		require.NoError(t, putBack(t, e, wrapped[0]))
	}
	revive()
	_, err = e.vault.WriteCopy(t.Context(), dir)
	damaged := damagedRows(t, err)
	require.Equal(t, keystore.KindOwner, damaged.Rows[0].Kind)
	report, err := e.vault.RepairFromCopy(t.Context(), whole.Path)
	require.NoError(t, err)
	require.Equal(t, keycopy.RepairReport{Owners: 1, Tombstones: 1}, report)
	left, err := e.vault.WrappedKeys(t.Context(), tenant, "p1")
	require.NoError(t, err)
	require.Empty(t, left)
	_, err = e.contacts.Writer(t.Context(), tenant, "p1")
	require.ErrorIs(t, err, encryption.ErrErased)

	revive()
	_, err = e.vault.RewrapKeys(t.Context(), keycopy.Rewrap{KEK: "kek-2", Copy: e.vault.Copier(dir)})
	require.NoError(t, err)
	left, err = e.vault.WrappedKeys(t.Context(), tenant, "p1")
	require.NoError(t, err)
	require.Empty(t, left, "and the epoch is closed over nobody who was erased")
}

// A copy of another store, or of what the store was in another history, repairs
// nothing.
func TestARepairTakesNothingFromAnotherHistory(t *testing.T) {
	e := newEnv(t, 1)
	e.insert(t, "c1", "p1")
	keptStore := e.keep(t)
	e.insert(t, "c2", "p2")
	lost, err := e.vault.WriteCopy(t.Context(), t.TempDir())
	require.NoError(t, err)
	for _, ahead := range []int64{-1, 0, 2} {
		vault := e.over(t, keptStore)
		for sequenceOf(t, keptStore) < lost.Sequence+ahead {
			_, err := vault.Position(t.Context())
			require.NoError(t, err)
		}
		before := sequenceOf(t, keptStore)
		_, err = vault.RepairFromCopy(t.Context(), lost.Path)
		require.ErrorIs(t, err, encryption.ErrRewound)
		require.Equal(t, before, sequenceOf(t, keptStore))
	}
	other := newEnv(t, 1)
	theirs, err := other.vault.WriteCopy(t.Context(), t.TempDir())
	require.NoError(t, err)
	_, err = e.vault.RepairFromCopy(t.Context(), theirs.Path)
	require.Error(t, err)
	_, err = e.vault.RepairFromCopy(t.Context(), filepath.Join(t.TempDir(), "none"))
	require.ErrorIs(t, err, encryption.ErrCopy)
}

// A key that opens is never replaced: where somebody made another one for the
// same person, the report says so.
func TestARepairReplacesNoKeyThatOpens(t *testing.T) {
	e := newEnv(t, 1)
	e.insert(t, "c1", "p1")
	dir := t.TempDir()
	whole, err := e.vault.WriteCopy(t.Context(), dir)
	require.NoError(t, err)
	e.spoil(t, `DELETE FROM crmguard_encryption_key WHERE owner = 'p1'`)
	again := e.another(t)
	require.NoError(t, again.Ensure(t.Context(), tenant, "p1"), "nothing tells this process")
	before := e.dump(t)
	_, err = again.WriteCopy(t.Context(), dir)
	require.Contains(t, damagedRows(t, err).Rows[0].Reason, "another key")
	report, err := again.RepairFromCopy(t.Context(), whole.Path)
	damagedRows(t, err)
	require.Len(t, report.Conflicts, 1)
	require.Equal(t, "p1", report.Conflicts[0].Owner)
	require.Zero(t, report.Rows())
	require.Equal(t, before, e.dump(t))
}

// An epoch takes away the keys with which a damaged row could be brought back,
// so it brings it back first, and does not begin where it cannot.
func TestAnEpochRepairsFirst(t *testing.T) {
	e := newEnv(t, 1)
	for _, p := range []string{"p1", "p2", "p3"} {
		e.insert(t, "c"+p, p)
	}
	before := e.digest(t)
	dir := t.TempDir()
	_, err := e.vault.WriteCopy(t.Context(), dir)
	require.NoError(t, err)
	e.insert(t, "c4", "p4")
	e.spoil(t, spoilKey, []byte{1, 2, 3})
	e.spoil(t, `UPDATE crmguard_encryption_key SET wrapped = zeroblob(65) WHERE owner = 'p4'`)
	head, err := e.vault.Head(t.Context())
	require.NoError(t, err)

	untold := e.another(t)
	epoch := keycopy.Rewrap{KEK: "kek-2", Destroy: e.kms.destroy, Copy: func(context.Context) error { return nil }}
	_, err = untold.RewrapKeys(t.Context(), epoch)
	require.ErrorIs(t, err, encryption.ErrRewrap)
	require.Equal(t, 2, damagedRows(t, err).Count)
	same, err := e.vault.Head(t.Context())
	require.NoError(t, err)
	require.Equal(t, head, same, "nothing has begun")

	// The copy has p2 and not p4, whose key nobody has any more.
	epoch.Copy = e.vault.Copier(dir)
	report, err := e.vault.RewrapKeys(t.Context(), epoch)
	require.ErrorIs(t, err, encryption.ErrRewrap)
	damaged := damagedRows(t, err)
	require.Equal(t, 1, damaged.Count)
	require.Equal(t, 1, report.Repaired)
	_, err = e.vault.Inventory(t.Context())
	require.NoError(t, err)
	require.NoError(t, e.vault.GiveUp(t.Context(), damaged.Rows...))
	_, err = e.db.ExecContext(t.Context(), `DELETE FROM contacts WHERE id = 'c4'`)
	require.NoError(t, err)
	report, err = e.vault.RewrapKeys(t.Context(), epoch)
	require.NoError(t, err)
	require.Equal(t, 3, report.Rewrapped)
	require.Equal(t, before, e.digest(t))
	e.requireOpens(t, e.contacts)
	e.requireOpens(t, e.table(t, e.another(t), contactsTable))
	path, err := keycopy.Newest(dir)
	require.NoError(t, err)
	require.Len(t, names(t, dir), 1)
	require.NoError(t, openWith(t, e, e.kms, path, e.read(t)))
}

// A row that is damaged while an epoch is half closed is brought back from the
// first copy of that epoch, or from the one before.
func TestAHalfClosedEpochRepairsToo(t *testing.T) {
	for left := 1; left < 7; left++ {
		e := newEnv(t, 1)
		for _, p := range []string{"p1", "p2", "p3"} {
			e.insert(t, "c"+p, p)
		}
		dir := t.TempDir()
		_, err := e.vault.WriteCopy(t.Context(), dir)
		require.NoError(t, err)
		cfg := e.cfg
		cfg.Keys = &failing{Store: e.store, left: left}
		dying, err := encryption.Open(t.Context(), cfg)
		require.NoError(t, err)
		epoch := keycopy.Rewrap{KEK: "kek-2", Copy: dying.Copier(dir), Destroy: e.kms.destroy}
		_, err = dying.RewrapKeys(t.Context(), epoch)
		require.ErrorIs(t, err, errKilled)
		e.spoil(t, spoilKey, make([]byte, 65))
		next := e.another(t)
		epoch.Copy = next.Copier(dir)
		report, err := next.RewrapKeys(t.Context(), epoch)
		require.NoError(t, err, "after %d updates", left)
		require.Equal(t, 1, report.Repaired)
		e.requireOpens(t, e.table(t, e.another(t), contactsTable))
	}
}

// What no copy has is given up by name, and only that.
func TestOnlyWhatDoesNotOpenIsGivenUp(t *testing.T) {
	e := newEnv(t, 1)
	for _, p := range []string{"p1", "p2", "p3"} {
		e.insert(t, "c"+p, p)
	}
	dir := t.TempDir()
	e.spoil(t, spoilKey, []byte{1})
	_, err := e.vault.WriteCopy(t.Context(), dir)
	damaged := damagedRows(t, err)
	before := e.dump(t)
	sound := damaged.Rows[0]
	sound.Owner = "p1"
	rows, err := e.store.Owners(t.Context(), tenant, []string{"p1"})
	require.NoError(t, err)
	opens := sound
	digest := sha256.Sum256(rows.Keys[0].Wrapped)
	opens.Digest = base64.RawURLEncoding.EncodeToString(digest[:])
	for name, row := range map[string]keycopy.DamagedRow{
		"another person":   sound,
		"a key that opens": opens,
		"no key":           {Kind: keystore.KindOwner, Tenant: tenant, Owner: "p2"},
		"no digest":        {Kind: keystore.KindKey, Tenant: tenant, Owner: "p2", KeyVersion: sound.KeyVersion},
		"nobody's tenant":  {Kind: keystore.KindKey, Owner: "p2", KeyVersion: sound.KeyVersion, Digest: sound.Digest},
	} {
		err := e.vault.GiveUp(t.Context(), damaged.Rows[0], row)
		require.ErrorIs(t, err, encryption.ErrDamaged, name)
		require.NotContains(t, err.Error(), "p2")
		require.Equal(t, before, e.dump(t), name)
	}
	e.spoil(t, spoilKey, []byte{2})
	require.ErrorIs(t, e.vault.GiveUp(t.Context(), damaged.Rows...), encryption.ErrDamaged, "it has changed since")
	e.spoil(t, spoilKey, []byte{1})
	require.NoError(t, e.vault.GiveUp(t.Context(), damaged.Rows...))
	_, err = e.vault.WriteCopy(t.Context(), dir)
	require.NoError(t, err)
	require.Len(t, names(t, dir), 1)
	_, err = e.contacts.Writer(t.Context(), tenant, "p2")
	require.NoError(t, err, "the person goes on with a new key")

	// While a keyset is damaged, every key of its tenant looks damaged and is not.
	_, err = e.vault.WriteCopy(t.Context(), dir)
	require.NoError(t, err)
	e.spoil(t, `UPDATE crmguard_encryption_keyset SET wrapped = x'00' WHERE purpose = 'wrap'`)
	fresh := e.another(t)
	_, err = fresh.WriteCopy(t.Context(), dir)
	all := damagedRows(t, err)
	before = e.dump(t)
	require.Error(t, fresh.GiveUp(t.Context(), all.Rows[1:]...))
	require.Equal(t, before, e.dump(t))
}

// A keyset of the installation is needed to open the vault; a copy brings it
// back all the same.
func TestAVaultThatDoesNotOpenIsRepaired(t *testing.T) {
	for purpose, want := range map[string]error{"manifest": encryption.ErrKeyset, "ledger": encryption.ErrKeyset, "branch": encryption.ErrKEK} {
		e := newEnv(t, 1)
		e.insert(t, "c1", "p1")
		whole, err := e.vault.WriteCopy(t.Context(), t.TempDir())
		require.NoError(t, err)
		sound := e.dump(t)
		e.spoil(t, `UPDATE crmguard_encryption_keyset SET wrapped = x'0102' WHERE tenant = '' AND purpose = ?`, purpose)
		_, err = encryption.Open(t.Context(), e.cfg)
		require.ErrorIs(t, err, want)
		report, err := keycopy.Repair(t.Context(), alone(e.cfg), whole.Path)
		require.NoError(t, err)
		require.Equal(t, keycopy.RepairReport{Keysets: 1}, report)
		require.Equal(t, sound, e.dump(t))
		e.requireOpens(t, e.table(t, e.another(t), contactsTable))
	}
	e := newEnv(t, 1)
	whole, err := e.vault.WriteCopy(t.Context(), t.TempDir())
	require.NoError(t, err)
	cfg := e.cfg
	cfg.Keys = encryptiontest.Keys()
	_, err = keycopy.Repair(t.Context(), alone(cfg), whole.Path)
	require.ErrorIs(t, err, encryption.ErrEmpty)
}

// A keyset that was put back to what it was before an epoch is found by the
// copy, in a process that has just begun, too, and an older copy than that
// epoch brings no keyset back.
func TestAKeysetThatWasPutBackIsFound(t *testing.T) {
	e := newEnv(t, 1)
	e.insert(t, "c1", "p1")
	dir := t.TempDir()
	old, err := e.vault.WriteCopy(t.Context(), dir)
	require.NoError(t, err)
	before := kept(t, old.Path)
	var wrapped []byte
	var version int64
	require.NoError(t, e.keysDB.QueryRowContext(t.Context(), `SELECT wrapped, version FROM crmguard_encryption_keyset WHERE tenant = ? AND purpose = 'wrap'`, tenant).Scan(&wrapped, &version))
	_, err = e.vault.RewrapKeys(t.Context(), keycopy.Rewrap{KEK: "kek-2", Copy: e.vault.Copier(dir)})
	require.NoError(t, err)
	require.Equal(t, encryption.HealthOK, found(t, e.vault, "encryption.keyset.older", "").Level)
	good := e.dump(t)
	e.spoil(t, `UPDATE crmguard_encryption_keyset SET wrapped = ?, version = ?, kek = 'kek-1' WHERE tenant = ? AND purpose = 'wrap'`, wrapped, version, tenant)

	f := found(t, e.vault, "encryption.keyset.older", "")
	require.Equal(t, encryption.HealthAlarm, f.Level)
	require.EqualValues(t, 1, f.Value)
	begun := e.another(t)
	copier := begun.Copier(dir) // as an application is wired
	require.Equal(t, encryption.HealthAlarm, found(t, begun, "encryption.keyset.older", "").Level)
	err = copier(t.Context())
	require.Equal(t, keystore.KindKeyset, damagedRows(t, err).Rows[0].Kind)

	_, err = begun.RepairFromCopy(t.Context(), before)
	damagedRows(t, err)
	path, err := keycopy.Newest(dir)
	require.NoError(t, err)
	report, err := begun.RepairFromCopy(t.Context(), path)
	require.NoError(t, err)
	require.Equal(t, keycopy.RepairReport{Keysets: 1, Fenced: 1}, report, "a Rebuild meanwhile could not have opened the rows")
	rebuild := e.table(t, begun, contactsTable).RebuildIndexes(e.db, tenant)
	require.NoError(t, rebuild(t.Context()))
	require.Equal(t, good, e.dump(t))
	require.NoError(t, copier(t.Context()))
	require.Equal(t, encryption.HealthOK, found(t, begun, "encryption.keyset.older", "").Level)

	// One that is damaged does not come back as it was before the epoch.
	e.spoil(t, `UPDATE crmguard_encryption_keyset SET wrapped = x'00' WHERE tenant = ? AND purpose = 'wrap'`, tenant)
	spoilt := e.dump(t)
	_, err = begun.RepairFromCopy(t.Context(), before)
	damagedRows(t, err)
	require.Equal(t, spoilt, e.dump(t))
	path, err = keycopy.Newest(dir)
	require.NoError(t, err)
	_, err = begun.RepairFromCopy(t.Context(), path)
	require.NoError(t, err)
	require.NoError(t, rebuild(t.Context()))
	require.Equal(t, good, e.dump(t))

	e.spoil(t, `DELETE FROM crmguard_encryption_keyset WHERE tenant = ? AND purpose = 'index'`, tenant)
	require.EqualValues(t, 1, found(t, begun, "encryption.keyset.older", "").Value, "nor is one that is gone overlooked")
}

// Whoever may write the tables, and knows the marks of a history from a position
// or a copy, plants them in a store that was put back. The numbers and the marks
// are right then, and the keys still are not there: no copy replaces the one that
// has them, and none is taken for one that covers.
func TestPlantedMarksDoNotStandForKeys(t *testing.T) {
	e := newEnv(t, 1)
	e.insert(t, "c1", "p1")
	keptStore := e.keep(t)
	e.insert(t, "c2", "p2")
	position, err := e.vault.Position(t.Context())
	require.NoError(t, err)
	dir := t.TempDir()
	whole, err := e.vault.WriteCopy(t.Context(), dir)
	require.NoError(t, err)
	state, err := e.store.State(t.Context())
	require.NoError(t, err)
	var marks keystore.Rows
	require.NoError(t, e.store.Snapshot(t.Context(), func(tx keystore.Tx) (err error) {
		marks, err = tx.Page(t.Context(), keystore.Page{Kind: keystore.KindMark, Limit: 1000})
		return err
	}))
	_, err = keptStore.Update(t.Context(), func(tx keystore.Tx) error {
		if err := tx.Write(t.Context(), keystore.Change{Put: marks}); err != nil {
			return err
		}
		return tx.Write(t.Context(), keystore.Change{Store: &state})
	})
	require.NoError(t, err)

	vault := e.over(t, keptStore)
	_, err = vault.WriteCopy(t.Context(), dir)
	damaged := damagedRows(t, err)
	require.Equal(t, 2, damaged.Count, "the owner and the key: %v", err)
	require.ErrorIs(t, vault.KeyCopy(dir)(t.Context(), mustPosition(t, vault)), encryption.ErrDamaged)
	require.FileExists(t, whole.Path)
	require.NoError(t, openWith(t, e, e.kms, whole.Path, e.read(t)))
	report, err := vault.RepairFromCopy(t.Context(), whole.Path)
	require.NoError(t, err)
	require.Equal(t, keycopy.RepairReport{Owners: 1, Keys: 1, Fenced: 1}, report)
	e.requireOpens(t, e.table(t, vault, contactsTable))
	written, err := vault.WriteCopy(t.Context(), dir)
	require.NoError(t, err)
	require.NoError(t, written.Covers(position), "now it is true")
}

func mustPosition(t *testing.T, vault *encryption.Vault) []byte {
	t.Helper()
	position, err := vault.Position(t.Context())
	require.NoError(t, err)
	return position
}
