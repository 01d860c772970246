package audit_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/audit"
	"github.com/crmguard/crmguard/audit/auditlog"
)

// An erasure reaches what is sealed about a person whatever became of the index of
// persons.
func TestAnErasureWithoutTheIndexOfPersons(t *testing.T) {
	b := newBench(t)
	b.fill(9)
	b.run()
	owner := b.surrogate("p1")
	require.NotZero(t, b.openingsOf(owner))
	left := b.left("p1")
	b.exec(`DELETE FROM crmguard_audit_persons`)
	require.Equal(t, left, b.left("p1"))
	require.NoError(t, b.trail.Erase(t.Context(), "main", "p1"))
	require.Zero(t, b.openingsOf(owner))
}

// A row under a key that nobody has keeps an erasure from ending for a day, and no
// longer.
func TestARowUnderAnUnknownKeyHoldsAnErasureUpForADay(t *testing.T) {
	b := newBench(t)
	b.record(update("p1", 1))
	b.run()
	waiting := b.record(update("p1", 2))
	row := b.waits(waiting)
	row.Tag[4] ^= 0x55
	body, err := auditlog.AppendRowBody(nil, row)
	require.NoError(t, err)
	b.exec(`UPDATE crmguard_audit_events SET body = ? WHERE id = ?`, body, key(waiting))
	owner := b.surrogate("p1")
	b.run()
	b.advance(23 * time.Hour)
	require.ErrorIs(t, b.trail.Erase(t.Context(), "main", "p1"), audit.ErrWaiting)
	require.Zero(t, b.openingsOf(owner), "all else is done")
	b.advance(2 * time.Hour)
	require.NoError(t, b.trail.Erase(t.Context(), "main", "p1"))
	require.Zero(t, b.count(`SELECT COUNT(*) FROM crmguard_audit_surrogates WHERE state = 3`))
	aside := b.blob(`SELECT body FROM crmguard_audit_aside`)
	require.NotContains(t, string(aside), string(owner))
}
