package insecurekeys_test

import (
	"bytes"
	"context"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/encryption"
	"github.com/crmguard/crmguard/encryption/encryptiontest"
	"github.com/crmguard/crmguard/encryption/insecurekeys"
	"github.com/crmguard/crmguard/encryption/keycopy"
)

func TestAFolderHoldsTheKEKsOfAnInstallation(t *testing.T) {
	dir := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(dir, "kek-1"), bytes.Repeat([]byte{1}, 32), 0o600))
	cfg := encryption.Config{Keys: encryptiontest.Keys(), KEK: insecurekeys.Folder(dir)}
	vault, err := encryption.Create(t.Context(), cfg)
	require.NoError(t, err)
	require.NoError(t, vault.AddTenant(t.Context(), "main"))
	epoch := keycopy.Rewrap{
		KEK: "kek-2", Copy: vault.Copier(t.TempDir()),
		Destroy: func(_ context.Context, name string) error { return os.Remove(filepath.Join(dir, name)) },
	}
	_, err = vault.RewrapKeys(t.Context(), epoch)
	require.ErrorIs(t, err, encryption.ErrKEK)
	require.ErrorIs(t, err, fs.ErrNotExist)
	require.NoError(t, os.WriteFile(filepath.Join(dir, "kek-2"), bytes.Repeat([]byte{2}, 32), 0o600))
	_, err = vault.RewrapKeys(t.Context(), epoch)
	require.NoError(t, err)
	require.NoFileExists(t, filepath.Join(dir, "kek-1"))
	vault, err = encryption.Open(t.Context(), cfg)
	require.NoError(t, err)
	require.NoError(t, vault.Ensure(t.Context(), "main", "p1"))

	require.NoError(t, os.WriteFile(filepath.Join(dir, "kek-2"), bytes.Repeat([]byte{3}, 32), 0o600))
	_, err = encryption.Open(t.Context(), cfg)
	require.ErrorIs(t, err, encryption.ErrKEK, "another key under the name")
}

func TestWhatIsNoKeyInTheFolderIsRefused(t *testing.T) {
	dir := t.TempDir()
	key := bytes.Repeat([]byte{7}, 32)
	write := func(name string, content []byte, mode os.FileMode) {
		t.Helper()
		require.NoError(t, os.MkdirAll(filepath.Dir(filepath.Join(dir, name)), 0o700))
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), content, mode))
		require.NoError(t, os.Chmod(filepath.Join(dir, name), mode))
	}
	keks := insecurekeys.Folder(filepath.Join(dir, "keks"))
	write("keks/good", key, 0o400)
	write("keks/mounted", key, 0o440) // as a secret that is mounted for a group
	for _, name := range []string{"good", "mounted"} {
		_, err := keks(t.Context(), "main", name)
		require.NoError(t, err, name)
	}
	write("outside", key, 0o600)
	write("keks/folder/inside", key, 0o600)
	write("keks/empty", nil, 0o600)
	write("keks/short", key[:31], 0o600)
	write("keks/long", append(key, '\n'), 0o600)
	names := []string{"", ".", "..", "../outside", "folder", "folder/inside", `folder\inside`, "./good", filepath.Join(dir, "outside"), "none", "empty", "short", "long", "a\x00", "C:good"}
	if runtime.GOOS != "windows" {
		for name, mode := range map[string]os.FileMode{"group": 0o620, "world": 0o604, "writable": 0o602} {
			write("keks/"+name, key, mode)
			_, err := keks(t.Context(), "main", name)
			require.ErrorIs(t, err, fs.ErrPermission, name)
			require.ErrorContains(t, err, "chmod 600", name)
		}
	}
	for _, name := range names {
		kek, err := keks(t.Context(), "main", name)
		require.Error(t, err, "%q", name)
		require.Nil(t, kek, "%q", name)
	}
	ctx, stop := context.WithCancel(t.Context())
	stop()
	_, err := keks(ctx, "main", "good")
	require.ErrorIs(t, err, context.Canceled)
}
