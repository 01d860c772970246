//go:build unix

package backup_test

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/backup"
	"github.com/crmguard/crmguard/backup/backuptest"
)

// stray is something that stands in a repository and should not.
type stray struct {
	name   string // "*" stands for a hash: a name that a file could have
	damage bool   // it looks like a file of the repository, so Check calls it damaged, not foreign
	is     string // what Check calls a foreign one
	put    func(t *testing.T, path string)
}

func strays() []stray {
	file := func(data []byte) func(*testing.T, string) {
		return func(t *testing.T, path string) { t.Helper(); write(t, path, data) }
	}
	sparse := func(t *testing.T, path string) { // larger than any file that is read whole
		t.Helper()
		write(t, path, nil)
		require.NoError(t, os.Truncate(path, 600<<20))
	}
	folder := func(t *testing.T, path string) { t.Helper(); write(t, filepath.Join(path, "inside"), []byte("x")) }
	link := func(target string) func(*testing.T, string) {
		return func(t *testing.T, path string) { t.Helper(); require.NoError(t, os.Symlink(target, path)) }
	}
	pipe := func(t *testing.T, path string) { t.Helper(); require.NoError(t, syscall.Mkfifo(path, 0o600)) }
	return []stray{
		{".DS_Store", false, "a file that does not belong here", file([]byte("x"))},
		{"desktop.ini", false, "a file that does not belong here", file(bytes.Repeat([]byte("x"), 300))},
		{"*.part", false, "a file that does not belong here", file([]byte("x"))},
		{"readme", false, "a file that does not belong here", sparse},
		{"old", false, "a folder that does not belong here", folder},
		{"link", false, "a symbolic link, which is not followed", link("../config")},
		{"*", false, "a folder that does not belong here", folder},
		{"*", false, "a symbolic link, which is not followed", link("../config")},
		{"*", false, "a symbolic link, which is not followed", link("nowhere")},
		{"*", false, "neither a file nor a folder", pipe},
		{"*", true, "", file(nil)},
		{"*", true, "", file([]byte("x"))},
		{"*", true, "", file(noise(5, 5000))},
		{"*", true, "", sparse},
	}
}

// Whatever stands beside the files of a repository, in whichever folder, costs
// only what it carries: nothing. Check names it and says what it is.
func TestStrayFilesCostNothing(t *testing.T) {
	base, source, key := filepath.Join(t.TempDir(), "base"), t.TempDir(), backup.NewMachineKey()
	write(t, filepath.Join(source, "f"), []byte("content"))
	repos := create(t, key, base)
	first := mustRun(t, nightly(repos, backup.Folder("files", source)))
	second := mustRun(t, nightly(repos, backup.Folder("files", source)))
	hash := strings.Repeat("5e", 32)
	for _, folder := range []string{"", "keys", "locks", "index", "snapshots", "data", "data/5e", "data/00"} {
		for _, s := range strays() {
			name := strings.ReplaceAll(s.name, "*", hash)
			if folder != "" {
				name = folder + "/" + name
			}
			damage, is := s.damage && folder != "" && folder != "data" && folder != "data/00", s.is
			if s.damage && !damage {
				is = "a file in a folder where its name does not belong"
			}
			t.Run(name+" "+is, func(t *testing.T) {
				dir := filepath.Join(t.TempDir(), "r")
				require.NoError(t, os.CopyFS(dir, os.DirFS(base)))
				require.NoError(t, os.MkdirAll(filepath.Join(dir, folder), 0o700))
				s.put(t, filepath.Join(dir, name))

				repo, err := backup.Open(t.Context(), localStore(t, dir), config(key))
				require.NoError(t, err)
				snapshots, err := repo.Snapshots(t.Context())
				require.NoError(t, err)
				require.Len(t, snapshots, 2)
				_, err = repo.Restore(t.Context(), first.Snapshot, filepath.Join(t.TempDir(), "x"))
				require.NoError(t, err)
				count, where, err := repo.KeyHolders(t.Context(), "main", 1)
				require.NoError(t, err)
				if newest, err := repo.Manifest(t.Context(), backup.Latest); folder == "snapshots" && damage {
					require.Equal(t, 1, count, "nobody knows what it needed")
					require.Contains(t, where, name)
					require.ErrorIs(t, err, backup.ErrCorrupt, "it may be the newest")
					require.ErrorContains(t, err, name)
					require.ErrorContains(t, err, second.Snapshot[:8], "the newest that can be read")
				} else {
					require.NoError(t, err)
					require.Equal(t, "nightly", newest.Job)
					require.Zero(t, count, where)
				}
				mirror, err := repo.Mirror(t.Context(), localStore(t, filepath.Join(t.TempDir(), "mirror")))
				require.NoError(t, err)
				require.Equal(t, repo.ID(), mirror.ID())
				third := mustRun(t, nightly([]*backup.Repository{repo}, backup.Folder("files", source)))
				require.Zero(t, third.Files-1)
				if damage && (folder == "snapshots" || folder == "index") {
					require.Len(t, third.Stores[0].Problems, 1)
					require.ErrorContains(t, third.Stores[0].Problems[0], name)
				} else {
					require.Empty(t, third.Stores[0].Problems, "a run reads nothing of it")
				}
				for _, depth := range []backup.Depth{backup.Structure, backup.ReadAll} {
					report, err := repo.Check(t.Context(), depth, first.Snapshot, second.Snapshot, third.Snapshot)
					switch {
					case damage && folder == "data/5e" && depth == backup.Structure:
						require.NoError(t, err)
						require.Equal(t, 1, report.Unused, "no index names it, and nobody reads it here")
					case damage:
						require.ErrorIs(t, err, backup.ErrCorrupt)
						require.Len(t, report.Problems, 1)
						var file *backup.FileError
						require.ErrorAs(t, report.Problems[0], &file)
						require.Equal(t, name, file.File)
					default:
						require.NoError(t, err)
						require.Equal(t, []string{name + ": " + is}, report.Foreign)
					}
				}
				require.NoError(t, os.RemoveAll(filepath.Join(dir, name)))
				report, err := repo.Check(t.Context(), backup.ReadAll)
				require.NoError(t, err)
				require.Empty(t, report.Foreign)
			})
		}
	}
}

// change replaces a file of a repository.
func change(t *testing.T, path string, to func(data []byte) []byte) {
	t.Helper()
	data, err := os.ReadFile(path)
	require.NoError(t, err)
	require.NoError(t, os.Chmod(path, 0o600))
	require.NoError(t, os.WriteFile(path, to(data), 0o600))
}

// One damaged file of three snapshots, of each kind and in each way: the other
// two restore, the next run goes on, and what is lost is named.
func TestADamagedFileCostsOnlyWhatItCarries(t *testing.T) {
	for _, folder := range []string{"snapshots", "index", "data"} {
		for what, to := range map[string]func([]byte) []byte{
			"flipped": func(data []byte) []byte { data[20] ^= 1; return data },
			"cut":     func(data []byte) []byte { return data[:len(data)/3] },
			"empty":   func([]byte) []byte { return nil },
			"garbage": func(data []byte) []byte { return noise(9, len(data)) },
		} {
			t.Run(folder+" "+what, func(t *testing.T) {
				dir, key := filepath.Join(t.TempDir(), "r"), backup.NewMachineKey()
				repos := create(t, key, dir)
				var ids []string
				var made [][]string // files of the folder that came with each snapshot
				seen := only(t, filepath.Join(dir, folder))
				for _, text := range []string{"one", "two", "three"} {
					source := t.TempDir()
					write(t, filepath.Join(source, "f"), []byte(text))
					ids = append(ids, mustRun(t, nightly(repos, backup.Folder("files", source))).Snapshot)
					now := only(t, filepath.Join(dir, folder))
					made = append(made, slices.DeleteFunc(slices.Clone(now), func(name string) bool { return slices.Contains(seen, name) }))
					seen = now
				}
				for _, name := range made[1] {
					change(t, name, to)
				}
				repo, err := backup.Open(t.Context(), localStore(t, dir), config(key))
				require.NoError(t, err)
				for i, id := range ids {
					target := filepath.Join(t.TempDir(), "x")
					_, err := repo.Restore(t.Context(), id, target)
					require.Equal(t, i == 1, err != nil, "%v", err)
					require.Equal(t, i == 1, backup.Opened(target) != nil)
				}
				_, err = repo.Restore(t.Context(), ids[1], filepath.Join(t.TempDir(), "x"))
				require.ErrorIs(t, err, backup.ErrCorrupt)
				report, err := repo.Check(t.Context(), backup.ReadAll)
				require.ErrorIs(t, err, backup.ErrCorrupt)
				var named []string
				for _, problem := range report.Problems {
					if file, ok := errors.AsType[*backup.FileError](problem); ok {
						named = append(named, filepath.Join(dir, file.File))
					}
				}
				for _, name := range made[1] {
					require.Contains(t, named, name)
					if folder == "data" { // only a check reads packs; once it is gone, a run stores anew what was in it
						require.NoError(t, os.Remove(name))
					}
				}
				source := t.TempDir()
				write(t, filepath.Join(source, "f"), []byte("two"))
				again := mustRun(t, nightly([]*backup.Repository{repo}, backup.Folder("files", source)))
				require.Equal(t, map[string]string{"files/f": "two"}, content(t, repo, again.Snapshot), "nothing leans on what is damaged")
			})
		}
	}
}

// A restore whose own data is damaged brings back what is whole, stays closed
// and says what is lost.
func TestARestoreNamesTheFilesThatAreLost(t *testing.T) {
	repo, memory := memoryRepo(t)
	source := t.TempDir()
	write(t, filepath.Join(source, "a"), noise(1, 300))
	write(t, filepath.Join(source, "sub", "b"), noise(2, 9<<20))
	write(t, filepath.Join(source, "sub", "c"), noise(3, 9<<20))
	first := mustRun(t, nightly([]*backup.Repository{repo}, backup.Folder("files", source)))
	before := memory.Files()
	write(t, filepath.Join(source, "d"), noise(4, 300))
	write(t, filepath.Join(source, "more", "e"), noise(5, 300))
	second := mustRun(t, nightly([]*backup.Repository{repo}, backup.Folder("files", source)))
	listings := map[string]bool{}
	for b, err := range repo.Blobs(t.Context()) {
		require.NoError(t, err)
		listings[b.Pack] = listings[b.Pack] || b.Tree
	}
	for name, data := range memory.Files() {
		if _, old := before[name]; !old && strings.HasPrefix(name, "data/") && !listings[name] {
			memory.Set(name, noise(6, len(data))) // the pack with d, more/e and the second manifest
		}
	}
	dir := filepath.Join(t.TempDir(), "x")
	report, err := repo.Restore(t.Context(), second.Snapshot, dir)
	var loss *backup.LossError
	require.ErrorAs(t, err, &loss)
	require.ErrorIs(t, err, backup.ErrCorrupt)
	require.ErrorContains(t, err, "data/", "the file of the repository is named")
	require.NotContains(t, err.Error(), "more/e", "file names can be personal data")
	var lost []string
	for _, file := range loss.Files {
		lost = append(lost, file.Path)
		var at *backup.FileError
		require.ErrorAs(t, file.Err, &at)
	}
	require.ElementsMatch(t, []string{".crmguard/manifest.json", "files/d", "files/more/e"}, lost)
	require.ErrorIs(t, backup.Opened(dir), backup.ErrClosed)
	require.False(t, report.Verified)
	back := tree(t, filepath.Join(dir, "files"))
	for path, sum := range tree(t, source) {
		if slices.Contains(lost, "files/"+path) {
			require.NotContains(t, back, path, "half a file must not pass for one")
			continue
		}
		require.Equal(t, sum, back[path], path)
	}
	_, err = repo.Restore(t.Context(), first.Snapshot, filepath.Join(t.TempDir(), "x"))
	require.NoError(t, err, "the snapshot before is whole")

	// Without any folder listing everything is lost, and that is said too.
	for name := range memory.Files() {
		if strings.HasPrefix(name, "index/") {
			memory.Set(name, nil)
		}
	}
	_, err = repo.Restore(t.Context(), first.Snapshot, filepath.Join(t.TempDir(), "x"))
	require.ErrorAs(t, err, &loss)
	require.Equal(t, "./", loss.Files[0].Path)
}

// Key files that are none, or another's, in any number.
func TestJunkAmongTheKeysNeitherBlocksNorDelaysOpening(t *testing.T) {
	dir, key := filepath.Join(t.TempDir(), "r"), backup.NewMachineKey()
	create(t, key, dir)
	for i := range 100 {
		name := backup.HashName(noise(uint64(i), 40))
		write(t, filepath.Join(dir, "keys", name), noise(uint64(i), 40))
	}
	store := localStore(t, dir)
	_, err := backup.Open(t.Context(), store, config(key))
	require.NoError(t, err)
	_, err = backup.Open(t.Context(), store, config(backup.NewMachineKey()))
	require.ErrorIs(t, err, backup.ErrPassword)
	require.ErrorIs(t, err, backup.ErrCorrupt, "one of the damaged files may have been the right one")

	// Real key files whose derivation costs as much as one may: the right one
	// is cheaper and comes first; with a wrong key Open gives up in time.
	for i := range 40 {
		data := backup.CostlyKeyFile(t, byte(i))
		write(t, filepath.Join(dir, "keys", backup.HashName(data)), data)
	}
	_, err = backup.Open(t.Context(), store, config(key))
	require.NoError(t, err)
}

// A disk that is unmounted under a running job, or before one: an error
// everywhere, and nothing comes to be where it was.
func TestAVanishedStoreIsAnErrorEverywhere(t *testing.T) {
	for what, mountPoint := range map[string]bool{"no folder": false, "an empty mount point": true} {
		t.Run(what, func(t *testing.T) {
			dir, key := filepath.Join(t.TempDir(), "disk"), backup.NewMachineKey()
			repo := create(t, key, dir)[0]
			first := mustRun(t, nightly([]*backup.Repository{repo}, backup.Folder("files", smallTree(t))))
			unmount := func() {
				require.NoError(t, os.Rename(dir, dir+".unmounted"))
				if mountPoint {
					require.NoError(t, os.Mkdir(dir, 0o700))
				}
			}
			result, err := nightly([]*backup.Repository{repo}, &holding{backup.Folder("files", smallTree(t)), unmount}).RunOnce(t.Context())
			require.Nil(t, result)
			require.ErrorIs(t, err, backup.ErrGone)
			for what, do := range map[string]func() error{
				"run": func() error {
					_, err := nightly([]*backup.Repository{repo}, backup.Folder("files", smallTree(t))).RunOnce(t.Context())
					return err
				},
				"open":      func() error { _, err := backup.Open(t.Context(), localStore(t, dir), config(key)); return err },
				"list":      func() error { _, err := repo.Snapshots(t.Context()); return err },
				"holders":   func() error { _, _, err := repo.KeyHolders(t.Context(), "main", 1); return err },
				"check":     func() error { _, err := repo.Check(t.Context(), backup.Structure); return err },
				"by id":     func() error { _, err := repo.Manifest(t.Context(), first.Snapshot); return err },
				"latest":    func() error { _, err := repo.Manifest(t.Context(), backup.Latest); return err },
				"mirror of": func() error { _, err := repo.Mirror(t.Context(), backuptest.NewMemory("b")); return err },
			} {
				require.ErrorIs(t, do(), backup.ErrGone, what)
			}
			left, err := os.ReadDir(dir)
			require.Empty(t, left)
			require.Equal(t, mountPoint, err == nil)
			_, err = backup.Open(t.Context(), localStore(t, dir), config(key))
			require.ErrorIs(t, err, backup.ErrNoRepository)

			require.NoError(t, os.RemoveAll(dir))
			require.NoError(t, os.Rename(dir+".unmounted", dir))
			_, err = repo.Restore(t.Context(), first.Snapshot, filepath.Join(t.TempDir(), "x"))
			require.NoError(t, err)
			mustRun(t, nightly([]*backup.Repository{repo}, backup.Folder("files", smallTree(t))))
		})
	}
}

// A pipe that takes the place of a file between the look and the open stops
// the snapshot; it must not hang it.
func TestAPipeInThePlaceOfAFileDoesNotHang(t *testing.T) {
	repo, _ := memoryRepo(t)
	dir := t.TempDir()
	path := filepath.Join(dir, "f")
	swap := make(chan struct{})
	var swapping sync.WaitGroup
	swapping.Go(func() {
		for {
			select {
			case <-swap:
				return
			default:
				_ = os.Remove(path)
				_ = syscall.Mkfifo(path, 0o600)
				_ = os.Remove(path)
				_ = os.WriteFile(path, []byte("x"), 0o600)
			}
		}
	})
	for range 60 { // each would wait for a writer for ever
		_, err := nightly([]*backup.Repository{repo}, backup.Folder("f", dir)).RunOnce(t.Context())
		if err != nil {
			require.ErrorIs(t, err, backup.ErrSource)
		}
	}
	close(swap)
	swapping.Wait()
}
