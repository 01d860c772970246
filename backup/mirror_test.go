package backup_test

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/backup"
	"github.com/crmguard/crmguard/backup/backuptest"
)

func hashed(folder string, data []byte) string {
	sum := sha256.Sum256(data)
	name := hex.EncodeToString(sum[:])
	if folder == "data" {
		name = name[:2] + "/" + name
	}
	return folder + "/" + name
}

func mustCheck(t *testing.T, repo *backup.Repository, known ...string) {
	t.Helper()
	_, err := repo.Check(t.Context(), backup.ReadAll, known...)
	require.NoError(t, err)
}

// Whoever controls a mirror and has no key puts files there, under names that
// their content has. Another store neither takes one over nor restores
// anything else than before, and the next run says what it found.
func TestAMirrorCannotChangeAnotherStore(t *testing.T) {
	dir := smallTree(t)
	_, elsewhere := memoryRepo(t)
	mustRun(t, nightly([]*backup.Repository{reopen(t, fixedKey, elsewhere)}, backup.Folder("files", dir)))
	for _, folder := range []string{"index", "snapshots", "keys", "data"} {
		a, b := backuptest.NewMemory("a"), backuptest.NewMemory("b")
		repos := memoryRepos(t, fixedKey, a, b)
		first := mustRun(t, nightly(repos, backup.Folder("files", dir)))
		planted := map[string][]byte{}
		plant := func(data []byte) { planted[hashed(folder, data)] = data }
		plant([]byte("junk"))
		plant(nil)
		for i := range 40 {
			plant(noise(uint64(i), 200))
		}
		for kind, names := range kinds(elsewhere) { // sealed with another key
			if kind != folder || kind == "keys" {
				plant(elsewhere.Files()[names[0]])
			}
		}
		for kind, names := range kinds(a) { // sealed with this key, and no such file
			if kind != folder {
				plant(a.Files()[names[0]])
			}
		}
		for name, data := range planted {
			b.Set(name, data)
		}
		write(t, filepath.Join(dir, "new in "+folder), []byte(folder))
		result, err := nightly(repos, backup.Folder("files", dir)).RunOnce(t.Context())
		require.NotNil(t, result, "%s: %v", folder, err)
		require.NoError(t, result.Stores[0].Err, folder)
		require.Empty(t, result.Stores[0].Problems, folder)
		for name, data := range planted {
			require.NotContains(t, a.Files(), name)
			require.Equal(t, data, b.Files()[name], "a file that is no file of ours is left alone")
		}
		if folder == "index" || folder == "snapshots" {
			reported := errors.Join(append(result.Stores[1].Problems, result.Stores[1].Err)...)
			require.ErrorIs(t, reported, backup.ErrCorrupt, folder)
			require.ErrorContains(t, reported, "(b: "+folder+"/")
		}
		repo := reopen(t, fixedKey, a)
		mustCheck(t, repo, first.Snapshot, result.Snapshot)
		for _, id := range []string{first.Snapshot, result.Snapshot} {
			_, err := repo.Restore(t.Context(), id, filepath.Join(t.TempDir(), "restored"))
			require.NoError(t, err)
		}
	}
}

// Keys and config stay where they are: levelling brings neither a key that
// was removed nor another config.
func TestAKeyThatWasRemovedDoesNotComeBack(t *testing.T) {
	a, b := filepath.Join(t.TempDir(), "a"), filepath.Join(t.TempDir(), "b")
	key := backup.NewMachineKey()
	repos := create(t, key, a, b)
	job := nightly(repos, backup.Folder("files", smallTree(t)))
	mustRun(t, job)
	password := filepath.Join(t.TempDir(), "password")
	write(t, password, []byte("another password"))
	restic(t, a, key.Password(), "key", "passwd", "--new-password-file", password)
	before := tree(t, filepath.Join(a, "keys"))
	mustRun(t, job)
	require.Equal(t, before, tree(t, filepath.Join(a, "keys")))
	_, err := backup.Open(t.Context(), localStore(t, a), config(key))
	require.ErrorIs(t, err, backup.ErrPassword)
	_, err = backup.Open(t.Context(), localStore(t, b), config(key))
	require.NoError(t, err, "a key is removed store by store")
}

// A snapshot whose data is gone is not carried to another store: one that was
// expired everywhere and put back into a mirror.
func TestASnapshotWithoutItsDataIsNotCopied(t *testing.T) {
	dir := smallTree(t)
	a, b := backuptest.NewMemory("a"), backuptest.NewMemory("b")
	repos := memoryRepos(t, fixedKey, a, b)
	job := nightly(repos, backup.Folder("files", dir))
	old := mustRun(t, job)
	name := "snapshots/" + old.Snapshot
	kept := a.Files()[name]
	write(t, filepath.Join(dir, "sub", "b"), noise(44, 2<<20))
	mustRun(t, job)
	for i, memory := range []*backuptest.Memory{a, b} {
		memory.Set(name, nil)
		require.NoError(t, backup.Prune(t.Context(), repos[i]))
	}
	b.Set(name, kept)
	result := mustRun(t, job)
	require.NotContains(t, a.Files(), name)
	require.Len(t, result.Stores[0].Problems, 1)
	require.ErrorContains(t, result.Stores[0].Problems[0], name)
	mustCheck(t, reopen(t, fixedKey, a), result.Snapshot)
}

// An index whose packs are gone is not carried to another store either.
func TestAnIndexWithoutItsPacksIsNotCopied(t *testing.T) {
	a, b := backuptest.NewMemory("a"), backuptest.NewMemory("b")
	repos := memoryRepos(t, fixedKey, a, b)
	mustRun(t, nightly(repos[1:], backup.Folder("files", smallTree(t))))
	for _, pack := range kinds(b)["data"] {
		b.Set(pack, nil)
	}
	result, err := nightly(repos, backup.Folder("files", smallTree(t))).RunOnce(t.Context())
	require.ErrorIs(t, err, backup.ErrStore)
	require.ErrorIs(t, result.Stores[1].Err, backup.ErrCorrupt)
	require.NoError(t, result.Stores[0].Err)
	require.Len(t, kinds(a)["index"], 1)
	mustCheck(t, reopen(t, fixedKey, a), result.Snapshot)
}

// Another job that writes to one of the stores only, or levels both, at any
// moment of a run that levels both: nobody fails, and each store restores what
// it lists.
func TestLevellingMeetsAnotherJob(t *testing.T) {
	key, dir, elsewhere := backup.NewMachineKey(), smallTree(t), t.TempDir()
	write(t, filepath.Join(elsewhere, "other"), noise(31, 1000))
	before, mirror := backuptest.NewMemory("a"), backuptest.NewMemory("b")
	mustRun(t, nightly(memoryRepos(t, key, before, mirror), backup.Folder("files", dir)))
	// What the other job brings is new to this one as well.
	write(t, filepath.Join(dir, "other"), noise(31, 1000))
	for _, c := range []struct{ second, both bool }{{false, false}, {true, false}, {false, true}} {
		for at := 1; ; at++ {
			a, b := before.Clone(), mirror.Clone()
			paused := &pausing{Store: a, steps: &steps{do: func() {
				repos := []*backup.Repository{reopen(t, key, a)}
				if c.both {
					repos = append(repos, reopen(t, key, b))
				}
				mustRun(t, nightly(repos, backup.Folder("files", elsewhere)))
			}}}
			repos := []*backup.Repository{reopen(t, key, paused), reopen(t, key, b)}
			if c.second {
				repos[0], repos[1] = repos[1], repos[0]
			}
			paused.at = paused.n + at
			result, err := nightly(repos, backup.Folder("files", dir)).RunOnce(t.Context())
			require.NoError(t, err, "operation %d", at)
			for _, s := range result.Stores {
				require.Empty(t, s.Problems, "operation %d", at)
			}
			for _, memory := range []*backuptest.Memory{a, b} {
				repo := reopen(t, key, memory)
				mustCheck(t, repo, result.Snapshot)
				require.Len(t, content(t, repo, result.Snapshot), 3)
			}
			if paused.n < paused.at {
				break
			}
			mustRun(t, nightly(repos, backup.Folder("files", dir)))
			require.Equal(t, a.Files(), b.Files(), "operation %d", at)
		}
	}
}

// A store that fails costs the others no reading of what they all have.
func TestAFailedStoreDoesNotMakeTheOthersReadEverything(t *testing.T) {
	stores := []*backuptest.Memory{backuptest.NewMemory("a"), backuptest.NewMemory("b"), backuptest.NewMemory("c")}
	repos := memoryRepos(t, fixedKey, stores[0], stores[1], stores[2])
	dir := smallTree(t)
	mustRun(t, nightly(repos, backup.Folder("files", dir)))
	counting := &reads{Memory: stores[0]}
	faulty := &backuptest.Faulty{Store: stores[2], Mode: backuptest.Crash}
	repos[0], repos[2] = reopen(t, fixedKey, counting), reopen(t, fixedKey, faulty)
	faulty.At = faulty.Operations() + 1
	result, err := nightly(repos, backup.Folder("files", dir)).RunOnce(t.Context())
	require.ErrorIs(t, err, backup.ErrStore)
	require.Error(t, result.Stores[2].Err)
	require.NoError(t, result.Stores[0].Err)
	require.EqualValues(t, 2, counting.packs.Load(), "the headers of the two new packs")
}

// reads counts the packs that are read.
type reads struct {
	*backuptest.Memory
	packs atomic.Int32
}

func (r *reads) Read(ctx context.Context, name string, offset, limit int64) ([]byte, error) {
	if strings.HasPrefix(name, "data/") {
		r.packs.Add(1)
	}
	return r.Memory.Read(ctx, name, offset, limit)
}

// The foreign program finds nothing to say about a store that was filled by
// levelling alone.
func TestResticChecksALevelledStore(t *testing.T) {
	a, b := filepath.Join(t.TempDir(), "a"), filepath.Join(t.TempDir(), "b")
	key, dir := backup.NewMachineKey(), smallTree(t)
	repo := create(t, key, a)[0]
	for i := range 3 {
		write(t, filepath.Join(dir, "c"), noise(uint64(50+i), 2<<20))
		mustRun(t, nightly([]*backup.Repository{repo}, backup.Folder("files", dir)))
	}
	mirror, err := repo.Mirror(t.Context(), localStore(t, b))
	require.NoError(t, err)
	result := mustRun(t, nightly([]*backup.Repository{repo, mirror}, backup.Folder("files", dir)))
	require.Positive(t, result.Stores[1].Copied)
	require.Equal(t, tree(t, a), tree(t, b))
	require.Contains(t, restic(t, b, key.Password(), "check", "--read-data"), "no errors were found")
}
