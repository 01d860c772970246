package localstore

import (
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/backup"
	"github.com/crmguard/crmguard/backup/backuptest"
	"github.com/crmguard/crmguard/internal/durable"
	"github.com/crmguard/crmguard/internal/durable/durabletest"
)

func TestStore(t *testing.T) {
	backuptest.Run(t, func(t *testing.T) backup.Store {
		s, err := Open(filepath.Join(t.TempDir(), "made", "when needed"))
		require.NoError(t, err)
		return s
	})
}

// An unmounted disk leaves no folder, or the empty one it was mounted on.
func TestAVanishedFolderIsAnErrorAndNeverMadeAnew(t *testing.T) {
	for what, leave := range map[string]bool{"no folder": false, "an empty mount point": true} {
		t.Run(what, func(t *testing.T) {
			backuptest.Vanishing(t, func(t *testing.T) (backup.Store, func(), func()) {
				dir := filepath.Join(t.TempDir(), "mount")
				s, err := Open(dir)
				require.NoError(t, err)
				return s, func() {
						require.NoError(t, os.Rename(dir, dir+".unmounted"))
						if leave {
							require.NoError(t, os.Mkdir(dir, 0o700))
						}
					}, func() {
						left, err := os.ReadDir(dir)
						if leave {
							require.NoError(t, err)
							require.Empty(t, left, "nothing was made under the mount point")
							require.NoError(t, os.Remove(dir))
						} else {
							require.ErrorIs(t, err, fs.ErrNotExist, "nothing was made in its place")
						}
						require.NoError(t, os.Rename(dir+".unmounted", dir))
					}
			})
		})
	}
}

// Copies of repositories lose their empty folders (archives, git): that is no
// vanished disk.
func TestAMissingFolderOfARepositoryIsEmpty(t *testing.T) {
	dir := t.TempDir()
	s := made(t, dir)
	require.NoError(t, s.Put(t.Context(), "config", []byte("c")))
	for _, folder := range folders() {
		require.NoError(t, os.Remove(filepath.Join(dir, folder)))
		for _, err := range s.List(t.Context(), folder) {
			require.NoError(t, err)
		}
		require.ErrorIs(t, s.Delete(t.Context(), folder+"/ab"), fs.ErrNotExist)
		require.NoError(t, s.Put(t.Context(), folder+"/ab", []byte("x")))
	}
}

func TestStoreWithoutHardLinks(t *testing.T) {
	for name, rule := range map[string]string{"put": "data/ab/x", "top": "config"} {
		t.Run(name, func(t *testing.T) {
			m := durabletest.NewMemory(1)
			m.NoLinks = true
			s := on(t, m)
			require.NoError(t, s.Make(t.Context()))
			require.NoError(t, s.Put(t.Context(), rule, []byte("a")))
			require.ErrorIs(t, s.Put(t.Context(), rule, []byte("b")), fs.ErrExist)
			data, err := s.Read(t.Context(), rule, 0, 9)
			require.NoError(t, err)
			require.Equal(t, "a", string(data))
		})
	}
}

// made opens a store and makes its folder.
func made(t *testing.T, dir string) *Store {
	t.Helper()
	s, err := Open(dir)
	require.NoError(t, err)
	require.NoError(t, s.Make(t.Context()))
	return s
}

func TestModes(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "r")
	s := made(t, dir)
	require.NoError(t, s.Put(t.Context(), "config", []byte("c")))
	require.NoError(t, s.Put(t.Context(), "data/ab/cd", []byte("c")))
	require.NoError(t, filepath.WalkDir(dir, func(_ string, d fs.DirEntry, err error) error {
		require.NoError(t, err)
		info, err := d.Info()
		require.NoError(t, err)
		want := fs.FileMode(0o400)
		if d.IsDir() {
			want = 0o700
		}
		require.Equal(t, want, info.Mode().Perm(), d.Name())
		return nil
	}))
}

func TestNamesCannotLeaveTheFolder(t *testing.T) {
	outside := filepath.Join(t.TempDir(), "outside")
	require.NoError(t, os.MkdirAll(outside, 0o700))
	dir := t.TempDir()
	require.NoError(t, os.Symlink(outside, filepath.Join(dir, "data")))
	s, err := Open(dir)
	require.NoError(t, err)
	for _, name := range []string{"../x", "/etc/passwd", "", ".", "a/../../x", "data/x", "data/tmp-1", "a//b"} {
		require.Error(t, s.Put(t.Context(), name, []byte("x")), name)
		_, err := s.Read(t.Context(), name, 0, 1)
		require.Error(t, err, name)
		require.Error(t, s.Delete(t.Context(), name), name)
	}
	for _, err := range s.List(t.Context(), "../") {
		require.Error(t, err)
	}
	left, err := os.ReadDir(outside)
	require.NoError(t, err)
	require.Empty(t, left)
	_, err = Open("")
	require.Error(t, err)
}

func TestLeftoversAreNeverSeen(t *testing.T) {
	dir := t.TempDir()
	s := made(t, dir)
	require.NoError(t, s.Put(t.Context(), "data/ab/cd", []byte("c")))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "data", "ab", "tmp-123"), []byte("half"), 0o600))
	n := 0
	for info, err := range s.List(t.Context(), "data") {
		require.NoError(t, err)
		require.Equal(t, "data/ab/cd", info.Name)
		n++
	}
	require.Equal(t, 1, n)
}

// on opens a store on a disk that forgets what was not flushed.
func on(t *testing.T, m *durabletest.Memory) *Store {
	t.Helper()
	s, err := Open(t.TempDir())
	require.NoError(t, err)
	s.over = func(durable.Disk) durable.Disk { return m }
	return s
}

// steps are what changed or flushed something since it was asked last.
func steps(m *durabletest.Memory) []string {
	out := slices.Clone(m.Log)
	m.Log = nil
	for i, step := range out {
		verb, name, _ := strings.Cut(step, " ")
		if strings.HasPrefix(path.Base(name), tmpPrefix) {
			out[i] = verb + " " + path.Dir(name) + "/tmp"
		}
	}
	return out
}

func TestPutFlushesInOrder(t *testing.T) {
	m := durabletest.NewMemory(1)
	s := on(t, m)
	require.NoError(t, s.Make(t.Context()))
	require.Equal(t, []string{"mkdir data", "sync ."}, steps(m)[:2])
	require.NoError(t, s.Make(t.Context()))
	require.Contains(t, steps(m), "sync .", "for what an interrupted Make has left")
	require.NoError(t, s.Put(t.Context(), "locks/x", []byte("x")))
	require.Equal(t, []string{
		"create locks/tmp", "write locks/tmp", "sync locks/tmp", "link locks/x", "remove locks/tmp", "sync locks",
	}, steps(m), "two flushes")
	require.NoError(t, s.Put(t.Context(), "data/ab/cd", []byte("x")))
	require.Equal(t, []string{
		"sync .", // data showed nothing yet
		"mkdir data/ab", "sync data",
		"create data/ab/tmp", "write data/ab/tmp", "sync data/ab/tmp", "link data/ab/cd", "remove data/ab/tmp", "sync data/ab",
	}, steps(m))
	require.NoError(t, s.Put(t.Context(), "data/ef/gh", []byte("x")))
	require.Equal(t, []string{"mkdir data/ef", "sync data"}, steps(m)[:2])
	require.NoError(t, s.Put(t.Context(), "data/ab/cd", []byte("x")))
	require.Equal(t, []string{"sync data/ab/cd", "sync data/ab"}, steps(m), "asked again: the first may not have got so far")
	require.NoError(t, s.Delete(t.Context(), "data/ab/cd"))
	require.Equal(t, []string{"remove data/ab/cd", "sync data/ab"}, steps(m))
}

// Whatever moment the power fails at: what Put acknowledged is there, and
// what it did not is there whole or not at all; the next job reads it, and
// puts the rest beside it. So it is when the process alone is killed, and the
// power fails later.
func TestPowerFailureAtEveryMoment(t *testing.T) {
	names := []string{"config", "locks/0", "data/ab/1", "data/ab/2", "data/cd/3", "snapshots/4"}
	for _, noLinks := range []bool{false, true} {
		for seed := range uint64(8) {
			for failAt := 1; ; failAt++ {
				m := durabletest.NewMemory(seed)
				m.NoLinks = noLinks
				s := on(t, m)
				m.FailAt(failAt)
				made := s.Make(t.Context()) == nil
				done := map[string]bool{}
				for _, name := range names {
					done[name] = made && s.Put(t.Context(), name, []byte("content of "+name)) == nil
				}
				failed := m.Failed()
				if seed%2 == 0 {
					m.Crash()
				} else {
					m.Kill()
				}
				check := func() {
					for _, name := range names {
						data, err := s.Read(t.Context(), name, 0, 99)
						if done[name] {
							require.NoError(t, err, "step %d: an acknowledged file is gone", failAt)
						}
						if err == nil {
							require.Equal(t, "content of "+name, string(data), "step %d", failAt)
						}
					}
				}
				check()
				require.NoError(t, s.Make(t.Context()))
				for _, name := range names {
					require.NoError(t, s.Put(t.Context(), name, []byte("content of "+name)), "step %d", failAt)
					done[name] = true
				}
				m.Crash()
				check()
				if !failed {
					break
				}
			}
		}
	}
}
