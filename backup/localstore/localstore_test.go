package localstore

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/backup"
	"github.com/crmguard/crmguard/backup/backuptest"
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
			s := forgetful(t, &memoryDisk{noLinks: true})
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

// memoryDisk is a real folder, with the memory of a disk whose cache was
// lost: what was not flushed is gone after crash. Events are numbered, and
// the power fails at one of them.
type memoryDisk struct {
	osDisk
	noLinks bool
	failAt  int

	n        int
	events   []string
	unsynced map[string]bool   // files whose content is not flushed
	entries  map[string]string // names not flushed in their folder, by name
}

var errPower = errors.New("power failure")

func forgetful(t *testing.T, d *memoryDisk) *Store {
	t.Helper()
	s, err := Open(t.TempDir())
	require.NoError(t, err)
	d.unsynced, d.entries = map[string]bool{}, map[string]string{}
	s.disk = func(root *os.Root) disk {
		d.osDisk = osDisk{root}
		return d
	}
	return s
}

func (d *memoryDisk) event(format string, args ...any) error {
	d.n++
	if d.failAt != 0 && d.n >= d.failAt {
		return errPower
	}
	d.events = append(d.events, fmt.Sprintf(format, args...))
	return nil
}

func kind(name string) string {
	if base := path.Base(name); len(base) > 4 && base[:4] == tmpPrefix {
		return path.Dir(name) + "/tmp"
	}
	return name
}

func (d *memoryDisk) create(name string) (file, error) {
	if err := d.event("create %s", kind(name)); err != nil {
		return nil, err
	}
	d.entries[name], d.unsynced[name] = name, true
	f, err := d.osDisk.create(name)
	return &memoryFile{file: f, d: d, name: name}, err
}

func (d *memoryDisk) link(from, to string) error {
	if d.noLinks {
		return errors.ErrUnsupported
	}
	if err := d.event("link %s", to); err != nil {
		return err
	}
	err := d.osDisk.link(from, to)
	if err == nil {
		d.entries[to] = to
		d.unsynced[to] = d.unsynced[from]
	}
	return err
}

func (d *memoryDisk) rename(from, to string) error {
	if err := d.event("rename %s", to); err != nil {
		return err
	}
	d.entries[to] = to
	d.unsynced[to] = d.unsynced[from]
	return d.osDisk.rename(from, to)
}

func (d *memoryDisk) remove(name string) error {
	if err := d.event("remove %s", kind(name)); err != nil {
		return err
	}
	return d.osDisk.remove(name)
}

func (d *memoryDisk) mkdir(name string) error {
	if err := d.event("mkdir %s", name); err != nil {
		return err
	}
	d.entries[name] = name
	return d.osDisk.mkdir(name)
}

func (d *memoryDisk) syncFolder(name string) error {
	if err := d.event("syncdir %s", name); err != nil {
		return err
	}
	for entry := range d.entries {
		if path.Dir(entry) == name {
			delete(d.entries, entry)
		}
	}
	return d.osDisk.syncFolder(name)
}

type memoryFile struct {
	file
	d    *memoryDisk
	name string
}

func (f *memoryFile) Write(p []byte) (int, error) {
	if err := f.d.event("write"); err != nil {
		return 0, err
	}
	return f.file.Write(p)
}

func (f *memoryFile) Sync() error {
	if err := f.d.event("sync"); err != nil {
		return err
	}
	f.d.unsynced[f.name] = false
	return f.file.Sync()
}

// crash forgets what was not flushed.
func (d *memoryDisk) crash(t *testing.T, dir string) {
	t.Helper()
	for name, lost := range d.unsynced {
		if full := filepath.Join(dir, filepath.FromSlash(name)); lost {
			if _, err := os.Lstat(full); err == nil {
				require.NoError(t, os.Chmod(full, 0o600))
				require.NoError(t, os.Truncate(full, 0))
			}
		}
	}
	for name := range d.entries {
		require.NoError(t, os.RemoveAll(filepath.Join(dir, filepath.FromSlash(name))))
	}
}

func TestPutFlushesInOrder(t *testing.T) {
	d := &memoryDisk{}
	s := forgetful(t, d)
	require.NoError(t, s.Make(t.Context()))
	require.Equal(t, []string{"mkdir data", "syncdir ."}, d.events[:2])
	require.Equal(t, "syncdir .", d.events[len(d.events)-1], "for what an interrupted Make has left")
	d.events = nil
	require.NoError(t, s.Put(t.Context(), "data/ab/cd", []byte("x")))
	require.Equal(t, []string{
		"mkdir data/ab", "syncdir data",
		"create data/ab/tmp", "write", "sync", "link data/ab/cd", "syncdir data/ab", "remove data/ab/tmp",
	}, d.events)
	d.events = nil
	require.NoError(t, s.Put(t.Context(), "data/ab/cd", []byte("x")))
	require.Equal(t, []string{"syncdir data/ab"}, d.events, "asked again: the first may not have got so far")
	d.events = nil
	require.NoError(t, s.Delete(t.Context(), "data/ab/cd"))
	require.Equal(t, []string{"remove data/ab/cd", "syncdir data/ab"}, d.events)
}

// Whatever moment the power fails at: what Put acknowledged is there, and
// what it did not is there whole or not at all.
func TestPowerFailureAtEveryMoment(t *testing.T) {
	for _, noLinks := range []bool{false, true} {
		for failAt := 1; ; failAt++ {
			d := &memoryDisk{failAt: failAt, noLinks: noLinks}
			s := forgetful(t, d)
			_ = s.Make(t.Context()) // what is lost with it is refused below
			done := map[string]bool{}
			names := []string{"config", "data/ab/1", "data/ab/2", "data/cd/3", "snapshots/4"}
			for _, name := range names {
				done[name] = s.Put(t.Context(), name, []byte("content of "+name)) == nil
			}
			d.crash(t, s.dir)
			for _, name := range names {
				data, err := os.ReadFile(filepath.Join(s.dir, filepath.FromSlash(name)))
				if done[name] {
					require.NoError(t, err, "event %d: an acknowledged file is gone", failAt)
				}
				if err == nil {
					require.Equal(t, "content of "+name, string(data), "event %d", failAt)
				}
			}
			if d.n < failAt {
				break
			}
		}
	}
}
