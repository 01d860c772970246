package erasurelog_test

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/internal/killtest"
	"github.com/crmguard/crmguard/privacy/erasurelog"
)

// process is the ledger in a folder as each process opens it.
func process(t *testing.T, dir string) *fixture {
	t.Helper()
	f := &fixture{t: t, dir: dir, now: time.Date(2026, 11, 23, 13, 0, 0, 0, time.UTC), roots: []root{{0x01020304, seqKey(0)}}}
	f.open()
	return f
}

// planOf is a plan by its number, the same in every process.
func planOf(n int) string {
	return fmt.Sprintf("01a2054d-dfbe-790e-a264-%012x", n)
}

// finish takes a plan to its end, as far as other processes have not: what it
// has said, nobody says again.
func (f *fixture) finish(plan string) error {
	for _, op := range []erasurelog.Op{erasurelog.Intent, erasurelog.Done} {
		_, err := f.log.Append(f.t.Context(), nil, func(s *erasurelog.State) (*erasurelog.Entry, error) {
			status := s.Status(plan)
			if status == erasurelog.Finished || op == erasurelog.Intent && status == erasurelog.Begun {
				return nil, nil
			}
			e := f.entry(op, plan, "ann")
			return &e, nil
		})
		if err != nil {
			return err
		}
		killtest.Say(string(op) + " " + plan)
	}
	return nil
}

const plansOfAProcess = 40

// A process that is killed between any two steps, or within one: what it has said
// stands, nothing stands twice, and the next one goes on. The first one also makes
// the ledger.
func TestAProcessIsKilled(t *testing.T) {
	if dir := killtest.Dir(); dir != "" {
		f := process(t, dir)
		if err := f.log.Create(t.Context()); !errors.Is(err, fs.ErrExist) {
			require.NoError(t, err)
		}
		killtest.Say("created")
		for n := range plansOfAProcess {
			require.NoError(t, f.log.Note(t.Context(), planOf(n), []byte("rest")))
			require.NoError(t, f.finish(planOf(n)))
			require.NoError(t, f.log.Forget(t.Context(), planOf(n)))
		}
		return
	}
	rounds, moments := killtest.Rounds(t)
	for range rounds {
		dir := filepath.Join(t.TempDir(), "ledger")
		require.NoError(t, os.Mkdir(dir, 0o700))
		f := process(t, dir)
		for range 2 {
			said, _ := killtest.Kill(t, dir, killtest.At{Count: 1 + moments.IntN(plansOfAProcess), Pause: time.Duration(moments.IntN(1500)) * time.Microsecond})
			f.open()
			s := f.read()
			require.Empty(t, s.Faults())
			for _, step := range said {
				op, plan, _ := strings.Cut(step, " ")
				if plan == "" {
					continue
				}
				require.NotEqual(t, erasurelog.Unknown, s.Status(plan), step)
				if op == "done" {
					require.Equal(t, erasurelog.Finished, s.Status(plan), step)
				}
			}
			_, failed := f.notes()
			require.Empty(t, failed)
		}
		for n := range plansOfAProcess {
			require.NoError(t, f.finish(planOf(n)))
		}
		require.Len(t, f.lines(), 2*plansOfAProcess, "each once")
	}
}

// Processes that all want the same plans, and one of which makes the ledger:
// each intent and each done stands once.
func TestManyProcessesWantTheSame(t *testing.T) {
	if dir := killtest.Dir(); dir != "" {
		f := process(t, dir)
		if err := f.log.Create(t.Context()); !errors.Is(err, fs.ErrExist) {
			require.NoError(t, err)
			killtest.Say("made it")
		}
		for n := range plansOfAProcess {
			require.NoError(t, f.finish(planOf(n)))
		}
		return
	}
	dir := filepath.Join(t.TempDir(), "ledger")
	const processes, never = 4, 1 << 30
	var all sync.WaitGroup
	said := make([][]string, processes)
	for i := range processes {
		all.Go(func() { said[i], _ = killtest.Kill(t, dir, killtest.At{Count: never}) })
	}
	all.Wait()
	made := 0
	for _, steps := range said {
		require.Contains(t, steps, "done "+planOf(plansOfAProcess-1))
		if steps[0] == "made it" {
			made++
		}
	}
	require.Equal(t, 1, made)
	f := process(t, dir)
	require.Empty(t, f.read().Faults())
	require.Len(t, f.lines(), 2*plansOfAProcess, "each once")
}
