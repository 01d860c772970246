package audit

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/audit/auditlog"
)

// An event is one statement, and the sequencer has it in memory: what it seals is
// bounded for each owner and for all of them together, in the words of this package.
func TestWhatAnEventSealsIsBounded(t *testing.T) {
	s := newSQLiteTill(t)
	persons := []string{"p1", "p2", "p3"}
	s.prepared(persons...)
	values := func(size int, of ...string) Event {
		e := sold(t, "p1")
		e.Changes = nil
		for _, who := range of {
			e.Changes = append(e.Changes, Change{Path: "note", Who: who, New: strings.Repeat("x", size)})
		}
		return e
	}
	_, err := s.in(values(11<<20, persons...))
	require.ErrorIs(t, err, ErrTooLarge)
	require.ErrorContains(t, err, "openings of more than 33554432 bytes")
	_, err = s.in(values(17<<20, "p1"))
	require.ErrorIs(t, err, ErrTooLarge)
	require.ErrorIs(t, err, auditlog.ErrTooLarge)
	require.Zero(t, s.count(`SELECT COUNT(*) FROM crmguard_audit_events`))
	_, err = s.in(values(10<<20, persons...))
	require.NoError(t, err)
}
