package backup_test

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/backup"
	"github.com/crmguard/crmguard/backup/backuptest"
)

// What was not handed in is refused by name, before anything is made.
func TestWhatWasNotHandedInIsNamed(t *testing.T) {
	memory := backuptest.NewMemory("a")
	_, err := backup.Create(t.Context(), config(fixedKey), memory, nil)
	require.ErrorIs(t, err, backup.ErrConfig)
	require.ErrorContains(t, err, "nil store")
	require.Empty(t, memory.Files())
	repo, _ := memoryRepo(t)
	_, err = repo.Mirror(t.Context(), nil)
	require.ErrorIs(t, err, backup.ErrConfig)
	_, err = repo.Restore(t.Context(), "", filepath.Join(t.TempDir(), "x"))
	require.ErrorIs(t, err, backup.ErrNoSnapshot)
	require.ErrorContains(t, err, "LatestOf")
	mustRun(t, nightly([]*backup.Repository{repo}, oneFile("f")))
	_, err = repo.Restore(t.Context(), backup.Latest, "")
	require.ErrorIs(t, err, backup.ErrTarget)
	require.ErrorContains(t, err, "name a folder")
}

// A source whose disk is not mounted says so, without the path.
func TestAMissingFolderAsksForTheDisk(t *testing.T) {
	repo, _ := memoryRepo(t)
	dir := filepath.Join(t.TempDir(), "unmounted")
	_, err := nightly([]*backup.Repository{repo}, backup.Folder("files", dir)).RunOnce(t.Context())
	require.ErrorIs(t, err, backup.ErrSource)
	require.ErrorIs(t, err, fs.ErrNotExist)
	require.ErrorContains(t, err, `source "files"`)
	require.ErrorContains(t, err, "mounted")
	require.NotContains(t, err.Error(), dir)
}

// Two names of one place are not two copies.
func TestOnePlaceIsNotTwoStores(t *testing.T) {
	base := t.TempDir()
	a, link := filepath.Join(base, "a"), filepath.Join(base, "link")
	create(t, fixedKey, a)
	require.NoError(t, os.Symlink(a, link))
	repos := []*backup.Repository{reopen(t, fixedKey, localStore(t, a)), reopen(t, fixedKey, localStore(t, link))}
	result, err := nightly(repos, oneFile("f")).RunOnce(t.Context())
	require.ErrorIs(t, err, backup.ErrConfig)
	require.ErrorContains(t, err, "the same place")
	require.NoError(t, result.Stores[0].Err)
	require.ErrorIs(t, result.Stores[1].Err, backup.ErrConfig)
	mustCheck(t, repos[0], result.Snapshot)
	require.Empty(t, below(t, filepath.Join(a, "locks"), ""))
}

// A snapshot cannot bring the mark of an opened restore along: not by a link in
// the place of its folder, nor by a name that differs in case.
func TestASnapshotBringsNoMarkAlong(t *testing.T) {
	const times = `"mtime":"2026-01-02T03:04:05Z","atime":"2026-01-02T03:04:05Z","ctime":"2026-01-02T03:04:05Z","uid":0,"gid":0`
	mark := `{"snapshot":"` + strings.Repeat("ab", 32) + `","opened":"x","verified":false}`
	for name, c := range map[string]struct{ folder, file, link string }{
		"as it is":                     {".crmguard", "opened.json", ""},
		"in another case":              {".CRMGuard", "Opened.JSON", ""},
		"through a link":               {"x", "opened.json", ".crmguard"},
		"through a link, another case": {"x", "opened.json", ".CRMGUARD"},
	} {
		t.Run(name, func(t *testing.T) {
			repo, memory := memoryRepo(t)
			id, err := backup.PutSnapshot(t.Context(), repo, func(save func(string, bool) string) string {
				file := func(name, content string, size int) string {
					return fmt.Sprintf(`{"name":%q,"type":"file","mode":384,%s,"size":%d,"content":[%q]}`, name, times, size, content)
				}
				nodes := []string{
					fmt.Sprintf(`{"name":%q,"type":"dir","mode":2147484096,%s,"content":null,"subtree":%q}`, c.folder, times,
						save(`{"nodes":[`+file(c.file, save(mark, false), len(mark))+`]}`, true)),
					file("lost", strings.Repeat("ef", 32), 5), // so that the restore fails after the links
				}
				if c.link != "" {
					nodes = append(nodes, fmt.Sprintf(`{"name":%q,"type":"symlink","linktarget":"x","mode":134218239,%s,"content":null}`, c.link, times))
				}
				slices.Sort(nodes) // by name: all begin with it
				return save(`{"nodes":[`+strings.Join(nodes, ",")+`]}`, true)
			})
			require.NoError(t, err)
			foreign := open(t, memory, backup.Config{Key: backup.NewPassphrase(fixedKey.Password())})
			dir := filepath.Join(t.TempDir(), "x")
			_, err = foreign.Restore(t.Context(), id, dir)
			require.ErrorIs(t, err, backup.ErrUnsafeName)
			require.ErrorIs(t, backup.Opened(dir), backup.ErrClosed)
		})
	}
}
