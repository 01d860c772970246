package backup_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/backup"
	"github.com/crmguard/crmguard/backup/backuptest"
)

// A Create that fails at any operation of one of its stores leaves nothing
// that stands in the way: where there is no config yet the next Create makes
// all, and otherwise the store that has one is opened and mirrored to the
// other.
func TestACreateThatWasInterruptedIsFinished(t *testing.T) {
	key := backup.NewMachineKey()
	for _, mode := range []backuptest.Mode{backuptest.Once, backuptest.Crash, backuptest.Lost} {
		for _, bad := range []string{"a", "b"} {
			for at := 1; interruptCreate(t, key, mode, bad, at); at++ {
			}
		}
	}
}

// interruptCreate returns false when a Create has fewer operations.
func interruptCreate(t *testing.T, key backup.Key, mode backuptest.Mode, bad string, at int) bool {
	t.Helper()
	a, b := backuptest.NewMemory("a"), backuptest.NewMemory("b")
	faulty := &backuptest.Faulty{Store: a, At: at, Mode: mode}
	stores := []backup.Store{b, faulty}
	if bad == "b" {
		faulty.Store, stores[0] = b, a
	}
	_, err := backup.Create(t.Context(), config(key), stores...)
	if faulty.Operations() < at {
		require.NoError(t, err)
		return false
	}
	if a.Files()["config"] == nil && b.Files()["config"] == nil {
		require.Error(t, err)
		memoryRepos(t, key, a, b)
	} else if err != nil {
		_, again := backup.Create(t.Context(), config(key), a, b)
		require.ErrorIs(t, again, backup.ErrExists)
		for _, err := range []error{err, again} {
			if b.Files()["config"] != nil || !errors.Is(err, backup.ErrStore) {
				require.ErrorContains(t, err, "Open it", "the error says what to do")
			}
		}
		repo := reopen(t, key, a) // the first by name
		if b.Files()["config"] == nil {
			_, err = repo.Mirror(t.Context(), b)
			require.NoError(t, err)
		}
	}
	require.Equal(t, a.Files(), b.Files(), "mode %d, operation %d of %s", mode, at, bad)
	require.Len(t, a.Files(), 2, "one key file and the config")
	mustCheck(t, reopen(t, key, a))
	_, err = backup.Create(t.Context(), config(key), a)
	require.ErrorIs(t, err, backup.ErrExists)
	return true
}

// Two that create in the same stores, named in another order, interleaved at
// every pair of operations: one gets all, the other a clear error, and
// nothing of it stays.
func TestTwoCreatesAtOnce(t *testing.T) {
	one, other := config(backup.NewMachineKey()), config(backup.NewMachineKey())
	for first := 1; ; first++ {
		second, done := 1, false
		for ; !done; second++ {
			a, b := backuptest.NewMemory("a"), backuptest.NewMemory("b")
			outer, inner := &steps{at: first}, &steps{at: second}
			reached, finish, ended := make(chan struct{}), make(chan struct{}), make(chan error)
			inner.do = func() {
				close(reached)
				<-finish
			}
			outer.do = func() {
				go func() {
					_, err := backup.Create(t.Context(), other, &pausing{b, inner}, &pausing{a, inner})
					if inner.n < second {
						close(reached)
					}
					ended <- err
				}()
				<-reached
			}
			_, err := backup.Create(t.Context(), one, &pausing{a, outer}, &pausing{b, outer})
			if outer.n < first {
				require.NoError(t, err)
				return
			}
			close(finish)
			otherErr := <-ended
			done = inner.n < second
			winner, lost := one, otherErr
			if err != nil {
				winner, lost = other, err
				require.NoError(t, otherErr, "operations %d and %d: one of two gets the stores", first, second)
			}
			require.ErrorIs(t, lost, backup.ErrExists)
			require.Equal(t, a.Files(), b.Files(), "operations %d and %d", first, second)
			require.Len(t, a.Files(), 2, "operations %d and %d: one key file and the config", first, second)
			repo, err := backup.Open(t.Context(), a, winner)
			require.NoError(t, err)
			mustCheck(t, repo)
		}
	}
}

// Stores that only partly overlap: whoever gets nil can open all of its own.
func TestCreatesOfOverlappingStores(t *testing.T) {
	key := backup.NewMachineKey()
	for range 50 {
		stores := []*backuptest.Memory{backuptest.NewMemory("a"), backuptest.NewMemory("b"), backuptest.NewMemory("c")}
		var all sync.WaitGroup
		for _, wanted := range [][]*backuptest.Memory{{stores[0], stores[1]}, {stores[2], stores[1]}, {stores[2], stores[0]}} {
			all.Go(func() {
				repos, err := backup.Create(t.Context(), config(key), wanted[0], wanted[1])
				if err != nil {
					if !errors.Is(err, backup.ErrExists) {
						t.Errorf("a lost race gave %v", err)
					}
					return
				}
				if _, err := nightly(repos, script{"s", func(context.Context, *backup.Writer) error { return nil }}).RunOnce(t.Context()); err != nil {
					t.Errorf("a repository that was made does not take a snapshot: %v", err)
				}
				for i, store := range wanted {
					if repo, err := backup.Open(t.Context(), store, config(key)); err != nil || repo.ID() != repos[i].ID() {
						t.Errorf("a repository that was made does not open: %v", err)
					}
				}
			})
		}
		all.Wait()
		for _, store := range stores {
			if repo, err := backup.Open(t.Context(), store, config(key)); err == nil {
				mustCheck(t, repo)
			} else {
				require.ErrorIs(t, err, backup.ErrNoRepository)
			}
		}
	}
}

// Two processes that start at a time on an empty place, as two replicas of a
// program do.
func TestTwoProcessesCreateAtOnce(t *testing.T) {
	if asChild(func(dir string) error {
		_, err := backup.Create(context.Background(), config(fixedKey), localStore(t, filepath.Join(dir, "b")), localStore(t, filepath.Join(dir, "a")))
		if errors.Is(err, backup.ErrExists) {
			return backup.ErrExists
		}
		return err
	}) {
		return
	}
	children := []*child{startChild(t), startChild(t)}
	for range 30 {
		dir := t.TempDir()
		answers := map[string]int{}
		for _, c := range children {
			c.tell(t, dir)
		}
		for _, c := range children {
			answers[c.answer(t)]++
		}
		require.Equal(t, map[string]int{`"<nil>"`: 1, fmt.Sprintf("%q", backup.ErrExists.Error()): 1}, answers)
		for _, name := range []string{"a", "b"} {
			repo, err := backup.Open(t.Context(), localStore(t, filepath.Join(dir, name)), config(fixedKey))
			require.NoError(t, err)
			mustCheck(t, repo)
		}
		keys, err := fs.Glob(os.DirFS(dir), "*/keys/*")
		require.NoError(t, err)
		require.Len(t, keys, 2)
	}
}
