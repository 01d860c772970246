package encryption_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/encryption"
	"github.com/crmguard/crmguard/encryption/keycopy"
	"github.com/crmguard/crmguard/encryption/keystore"
)

// holesOf writes a copy with a hole into the folder.
func (e *env) holesOf(t *testing.T, dir string) string {
	t.Helper()
	rows, err := e.store.Owners(t.Context(), tenant, []string{"p2"})
	require.NoError(t, err)
	e.spoil(t, spoilKey, []byte{1})
	_, err = e.vault.WriteCopy(t.Context(), dir)
	path := damagedRows(t, err).Copy
	e.spoil(t, spoilKey, rows.Keys[0].Wrapped)
	return path
}

// A copy with holes may be all that another store has, too.
func TestACopyWithHolesOfAnotherStoreIsLeftAlone(t *testing.T) {
	one, other := newEnv(t, 1), newEnv(t, 1)
	dir := t.TempDir()
	one.insert(t, "c2", "p2")
	path := one.holesOf(t, dir)
	other.insert(t, "c2", "p2")
	_, err := other.vault.WriteCopy(t.Context(), dir)
	require.ErrorIs(t, err, encryption.ErrCopy)
	require.ErrorContains(t, err, "another key store")
	require.Equal(t, []string{filepath.Base(path)}, names(t, dir))
}

// A writer that began before the damage does not delete what a later one could
// still copy.
func TestANewerCopyWithHolesStays(t *testing.T) {
	e := newEnv(t, 4)
	e.insert(t, "c1", "p1")
	e.insert(t, "c2", "p2")
	dir, elsewhere := t.TempDir(), t.TempDir()
	finish := e.slowCopy(t, dir)
	newer := e.holesOf(t, elsewhere)
	require.NoError(t, os.Rename(newer, filepath.Join(dir, filepath.Base(newer))))
	written, err := finish()
	require.NoError(t, err)
	require.ElementsMatch(t, []string{filepath.Base(newer), filepath.Base(written.Path)}, names(t, dir))

	// One that covers is not written again, and one with holes that is older goes.
	position, err := written.Position()
	require.NoError(t, err)
	require.NoError(t, e.vault.KeyCopy(dir)(t.Context(), position))
	require.Len(t, names(t, dir), 2)
	position, err = e.vault.Position(t.Context())
	require.NoError(t, err)
	require.NoError(t, e.vault.KeyCopy(dir)(t.Context(), position))
	require.Len(t, names(t, dir), 1)
	data, err := os.ReadFile(filepath.Join(dir, names(t, dir)[0]))
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(filepath.Join(dir, filepath.Base(newer)), data, 0o600))
	require.NoError(t, e.vault.KeyCopy(dir)(t.Context(), position))
	require.Len(t, names(t, dir), 1, "what a run that failed has left behind")
}

// What a new copy is compared with must be a copy that this store wrote: whoever
// may write the folder stops nothing with rows of their own.
func TestAForgedCopyNamesNoDamage(t *testing.T) {
	for name, forge := range map[string]func([]byte) []byte{
		"a row more": func(data []byte) []byte {
			return bytes.Replace(data, []byte(`{"kind":"owner","owner":"p1"`), []byte(`{"kind":"owner","owner":"p0","sequence":1,"state":"live","tenant":"t1"}`+"\n"+`{"kind":"owner","owner":"p1"`), 1)
		},
		"a row more, counted": func(data []byte) []byte {
			body, end, _ := bytes.Cut(bytes.Replace(data, []byte(`{"kind":"owner","owner":"p1"`), []byte(`{"kind":"owner","owner":"p0","sequence":1,"state":"live","tenant":"t1"}`+"\n"+`{"kind":"owner","owner":"p1"`), 1), []byte(`{"count":`))
			var last struct {
				Count int    `json:"count"`
				MAC   string `json:"mac"`
				Sum   string `json:"sha256"`
			}
			if json.Unmarshal(append([]byte(`{"count":`), end...), &last) != nil {
				return nil
			}
			sum := sha256.Sum256(body)
			return fmt.Appendf(body, `{"count":%d,"mac":"%s","sha256":"%s"}`+"\n", last.Count+1, last.MAC, base64.RawURLEncoding.EncodeToString(sum[:]))
		},
		"a tombstone": func(data []byte) []byte {
			return bytes.Replace(data, []byte(`"state":"live"`), []byte(`"state":"tombstone"`), 1)
		},
		"holes":      func(data []byte) []byte { return bytes.Replace(data, []byte(`,"mac"`), []byte(`,"holes":1,"mac"`), 1) },
		"no newline": func(data []byte) []byte { return data[:len(data)-1] },
		"nothing":    func([]byte) []byte { return nil },
	} {
		e := newEnv(t, 1)
		e.insert(t, "c1", "p1")
		dir := t.TempDir()
		first, err := e.vault.WriteCopy(t.Context(), dir)
		require.NoError(t, err)
		data, err := os.ReadFile(first.Path)
		require.NoError(t, err)
		forged := forge(bytes.Clone(data))
		require.NotEqual(t, data, forged, name)
		require.NoError(t, os.WriteFile(first.Path, forged, 0o600))
		written, err := e.vault.WriteCopy(t.Context(), dir)
		require.NoError(t, err, name)
		require.Equal(t, []string{filepath.Base(written.Path)}, names(t, dir), name)
	}
}

// plantingStore lets somebody else write the tables after an Update.
type plantingStore struct {
	keystore.Store
	left  int
	plant func()
}

func (s *plantingStore) Update(ctx context.Context, do func(keystore.Tx) error) (keystore.State, error) {
	state, err := s.Store.Update(ctx, do)
	if s.left--; s.left == 0 {
		s.plant()
	}
	return state, err
}

// A key that is planted under a tombstone while an epoch is being closed is not
// wrapped anew, and the epoch does not end: the tombstone may be what was planted.
// Erase once more says that it was not.
func TestAnEpochWrapsNoPlantedKey(t *testing.T) {
	e := newEnv(t, 1)
	e.insert(t, "c1", "p1")
	e.insert(t, "c2", "p2")
	wrapped, err := e.vault.WrappedKeys(t.Context(), tenant, "p1")
	require.NoError(t, err)
	_, err = e.vault.Erase(t.Context(), tenant, "p1")
	require.NoError(t, err)
	planted := false
	store := &plantingStore{Store: e.store, left: 2, plant: func() {
		planted = true
		require.NoError(t, putBack(t, e, wrapped[0]))
	}}
	vault, err := encryption.Open(t.Context(), withKeys(e.cfg, store))
	require.NoError(t, err)
	epoch := keycopy.Rewrap{KEK: "kek-2", Copy: func(context.Context) error { return nil }}
	_, err = vault.RewrapKeys(t.Context(), epoch)
	require.True(t, planted)
	require.ErrorIs(t, err, encryption.ErrRewrap)
	require.ErrorIs(t, err, encryption.ErrDamaged)
	left, err := vault.WrappedKeys(t.Context(), tenant, "p1")
	require.NoError(t, err)
	require.Equal(t, wrapped, left)
	_, err = vault.Erase(t.Context(), tenant, "p1")
	require.NoError(t, err)
	_, err = vault.RewrapKeys(t.Context(), epoch)
	require.NoError(t, err)
	e.requireKeys(t, "p1", 0)
}
