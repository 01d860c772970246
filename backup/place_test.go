package backup_test

import (
	"context"
	"errors"
	"iter"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/backup"
	"github.com/crmguard/crmguard/backup/backuptest"
)

// Another disk is mounted in the place of a store.
func TestAStoreThatHoldsAnotherRepositoryGetsNothing(t *testing.T) {
	for name, change := range map[string]func(t *testing.T, dir string){
		"another repository": func(t *testing.T, dir string) {
			t.Helper()
			require.NoError(t, os.RemoveAll(dir))
			create(t, backup.NewMachineKey(), dir)
		},
		"another repository of the same password": func(t *testing.T, dir string) {
			t.Helper()
			require.NoError(t, os.RemoveAll(dir))
			create(t, fixedKey, dir)
		},
		"its config is gone": func(t *testing.T, dir string) {
			t.Helper()
			require.NoError(t, os.Remove(filepath.Join(dir, "config")))
		},
		"its config is damaged": func(t *testing.T, dir string) {
			t.Helper()
			require.NoError(t, os.Chmod(filepath.Join(dir, "config"), 0o600))
			require.NoError(t, os.WriteFile(filepath.Join(dir, "config"), noise(1, 150), 0o600))
		},
	} {
		t.Run(name, func(t *testing.T) {
			a, b := filepath.Join(t.TempDir(), "a"), filepath.Join(t.TempDir(), "b")
			job := nightly(create(t, fixedKey, a, b), backup.Folder("files", smallTree(t)))
			mustRun(t, job)
			change(t, b)
			before := tree(t, b)
			result, err := job.RunOnce(t.Context())
			require.ErrorIs(t, err, backup.ErrStore)
			require.ErrorIs(t, err, backup.ErrCorrupt)
			require.NoError(t, result.Stores[0].Err)
			require.Error(t, result.Stores[1].Err)
			require.ErrorContains(t, err, b)
			require.Equal(t, before, tree(t, b), "nothing was written there")
		})
	}
}

// hung answers until somebody asks for a name, and from then on only when its
// caller gives up.
type hung struct {
	*backuptest.Memory
	at   string
	down atomic.Bool
}

func (h *hung) wait(ctx context.Context, name string) {
	if h.at != "" && strings.HasPrefix(name, h.at) {
		h.down.Store(true)
	}
	if h.down.Load() {
		<-ctx.Done()
	}
}

func (h *hung) Put(ctx context.Context, name string, data []byte) error {
	h.wait(ctx, name)
	return errors.Join(ctx.Err(), h.Memory.Put(ctx, name, data))
}

func (h *hung) Read(ctx context.Context, name string, offset, limit int64) ([]byte, error) {
	h.wait(ctx, name)
	data, err := h.Memory.Read(ctx, name, offset, limit)
	return data, errors.Join(ctx.Err(), err)
}

func (h *hung) List(ctx context.Context, folder string) iter.Seq2[backup.Info, error] {
	h.wait(ctx, folder)
	return h.Memory.List(ctx, folder)
}

func (h *hung) Delete(ctx context.Context, name string) error {
	h.wait(ctx, name)
	return errors.Join(ctx.Err(), h.Memory.Delete(ctx, name))
}

// A disk that hangs loses its lock, and the other stores go on without it.
func TestAStoreThatHangsCostsOnlyItself(t *testing.T) {
	for _, folder := range []string{"config", "locks", "snapshots", "index", "data", "data/", "index/", "snapshots/"} {
		for _, lagging := range []string{"none", "bad", "good"} {
			t.Run(folder+" "+lagging, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					bad, good := &hung{Memory: backuptest.NewMemory("bad")}, backuptest.NewMemory("good")
					repos := memoryRepos(t, fixedKey, bad, good)
					mustRun(t, nightly(repos, oneFile("f")))
					switch lagging { // the first thing that the run does is to copy
					case "bad":
						mustRun(t, nightly(repos[1:], oneFile("g")))
					case "good":
						mustRun(t, nightly(repos[:1], oneFile("g")))
					}
					bad.at = folder
					ctx, cancel := context.WithTimeout(t.Context(), 10*time.Hour)
					defer cancel()
					result, err := nightly(repos, oneFile("h")).RunOnce(ctx)
					require.NoError(t, ctx.Err(), "the run hung with the store")
					require.ErrorIs(t, err, backup.ErrStore)
					require.NotNil(t, result)
					require.Error(t, result.Stores[0].Err)
					require.NoError(t, result.Stores[1].Err)
					report, err := repos[1].Check(t.Context(), backup.ReadAll, result.Snapshot)
					require.NoError(t, err)
					require.Empty(t, report.Problems)
				})
			})
		}
	}
}
