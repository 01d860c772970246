package privacy_test

import (
	"slices"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

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
