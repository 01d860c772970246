package durable_test

import (
	"errors"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/internal/durable"
	"github.com/crmguard/crmguard/internal/durable/durabletest"
)

func open(t *testing.T, dir string) *durable.Folder {
	t.Helper()
	f, err := durable.Open(dir, prefix)
	require.NoError(t, err)
	t.Cleanup(func() { _ = f.Close() })
	return f
}

func names(t *testing.T, dir string) (out []string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	require.NoError(t, err)
	for _, e := range entries {
		out = append(out, e.Name())
	}
	return out
}

// Whatever step fails, and however: the error is that of the disk, it names the
// step and the file and nothing of its content, the old content stays where the
// new one is not on disk, and nothing unfinished is left, or CleanUp takes it.
func TestEveryStepThatFails(t *testing.T) {
	const old, fresh = "the old secret", "the new secret"
	for _, existing := range []bool{false, true} {
		for _, step := range []string{"create", "write", "sync", "link", "rename", "close", "sync folder"} {
			if existing && step == "link" || !existing && step == "rename" {
				continue
			}
			for _, cause := range []error{syscall.EIO, syscall.ENOSPC, syscall.EROFS, syscall.EACCES, syscall.EDQUOT} {
				for _, stuck := range []bool{false, true} {
					dir := t.TempDir()
					f := open(t, dir)
					require.NoError(t, f.Create("neighbour", []byte("n"), 0o600))
					if existing {
						require.NoError(t, f.Create("file", []byte(old), 0o600))
					}
					f.Over(durabletest.Ask(func(at, name string) error {
						if at == step || stuck && at == "remove" {
							return cause
						}
						return nil
					}))
					do := f.Create
					if existing {
						do = f.Replace
					}
					err := do("file", []byte(fresh), 0o600)
					require.ErrorIs(t, err, cause, step)
					require.ErrorContains(t, err, step)
					require.NotContains(t, err.Error(), "secret")
					require.NotContains(t, err.Error(), prefix, "the operator looks for the file that was asked for")
					if step != "sync folder" {
						require.ErrorContains(t, err, "file")
					}
					data, readErr := os.ReadFile(filepath.Join(dir, "file"))
					switch {
					case step == "close" || step == "sync folder": // it has its name
						require.Equal(t, fresh, string(data))
					case existing:
						require.Equal(t, old, string(data))
					default:
						require.ErrorIs(t, readErr, fs.ErrNotExist)
					}
					f = open(t, dir)
					if stuck {
						f.CleanUp(".")
					}
					left := slices.DeleteFunc(names(t, dir), func(name string) bool { return name == "file" || name == "neighbour" })
					require.Empty(t, left, step)
				}
			}
		}
	}
}

func TestAnAppendThatFailsIsCutOff(t *testing.T) {
	for _, step := range []string{"open", "write", "sync"} {
		for _, cause := range []error{syscall.EIO, syscall.ENOSPC, syscall.EROFS} {
			dir := t.TempDir()
			f := open(t, dir)
			require.NoError(t, f.Create("log", []byte("old\n"), 0o600))
			f.Over(durabletest.Ask(func(at, _ string) error {
				if at == step {
					return cause
				}
				return nil
			}))
			err := f.Append("log", 4, 4, []byte("new secret line\n"))
			require.ErrorIs(t, err, cause)
			require.ErrorContains(t, err, step+" log")
			require.NotContains(t, err.Error(), "secret")
			data, err := os.ReadFile(filepath.Join(dir, "log"))
			require.NoError(t, err)
			require.Equal(t, "old\n", string(data))
		}
	}
}

// A folder that cannot be made, or not durably, is an error each time.
func TestAFolderWhoseNameMayBeLostIsNoSuccess(t *testing.T) {
	m := durabletest.NewMemory(1)
	broken := durable.On(m, prefix).Over(durabletest.Ask(func(step, _ string) error {
		if step == "sync folder" {
			return syscall.EIO
		}
		return nil
	}))
	for range 2 {
		require.ErrorIs(t, broken.MkdirAll("a", 0o700), syscall.EIO)
	}
	require.NoError(t, durable.On(m, prefix).MkdirAll("a", 0o700))
	m.Crash()
	_, err := m.Lstat("a")
	require.NoError(t, err)
}

// A refusal by the file system is told from a failure of the disk.
func TestOnlyARefusalOfAFolderFlushIsNoError(t *testing.T) {
	for err, want := range map[error]bool{
		syscall.EINVAL: true, syscall.ENOTSUP: true, syscall.ENOSYS: true,
		syscall.EIO: false, syscall.ENOSPC: false, syscall.EACCES: false, syscall.EPERM: false, syscall.EROFS: false,
	} {
		f := durable.On(durabletest.NewMemory(1), prefix).Over(durabletest.Ask(func(step, name string) error {
			if step == "sync folder" {
				return &fs.PathError{Op: "sync", Path: name, Err: err}
			}
			return nil
		}))
		got := errors.Join(f.Create("x", nil, 0o600), f.Sync("."))
		if want {
			require.NoError(t, got, "%v", err)
		} else {
			require.ErrorIs(t, got, err)
		}
	}
	if f, err := os.Open("/proc"); err == nil { // a file system that refuses
		require.ErrorIs(t, f.Sync(), syscall.EINVAL)
		require.NoError(t, f.Close())
		require.NoError(t, open(t, "/proc").Sync("."))
	}
	f := durable.On(durabletest.NewMemory(1), prefix).Over(durabletest.Ask(func(step, _ string) error {
		if step == "sync" {
			return syscall.EINVAL
		}
		return nil
	}))
	require.ErrorIs(t, f.Create("x", nil, 0o600), syscall.EINVAL, "a file that is not flushed is not on disk")
}

// Of many that make the same file at the same moment one does, and its content
// is there, also where there are no hard links.
func TestOneOfManyMakesTheFile(t *testing.T) {
	for _, noLinks := range []bool{false, true} {
		dir := t.TempDir()
		var all sync.WaitGroup
		var mu sync.Mutex
		var made []string
		for i := range 24 {
			all.Go(func() {
				f, err := durable.Open(dir, prefix)
				if err != nil {
					t.Errorf("open: %v", err)
					return
				}
				defer f.Close()
				f.Over(durabletest.Ask(func(step, _ string) error {
					if step == "link" && noLinks {
						return syscall.EPERM
					}
					return nil
				}))
				content := strings.Repeat(string(rune('a'+i)), 1000)
				switch err := f.Create("file", []byte(content), 0o600); {
				case err == nil:
					mu.Lock()
					made = append(made, content)
					mu.Unlock()
				case !errors.Is(err, fs.ErrExist):
					t.Errorf("create: %v", err)
				}
				f.CleanUp(".") // beside the others
			})
		}
		all.Wait()
		require.Len(t, made, 1)
		data, err := os.ReadFile(filepath.Join(dir, "file"))
		require.NoError(t, err)
		require.Equal(t, made[0], string(data))
		require.Equal(t, []string{"file"}, names(t, dir))
	}
}

// A link that fails for another reason is no missing feature.
func TestALinkThatFailsIsNoRename(t *testing.T) {
	dir := t.TempDir()
	f := open(t, dir).Over(durabletest.Ask(func(step, _ string) error {
		switch step {
		case "link":
			return syscall.EIO
		case "rename":
			t.Error("renamed")
		}
		return nil
	}))
	require.ErrorIs(t, f.Create("file", nil, 0o600), syscall.EIO)
}

// Somebody removes the unfinished file: another one is written.
func TestAnUnfinishedFileThatVanishesIsWrittenAgain(t *testing.T) {
	dir := t.TempDir()
	removed := 0
	f := open(t, dir).Over(durabletest.Ask(func(step, _ string) error {
		if (step == "link" || step == "rename") && removed < 2 {
			removed++
			for _, name := range names(t, dir) {
				if durable.Unfinished(prefix, name) {
					require.NoError(t, os.Remove(filepath.Join(dir, name)))
				}
			}
		}
		return nil
	}))
	require.NoError(t, f.Create("file", []byte("x"), 0o600))
	require.Equal(t, 2, removed)
	removed = 0
	require.NoError(t, f.Replace("file", []byte("y"), 0o600))
	require.Equal(t, []string{"file"}, names(t, dir))
	removed = -9
	require.ErrorIs(t, f.Replace("file", []byte("z"), 0o600), fs.ErrNotExist, "not for ever")
	data, err := os.ReadFile(filepath.Join(dir, "file"))
	require.NoError(t, err)
	require.Equal(t, "y", string(data))
}

// Folders above the folder are made, each durable in the one above.
func TestMake(t *testing.T) {
	top := t.TempDir()
	dir := filepath.Join(top, "a", "b", "c")
	for range 2 {
		f, err := durable.Make(dir, prefix, 0o700)
		require.NoError(t, err)
		require.NoError(t, f.Close())
	}
	if runtime.GOOS != "windows" {
		info, err := os.Stat(filepath.Join(top, "a"))
		require.NoError(t, err)
		require.Equal(t, fs.FileMode(0o700), info.Mode().Perm())
	}
	require.NoError(t, os.WriteFile(filepath.Join(top, "file"), nil, 0o600))
	for _, bad := range []string{filepath.Join(top, "file"), filepath.Join(top, "file", "below")} {
		_, err := durable.Make(bad, prefix, 0o700)
		require.Error(t, err)
	}
	_, err := durable.Open(filepath.Join(top, "missing"), prefix)
	require.ErrorIs(t, err, fs.ErrNotExist)
	require.Error(t, open(t, top).MkdirAll("file/x", 0o700))
	require.Error(t, open(t, top).MkdirAll("../x", 0o700))
}

func TestReadAndRemove(t *testing.T) {
	f := open(t, t.TempDir())
	require.NoError(t, f.MkdirAll("sub", 0o700))
	require.NoError(t, f.Create("sub/x", []byte("text"), 0o600))
	data, err := f.ReadFile("sub/x")
	require.NoError(t, err)
	require.Equal(t, "text", string(data))
	require.NoError(t, f.Flush("sub/x"))
	entries, err := f.ReadDir("sub")
	require.NoError(t, err)
	require.Len(t, entries, 1)
	require.NoError(t, f.RemoveAll("sub", "x", path.Join("missing")))
	require.ErrorIs(t, f.Remove("sub/x"), fs.ErrNotExist)
	require.NoError(t, f.Remove("sub"))
	_, err = f.ReadDir("sub")
	require.ErrorIs(t, err, fs.ErrNotExist)
}
