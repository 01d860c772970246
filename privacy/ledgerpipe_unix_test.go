//go:build unix

package privacy_test

import (
	"os"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/privacy"
)

// A pipe in the place of the ledger keeps nobody waiting: the ledger cannot be
// read, and nothing is erased.
func TestAPipeIsNoLedger(t *testing.T) {
	s := newSystem(t)
	ann := s.contact("ann@a.example")
	plan := s.approved(ann)
	require.NoError(t, os.Remove(s.ledgerPath()))
	require.NoError(t, syscall.Mkfifo(s.ledgerPath(), 0o600))
	_, err := s.desk.Execute(t.Context(), plan.ID)
	require.ErrorIs(t, err, privacy.ErrLedgerUnreachable)
	require.Equal(t, 1, s.count(`SELECT COUNT(*) FROM contacts WHERE person = ?`, ann))
}
