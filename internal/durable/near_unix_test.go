//go:build unix

package durable_test

import (
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
)

// Work near a folder is the work of the whole: same names, same answers.
func TestNearAFolderNamesAreAsEver(t *testing.T) {
	dir := t.TempDir()
	whole := open(t, dir)
	require.NoError(t, whole.MkdirAll("a/b", 0o700))
	require.NoError(t, whole.MkdirAll("a/c", 0o700))
	f, done := whole.Near("a/b")
	defer done()
	require.NoError(t, f.Create("a/b/x", []byte("1"), 0o600))
	require.ErrorIs(t, f.Create("a/b/x", []byte("2"), 0o600), fs.ErrExist)
	require.NoError(t, f.Replace("a/b/x", []byte("2"), 0o600))
	require.NoError(t, f.Append("a/b/x", 1, 1, []byte("3")))
	require.NoError(t, f.Create("a/c/y", []byte("elsewhere"), 0o600))
	require.NoError(t, f.Create("top", []byte("above"), 0o600))
	require.NoError(t, f.MkdirAll("a/b/deeper/still", 0o700))
	require.NoError(t, f.Create("a/b/deeper/still/z", []byte("below"), 0o600))
	for name, want := range map[string]string{"a/b/x": "23", "a/c/y": "elsewhere", "top": "above", "a/b/deeper/still/z": "below"} {
		data, err := os.ReadFile(filepath.Join(dir, name))
		require.NoError(t, err)
		require.Equal(t, want, string(data))
		data, err = f.ReadFile(name)
		require.NoError(t, err)
		require.Equal(t, want, string(data))
		require.True(t, f.Stands(name))
	}
	w, err := f.Begin("a/b", 0o600)
	require.NoError(t, err)
	require.False(t, f.Stands(w.Name()), "it is not finished")
	require.NoError(t, w.Replace("a/c/moved"), "from one folder into another")
	require.NoError(t, w.Discard())
	require.True(t, whole.Stands("a/c/moved"))
	require.NoError(t, f.Sync("a/b"))
	require.NoError(t, f.Remove("a/b/x"))
	require.False(t, f.Stands("a/b/x"))
	_, err = f.ReadFile("a/b/x")
	require.ErrorContains(t, err, "open a/b/x")
	require.NoError(t, os.RemoveAll(filepath.Join(dir, "a/b")))
	require.ErrorIs(t, f.Replace("a/b/x", []byte("3"), 0o600), fs.ErrNotExist, "nothing is written where nobody finds it")
}

// A folder that is exchanged for a link while somebody works in it leads
// nowhere else.
func TestNearAFolderThatIsExchangedForALink(t *testing.T) {
	outside, dir := t.TempDir(), t.TempDir()
	whole := open(t, dir)
	require.NoError(t, whole.MkdirAll("a/b", 0o700))
	f, done := whole.Near("a/b")
	defer done()
	require.NoError(t, os.Rename(filepath.Join(dir, "a/b"), filepath.Join(dir, "a/moved")))
	require.NoError(t, os.Symlink(outside, filepath.Join(dir, "a/b")))
	require.NoError(t, f.Replace("a/b/x", []byte("x"), 0o600), "as if it had been moved afterwards")
	require.Equal(t, []string{"x"}, names(t, filepath.Join(dir, "a/moved")))
	require.Empty(t, names(t, outside))
	other, done := whole.Near("a/b")
	defer done()
	require.Error(t, other.Replace("a/b/x", []byte("x"), 0o600))
	require.Empty(t, names(t, outside))
}

// A pipe in the place of a folder keeps nobody waiting.
func TestNearAPipeIsNoFolder(t *testing.T) {
	dir := t.TempDir()
	require.NoError(t, syscall.Mkfifo(filepath.Join(dir, "pipe"), 0o600))
	f := open(t, dir)
	require.ErrorIs(t, f.Create("pipe/x", []byte("x"), 0o600), syscall.ENOTDIR)
	require.ErrorIs(t, f.Replace("pipe/x", []byte("x"), 0o600), syscall.ENOTDIR)
}
