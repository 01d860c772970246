//go:build unix

package encryption_test

import (
	"path/filepath"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/encryption"
	"github.com/crmguard/crmguard/encryption/keycopy"
)

// A pipe under the name of a key copy is no copy and keeps nobody waiting: the
// next run takes it away with what else is no copy.
func TestAPipeIsNoKeyCopy(t *testing.T) {
	e := newEnv(t, 4)
	dir := t.TempDir()
	e.insert(t, "c1", "p1")
	position, err := e.vault.Position(t.Context())
	require.NoError(t, err)
	require.NoError(t, e.vault.KeyCopy(dir)(t.Context(), position))
	good := names(t, dir)
	pipe := filepath.Join(dir, "keys-09223372036854775807.jsonl")
	require.NoError(t, syscall.Mkfifo(pipe, 0o600))
	_, err = e.vault.VerifyCopy(t.Context(), pipe)
	require.ErrorIs(t, err, encryption.ErrCopy)
	require.NoError(t, e.vault.KeyCopy(dir)(t.Context(), position))
	path, err := keycopy.Newest(dir)
	require.NoError(t, err)
	require.Equal(t, []string{filepath.Base(path)}, names(t, dir))
	require.NotEqual(t, good, names(t, dir), "a new one was written, which took the pipe away")
}
