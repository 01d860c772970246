package backup_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/backup"
	"github.com/crmguard/crmguard/backup/backuptest"
)

func TestStepsRunInOrderOnVerifiedDataAndThenTheTargetIsOpen(t *testing.T) {
	repo, _ := memoryRepo(t)
	source := smallTree(t)
	mustRun(t, nightly([]*backup.Repository{repo}, backup.Folder("files", source)))
	dir := filepath.Join(t.TempDir(), "restored")
	var ran []string
	step := func(name string) backup.Step {
		return backup.Step{Name: name, Run: func(_ context.Context, got string) error {
			require.Equal(t, dir, got)
			require.Equal(t, tree(t, source), tree(t, filepath.Join(dir, "files")))
			require.ErrorIs(t, backup.Opened(dir), backup.ErrClosed, "closed until the last step")
			ran = append(ran, name)
			return nil
		}}
	}
	require.ErrorIs(t, backup.Opened(dir), backup.ErrClosed)
	report, err := repo.Restore(t.Context(), backup.Latest, dir, step("indexes"), step("trail"), step("ledger"))
	require.NoError(t, err)
	require.Equal(t, []string{"indexes", "trail", "ledger"}, ran)
	require.NoError(t, backup.Opened(dir))
	require.True(t, report.Verified)
	require.Len(t, report.Steps, 3)
	require.Equal(t, 3, report.Files, "two files and the manifest")
	require.NotNil(t, report.Manifest)
	_, err = repo.Restore(t.Context(), backup.Latest, dir)
	require.ErrorIs(t, err, backup.ErrTarget, "never over something")
	require.NoError(t, os.WriteFile(filepath.Join(dir, ".crmguard", "opened.json"), []byte("{}"), 0o600))
	require.ErrorIs(t, backup.Opened(dir), backup.ErrClosed)
}

func TestAFailingStepLeavesTheTargetClosed(t *testing.T) {
	repo, _ := memoryRepo(t)
	mustRun(t, nightly([]*backup.Repository{repo}, backup.Folder("files", smallTree(t))))
	dir := filepath.Join(t.TempDir(), "restored")
	never := backup.Step{Name: "never", Run: func(context.Context, string) error {
		t.Error("a step ran after one that failed")
		return nil
	}}
	gone := errors.New("the ledger is unreachable")
	report, err := repo.Restore(t.Context(), backup.Latest, dir, backup.Step{Name: "replay", Run: func(context.Context, string) error { return gone }}, never)
	require.ErrorIs(t, err, backup.ErrStep)
	require.ErrorIs(t, err, gone)
	var step *backup.StepError
	require.ErrorAs(t, err, &step)
	require.Equal(t, "replay", step.Step)
	require.NotEmpty(t, step.Remedy)
	require.Empty(t, report.Steps)
	require.ErrorIs(t, backup.Opened(dir), backup.ErrClosed)
	_, err = repo.Restore(t.Context(), backup.Latest, t.TempDir(), backup.Step{Name: "x"})
	require.ErrorIs(t, err, backup.ErrConfig)
	file := filepath.Join(t.TempDir(), "file")
	write(t, file, nil)
	_, err = repo.Restore(t.Context(), backup.Latest, file)
	require.ErrorIs(t, err, backup.ErrTarget)
}

// The data differs from the manifest although every hash of the repository is
// right: someone with the password made the snapshot.
func TestDataThatDiffersFromTheManifestRunsNoStep(t *testing.T) {
	repo, _ := memoryRepo(t)
	mustRun(t, nightly([]*backup.Repository{repo}, backup.Folder("files", smallTree(t))))
	fsys, err := repo.Files(t.Context(), backup.Latest)
	require.NoError(t, err)
	manifest, err := fs.ReadFile(fsys, ".crmguard/manifest.json")
	require.NoError(t, err)
	b, err := fs.ReadFile(fsys, "files/sub/b")
	require.NoError(t, err)
	file := func(save func(string, bool) string, name, content string) string {
		return fmt.Sprintf(`{"name":%q,"type":"file","mode":384,"size":%d,"content":[%q]}`, name, len(content), save(content, false))
	}
	folder := func(save func(string, bool) string, name string, nodes ...string) string {
		return fmt.Sprintf(`{"name":%q,"type":"dir","subtree":%q}`, name, save(`{"nodes":[`+strings.Join(nodes, ",")+`]}`, true))
	}
	type build = func(save func(string, bool) string) []string
	own := func(save func(string, bool) string, more ...string) string {
		return folder(save, ".crmguard", append(more, file(save, "manifest.json", string(manifest)))...)
	}
	for name, nodes := range map[string]build{
		"same": func(s func(string, bool) string) []string {
			return []string{own(s), folder(s, "files", file(s, "a", "first"), folder(s, "sub", file(s, "b", string(b))))}
		},
		"changed": func(s func(string, bool) string) []string {
			return []string{own(s), folder(s, "files", file(s, "a", "First"), folder(s, "sub", file(s, "b", string(b))))}
		},
		"renamed": func(s func(string, bool) string) []string {
			return []string{own(s), folder(s, "files", file(s, "A", "first"), folder(s, "sub", file(s, "b", string(b))))}
		},
		"one less": func(s func(string, bool) string) []string {
			return []string{own(s), folder(s, "files", file(s, "a", "first"))}
		},
		"one more": func(s func(string, bool) string) []string {
			return []string{own(s), folder(s, "files", file(s, "a", "first"), file(s, "c", ""), folder(s, "sub", file(s, "b", string(b))))}
		},
		"no source": func(s func(string, bool) string) []string { return []string{own(s)} },
		"other source": func(s func(string, bool) string) []string {
			return []string{own(s), folder(s, "files", file(s, "a", "first"), folder(s, "sub", file(s, "b", string(b)))), folder(s, "x")}
		},
		"more in own": func(s func(string, bool) string) []string {
			return []string{own(s, file(s, "l", "x")), folder(s, "files", file(s, "a", "first"), folder(s, "sub", file(s, "b", string(b))))}
		},
		"a link": func(s func(string, bool) string) []string {
			return []string{own(s), folder(s, "files", `{"name":"l","type":"symlink","linktarget":"/etc"}`)}
		},
		"no manifest": func(s func(string, bool) string) []string {
			return []string{folder(s, "files", file(s, "a", "first"), folder(s, "sub", file(s, "b", string(b))))}
		},
		"marked opened": func(s func(string, bool) string) []string { return []string{own(s, file(s, "opened.json", "{}"))} },
		"wrong size": func(s func(string, bool) string) []string {
			return []string{own(s), fmt.Sprintf(`{"name":"z","type":"file","size":7,"content":[%q]}`, s("x", false))}
		},
	} {
		t.Run(name, func(t *testing.T) {
			id, err := backup.PutSnapshot(t.Context(), repo, func(save func(string, bool) string) string {
				return save(`{"nodes":[`+strings.Join(nodes(save), ",")+`]}`, true)
			})
			require.NoError(t, err)
			dir, ran := filepath.Join(t.TempDir(), "x"), false
			_, err = repo.Restore(t.Context(), id, dir, backup.Step{Name: "s", Run: func(context.Context, string) error {
				ran = true
				return nil
			}})
			require.Equal(t, name == "same", err == nil, "%v", err)
			require.Equal(t, name == "same", ran)
			require.Equal(t, name == "same", backup.Opened(dir) == nil)
		})
	}
}

// Names that leave the target, in a repository opened without a tagger, which
// must restore what other programs wrote.
func TestNothingIsWrittenOutsideTheTarget(t *testing.T) {
	memory := backuptest.NewMemory("a")
	repos, err := backup.Create(t.Context(), backup.Config{Key: fixedKey}, memory)
	require.NoError(t, err)
	repo := repos[0]
	for name, nodes := range map[string]string{
		"parent": `{"name":"..","type":"dir","subtree":"$"}`, "slash": `{"name":"../../x","type":"file","content":[]}`, "absolute": `{"name":"/tmp/x","type":"file","content":[]}`,
		"twice":             `{"name":"a","type":"file","content":[]},{"name":"a","type":"file","content":[]}`,
		"link then through": `{"name":"l","type":"symlink","linktarget":"../outside"},{"name":"l","type":"dir","subtree":"$"}`,
		"device":            `{"name":"d","type":"chardev"}`,
		"mark of an opened": `{"name":".crmguard","type":"dir","subtree":"$"}`,
	} {
		t.Run(name, func(t *testing.T) {
			id, err := backup.PutSnapshot(t.Context(), repo, func(save func(string, bool) string) string {
				sub := save(`{"nodes":[{"name":"opened.json","type":"file","content":[]}]}`, true)
				return save(`{"nodes":[`+strings.ReplaceAll(nodes, "$", sub)+`]}`, true)
			})
			require.NoError(t, err)
			base := t.TempDir()
			_, err = repo.Restore(t.Context(), id, filepath.Join(base, "in", "target"))
			require.ErrorIs(t, err, backup.ErrUnsafeName)
			if entry, ok := errors.AsType[*backup.EntryError](err); name == "device" {
				require.True(t, ok)
				require.Equal(t, "d", entry.Path)
			}
			for path := range tree(t, base) {
				require.True(t, strings.HasPrefix(path, "in/") || path == "./", path)
			}
		})
	}
}

func TestFoldersWithoutEnd(t *testing.T) {
	memory := backuptest.NewMemory("a")
	repos, err := backup.Create(t.Context(), backup.Config{Key: fixedKey}, memory)
	require.NoError(t, err)
	id, err := backup.PutSnapshot(t.Context(), repos[0], func(save func(string, bool) string) string {
		at := save(`{"nodes":[]}`, true)
		for range 1100 {
			at = save(fmt.Sprintf(`{"nodes":[{"name":"d","type":"dir","subtree":%q}]}`, at), true)
		}
		return at
	})
	require.NoError(t, err)
	_, err = repos[0].Check(t.Context(), backup.Structure)
	require.ErrorIs(t, err, backup.ErrCorrupt)
	_, err = repos[0].Restore(t.Context(), id, filepath.Join(t.TempDir(), "x"))
	require.Error(t, err)
}

func TestFilesIsAFileSystem(t *testing.T) {
	repo, memory := memoryRepo(t)
	source := smallTree(t)
	require.NoError(t, os.MkdirAll(filepath.Join(source, "void"), 0o700))
	mustRun(t, nightly([]*backup.Repository{repo}, backup.Folder("files", source)))
	fsys, err := repo.Files(t.Context(), backup.Latest)
	require.NoError(t, err)
	require.NoError(t, fstest.TestFS(fsys, "files/a", "files/sub/b", "files/void", ".crmguard/manifest.json"))
	for _, bad := range []string{"nothing", "files/a/b", "../x", "files/nothing"} {
		_, err := fsys.Open(bad)
		require.Error(t, err)
	}
	for name := range memory.Files() {
		if strings.HasPrefix(name, "data/") {
			memory.Set(name, nil)
		}
	}
	_, err = reopen(t, fixedKey, memory).Manifest(t.Context(), backup.Latest)
	require.ErrorIs(t, err, backup.ErrCorrupt, "a lost pack is damage, not a snapshot without manifest")
	fresh, err := repo.Files(t.Context(), backup.Latest)
	require.NoError(t, err)
	_, err = fs.ReadFile(fresh, "files/a")
	require.ErrorIs(t, err, backup.ErrCorrupt)
	require.NotErrorIs(t, err, fs.ErrNotExist)
}

func TestBlobsYieldsEverything(t *testing.T) {
	repo, memory := memoryRepo(t)
	mustRun(t, nightly([]*backup.Repository{repo}, backup.Folder("files", smallTree(t))))
	trees, found := 0, false
	for b, err := range repo.Blobs(t.Context()) {
		require.NoError(t, err)
		require.Contains(t, memory.Files(), b.Pack)
		if b.Tree {
			trees++
		}
		found = found || string(b.Data) == "first"
	}
	require.True(t, found)
	require.Equal(t, 4, trees)
	for range repo.Blobs(t.Context()) {
		break
	}
	for name := range memory.Files() {
		if strings.HasPrefix(name, "data/") {
			memory.Set(name, []byte("broken"))
		}
	}
	var last error
	for _, err := range repo.Blobs(t.Context()) {
		last = err
	}
	require.ErrorIs(t, last, backup.ErrCorrupt)
}

func TestLocksOfOthers(t *testing.T) {
	source := backup.Folder("files", smallTree(t))
	old := time.Now().Add(-time.Hour)
	for name, c := range map[string]struct {
		exclusive bool
		host      string
		at        time.Time
		locked    bool
		left      int
	}{
		"shared":                   {false, "host", time.Now(), false, 1},
		"shared, old, not ours":    {false, "host", old, false, 1},
		"shared, stale, ours":      {false, "crmguard", old, false, 0},
		"shared, fresh, ours":      {false, "crmguard", time.Now(), false, 1},
		"exclusive":                {true, "host", time.Now(), true, 1},
		"exclusive, old":           {true, "host", old, true, 1},
		"exclusive, old and, ours": {true, "crmguard", old, true, 1},
	} {
		t.Run(name, func(t *testing.T) {
			repo, memory := memoryRepo(t)
			require.NoError(t, backup.PutLock(t.Context(), repo, c.exclusive, c.host, c.at))
			result, err := nightly([]*backup.Repository{repo}, source).RunOnce(t.Context())
			require.Equal(t, c.locked, err != nil)
			require.Equal(t, c.locked, result == nil)
			if c.locked {
				require.ErrorIs(t, err, backup.ErrLocked)
			}
			require.Len(t, kinds(memory)["locks"], c.left)
		})
	}
}

// Same data, two repositories: no name is shared, no IV is used twice.
func TestRepositoriesShareNothing(t *testing.T) {
	dir := t.TempDir()
	write(t, filepath.Join(dir, "big"), noise(5, 6<<20))
	write(t, filepath.Join(dir, "small"), []byte("small"))
	seen, ids := map[string]bool{}, map[string]bool{}
	var sizes []int
	for range 2 {
		memory := backuptest.NewMemory("a")
		repo := memoryRepos(t, backup.NewMachineKey(), memory)[0]
		mustRun(t, nightly([]*backup.Repository{repo}, backup.Folder("files", dir)))
		mustRun(t, nightly([]*backup.Repository{repo}, backup.Folder("files", dir)))
		require.False(t, ids[repo.ID()])
		ids[repo.ID()] = true
		for name := range memory.Files() {
			require.False(t, seen[name] && name != "config", name)
			seen[name] = true
		}
		ivs, err := backup.IVs(t.Context(), repo)
		require.NoError(t, err)
		require.Greater(t, len(ivs), 10)
		for _, iv := range ivs {
			require.False(t, seen[iv], "an IV was used twice")
			seen[iv] = true
		}
		for b, err := range repo.Blobs(t.Context()) {
			require.NoError(t, err)
			if !b.Tree && len(b.Data) > 100_000 {
				sizes = append(sizes, len(b.Data))
			}
		}
	}
	unique := map[int]bool{}
	for _, n := range sizes {
		unique[n] = true
	}
	require.Greater(t, len(unique), len(sizes)/2+1, "the chunk lengths depend on the key")
}

// Another process with the same password cuts alike: nothing is stored twice.
func TestASecondProcessDeduplicates(t *testing.T) {
	dir := t.TempDir()
	write(t, filepath.Join(dir, "big"), noise(5, 10<<20))
	memory := backuptest.NewMemory("a")
	repo := memoryRepos(t, fixedKey, memory)[0]
	first := mustRun(t, nightly([]*backup.Repository{repo}, backup.Folder("files", dir)))
	require.Greater(t, first.Added, int64(10<<20))
	write(t, filepath.Join(dir, "big"), append(noise(6, 1000), noise(5, 10<<20)...)) // moved by 1000 bytes
	second := mustRun(t, nightly([]*backup.Repository{reopen(t, fixedKey, memory)}, backup.Folder("files", dir)))
	require.Less(t, second.Added, int64(5<<20))
	third := mustRun(t, nightly([]*backup.Repository{reopen(t, fixedKey, memory)}, backup.Folder("files", dir)))
	require.Less(t, third.Added, int64(20_000))
}
