package erasurelog_test

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/internal/durable"
	"github.com/crmguard/crmguard/internal/durable/durabletest"
	"github.com/crmguard/crmguard/privacy/erasurelog"
)

// over opens the ledger on another disk.
func (f *fixture) over(disk func(durable.Disk) durable.Disk) {
	f.t.Helper()
	f.cfg.Medium = erasurelog.FolderOver(f.dir, disk)
	f.open()
}

// No caller goes on before the entry is on disk: not when its flush fails, and
// not when it finds a line that nobody has flushed.
func TestNothingIsSaidBeforeTheEntryIsFlushed(t *testing.T) {
	for _, broken := range [][]string{{"write"}, {"sync"}, {"sync folder"}, {"write", "sync", "truncate"}, {"sync", "truncate"}} {
		f := newFixture(t)
		failing := broken
		f.over(durabletest.Ask(func(step, _ string) error {
			if slices.Contains(failing, step) {
				return syscall.EIO
			}
			return nil
		}))
		plan := newID()
		intent := func(s *erasurelog.State) (*erasurelog.Entry, error) {
			if s.Status(plan) == erasurelog.Begun {
				return nil, nil
			}
			e := f.entry(erasurelog.Intent, plan, "ann")
			return &e, nil
		}
		for range 2 {
			_, err := f.log.Append(t.Context(), nil, intent)
			require.ErrorIs(t, err, erasurelog.ErrUnreachable, "%v", broken)
			require.ErrorIs(t, err, syscall.EIO, "%v", broken)
		}
		if !slices.Contains(broken, "truncate") {
			require.Empty(t, f.lines(), "the entry does not stay unflushed")
		}
		failing = nil
		_, err := f.log.Append(t.Context(), nil, intent)
		require.NoError(t, err)
		require.Equal(t, []string{"intent"}, f.ops(), "%v", broken)
	}
}

// Whatever moment the power fails at, in Create too: what Append has said is on
// disk, the ledger verifies, and the next process goes on.
func TestPowerFailureWhileTheLedgerIsWritten(t *testing.T) {
	for seed := range uint64(20) {
		for failAt, failed := 1, true; failed; failAt++ {
			f := newFixture(t)
			m := durabletest.NewMemory(seed)
			f.over(func(durable.Disk) durable.Disk { return m })
			m.FailAt(failAt)
			plan := newID()
			var said []string
			work := func() error {
				if err := f.log.Create(t.Context()); err != nil {
					return err
				}
				for _, op := range []erasurelog.Op{erasurelog.Intent, erasurelog.Partial, erasurelog.Done} {
					if err := f.try(f.entry(op, plan, "ann")); err != nil {
						return err
					}
					said = append(said, string(op))
				}
				return nil
			}
			err := work()
			failed = m.Failed()
			require.Equal(t, failed, err != nil, "seed %d, step %d", seed, failAt)
			m.Crash()
			f.open() // a new process
			data, err := m.Read("ledger.jsonl")
			if err != nil { // it was never whole
				require.Empty(t, said, "seed %d, step %d", seed, failAt)
				require.NoError(t, f.log.Create(t.Context()))
			}
			for i, op := range said {
				require.Contains(t, string(bytes.Split(data, []byte("\n"))[i]), `"op":"`+op+`"`, "seed %d, step %d", seed, failAt)
			}
			s, err := f.log.Verify(t.Context())
			require.NoError(t, err, "seed %d, step %d", seed, failAt)
			n := s.Head().N
			f.append(f.entry(erasurelog.Intent, newID(), "bob"))
			m.Crash()
			f.open()
			require.Equal(t, n+1, f.read().Head().N, "seed %d, step %d", seed, failAt)
		}
	}
}

// Notes are there whole or not at all, whatever moment the power fails at.
func TestPowerFailureWhileANoteIsWritten(t *testing.T) {
	for seed := range uint64(6) {
		for failAt, failed := 1, true; failed; failAt++ {
			f := newFixture(t)
			m := durabletest.NewMemory(seed)
			f.over(func(durable.Disk) durable.Disk { return m })
			require.NoError(t, f.log.Create(t.Context()))
			require.NoError(t, f.log.Note(t.Context(), "old", []byte("old")))
			m.FailAt(failAt)
			noted := f.log.Note(t.Context(), "old", []byte("new"))
			forgotten := f.log.Note(t.Context(), "gone", []byte("gone"))
			if forgotten == nil {
				forgotten = f.log.Forget(t.Context(), "gone")
			}
			failed = m.Failed()
			m.Crash()
			f.open()
			got, wrong := f.notes()
			require.Empty(t, wrong, "seed %d, step %d", seed, failAt)
			if noted == nil {
				require.Equal(t, "new", got["old"])
			}
			require.Contains(t, []string{"old", "new"}, got["old"], "seed %d, step %d", seed, failAt)
			if forgotten == nil {
				require.NotContains(t, got, "gone")
			}
		}
	}
}

// A disk that hangs holds nobody for longer than they wait, whatever it hangs
// at; when it answers, the ledger is whole.
func TestADiskThatHangs(t *testing.T) {
	for _, step := range []string{"open", "write", "sync", "close"} {
		f := newFixture(t)
		f.erase("ann")
		var mu sync.Mutex
		var hanging chan struct{}
		f.over(durabletest.Ask(func(what, _ string) error {
			mu.Lock()
			wait := hanging
			mu.Unlock()
			if what == step && wait != nil {
				<-wait
			}
			return nil
		}))
		f.read()
		wait := make(chan struct{})
		mu.Lock()
		hanging = wait
		mu.Unlock()
		calls := map[string]func(ctx context.Context) error{
			"append": func(ctx context.Context) error {
				_, err := f.log.Append(ctx, nil, always(f.entry(erasurelog.Intent, newID(), "bob")))
				return err
			},
			"note":  func(ctx context.Context) error { return f.log.Note(ctx, "a", []byte("x")) },
			"again": func(ctx context.Context) error { return f.log.Note(ctx, "a", []byte("x")) },
		}
		if step == "open" {
			calls["read"] = func(ctx context.Context) error {
				_, err := f.log.Read(ctx)
				return err
			}
			calls["notes"] = func(ctx context.Context) (err error) {
				for _, err = range f.log.Notes(ctx) {
				}
				return err
			}
		}
		for name, call := range calls {
			ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
			require.ErrorIs(t, call(ctx), context.DeadlineExceeded, "%s while %s hangs", name, step)
			cancel()
		}
		mu.Lock()
		hanging = nil
		mu.Unlock()
		close(wait)
		f.append(f.entry(erasurelog.Intent, newID(), "carl"))
		s, err := f.log.Verify(t.Context())
		require.NoError(t, err)
		require.GreaterOrEqual(t, s.Head().N, int64(3))
	}
}

// Several in one process do not take the lock for busy.
func TestManyWritersOfOneProcess(t *testing.T) {
	f := newFixture(t)
	var all sync.WaitGroup
	const writers, each = 8, 10
	failed := make(chan error, writers*each)
	entry := f.entry(erasurelog.Intent, newID(), "ann")
	for range writers {
		all.Go(func() {
			for range each {
				_, err := f.log.Append(context.WithoutCancel(t.Context()), nil, func(*erasurelog.State) (*erasurelog.Entry, error) {
					e := entry
					e.Plan = newID()
					return &e, nil
				})
				if err != nil {
					failed <- err
				}
			}
		})
	}
	all.Wait()
	close(failed)
	for err := range failed {
		require.NoError(t, err)
	}
	f.open()
	require.Equal(t, int64(writers*each), f.read().Head().N)
}

// A medium that always says that its end has moved is given up.
func TestAnEndThatKeepsMoving(t *testing.T) {
	f := newFixture(t)
	f.cfg.Medium = restless{f.cfg.Medium}
	f.open()
	require.ErrorIs(t, f.try(f.entry(erasurelog.Intent, newID(), "ann")), erasurelog.ErrBusy)
	require.NotContains(t, fmt.Sprint(f.try(f.entry(erasurelog.Intent, newID(), "ann"))), f.dir, "a medium without a name")
}

// A medium that says it has written what it has not is not believed: the entry is
// read back.
func TestAMediumThatLies(t *testing.T) {
	f := newFixture(t)
	f.cfg.Medium = liar{f.cfg.Medium}
	f.open()
	err := f.try(f.entry(erasurelog.Intent, newID(), "ann"))
	require.ErrorIs(t, err, erasurelog.ErrRewound)
	require.ErrorContains(t, err, "the entry just written")
}

type liar struct{ erasurelog.Medium }

func (liar) Append(context.Context, erasurelog.Position, []byte, []byte) error { return nil }

type restless struct{ erasurelog.Medium }

func (restless) Append(context.Context, erasurelog.Position, []byte, []byte) error {
	return erasurelog.ErrMoved
}
