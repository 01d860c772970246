package backup_test

import (
	"context"
	"iter"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/backup"
	"github.com/crmguard/crmguard/backup/backuptest"
)

// deaf is a store that does not notice when its caller gives up.
type deaf struct{ *backuptest.Memory }

func (d deaf) Put(ctx context.Context, name string, data []byte) error {
	return d.Memory.Put(context.WithoutCancel(ctx), name, data)
}

func (d deaf) Read(ctx context.Context, name string, offset, limit int64) ([]byte, error) {
	return d.Memory.Read(context.WithoutCancel(ctx), name, offset, limit)
}

func (d deaf) List(ctx context.Context, folder string) iter.Seq2[backup.Info, error] {
	return d.Memory.List(context.WithoutCancel(ctx), folder)
}

func (d deaf) Delete(ctx context.Context, name string) error {
	return d.Memory.Delete(context.WithoutCancel(ctx), name)
}

// A caller that gives up at any operation of the store, of one that notices it
// and of one that does not, gets an error or the whole answer, never half.
func TestACallThatIsCancelledIsAnErrorOrDone(t *testing.T) {
	dir, before := smallTree(t), backuptest.NewMemory("a")
	first := mustRun(t, nightly(memoryRepos(t, fixedKey, before), backup.Folder("files", dir)))
	for name, call := range map[string]func(ctx context.Context, store backup.Store) error{
		"open": func(ctx context.Context, store backup.Store) error {
			repo, err := backup.Open(ctx, store, config(fixedKey))
			if err == nil {
				require.Len(t, content(t, repo, first.Snapshot), 2)
			}
			return err
		},
		"read": func(ctx context.Context, store backup.Store) error {
			m, err := reopen(t, fixedKey, store).Manifest(ctx, first.Snapshot)
			if err == nil {
				require.Equal(t, "nightly", m.Job)
			}
			return err
		},
		"restore": func(ctx context.Context, store backup.Store) error {
			target := filepath.Join(t.TempDir(), "x")
			_, err := reopen(t, fixedKey, store).Restore(ctx, first.Snapshot, target)
			require.Equal(t, err == nil, backup.Opened(target) == nil)
			return err
		},
		"holders": func(ctx context.Context, store backup.Store) error {
			count, where, err := reopen(t, fixedKey, store).KeyHolders(ctx, "main", 1)
			require.Zero(t, count, where)
			return err
		},
		"check": func(ctx context.Context, store backup.Store) error {
			report, err := reopen(t, fixedKey, store).Check(ctx, backup.ReadAll)
			if err == nil {
				require.Equal(t, 1, report.Snapshots)
			}
			return err
		},
		"run": func(ctx context.Context, store backup.Store) error {
			result, err := nightly([]*backup.Repository{reopen(t, fixedKey, store)}, backup.Folder("files", dir)).RunOnce(ctx)
			if err == nil {
				require.Len(t, content(t, reopen(t, fixedKey, store), result.Snapshot), 2)
			}
			return err
		},
	} {
		for what, listening := range map[string]bool{"noticed": true, "unnoticed": false} {
			t.Run(name+" "+what, func(t *testing.T) {
				stopped := 0
				for at := 1; ; at++ {
					ctx, cancel := context.WithCancel(t.Context())
					paused := &pausing{Store: before.Clone(), steps: &steps{at: at, do: cancel}}
					if !listening {
						paused.Store = deaf{before.Clone()}
					}
					if err := call(ctx, paused); err != nil {
						stopped++
						require.ErrorIs(t, err, context.Canceled, "operation %d", at)
					}
					cancel()
					if paused.n < at {
						break
					}
				}
				require.True(t, stopped > 0 || !listening)
			})
		}
	}
}
