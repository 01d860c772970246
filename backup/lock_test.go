package backup_test

import (
	"context"
	"errors"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/backup"
	"github.com/crmguard/crmguard/backup/backuptest"
)

// A process that is stopped for longer than a lock lives, between any two of
// its steps, while another job takes its lock for stale and a prune removes
// the packs that no snapshot needs yet: it commits nothing that they broke,
// and what it says it committed is there.
func TestAJobThatWasSuspendedBreaksNothing(t *testing.T) {
	key, dir, elsewhere := backup.NewMachineKey(), smallTree(t), smallTree(t)
	write(t, filepath.Join(elsewhere, "other"), []byte("other"))
	for _, pruned := range []bool{true, false} {
		before, mirror := backuptest.NewMemory("a"), backuptest.NewMemory("b")
		mustRun(t, nightly(memoryRepos(t, key, before, mirror), backup.Folder("files", dir)))
		write(t, filepath.Join(dir, "new"), noise(21, 1000))
		lost, done := 0, 0
		for at := 1; ; at++ {
			memory, b := before.Clone(), mirror.Clone()
			var asleep atomic.Int64
			now := func() time.Time { return time.Now().Add(time.Duration(asleep.Load())) }
			paused := &pausing{Store: memory, steps: &steps{do: func() {
				asleep.Store(int64(31 * time.Minute))
				if pruned {
					repo := reopen(t, key, memory)
					other := nightly([]*backup.Repository{repo}, backup.Folder("files", elsewhere))
					other.Now = now
					mustRun(t, other)
					require.NoError(t, backup.Prune(t.Context(), repo))
				}
			}}}
			repos := []*backup.Repository{reopen(t, key, paused), reopen(t, key, b)}
			paused.at = paused.n + at
			job := nightly(repos, backup.Folder("files", dir))
			job.Now = now
			result, err := job.RunOnce(t.Context())
			if paused.n < paused.at {
				require.NoError(t, err)
				break
			}
			repo := reopen(t, key, memory)
			_, checkErr := repo.Check(t.Context(), backup.ReadAll)
			require.NoError(t, checkErr, "operation %d", at)
			_, checkErr = reopen(t, key, b).Check(t.Context(), backup.ReadAll)
			require.NoError(t, checkErr, "operation %d", at)
			snapshots, listErr := repo.Snapshots(t.Context())
			require.NoError(t, listErr)
			want := 1
			if pruned {
				want++
			}
			if err != nil {
				lost++
				require.ErrorIs(t, err, backup.ErrLockLost, "operation %d", at)
			}
			if result != nil && result.Stores[0].Err == nil {
				done++
				want++
				require.Len(t, content(t, repo, result.Snapshot), 3)
			}
			require.Len(t, snapshots, want, "operation %d: %v", at, err)
			job = nightly([]*backup.Repository{repo}, backup.Folder("files", dir))
			job.Now = now
			require.Len(t, content(t, repo, mustRun(t, job).Snapshot), 3)
			_, checkErr = repo.Check(t.Context(), backup.ReadAll)
			require.NoError(t, checkErr, "operation %d", at)
		}
		require.Greater(t, lost, 5)
		require.Positive(t, done, "a lock that is lost after the commit costs nothing")
	}
}

// A lock that somebody removed, of one store or of both.
func TestARemovedLockMakesNoSnapshot(t *testing.T) {
	for name, removed := range map[string][]bool{"first": {true, false}, "second": {false, true}, "both": {true, true}} {
		t.Run(name, func(t *testing.T) {
			stores := []*backuptest.Memory{backuptest.NewMemory("a"), backuptest.NewMemory("b")}
			repos := memoryRepos(t, fixedKey, stores[0], stores[1])
			result, err := nightly(repos, script{"s", func(context.Context, *backup.Writer) error {
				for i, store := range stores {
					for _, lock := range kinds(store)["locks"] {
						if removed[i] {
							store.Set(lock, nil)
						}
					}
				}
				return nil
			}}).RunOnce(t.Context())
			require.ErrorIs(t, err, backup.ErrLockLost)
			require.Equal(t, removed[0] && removed[1], result == nil)
			for i, store := range stores {
				if removed[i] {
					require.Empty(t, kinds(store)["snapshots"])
					require.Empty(t, kinds(store)["index"], "nor an index of what nobody holds")
				} else {
					require.NoError(t, result.Stores[i].Err)
					require.Len(t, kinds(store)["snapshots"], 1)
				}
				require.Empty(t, kinds(store)["locks"])
			}
			mustRun(t, nightly(repos, script{"s", func(context.Context, *backup.Writer) error { return nil }}))
			require.Equal(t, stores[0].Files(), stores[1].Files())
		})
	}
}

// A lock of its own that was damaged protects a job no longer: others pass
// over it.
func TestADamagedLockMakesNoSnapshot(t *testing.T) {
	for name, damage := range map[string]func(data []byte) []byte{
		"flipped": func(data []byte) []byte { data[len(data)-1] ^= 1; return data },
		"cut":     func(data []byte) []byte { return data[:len(data)-1] },
		"empty":   func([]byte) []byte { return []byte{} },
		"longer":  func(data []byte) []byte { return append(data, 0) },
	} {
		t.Run(name, func(t *testing.T) {
			store := backuptest.NewMemory("a")
			repos := memoryRepos(t, fixedKey, store)
			result, err := nightly(repos, script{"s", func(context.Context, *backup.Writer) error {
				for _, lock := range kinds(store)["locks"] {
					store.Set(lock, damage(slices.Clone(store.Files()[lock])))
				}
				count, _, err := repos[0].KeyHolders(t.Context(), "main", 1)
				require.NoError(t, err)
				require.Zero(t, count)
				return nil
			}}).RunOnce(t.Context())
			require.Nil(t, result)
			require.ErrorIs(t, err, backup.ErrLockLost)
			require.Empty(t, kinds(store)["snapshots"])
			require.Empty(t, kinds(store)["index"])
			require.Empty(t, kinds(store)["locks"])
		})
	}
}

// refresher is a store that takes one lock, and does something else with
// every later one.
type refresher struct {
	*backuptest.Memory
	locks atomic.Int32
	later func(ctx context.Context) error
}

func (r *refresher) Put(ctx context.Context, name string, data []byte) error {
	if strings.HasPrefix(name, "locks/") && r.locks.Add(1) > 1 {
		return r.later(ctx)
	}
	return r.Memory.Put(ctx, name, data)
}

// A lock that is not renewed is lost, also when the clock was set back by
// almost as much. The other store keeps its lock.
func TestALockThatCannotBeRenewedIsLost(t *testing.T) {
	for name, later := range map[string]func(ctx context.Context) error{
		"hangs": func(ctx context.Context) error {
			<-ctx.Done()
			return ctx.Err()
		},
		"fails": func(context.Context) error { return errors.New("no space") },
		"takes an hour": func(ctx context.Context) error {
			time.Sleep(time.Hour)
			return nil
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				good, bad := backuptest.NewMemory("good"), &refresher{Memory: backuptest.NewMemory("bad"), later: later}
				repos := memoryRepos(t, fixedKey, bad, good)
				started := time.Now()
				job := nightly(repos, script{"s", func(ctx context.Context, _ *backup.Writer) error {
					time.Sleep(40 * time.Minute)
					return ctx.Err()
				}})
				job.Now = func() time.Time {
					if time.Since(started) > 10*time.Minute {
						return time.Now().Add(-20 * time.Minute) // set back
					}
					return time.Now()
				}
				result, err := job.RunOnce(t.Context())
				require.ErrorIs(t, err, backup.ErrLockLost)
				require.ErrorIs(t, result.Stores[0].Err, backup.ErrLockLost)
				require.NoError(t, result.Stores[1].Err)
				require.Empty(t, kinds(bad.Memory)["snapshots"])
				require.Len(t, kinds(good)["snapshots"], 1)
				require.Empty(t, kinds(good)["locks"])
			})
		})
	}
}

// Without any store there is nothing to read for: the sources are stopped.
func TestARunEndsOnceEveryLockIsLost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		bad := &refresher{Memory: backuptest.NewMemory("bad"), later: func(context.Context) error { return errors.New("no space") }}
		started := time.Now()
		result, err := nightly(memoryRepos(t, fixedKey, bad), script{"s", func(ctx context.Context, _ *backup.Writer) error {
			select {
			case <-ctx.Done():
				return ctx.Err()
			case <-time.After(10 * time.Hour):
				return nil
			}
		}}).RunOnce(t.Context())
		require.Nil(t, result)
		require.ErrorIs(t, err, backup.ErrLockLost)
		require.Less(t, time.Since(started), time.Hour)
		require.Empty(t, kinds(bad.Memory)["snapshots"])
		require.Empty(t, kinds(bad.Memory)["locks"])
	})
}

// slowReader is a store that takes its time once to read a lock.
type slowReader struct {
	*backuptest.Memory
	slow atomic.Bool
}

func (s *slowReader) Read(ctx context.Context, name string, offset, limit int64) ([]byte, error) {
	if strings.HasPrefix(name, "locks/") && s.slow.CompareAndSwap(true, false) {
		time.Sleep(6 * time.Minute)
	}
	return s.Memory.Read(ctx, name, offset, limit)
}

// A lock that is renewed while a commit looks for it was not removed.
func TestALockThatIsRenewedWhileItIsLookedAt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &slowReader{Memory: backuptest.NewMemory("a")}
		mustRun(t, nightly(memoryRepos(t, fixedKey, store), script{"s", func(context.Context, *backup.Writer) error {
			store.slow.Store(true)
			return nil
		}}))
		require.False(t, store.slow.Load())
		require.Empty(t, kinds(store.Memory)["locks"])
	})
}

// afterPack is a store that does something once it has taken a pack.
type afterPack struct {
	backup.Store
	once sync.Once
	do   func()
}

func (a *afterPack) Put(ctx context.Context, name string, data []byte) error {
	err := a.Store.Put(ctx, name, data)
	if strings.HasPrefix(name, "data/") {
		a.once.Do(a.do)
	}
	return err
}

// The same with the program that prunes in earnest: it removes a pack of a
// run that was suspended, and finds nothing to say about what is left.
func TestResticPrunesUnderASuspendedJob(t *testing.T) {
	key, dir := backup.NewMachineKey(), filepath.Join(t.TempDir(), "a")
	repos := create(t, key, dir)
	mustRun(t, nightly(repos, backup.Folder("files", smallTree(t))))
	source := t.TempDir()
	write(t, filepath.Join(source, "big"), noise(61, 20<<20))
	store := &afterPack{Store: localStore(t, dir), do: func() {
		other := nightly(repos, oneFile("other"))
		other.Now = func() time.Time { return time.Now().Add(31 * time.Minute) }
		mustRun(t, other)
		restic(t, dir, key.Password(), "prune", "--max-unused", "0")
	}}
	suspended := nightly([]*backup.Repository{reopen(t, key, store)}, backup.Folder("files", source))
	_, err := suspended.RunOnce(t.Context())
	require.ErrorIs(t, err, backup.ErrLockLost)
	next := nightly(repos, backup.Folder("files", source))
	next.Now = func() time.Time { return time.Now().Add(32 * time.Minute) }
	mustRun(t, next)
	require.Len(t, times(t, repos[0]), 3)
	mustCheck(t, repos[0])
	require.Contains(t, restic(t, dir, key.Password(), "check", "--read-data"), "no errors were found")
}
