package encryption_test

import (
	"bytes"
	"context"
	"errors"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/encryption"
	"github.com/crmguard/crmguard/encryption/encryptiontest"
	"github.com/crmguard/crmguard/encryption/keycopy"
	"github.com/crmguard/crmguard/encryption/keystore"
	"github.com/crmguard/crmguard/encryption/sealedvalue"
)

func TestKeyCopyRestores(t *testing.T) {
	e := newEnv(t, 1)
	for _, p := range []string{"p1", "p2", "p3"} {
		e.insert(t, "c"+p, p)
	}
	e.rotate(t)
	e.insert(t, "c4", "p1")
	require.NoError(t, e.vault.AddAlias(t.Context(), tenant, "p3", "p2"))
	dir := t.TempDir()
	position, err := e.vault.Position(t.Context())
	require.NoError(t, err)
	first, err := e.vault.WriteCopy(t.Context(), dir)
	require.NoError(t, err)
	require.NoError(t, first.Covers(position))
	head, err := e.vault.Head(t.Context())
	require.NoError(t, err)
	same, err := first.Position()
	require.NoError(t, err)
	require.Equal(t, string(head), string(same), "nothing has changed since the copy was written")
	require.NoError(t, first.Covers(same))

	_, err = e.vault.Erase(t.Context(), tenant, "p2")
	require.NoError(t, err)
	later, err := e.vault.Position(t.Context())
	require.NoError(t, err)
	require.ErrorIs(t, first.Covers(later), encryption.ErrNotCovered)
	require.ErrorIs(t, first.Covers([]byte(`{"epoch":1,"sequence":1,"store":"other"}`)), encryption.ErrNotCovered)
	require.ErrorIs(t, first.Covers(bytes.Replace(position, []byte(`"mark":"`), []byte(`"mark":"x`), 1)), encryption.ErrNotCovered)
	require.ErrorIs(t, first.Covers([]byte(`{}`)), encryption.ErrNotCovered)
	require.ErrorIs(t, first.Covers(nil), encryption.ErrNotCovered)

	require.NoError(t, e.vault.KeyCopy(dir)(t.Context(), later))
	files, err := os.ReadDir(dir)
	require.NoError(t, err)
	require.Len(t, files, 1, "latest only")
	path, err := keycopy.Newest(dir)
	require.NoError(t, err)
	info, err := os.Stat(path)
	require.NoError(t, err)
	require.NoError(t, e.vault.KeyCopy(dir)(t.Context(), position))
	unchanged, err := os.Stat(path)
	require.NoError(t, err)
	require.Equal(t, info.ModTime(), unchanged.ModTime(), "a copy that covers is not written again")
	data, err := os.ReadFile(path)
	require.NoError(t, err)
	require.NotContains(t, string(data), `"kind":"key","owner":"p2"`)
	require.Contains(t, string(data), `"state":"tombstone"`)

	cfg := e.cfg
	cfg.Keys = encryptiontest.Keys()
	_, err = encryption.RestoreCopy(t.Context(), e.cfg, path)
	require.ErrorIs(t, err, encryption.ErrNotEmpty)
	future := bytes.Replace(later, []byte(`"sequence":`), []byte(`"sequence":9`), 1)
	_, err = encryption.RestoreCopy(t.Context(), cfg, path, later, future)
	require.ErrorIs(t, err, encryption.ErrNotCovered)
	restored, err := encryption.RestoreCopy(t.Context(), cfg, path, later)
	require.NoError(t, err)
	again, err := restored.Head(t.Context())
	require.NoError(t, err)
	copied, err := e.vault.VerifyCopy(t.Context(), path)
	require.NoError(t, err)
	held, err := copied.Position()
	require.NoError(t, err)
	require.Equal(t, string(held), string(again))
	rows := e.read(t)
	err = encryption.OpenAll(t.Context(), e.table(t, restored, contactsTable), tenant, rows)
	failed, ok := errors.AsType[*encryption.RowsError](err)
	require.True(t, ok)
	require.Len(t, failed.Rows, 2, "p2, and p3 who was merged into p2")
	// Rows that were put back may lack their index values: nobody searches in vain.
	people := e.table(t, restored, contactsTable)
	_, err = people.Lookup(t.Context(), tenant, "email_idx", "p1@b.example")
	require.ErrorIs(t, err, encryption.ErrIncomplete)
	// The copy of the restored store is the copy, but for the time, the mark that
	// it begins with, and the index.
	e.clock.Move(time.Hour)
	twin, err := restored.WriteCopy(t.Context(), t.TempDir())
	require.NoError(t, err)
	other, err := os.ReadFile(twin.Path)
	require.NoError(t, err)
	grown := strings.Split(middle(other), "\n")
	require.Contains(t, grown[len(grown)-1], `"kind":"mark"`)
	require.Equal(t, strings.ReplaceAll(middle(data), `"state":"live","table"`, `"state":"fenced","table"`), strings.Join(grown[:len(grown)-1], "\n"))
	require.NoError(t, people.RebuildIndexes(e.db, tenant)(t.Context()))
	probes, err := people.Lookup(t.Context(), tenant, "email_idx", "p1@b.example")
	require.NoError(t, err)
	live, err := e.contacts.Lookup(t.Context(), tenant, "email_idx", "p1@b.example")
	require.NoError(t, err)
	require.Equal(t, live, probes)
}

// middle cuts the header and the last line off.
func middle(data []byte) string {
	_, rest, _ := strings.Cut(string(data), "\n")
	return rest[:strings.LastIndex(strings.TrimSuffix(rest, "\n"), "\n")]
}

func TestDamagedKeyCopiesAreRefused(t *testing.T) {
	e := newEnv(t, 1)
	e.insert(t, "c1", "p1")
	e.insert(t, "c2", "p2")
	written, err := e.vault.WriteCopy(t.Context(), t.TempDir())
	require.NoError(t, err)
	good, err := os.ReadFile(written.Path)
	require.NoError(t, err)
	bad := filepath.Join(t.TempDir(), "copy.jsonl")
	verify := func(data []byte) error {
		require.NoError(t, os.WriteFile(bad, data, 0o600))
		_, err := e.vault.VerifyCopy(t.Context(), bad)
		return err
	}
	require.NoError(t, verify(good))
	for i := 0; i < len(good); i += 7 {
		flipped := bytes.Clone(good)
		flipped[i] ^= 0x04
		require.Error(t, verify(flipped), "byte %d", i)
	}
	for n := 0; n < len(good); n += 31 {
		require.ErrorIs(t, verify(good[:n]), encryption.ErrCopy, "cut at %d", n)
	}
	require.ErrorIs(t, verify(append(bytes.Clone(good), "{}\n"...)), encryption.ErrCopy)
	lines := bytes.SplitAfter(good, []byte("\n"))
	dropped := bytes.Join(append(append([][]byte{}, lines[:4]...), lines[5:]...), nil)
	require.ErrorIs(t, verify(dropped), encryption.ErrCopy)
	swapped := append([][]byte{}, lines...)
	swapped[2], swapped[3] = swapped[3], swapped[2]
	require.ErrorIs(t, verify(bytes.Join(swapped, nil)), encryption.ErrCopy)
	_, err = e.vault.VerifyCopy(t.Context(), filepath.Join(t.TempDir(), "none"))
	require.ErrorIs(t, err, encryption.ErrCopy)
	require.ErrorIs(t, err, os.ErrNotExist)
	_, err = keycopy.Newest(t.TempDir())
	require.ErrorIs(t, err, encryption.ErrCopy)

	// Another installation's copy is complete and authentic, and refused.
	other := newEnv(t, 1)
	theirs, err := other.vault.WriteCopy(t.Context(), t.TempDir())
	require.NoError(t, err)
	_, err = e.vault.VerifyCopy(t.Context(), theirs.Path)
	require.Error(t, err)
	cfg := e.cfg
	cfg.Keys, cfg.KEK = encryptiontest.Keys(), other.kms.get
	_, err = encryption.RestoreCopy(t.Context(), cfg, written.Path)
	require.ErrorIs(t, err, encryption.ErrKEK)
	state, err := cfg.Keys.State(t.Context())
	require.NoError(t, err)
	require.Empty(t, state.Store, "nothing was written")
}

// open restores a copy with a KMS and opens what was read then.
func openWith(t *testing.T, e *env, kms *keks, path string, rows []*contact) error {
	t.Helper()
	cfg := e.cfg
	cfg.Keys, cfg.KEK = encryptiontest.Keys(), kms.get
	vault, err := encryption.RestoreCopy(t.Context(), cfg, path)
	if err != nil {
		return err
	}
	return encryption.OpenAll(t.Context(), e.table(t, vault, contactsTable), tenant, rows)
}

func TestRewrapKeysEndsOldKeyCopies(t *testing.T) {
	for _, conns := range []int{1, 4} {
		e := newEnv(t, conns)
		require.NoError(t, e.vault.AddTenant(t.Context(), "t2"))
		for _, p := range []string{"p1", "p2", "p3"} {
			e.insert(t, "c"+p, p)
		}
		old, _ := e.rotate(t)
		e.insert(t, "c4", "p1")
		dir := t.TempDir()
		written, err := e.vault.WriteCopy(t.Context(), dir)
		require.NoError(t, err)
		kept := filepath.Join(t.TempDir(), "kept.jsonl")
		data, err := os.ReadFile(written.Path)
		require.NoError(t, err)
		require.NoError(t, os.WriteFile(kept, data, 0o600))
		oldKMS := &keks{keys: map[string][]byte{}, gone: map[string]bool{}}
		maps.Copy(oldKMS.keys, e.kms.keys)
		wrapped, err := e.vault.WrappedKeys(t.Context(), tenant, "p1")
		require.NoError(t, err)
		require.Len(t, wrapped, 2)
		before := e.digest(t)
		tag, err := e.vault.Tagger("seal").Tag(t.Context(), tenant, []byte("row"))
		require.NoError(t, err)

		_, err = e.vault.RewrapKeys(t.Context(), keycopy.Rewrap{KEK: "kek-1", Copy: e.vault.Copier(dir)})
		require.ErrorIs(t, err, encryption.ErrRewrap, "the same KEK is no new epoch")
		_, err = e.vault.RewrapKeys(t.Context(), keycopy.Rewrap{KEK: "kek-2"})
		require.ErrorIs(t, err, encryption.ErrRewrap)
		report, err := e.vault.RewrapKeys(t.Context(), keycopy.Rewrap{KEK: "kek-2", Copy: e.vault.Copier(dir), Destroy: e.kms.destroy})
		require.NoError(t, err)
		require.Equal(t, keycopy.RewrapReport{Epoch: 2, Rewrapped: 4, Old: []string{"kek-1"}}, report)

		require.Equal(t, before, e.digest(t), "not one sealed byte changes")
		e.requireOpens(t, e.contacts)
		e.requireOpens(t, e.table(t, e.another(t), contactsTable))
		require.NoError(t, e.vault.Tagger("seal").Verify(t.Context(), tenant, []byte("row"), tag))
		require.Zero(t, e.remains(t, wrapped), "the old wrapped bytes are gone")
		again, err := e.vault.WrappedKeys(t.Context(), tenant, "p1")
		require.NoError(t, err)
		require.Len(t, again, 2, "every key version, %d too", old)
		status, err := e.vault.Inventory(t.Context())
		require.NoError(t, err)
		require.Equal(t, "kek-2", status.KEK)
		require.Empty(t, status.Retiring)
		require.Equal(t, []string{"kek-2"}, status.Tenants[0].KEKs)

		// The old copy with the KEKs of today opens nothing …
		require.ErrorIs(t, openWith(t, e, e.kms, kept, e.read(t)), encryption.ErrKEK)
		// … nor do its key rows under today's keyset …
		_, err = e.keysDB.ExecContext(t.Context(), `UPDATE crmguard_encryption_key SET wrapped = ? WHERE owner = 'p1' AND generation = ?`, wrapped[0], int64(keyVersionOf(t, e, "cp1")))
		require.NoError(t, err)
		r, err := e.table(t, e.another(t), contactsTable).Reader(t.Context(), tenant, "p1")
		require.NoError(t, err)
		_, err = r.Row("p1", "").Open(t.Context(), "email", e.read(t)[1].email.Bytes())
		require.ErrorIs(t, err, encryption.ErrNoKey)
		// … but with the kept old KEK it does: the copy is good, the epoch
		// is what makes it useless.
		require.NoError(t, openWith(t, e, oldKMS, kept, e.read(t)))
	}
}

func keyVersionOf(t *testing.T, e *env, id string) uint32 {
	t.Helper()
	var cell []byte
	require.NoError(t, e.db.QueryRowContext(t.Context(), `SELECT email FROM contacts WHERE id = ?`, id).Scan(&cell))
	keyVersion, err := sealedvalue.KeyVersion(cell)
	require.NoError(t, err)
	return keyVersion
}

// failing is a key store whose Nth Update fails, as if the process died.
type failing struct {
	keystore.Store
	left int
}

var errKilled = errors.New("killed")

func (f *failing) Update(ctx context.Context, do func(keystore.Tx) error) (keystore.State, error) {
	if f.left == 0 {
		return keystore.State{}, errKilled
	}
	f.left--
	return f.Store.Update(ctx, do)
}

// The wrapped key that an old copy holds of someone erased since opens nothing
// after the epoch, even where an intruder takes the tombstone away, too.
func TestAKeyRowOfAClosedEpochOpensNothing(t *testing.T) {
	e := newEnv(t, 4)
	e.insert(t, "c1", "p1")
	rows := e.read(t)
	wrapped, err := e.vault.WrappedKeys(t.Context(), tenant, "p1")
	require.NoError(t, err)
	_, err = e.vault.Erase(t.Context(), tenant, "p1")
	require.NoError(t, err)
	bring := func() error {
		_, err := e.keysDB.ExecContext(t.Context(), `UPDATE crmguard_encryption_owner SET state = 'live' WHERE owner = 'p1'`)
		require.NoError(t, err)
		require.NoError(t, putBack(t, e, wrapped[0]))
		return encryption.OpenAll(t.Context(), e.table(t, e.another(t), contactsTable), tenant, rows)
	}
	require.NoError(t, bring(), "before, it opens: the epoch is what ends it")
	_, err = e.keysDB.ExecContext(t.Context(), `DELETE FROM crmguard_encryption_key WHERE owner = 'p1'`)
	require.NoError(t, err)
	v := e.another(t) // the one that erased would find out
	_, err = v.RewrapKeys(t.Context(), keycopy.Rewrap{KEK: "kek-2", Copy: v.Copier(t.TempDir()), Destroy: e.kms.destroy})
	require.NoError(t, err)
	failed, ok := errors.AsType[*encryption.RowsError](bring())
	require.True(t, ok)
	require.ErrorIs(t, failed.Rows[0], encryption.ErrNoKey)
}

func TestRewrapKeysResumesAnywhere(t *testing.T) {
	for left := range 12 {
		e := newEnv(t, 1)
		for _, p := range []string{"p1", "p2", "p3"} {
			e.insert(t, "c"+p, p)
		}
		before := e.digest(t)
		dir := t.TempDir()
		cfg := e.cfg
		cfg.Keys = &failing{Store: e.store, left: left}
		dying, err := encryption.Open(t.Context(), cfg)
		require.NoError(t, err)
		epoch := keycopy.Rewrap{KEK: "kek-2", Copy: dying.Copier(dir), Destroy: e.kms.destroy}
		_, err = dying.RewrapKeys(t.Context(), epoch)
		if err != nil {
			require.ErrorIs(t, err, errKilled)
			// Life goes on in the half closed epoch.
			e.clock.Move(encryption.DefaultLease)
			e.insert(t, "c9", "p9")
			e.requireOpens(t, e.contacts)
			before = e.digest(t)
			status, err := e.vault.Inventory(t.Context())
			require.NoError(t, err)
			closed := left > 0 && len(status.Retiring) == 0 // but for the copy that says so
			if left > 0 && !closed {
				_, err = e.vault.RewrapKeys(t.Context(), keycopy.Rewrap{KEK: "kek-3", Copy: e.vault.Copier(dir)})
				require.ErrorIs(t, err, encryption.ErrRewrap, "finish the first one first")
			}
			epoch.Copy = e.vault.Copier(dir)
			report, err := e.vault.RewrapKeys(t.Context(), epoch)
			if closed {
				require.ErrorIs(t, err, encryption.ErrRewrap)
				_, err = e.vault.WriteCopy(t.Context(), dir)
				require.NoError(t, err)
			} else {
				require.NoError(t, err, "resumed after %d updates", left)
				require.Equal(t, []string{"kek-1"}, report.Old)
				require.Equal(t, int64(2), report.Epoch)
			}
		}
		e.clock.Move(encryption.DefaultLease)
		e.requireOpens(t, e.contacts)
		require.Equal(t, before, e.digest(t))
		path, err := keycopy.Newest(dir)
		require.NoError(t, err)
		require.NoError(t, openWith(t, e, e.kms, path, e.read(t)))
		var rows, old int
		require.NoError(t, e.keysDB.QueryRowContext(t.Context(), `SELECT COUNT(*), COUNT(DISTINCT substr(wrapped, 1, 5)) FROM crmguard_encryption_key WHERE tenant = ?`, tenant).Scan(&rows, &old))
		require.Equal(t, 1, old, "one wrap id over %d rows", rows)
	}
}

func TestAMissingNewKEKChangesNothing(t *testing.T) {
	e := newEnv(t, 1)
	e.insert(t, "c1", "p1")
	head, err := e.vault.Head(t.Context())
	require.NoError(t, err)
	e.kms.gone["kek-2"] = true
	_, err = e.vault.RewrapKeys(t.Context(), keycopy.Rewrap{KEK: "kek-2", Copy: e.vault.Copier(t.TempDir())})
	require.ErrorIs(t, err, encryption.ErrKEK)
	after, err := e.vault.Head(t.Context())
	require.NoError(t, err)
	require.Equal(t, head, after)
}
