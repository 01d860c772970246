package keycopy_test

import (
	"context"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/tink-crypto/tink-go/v2/tink"

	"github.com/crmguard/crmguard/encryption"
	"github.com/crmguard/crmguard/encryption/encryptiontest"
	"github.com/crmguard/crmguard/encryption/insecurekeys"
	"github.com/crmguard/crmguard/encryption/keycopy"
	"github.com/crmguard/crmguard/encryption/keystore"
)

const tenant = "main"

func theKEK(context.Context, string, string) (tink.AEADWithContext, error) {
	return insecurekeys.KEK(make([]byte, 32))
}

// installation is a vault with one person's key, and the copy that it wrote.
func installation(t *testing.T) (keys keystore.Store, sealed []byte, copied keycopy.Copy, dir string) {
	t.Helper()
	keys, dir = encryptiontest.Keys(), t.TempDir()
	vault, err := encryption.Create(t.Context(), encryption.Config{Keys: keys, KEK: theKEK})
	require.NoError(t, err)
	require.NoError(t, vault.AddTenant(t.Context(), tenant))
	sealed, err = vault.PersonSealer("note").Seal(t.Context(), tenant, "p1", []byte("kept"), nil)
	require.NoError(t, err)
	copied, err = vault.WriteCopy(t.Context(), dir)
	require.NoError(t, err)
	return keys, sealed, copied, dir
}

// Who checks copies needs the KEKs and neither the key store nor a vault.
func TestACopyIsVerifiedWithoutAStore(t *testing.T) {
	_, _, copied, dir := installation(t)
	path, err := keycopy.Newest(dir)
	require.NoError(t, err)
	require.Equal(t, copied.Path, path)
	seen, err := keycopy.Verify(t.Context(), keycopy.Config{KEK: theKEK}, path)
	require.NoError(t, err)
	require.Equal(t, copied, seen)
	position, err := copied.Position()
	require.NoError(t, err)
	require.NoError(t, seen.Covers(position))

	other := func(context.Context, string, string) (tink.AEADWithContext, error) {
		return insecurekeys.KEK(append(make([]byte, 31), 1))
	}
	_, err = keycopy.Verify(t.Context(), keycopy.Config{KEK: other}, path)
	require.ErrorIs(t, err, encryption.ErrKEK, "another KEK opens nothing")
	_, err = keycopy.Verify(t.Context(), keycopy.Config{KEK: theKEK, KEKs: []string{"ours-1"}}, path)
	require.ErrorIs(t, err, encryption.ErrKeyset, "nor is one asked that is not permitted")
	_, err = keycopy.Verify(t.Context(), keycopy.Config{KEK: theKEK}, filepath.Join(dir, "none"))
	require.ErrorIs(t, err, encryption.ErrCopy)
}

// A copy is restored without a vault; the vault is opened on what is there then.
func TestACopyIsRestoredWithoutAVault(t *testing.T) {
	keys, sealed, copied, _ := installation(t)
	empty := encryptiontest.Keys()
	cfg := keycopy.Config{Keys: empty, KEK: theKEK}
	position, err := copied.Position()
	require.NoError(t, err)
	require.NoError(t, keycopy.Restore(t.Context(), cfg, copied.Path, position))
	vault, err := encryption.Open(t.Context(), encryption.Config{Keys: empty, KEK: theKEK})
	require.NoError(t, err)
	opened, err := vault.PersonSealer("note").Open(t.Context(), tenant, "p1", sealed, nil)
	require.NoError(t, err)
	require.Equal(t, "kept", string(opened))
	require.ErrorIs(t, keycopy.Restore(t.Context(), cfg, copied.Path), encryption.ErrNotEmpty, "never over a store in use")

	// A position that the copy does not cover restores nothing.
	before, err := encryption.Open(t.Context(), encryption.Config{Keys: keys, KEK: theKEK})
	require.NoError(t, err)
	later, err := before.Position(t.Context())
	require.NoError(t, err)
	fresh := encryptiontest.Keys()
	require.ErrorIs(t, keycopy.Restore(t.Context(), keycopy.Config{Keys: fresh, KEK: theKEK}, copied.Path, later), encryption.ErrNotCovered)
	state, err := fresh.State(t.Context())
	require.NoError(t, err)
	require.Empty(t, state.Store)
}

// Lost rows are brought back without a vault.
func TestAStoreIsRepairedWithoutAVault(t *testing.T) {
	keys, sealed, copied, _ := installation(t)
	rows, err := keys.Owners(t.Context(), tenant, []string{"p1"})
	require.NoError(t, err)
	require.Len(t, rows.Keys, 1)
	_, err = keys.Update(t.Context(), func(tx keystore.Tx) error {
		return tx.Write(t.Context(), keystore.Change{Remove: keystore.Rows{Keys: rows.Keys}})
	})
	require.NoError(t, err)
	report, err := keycopy.Repair(t.Context(), keycopy.Config{Keys: keys, KEK: theKEK}, copied.Path)
	require.NoError(t, err)
	require.Equal(t, 1, report.Keys)
	vault, err := encryption.Open(t.Context(), encryption.Config{Keys: keys, KEK: theKEK})
	require.NoError(t, err)
	opened, err := vault.PersonSealer("note").Open(t.Context(), tenant, "p1", sealed, nil)
	require.NoError(t, err)
	require.Equal(t, "kept", string(opened))
}

func TestWhatKeyCopiesNeed(t *testing.T) {
	_, _, copied, _ := installation(t)
	for name, cfg := range map[string]keycopy.Config{
		"no KEK":             {Keys: encryptiontest.Keys()},
		"a negative timeout": {Keys: encryptiontest.Keys(), KEK: theKEK, KEKTimeout: -1},
		"a prefix of nobody": {Keys: encryptiontest.Keys(), KEK: theKEK, KEKs: []string{"aws-kms://"}},
		"no key store":       {KEK: theKEK},
	} {
		require.ErrorIs(t, keycopy.Restore(t.Context(), cfg, copied.Path), encryption.ErrDefinition, name)
		_, err := keycopy.Repair(t.Context(), cfg, copied.Path)
		require.ErrorIs(t, err, encryption.ErrDefinition, name)
	}
	_, err := keycopy.Repair(t.Context(), keycopy.Config{Keys: encryptiontest.Keys(), KEK: theKEK}, copied.Path)
	require.ErrorIs(t, err, encryption.ErrEmpty)
}
