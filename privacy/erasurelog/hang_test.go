package erasurelog_test

import (
	"context"
	"iter"
	"os"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/internal/durable"
	"github.com/crmguard/crmguard/internal/durable/durabletest"
	"github.com/crmguard/crmguard/privacy/erasurelog"
)

// memory is a medium without a disk, for time that is simulated.
type memory struct {
	erasurelog.Medium
}

func (memory) Read(context.Context, erasurelog.Position) iter.Seq2[[]byte, error] {
	return func(func([]byte, error) bool) {}
}

// An anchor that hangs, and heeds no context, keeps nobody from the ledger: the
// others are asked, and the State comes before the caller's time is over.
func TestAnAnchorThatHangs(t *testing.T) {
	for name, within := range map[string]time.Duration{"no end": 0, "a minute": time.Minute, "a second": time.Second} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				stop := make(chan struct{})
				head, err := erasurelog.EmptyHead().Bytes()
				require.NoError(t, err)
				log, err := erasurelog.Open(erasurelog.Config{
					Medium: memory{}, Digests: digestsOf(root{1, seqKey(0)}),
					Anchors: []erasurelog.Anchor{
						{Name: "hangs", Head: func(context.Context) ([]byte, error) { <-stop; return nil, nil }},
						{Name: "waits", Head: func(ctx context.Context) ([]byte, error) { <-ctx.Done(); return nil, ctx.Err() }},
						{Name: "answers", Head: func(context.Context) ([]byte, error) { return head, nil }},
					},
				})
				require.NoError(t, err)
				ctx := t.Context()
				if within > 0 {
					var cancel func()
					ctx, cancel = context.WithTimeout(ctx, within)
					defer cancel()
				}
				go func() { // a caller who waits for ever fails the test instead
					time.Sleep(time.Hour)
					close(stop)
				}()
				begin := time.Now()
				s, err := log.Read(ctx)
				var silent *erasurelog.AnchorError
				require.ErrorAs(t, err, &silent)
				require.NotNil(t, s)
				require.Len(t, s.Anchors(), 1)
				require.LessOrEqual(t, time.Since(begin), 10*time.Second)
				<-stop
			})
		})
	}
}

// A note whose writing hangs, and whose caller has gone, does not come back after
// it was forgotten, wherever it hangs.
func TestANoteIsForgottenWhileADiskHangs(t *testing.T) {
	for _, where := range []string{"folder", "open", "write", "sync", "rename"} {
		t.Run(where, func(t *testing.T) {
			f := newFixture(t)
			require.NoError(t, f.log.Note(t.Context(), "other", []byte("x")))
			synctest.Test(t, func(t *testing.T) {
				wait, hangs := make(chan struct{}), make(chan struct{})
				var once sync.Once
				hang := func() {
					once.Do(func() {
						close(hangs)
						<-wait
					})
				}
				ask := durabletest.Ask(func(step, _ string) error {
					if step == where {
						hang()
					}
					return nil
				})
				f.over(func(d durable.Disk) durable.Disk {
					if where == "folder" {
						hang()
					}
					return ask(d)
				})
				ctx, cancel := context.WithCancel(t.Context())
				go func() {
					<-hangs
					cancel()
				}()
				require.ErrorIs(t, f.log.Note(ctx, "plan", []byte("where the rest is")), context.Canceled)
				other := process(t, f.dir)
				err := other.log.Forget(t.Context(), "plan")
				if err != nil {
					require.ErrorIs(t, err, erasurelog.ErrBusy)
				}
				close(wait)
				synctest.Wait()
				if err != nil {
					require.NoError(t, other.log.Forget(t.Context(), "plan"))
				}
				_, err = os.Lstat(f.noteFile("plan"))
				require.ErrorIs(t, err, os.ErrNotExist)
			})
		})
	}
}

// Where the disk of the ledger is not mounted, its notes are neither written nor
// missed.
func TestNotesWithoutALedger(t *testing.T) {
	f := newFixture(t)
	require.NoError(t, f.log.Note(t.Context(), "plan", []byte("x")))
	disk := f.dir + "-disk"
	require.NoError(t, os.Rename(f.dir, disk))
	require.NoError(t, os.Mkdir(f.dir, 0o700)) // what is below a mount point
	require.ErrorIs(t, f.log.Note(t.Context(), "other", []byte("y")), erasurelog.ErrUnreachable)
	require.ErrorIs(t, f.log.Forget(t.Context(), "plan"), erasurelog.ErrUnreachable)
	_, failed := f.notes()
	require.NotEmpty(t, failed, "they cannot be listed")
	require.NoError(t, os.RemoveAll(f.dir))
	require.NoError(t, os.Rename(disk, f.dir))
	notes, failed := f.notes()
	require.Empty(t, failed)
	require.Len(t, notes, 1)
}
