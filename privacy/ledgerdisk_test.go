package privacy_test

import (
	"bytes"
	"slices"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/internal/durable"
	"github.com/crmguard/crmguard/internal/durable/durabletest"
	"github.com/crmguard/crmguard/privacy"
)

// No store is touched before the intent is on disk: not when its flush fails,
// and not by the next call, which finds a line that nobody has flushed.
func TestNothingIsErasedBeforeTheIntentIsFlushed(t *testing.T) {
	for _, broken := range [][]string{{"write"}, {"sync"}, {"write", "sync", "truncate"}, {"sync", "truncate"}} {
		s := newSystem(t)
		ann := s.contact("ann@a.example")
		plan := s.approved(ann)
		before := lines(t, s.ledgerPath())
		failing := broken
		s.ledger.FailDisk(func(step string) error {
			if slices.Contains(failing, step) {
				return syscall.EIO
			}
			return nil
		})
		for range 2 {
			_, err := s.desk.Execute(t.Context(), plan.ID)
			require.ErrorIs(t, err, privacy.ErrLedgerUnreachable, "%v", broken)
			require.Equal(t, 1, s.count(`SELECT COUNT(*) FROM contacts`), "%v", broken)
		}
		if !slices.Contains(broken, "truncate") {
			require.Equal(t, before, lines(t, s.ledgerPath()), "the entry does not stay unflushed")
		}
		failing = nil
		o, err := s.desk.Execute(t.Context(), plan.ID)
		require.NoError(t, err)
		require.Equal(t, privacy.Waiting, o.State)
		require.Equal(t, 0, s.count(`SELECT COUNT(*) FROM contacts`))
		require.Equal(t, []string{"intent"}, ops(t, s))
	}
}

// Whatever moment the power fails at: no store was touched unless the intent is
// on disk, the ledger verifies, and the erasure goes on with the next process.
// So it is when the process that made the ledger was killed before its name
// was on disk.
func TestPowerFailureWhileTheLedgerIsWritten(t *testing.T) {
	for seed := range uint64(6) {
		for failAt := 1; ; failAt++ {
			s := newSystem(t)
			ann := s.contact("ann@a.example")
			plan := s.approved(ann)
			m := durabletest.NewMemory(seed)
			over := func(durable.Disk) durable.Disk { return m }
			s.ledger.Over(over)
			if m.FailAt(6); seed%2 == 0 { // create, write, sync, link, remove; and now the flush of the folder
				m.FailAt(0)
			}
			if err := s.ledger.Create(t.Context()); seed%2 != 0 {
				require.ErrorIs(t, err, privacy.ErrLedgerUnreachable)
				require.ErrorContains(t, err, "sync folder")
				m.Kill()
			} else {
				require.NoError(t, err)
			}
			m.FailAt(failAt)
			_, err := s.desk.Execute(t.Context(), plan.ID)
			failed := m.Failed()
			m.Crash()
			data, readErr := m.Read("ledger.jsonl")
			if err == nil {
				require.NoError(t, readErr, "seed %d, step %d", seed, failAt)
			}
			intents := bytes.Count(data, []byte(`"op":"intent"`))
			if s.count(`SELECT COUNT(*) FROM contacts`) == 0 {
				require.Equal(t, 1, intents, "seed %d, step %d: erased without an intent on disk", seed, failAt)
			}
			s.open() // a new process
			s.ledger.Over(over)
			if readErr != nil { // it was never whole
				require.NoError(t, s.ledger.Create(t.Context()))
			}
			require.NoError(t, s.ledger.Verify(t.Context()))
			_, err = s.desk.Execute(t.Context(), plan.ID)
			require.NoError(t, err, "seed %d, step %d", seed, failAt)
			require.Equal(t, 0, s.count(`SELECT COUNT(*) FROM contacts`))
			m.Crash()
			require.NoError(t, s.ledger.Verify(t.Context()))
			data, err = m.Read("ledger.jsonl")
			require.NoError(t, err)
			require.Equal(t, 1, bytes.Count(data, []byte(`"op":"intent"`)))
			if !failed {
				break
			}
		}
	}
}
