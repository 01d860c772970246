//go:build unix

package disk

import (
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
)

// A pipe at which opening would wait is refused, a folder too; a link to a
// plain file is one.
func TestOnlyAPlainFileIsOpened(t *testing.T) {
	dir := t.TempDir()
	pipe, plain, link := filepath.Join(dir, "pipe"), filepath.Join(dir, "plain"), filepath.Join(dir, "link")
	require.NoError(t, syscall.Mkfifo(pipe, 0o600))
	require.NoError(t, os.WriteFile(plain, []byte("text"), 0o600))
	require.NoError(t, os.Symlink(plain, link))
	for _, other := range []string{pipe, dir} {
		_, err := Open(other)
		require.ErrorIs(t, err, errNotPlain)
		_, err = ReadFile(other)
		require.ErrorIs(t, err, errNotPlain)
	}
	for _, name := range []string{plain, link} {
		data, err := ReadFile(name)
		require.NoError(t, err)
		require.Equal(t, "text", string(data))
	}
	_, err := ReadFile(filepath.Join(dir, "missing"))
	require.ErrorIs(t, err, os.ErrNotExist)
}
