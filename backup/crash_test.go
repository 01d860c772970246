package backup_test

import (
	"io/fs"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/backup"
	"github.com/crmguard/crmguard/backup/backuptest"
)

// content reads a whole snapshot through Files.
func content(tb testing.TB, repo *backup.Repository, id string) map[string]string {
	tb.Helper()
	fsys, err := repo.Files(tb.Context(), id)
	require.NoError(tb, err)
	out := map[string]string{}
	require.NoError(tb, fs.WalkDir(fsys, ".", func(path string, d fs.DirEntry, err error) error {
		require.NoError(tb, err)
		if !d.IsDir() && !strings.HasPrefix(path, ".crmguard/") {
			data, err := fs.ReadFile(fsys, path)
			require.NoError(tb, err)
			out[path] = string(data)
		}
		return nil
	}))
	return out
}

func memoryRepos(tb testing.TB, key backup.Key, stores ...backup.Store) []*backup.Repository {
	tb.Helper()
	repos, err := backup.Create(tb.Context(), config(key), stores...)
	require.NoError(tb, err)
	return repos
}

func reopen(tb testing.TB, key backup.Key, store backup.Store) *backup.Repository {
	tb.Helper()
	repo, err := backup.Open(tb.Context(), store, config(key))
	require.NoError(tb, err)
	return repo
}

func smallTree(tb testing.TB) string {
	tb.Helper()
	dir := tb.TempDir()
	write(tb, filepath.Join(dir, "a"), []byte("first"))
	write(tb, filepath.Join(dir, "sub", "b"), noise(7, 2<<20))
	return dir
}

// A crash at every operation of a store: old snapshots stay bit for bit, and
// a run that says it made a snapshot made it.
func TestCrashAtEveryStoreOperation(t *testing.T) {
	key, dir, before := backup.NewMachineKey(), smallTree(t), backuptest.NewMemory("a")
	repos := memoryRepos(t, key, before)
	old := mustRun(t, nightly(repos, backup.Folder("files", dir)))
	oldContent := content(t, repos[0], old.Snapshot)
	write(t, filepath.Join(dir, "sub", "b"), noise(8, 3<<20))
	write(t, filepath.Join(dir, "c"), noise(9, 2<<20))
	snapshots := 0
	for _, mode := range []backuptest.Mode{backuptest.Once, backuptest.Crash, backuptest.Lost} {
		for at := 1; ; at++ {
			memory := before.Clone()
			faulty := &backuptest.Faulty{Store: memory}
			repo := reopen(t, key, faulty)
			faulty.At, faulty.Mode = faulty.Operations()+at, mode
			result, err := nightly([]*backup.Repository{repo}, backup.Folder("files", dir)).RunOnce(t.Context())
			repo = reopen(t, key, memory)
			require.Equal(t, oldContent, content(t, repo, old.Snapshot), "mode %d, operation %d", mode, at)
			_, checkErr := repo.Check(t.Context(), backup.ReadAll, old.Snapshot)
			require.NoError(t, checkErr, "mode %d, operation %d", mode, at)
			if result != nil && result.Stores[0].Err == nil {
				snapshots++
				require.Len(t, content(t, repo, result.Snapshot), 3)
			}
			if faulty.Operations() < faulty.At {
				require.NoError(t, err)
				break
			}
			require.Error(t, err, "a fault is never hidden: mode %d, operation %d", mode, at)
			// The next run works and completes what is missing.
			job := nightly([]*backup.Repository{repo}, backup.Folder("files", dir))
			require.Len(t, content(t, repo, mustRun(t, job).Snapshot), 3)
		}
	}
	require.GreaterOrEqual(t, snapshots, 3)
}

// One of two stores fails at every operation: the other holds the snapshot,
// the failure is reported, and the next run makes both equal again.
func TestAFailedMirrorIsReportedAndCatchesUp(t *testing.T) {
	key, dir := backup.NewMachineKey(), smallTree(t)
	a, b := backuptest.NewMemory("a"), backuptest.NewMemory("b")
	mustRun(t, nightly(memoryRepos(t, key, a, b), backup.Folder("files", dir)))
	require.Equal(t, a.Files(), b.Files())
	write(t, filepath.Join(dir, "c"), noise(9, 1<<20))
	for _, mode := range []backuptest.Mode{backuptest.Once, backuptest.Crash, backuptest.Lost} {
		for at := 1; ; at++ {
			a, b := a.Clone(), b.Clone()
			faulty := &backuptest.Faulty{Store: b}
			repos := []*backup.Repository{reopen(t, key, a), reopen(t, key, faulty)}
			faulty.At, faulty.Mode = faulty.Operations()+at, mode
			result, err := nightly(repos, backup.Folder("files", dir)).RunOnce(t.Context())
			require.NotNil(t, result, "the other store holds the snapshot")
			require.NoError(t, result.Stores[0].Err)
			require.Len(t, content(t, reopen(t, key, a), result.Snapshot), 3)
			if faulty.Operations() < faulty.At {
				require.NoError(t, err)
				require.Equal(t, a.Files(), b.Files())
				break
			}
			require.ErrorIs(t, err, backup.ErrStore)
			job := nightly([]*backup.Repository{reopen(t, key, a), reopen(t, key, b)}, backup.Folder("files", dir))
			job.Now = func() time.Time { return time.Now().Add(time.Hour) } // a crashed lock is stale by then
			mustRun(t, job)
			require.Equal(t, a.Files(), b.Files(), "mode %d, operation %d", mode, at)
			_, err = reopen(t, key, b).Check(t.Context(), backup.ReadAll)
			require.NoError(t, err)
		}
	}
}

func TestMirrorJoinsLater(t *testing.T) {
	key, dir := backup.NewMachineKey(), smallTree(t)
	a, b := backuptest.NewMemory("a"), backuptest.NewMemory("b")
	repo := memoryRepos(t, key, a)[0]
	mustRun(t, nightly([]*backup.Repository{repo}, backup.Folder("files", dir)))
	mirror, err := repo.Mirror(t.Context(), b)
	require.NoError(t, err)
	require.Equal(t, repo.ID(), mirror.ID())
	_, err = repo.Mirror(t.Context(), b)
	require.ErrorIs(t, err, backup.ErrExists)
	result := mustRun(t, nightly([]*backup.Repository{repo, mirror}, backup.Folder("files", dir)))
	require.Positive(t, result.Stores[1].Copied)
	require.Equal(t, a.Files(), b.Files())
}

// A damaged copy must not spread, and deduplication must not lean on it.
func TestADamagedStoreGetsNothingNew(t *testing.T) {
	key, dir := backup.NewMachineKey(), smallTree(t)
	a, b := backuptest.NewMemory("a"), backuptest.NewMemory("b")
	repos := memoryRepos(t, key, a, b)
	mustRun(t, nightly(repos, backup.Folder("files", dir)))
	whole := b.Clone()
	for name, data := range b.Files() {
		if strings.HasPrefix(name, "data/") {
			b.Set(name, data[:len(data)-1])
		}
	}
	result, err := nightly(repos, backup.Folder("files", dir)).RunOnce(t.Context())
	require.ErrorIs(t, err, backup.ErrStore)
	require.ErrorIs(t, result.Stores[1].Err, backup.ErrCorrupt)
	require.NoError(t, result.Stores[0].Err)
	_, err = reopen(t, key, a).Check(t.Context(), backup.ReadAll)
	require.NoError(t, err)

	// A store of its own, with a pack gone or cut: no snapshot on sand. What
	// the sources still have is stored again.
	for name := range whole.Files() {
		for what, left := range map[string]func([]byte) []byte{
			"gone": func([]byte) []byte { return nil }, "cut": func(data []byte) []byte { return data[:len(data)-1] },
		} {
			if !strings.HasPrefix(name, "data/") {
				continue
			}
			t.Run(what, func(t *testing.T) {
				store := whole.Clone()
				store.Set(name, left(store.Files()[name]))
				repo := reopen(t, key, store)
				result := mustRun(t, nightly([]*backup.Repository{repo}, backup.Folder("files", dir)))
				require.Len(t, result.Stores[0].Problems, 1)
				require.ErrorContains(t, result.Stores[0].Problems[0], name)
				_, err := repo.Restore(t.Context(), result.Snapshot, filepath.Join(t.TempDir(), "x"))
				require.NoError(t, err)
			})
		}
	}
}

// Both of two stores lost a pack, another one each: there is none that could
// carry the run alone, so both go on beside the damage.
func TestStoresThatAllLostPacksGoOn(t *testing.T) {
	key, dir := backup.NewMachineKey(), smallTree(t)
	stores := []*backuptest.Memory{backuptest.NewMemory("a"), backuptest.NewMemory("b")}
	repos := memoryRepos(t, key, stores[0], stores[1])
	mustRun(t, nightly(repos, backup.Folder("files", dir)))
	packs := kinds(stores[0])["data"]
	require.Len(t, packs, 2)
	for i, store := range stores {
		store.Set(packs[i], store.Files()[packs[i]][1:])
	}
	result := mustRun(t, nightly(repos, backup.Folder("files", dir)))
	for i, repo := range repos {
		require.Len(t, result.Stores[i].Problems, 1)
		require.ErrorContains(t, result.Stores[i].Problems[0], packs[i])
		_, err := repo.Restore(t.Context(), result.Snapshot, filepath.Join(t.TempDir(), "x"))
		require.NoError(t, err)
	}
}

// What a store is to be given comes from one that holds it whole. One whose
// pack has other bytes under its name gives nothing, and what that pack holds
// counts as lost there.
func TestADamagedPackThatWasToBeCopiedIsNotLeanedOn(t *testing.T) {
	key, dir := backup.NewMachineKey(), smallTree(t)
	a, b := backuptest.NewMemory("a"), backuptest.NewMemory("b")
	repos := memoryRepos(t, key, a, b)
	first := mustRun(t, nightly(repos[1:], backup.Folder("files", dir)))
	for _, pack := range kinds(b)["data"] {
		b.Set(pack, noise(5, len(b.Files()[pack])))
	}
	result, err := nightly(repos, backup.Folder("files", dir)).RunOnce(t.Context())
	require.ErrorIs(t, err, backup.ErrStore)
	require.ErrorIs(t, result.Stores[1].Err, backup.ErrCorrupt, "a is whole")
	require.Len(t, result.Stores[1].Problems, len(kinds(b)["data"]))
	require.NotContains(t, a.Files(), "snapshots/"+first.Snapshot)
	mustCheck(t, reopen(t, key, a), result.Snapshot)

	// Once what is damaged is removed, the other store brings it back.
	for _, pack := range kinds(b)["data"] {
		b.Set(pack, nil)
	}
	mustRun(t, nightly(repos[:1], backup.Folder("files", dir)))
	again, err := nightly(repos, backup.Folder("files", dir)).RunOnce(t.Context())
	require.ErrorIs(t, err, backup.ErrStore, "those of the first snapshot are nowhere")
	require.NoError(t, again.Stores[0].Err)
}

// One of two stores has an index file that it cannot read: what only that one
// names is stored again, in both, and both restore the new snapshot.
func TestStoresLeanOnlyOnWhatAllOfThemKnow(t *testing.T) {
	key, dir := backup.NewMachineKey(), smallTree(t)
	for damaged := range 2 {
		stores := []*backuptest.Memory{backuptest.NewMemory("a"), backuptest.NewMemory("b")}
		repos := memoryRepos(t, key, stores[0], stores[1])
		mustRun(t, nightly(repos, backup.Folder("files", dir)))
		for name, data := range stores[damaged].Files() {
			if strings.HasPrefix(name, "index/") {
				stores[damaged].Set(name, noise(3, len(data)))
			}
		}
		repos = []*backup.Repository{reopen(t, key, stores[0]), reopen(t, key, stores[1])}
		result := mustRun(t, nightly(repos, backup.Folder("files", dir)))
		require.Len(t, result.Stores[damaged].Problems, 1)
		require.Empty(t, result.Stores[1-damaged].Problems)
		for _, repo := range repos {
			_, err := repo.Restore(t.Context(), result.Snapshot, filepath.Join(t.TempDir(), "x"))
			require.NoError(t, err)
		}
	}
}
