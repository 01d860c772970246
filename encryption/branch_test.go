package encryption_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/tink-crypto/tink-go/v2/aead/aesgcm"
	"github.com/tink-crypto/tink-go/v2/insecuresecretdataaccess"
	"github.com/tink-crypto/tink-go/v2/keyset"
	"github.com/tink-crypto/tink-go/v2/tink"

	"github.com/crmguard/crmguard/encryption"
	"github.com/crmguard/crmguard/encryption/encryptiontest"
	"github.com/crmguard/crmguard/encryption/keycopy"
	"github.com/crmguard/crmguard/encryption/keystore"
	"github.com/crmguard/crmguard/internal/frame"
)

func keysetADOf(of, purpose string) []byte {
	if of == "" {
		return frame.Join("crmguard/keyset/installation/v1", purpose)
	}
	return frame.Join("crmguard/keyset/v1", of, purpose)
}

func handleOf(t *testing.T, row keystore.KeysetRow, by tink.AEADWithContext) (*keyset.Handle, error) {
	t.Helper()
	return keyset.ReadWithContext(t.Context(), keyset.NewBinaryReader(bytes.NewReader(row.Wrapped)), by, keysetADOf(row.Tenant, row.Purpose))
}

// branchOf opens a branch key by the KEK that its row names, and returns its bytes.
func branchOf(t *testing.T, kms *keks, row keystore.KeysetRow) (tink.AEADWithContext, []byte, error) {
	t.Helper()
	kek, err := kms.get(t.Context(), row.Tenant, row.KEK)
	if err != nil {
		return nil, nil, err
	}
	handle, err := handleOf(t, row, kek)
	if err != nil {
		return nil, nil, err
	}
	require.Equal(t, 1, handle.Len())
	entry, err := handle.Primary()
	require.NoError(t, err)
	key, ok := entry.Key().(*aesgcm.Key)
	require.True(t, ok)
	branch, err := encryption.BranchKey(handle)
	return branch, key.KeyBytes().Data(insecuresecretdataaccess.Token{}), err
}

// requireOneBranch opens all keysets of a tenant from its branch key, and returns
// the id of the wrap key that seals.
func requireOneBranch(t *testing.T, e *env, of string) (primary uint32) {
	t.Helper()
	branch, _, err := branchOf(t, e.kms, keysetOf(t, e.store, of, "branch"))
	require.NoError(t, err)
	for _, purpose := range []string{"index", "log", "seal", "suppression", "wrap"} {
		row := keysetOf(t, e.store, of, purpose)
		require.Empty(t, row.KEK, purpose)
		handle, err := handleOf(t, row, branch)
		require.NoError(t, err, purpose)
		entry, err := handle.Primary()
		require.NoError(t, err)
		primary = entry.KeyID()
	}
	return primary
}

// wrapKeys are the ids of all wrap keys of a tenant.
func wrapKeys(t *testing.T, e *env, of string) (ids []uint32) {
	t.Helper()
	branch, _, err := branchOf(t, e.kms, keysetOf(t, e.store, of, "branch"))
	require.NoError(t, err)
	handle, err := handleOf(t, keysetOf(t, e.store, of, "wrap"), branch)
	require.NoError(t, err)
	for i := range handle.Len() {
		entry, err := handle.Entry(i)
		require.NoError(t, err)
		ids = append(ids, entry.KeyID())
	}
	return ids
}

// written is a key store that remembers every keyset that was committed.
type written struct {
	keystore.Store
	rows []keystore.KeysetRow
	left int // changes until it fails; below 0: never
}

type writtenTx struct {
	keystore.Tx
	rows *[]keystore.KeysetRow
}

func (w writtenTx) Write(ctx context.Context, change keystore.Change) error {
	*w.rows = append(*w.rows, change.Put.Keysets...)
	return w.Tx.Write(ctx, change)
}

func (w *written) Update(ctx context.Context, do func(keystore.Tx) error) (keystore.State, error) {
	if w.left == 0 {
		return keystore.State{}, errKilled
	}
	w.left--
	var rows []keystore.KeysetRow
	state, err := w.Store.Update(ctx, func(tx keystore.Tx) error {
		rows = nil
		return do(writtenTx{tx, &rows})
	})
	if err == nil {
		w.rows = append(w.rows, rows...)
	}
	return state, err
}

// An epoch gives each tenant, and the installation, a branch key that never was:
// whatever stood in the key store at any moment, wherever the closing was
// interrupted, no branch key was ever wrapped under two KEKs, and none of an
// older epoch opens a keyset of a newer one. Otherwise the old key copies would
// open although their KEK is destroyed.
func TestEveryEpochHasBranchKeysOfItsOwn(t *testing.T) {
	for left := range 9 {
		e := newEnv(t, 1)
		require.NoError(t, e.vault.AddTenant(t.Context(), "t2"))
		e.insert(t, "c1", "p1")
		dir := t.TempDir()
		store := &written{Store: e.store, left: -1}
		for _, of := range []string{"", tenant, "t2"} {
			rows, err := e.store.Tenant(t.Context(), of)
			require.NoError(t, err)
			store.rows = append(store.rows, rows.Keysets...)
		}
		cfg := e.cfg
		cfg.Keys = store
		for _, kek := range []string{"kek-2", "kek-3"} {
			for done := false; !done; {
				store.left = left + 1
				dying, err := encryption.Open(t.Context(), cfg)
				require.NoError(t, err)
				_, err = dying.RewrapKeys(t.Context(), keycopy.Rewrap{KEK: kek, Copy: e.vault.Copier(dir)})
				if done = err == nil; !done {
					require.ErrorIs(t, err, errKilled)
					left++ // a little further each time
				}
			}
		}
		keks, keys := map[string]string{}, map[string]bool{}
		var branches []tink.AEADWithContext
		var rows []keystore.KeysetRow
		for _, row := range store.rows {
			if row.Purpose != "branch" {
				require.Empty(t, row.KEK, row.Purpose)
				rows = append(rows, row)
				continue
			}
			branch, key, err := branchOf(t, e.kms, row)
			require.NoError(t, err)
			if was, known := keks[string(key)]; known {
				require.Equal(t, was, row.KEK, "an old branch key under a new KEK")
			}
			keks[string(key)] = row.KEK
			if !keys[string(key)] {
				keys[string(key)] = true
				branches = append(branches, branch)
			}
		}
		require.Len(t, branches, 3*3, "tenants and epochs")
		for _, row := range rows {
			opened := 0
			for _, branch := range branches {
				if _, err := handleOf(t, row, branch); err == nil {
					opened++
				}
			}
			require.Equal(t, 1, opened, "%s %s is wrapped by its branch key alone", row.Tenant, row.Purpose)
		}
		e.clock.Move(encryption.DefaultLease)
		e.requireOpens(t, e.table(t, e.another(t), contactsTable))
		require.Len(t, keysetOf(t, e.store, tenant, "branch").Former, 2, "ids that never come again")
	}
}

// With the old KEK destroyed an old key copy opens nothing, not even to somebody
// who has all of today's keys: not its branch keys, nor what they wrap.
func TestTheBranchKeyOfTodayOpensNoOldCopy(t *testing.T) {
	e := newEnv(t, 1)
	e.insert(t, "c1", "p1")
	dir := t.TempDir()
	old, err := e.vault.WriteCopy(t.Context(), dir)
	require.NoError(t, err)
	path := kept(t, old.Path)
	var before []keystore.KeysetRow
	for _, purpose := range []string{"branch", "index", "log", "seal", "suppression", "wrap"} {
		before = append(before, keysetOf(t, e.store, tenant, purpose))
	}
	_, err = e.vault.RewrapKeys(t.Context(), keycopy.Rewrap{KEK: "kek-2", Copy: e.vault.Copier(dir), Destroy: e.kms.destroy})
	require.NoError(t, err)
	require.ErrorIs(t, openWith(t, e, e.kms, path, e.read(t)), encryption.ErrKEK)
	branch, _, err := branchOf(t, e.kms, keysetOf(t, e.store, tenant, "branch"))
	require.NoError(t, err)
	kek, err := e.kms.get(t.Context(), tenant, "kek-2")
	require.NoError(t, err)
	for _, row := range before {
		for _, by := range []tink.AEADWithContext{branch, kek} {
			_, err := handleOf(t, row, by)
			require.Error(t, err, row.Purpose)
		}
	}
	// Whoever writes the key store puts the old keysets back, one or all.
	for _, rows := range [][]keystore.KeysetRow{before[:1], before[5:], before} {
		sound, err := e.store.Tenant(t.Context(), tenant)
		require.NoError(t, err)
		overwrite(t, e.store, keystore.Change{Put: keystore.Rows{Keysets: rows}, Narrows: true})
		begun := e.another(t)
		copier := begun.Copier(dir)
		require.Equal(t, encryption.HealthAlarm, found(t, begun, "encryption.keyset.older", "").Level)
		err = copier(t.Context())
		require.Equal(t, keystore.KindKeyset, damagedRows(t, err).Rows[0].Kind)
		_, err = begun.RepairFromCopy(t.Context(), path)
		require.Error(t, err, "the old copy brings nothing back")
		newest, err := keycopy.Newest(dir)
		require.NoError(t, err)
		report, err := begun.RepairFromCopy(t.Context(), newest)
		require.NoError(t, err)
		require.Equal(t, keycopy.RepairReport{Keysets: len(rows), Fenced: 1}, report)
		again, err := e.store.Tenant(t.Context(), tenant)
		require.NoError(t, err)
		require.Equal(t, sound.Keysets, again.Keysets)
		require.NoError(t, copier(t.Context()))
		contacts := e.table(t, e.another(t), contactsTable)
		e.requireOpens(t, contacts)
		require.NoError(t, contacts.RebuildIndexes(e.db, tenant)(t.Context()))
	}
}

// A wrap key of before the epoch does not come back under the new KEK, whatever
// copy of the half closed epoch is at hand: with it older copies would open.
func TestARepairBringsNoOldWrapKeyUnderTheNewKEK(t *testing.T) {
	e := newEnv(t, 1)
	e.insert(t, "c1", "p1")
	dir, before := t.TempDir(), ""
	cfg := e.cfg
	cfg.Keys = &afterUpdate{e.store, func(n int) {
		if n == 1 { // the epoch has begun, and no wrap key is new yet: another process copies
			written, err := e.another(t).WriteCopy(t.Context(), t.TempDir())
			require.NoError(t, err)
			before = kept(t, written.Path)
		}
	}, 0}
	vault, err := encryption.Open(t.Context(), cfg)
	require.NoError(t, err)
	copies := 0
	_, err = vault.RewrapKeys(t.Context(), keycopy.Rewrap{KEK: "kek-2", Copy: func(ctx context.Context) error {
		if copies++; copies == 2 {
			return errStoodStill
		}
		return vault.Copier(dir)(ctx)
	}})
	require.ErrorIs(t, err, errStoodStill)
	require.NotEmpty(t, before)
	require.Equal(t, "kek-2", keysetOf(t, e.store, tenant, "branch").KEK)
	now, sound := wrapKeys(t, e, tenant), keysetOf(t, e.store, tenant, "wrap")
	require.Len(t, now, 1)
	e.spoil(t, `DELETE FROM crmguard_encryption_keyset WHERE tenant = 't1' AND purpose = 'wrap'`)
	_, err = e.another(t).RepairFromCopy(t.Context(), before)
	damagedRows(t, err)
	rows, err := e.store.Tenant(t.Context(), tenant)
	require.NoError(t, err)
	require.False(t, slices.ContainsFunc(rows.Keysets, func(k keystore.KeysetRow) bool { return k.Purpose == "wrap" }), "the old wrap key was brought back")
	overwrite(t, e.store, keystore.Change{Put: keystore.Rows{Keysets: []keystore.KeysetRow{sound}}, Narrows: true})
	closer := e.another(t)
	_, err = closer.RewrapKeys(t.Context(), keycopy.Rewrap{KEK: "kek-2", Copy: closer.Copier(dir), Destroy: e.kms.destroy})
	require.NoError(t, err)
	require.Equal(t, now, wrapKeys(t, e, tenant))
}

// afterUpdate calls a func after each change that was committed.
type afterUpdate struct {
	keystore.Store
	then func(n int)
	n    int
}

func (a *afterUpdate) Update(ctx context.Context, do func(keystore.Tx) error) (keystore.State, error) {
	state, err := a.Store.Update(ctx, do)
	if err == nil {
		a.n++
		a.then(a.n)
	}
	return state, err
}

// A key store of before there were branch keys, when the KEK wrapped each keyset,
// is refused for what it is, and so is a key copy of it; nothing is read wrongly,
// nothing written.
func TestAKeyStoreOfBeforeBranchKeysIsRefused(t *testing.T) {
	e := newEnv(t, 1)
	e.insert(t, "c1", "p1")
	dir := t.TempDir()
	written, err := e.vault.WriteCopy(t.Context(), dir)
	require.NoError(t, err)
	for _, of := range []string{tenant, ""} {
		branch, _, err := branchOf(t, e.kms, keysetOf(t, e.store, of, "branch"))
		require.NoError(t, err)
		kek, err := e.kms.get(t.Context(), of, "kek-1")
		require.NoError(t, err)
		rows, err := e.store.Tenant(t.Context(), of)
		require.NoError(t, err)
		var change keystore.Change
		for _, row := range rows.Keysets {
			if row.Purpose == "branch" {
				change.Remove.Keysets = append(change.Remove.Keysets, row)
				continue
			}
			handle, err := handleOf(t, row, branch)
			require.NoError(t, err)
			var out bytes.Buffer
			require.NoError(t, handle.WriteWithContext(t.Context(), keyset.NewBinaryWriter(&out), kek, keysetADOf(of, row.Purpose)))
			row.KEK, row.Wrapped = "kek-1", out.Bytes()
			change.Put.Keysets = append(change.Put.Keysets, row)
		}
		overwrite(t, e.store, change)
		before := e.dump(t)
		vault, err := encryption.Open(t.Context(), e.cfg)
		if of == tenant { // one tenant alone: the installation opens
			require.NoError(t, err)
			err = vault.Ensure(t.Context(), tenant, "p2")
		}
		require.ErrorIs(t, err, encryption.ErrKeyset)
		require.NotErrorIs(t, err, encryption.ErrKEK)
		require.ErrorContains(t, err, "before v0.1.0")
		require.Equal(t, before, e.dump(t))
	}

	data, err := os.ReadFile(written.Path)
	require.NoError(t, err)
	var lines []string
	for line := range strings.SplitSeq(strings.TrimSuffix(string(data), "\n"), "\n") {
		if strings.Contains(line, `"kind":"keyset"`) {
			var row map[string]any
			require.NoError(t, json.Unmarshal([]byte(line), &row))
			if row["purpose"] == "branch" {
				continue
			}
			line = strings.Replace(line, `"kind":`, `"kek":"kek-1","kind":`, 1)
		}
		lines = append(lines, line)
	}
	path := filepath.Join(t.TempDir(), "old.jsonl")
	require.NoError(t, os.WriteFile(path, []byte(strings.Join(lines, "\n")+"\n"), 0o600))
	cfg := e.cfg
	cfg.Keys = encryptiontest.Keys()
	_, err = encryption.RestoreCopy(t.Context(), cfg, path)
	require.ErrorIs(t, err, encryption.ErrCopy)
	require.True(t, errors.Is(err, encryption.ErrKeyset))
	require.ErrorContains(t, err, "before v0.1.0")
	require.Empty(t, stateOfStore(t, cfg.Keys).Store)
}
