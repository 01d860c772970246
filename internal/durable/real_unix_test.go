//go:build unix

package durable_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/internal/durable"
)

// A planted link leads nowhere: neither where a file is made, nor where one is
// replaced, read, appended to or removed.
func TestLinksLeadNowhereElse(t *testing.T) {
	outside, dir := t.TempDir(), t.TempDir()
	victim := filepath.Join(outside, "victim")
	require.NoError(t, os.WriteFile(victim, []byte("of others"), 0o600))
	require.NoError(t, os.Symlink(outside, filepath.Join(dir, "sub")))
	require.NoError(t, os.Symlink(victim, filepath.Join(dir, "file")))
	require.NoError(t, os.Symlink(filepath.Join(outside, "planted"), filepath.Join(dir, "dangling")))
	f := open(t, dir)
	for _, name := range []string{"sub/x", "../x", "sub/../../x"} {
		require.Error(t, f.Create(name, []byte("x"), 0o600), name)
		require.Error(t, f.Replace(name, []byte("x"), 0o600), name)
		_, err := f.New(name, 0o600)
		require.Error(t, err, name)
	}
	require.Error(t, f.MkdirAll("sub/deeper", 0o700))
	require.Error(t, f.Append("file", 9, 9, []byte("x")))
	require.Error(t, f.Append("sub/victim", 9, 9, []byte("x")))
	require.Error(t, f.Remove("sub/victim"))
	require.Error(t, f.Flush("file"))
	_, err := f.ReadFile("file")
	require.Error(t, err)
	require.ErrorIs(t, f.Create("dangling", []byte("x"), 0o600), fs.ErrExist)
	_, err = f.New("dangling", 0o600)
	require.ErrorIs(t, err, fs.ErrExist)
	f.CleanUp("sub")
	require.NoError(t, f.Replace("file", []byte("own"), 0o600), "the link itself is replaced")
	data, err := os.ReadFile(victim)
	require.NoError(t, err)
	require.Equal(t, "of others", string(data))
	require.Equal(t, []string{"victim"}, names(t, outside))
}

// A file has the mode that was asked for, whatever the umask.
func TestModes(t *testing.T) {
	for _, umask := range []int{0, 0o022, 0o077, 0o377} {
		before := syscall.Umask(umask)
		dir := t.TempDir()
		func() {
			defer syscall.Umask(before)
			require.NoError(t, os.Chmod(dir, 0o700))
			f := open(t, dir)
			for name, mode := range map[string]fs.FileMode{"a": 0o400, "b": 0o600, "c": 0o644} {
				require.NoError(t, f.Create(name, []byte("x"), mode))
				require.NoError(t, f.Replace(name, []byte("y"), mode))
				info, err := f.Lstat(name)
				require.NoError(t, err)
				require.Equal(t, mode, info.Mode().Perm())
			}
		}()
	}
}

// Whatever is no plain file is refused, and keeps nobody waiting; a link to a
// plain file is one.
func TestOnlyAPlainFileIsOpened(t *testing.T) {
	dir := t.TempDir()
	require.NoError(t, syscall.Mkfifo(filepath.Join(dir, "pipe"), 0o600))
	require.NoError(t, os.Mkdir(filepath.Join(dir, "folder"), 0o700))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "plain"), []byte("text"), 0o600))
	require.NoError(t, os.Symlink("plain", filepath.Join(dir, "link")))
	f := open(t, dir)
	for _, name := range []string{"pipe", "folder"} {
		_, err := f.ReadFile(name)
		require.ErrorContains(t, err, "not a plain file")
		require.ErrorContains(t, err, "open "+name)
		require.Error(t, f.Append(name, 0, 0, []byte("x")))
		require.Error(t, f.Flush(name))
		_, err = durable.OpenPlain(filepath.Join(dir, name))
		require.ErrorContains(t, err, "not a plain file")
	}
	_, err := durable.OpenPlain(os.DevNull)
	require.ErrorContains(t, err, "not a plain file")
	for _, name := range []string{"plain", "link"} {
		data, err := f.ReadFile(name)
		require.NoError(t, err)
		require.Equal(t, "text", string(data))
		file, err := durable.OpenPlain(filepath.Join(dir, name))
		require.NoError(t, err)
		require.NoError(t, file.Close())
	}
	_, err = durable.OpenPlain(filepath.Join(dir, "missing"))
	require.ErrorIs(t, err, fs.ErrNotExist)
}

// What killed processes left goes; what a living one writes, and whatever is
// not ours, stays.
func TestCleanUpTakesOnlyWhatIsLeftOfOurs(t *testing.T) {
	dir := t.TempDir()
	f := open(t, dir)
	random := "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
	left := []string{prefix + random, prefix + strings.Repeat("7", 26)}
	stays := []string{"file", random, prefix, prefix + "notes", prefix + random + ".txt", prefix + random[1:], prefix + strings.ToLower(random), "x" + prefix + random, ".other-" + random, prefix + strings.Repeat("1", 26)}
	for _, name := range append(left, stays...) {
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), []byte("half"), 0o400))
	}
	other := func(letter string) string { return prefix + strings.Repeat(letter, 26) }
	require.NoError(t, os.Symlink("file", filepath.Join(dir, other("A"))))
	require.NoError(t, os.Mkdir(filepath.Join(dir, other("B")), 0o700))
	require.NoError(t, syscall.Mkfifo(filepath.Join(dir, other("C")), 0o600))
	stays = append(stays, other("A"), other("B"), other("C"))
	living, err := f.Begin(".", 0o600)
	require.NoError(t, err)

	f.CleanUp(".")
	f.CleanUp("missing")
	require.ElementsMatch(t, append(stays, living.Name()), names(t, dir))
	require.NoError(t, living.Replace("done"))
	require.NoError(t, living.Discard())
	require.ElementsMatch(t, append(stays, "done"), names(t, dir))
}

// withoutLocks is a system that has none.
type withoutLocks struct{ durable.Disk }

type withoutLock struct{ durable.File }

func (f withoutLock) ReadDir(n int) ([]fs.DirEntry, error) {
	if l, ok := f.File.(durable.Lister); ok {
		return l.ReadDir(n)
	}
	return nil, errors.ErrUnsupported
}

func (d withoutLocks) Open(name string, flag int, mode fs.FileMode) (durable.File, error) {
	f, err := d.Disk.Open(name, flag, mode)
	return withoutLock{f}, err
}

// Where nothing tells whether a process lives, its age decides over an
// unfinished file, and writing goes on as ever.
func TestCleanUpWithoutLocks(t *testing.T) {
	dir := t.TempDir()
	f := open(t, dir).Over(func(d durable.Disk) durable.Disk { return withoutLocks{d} })
	young, old := prefix+strings.Repeat("A", 26), prefix+strings.Repeat("B", 26)
	for _, name := range []string{young, old} {
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), nil, 0o600))
	}
	then := time.Now().Add(-25 * time.Hour)
	require.NoError(t, os.Chtimes(filepath.Join(dir, old), then, then))
	f.CleanUp(".")
	require.Equal(t, []string{young}, names(t, dir))
	require.NoError(t, f.Create("file", []byte("x"), 0o600))
	require.NoError(t, f.Replace("file", []byte("y"), 0o600))
	require.ElementsMatch(t, []string{young, "file"}, names(t, dir))
}

// exchanging is a disk on which others are quick: what was opened to be
// cleared away is gone at once, and somebody works under its name.
type exchanging struct {
	durable.Disk
	exchange func(name string)
}

func (d exchanging) Open(name string, flag int, mode fs.FileMode) (durable.File, error) {
	f, err := d.Disk.Open(name, flag, mode)
	if durable.Unfinished(prefix, name) && flag&os.O_CREATE == 0 {
		d.exchange(name)
	}
	return f, err
}

// What stands under the name of a file that others cleared away is theirs.
func TestCleanUpTakesNothingThatCameMeanwhile(t *testing.T) {
	dir := t.TempDir()
	name := prefix + strings.Repeat("A", 26)
	require.NoError(t, os.WriteFile(filepath.Join(dir, name), []byte("left"), 0o600))
	open(t, dir).Over(func(d durable.Disk) durable.Disk {
		return exchanging{d, func(name string) {
			require.NoError(t, os.Remove(filepath.Join(dir, name)))
			require.NoError(t, os.WriteFile(filepath.Join(dir, name), []byte("new"), 0o600))
		}}
	}).CleanUp(".")
	data, err := os.ReadFile(filepath.Join(dir, name))
	require.NoError(t, err)
	require.Equal(t, "new", string(data))
}
