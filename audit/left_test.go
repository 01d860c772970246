package audit_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/audit"
	"github.com/crmguard/crmguard/audit/auditlog"
)

// While an erasure is open there is something left of the person, whoever asks: also
// where all rows that the database could count are gone.
func TestLeftWhileAnErasureIsOpen(t *testing.T) {
	b := newBench(t)
	b.record(update("p1", 1))
	b.run()
	waiting := b.record(update("p1", 2)) // under a key that nobody has
	row := b.waits(waiting)
	row.Tag[4] ^= 0x55
	body, err := auditlog.AppendRowBody(nil, row)
	require.NoError(t, err)
	b.exec(`UPDATE crmguard_audit_events SET body = ? WHERE id = ?`, body, key(waiting))
	b.run()
	require.Zero(t, b.left("p2"))

	other := b.beside(nil)
	require.ErrorIs(t, b.trail.Erase(t.Context(), "main", "p1"), audit.ErrWaiting)
	require.Equal(t, 1, b.left("p1"))
	require.Zero(t, b.left("p2"), "this process knows that it is another one's")
	for _, person := range []string{"p1", "p2"} {
		n, err := other.Left(t.Context(), "main", person)
		require.NoError(t, err)
		require.Equal(t, 1, n, person)
		n, err = other.Left(t.Context(), "another", person)
		require.NoError(t, err)
		require.Zero(t, n, person)
	}
	owner := b.blob(`SELECT surrogate FROM crmguard_audit_surrogates WHERE state = 3`)
	b.exec(`INSERT INTO crmguard_audit_openings (idx, owner, sealed) VALUES (0, ?, X'00')`, owner) // an erasure that was stopped before it came to it
	require.Equal(t, 2, b.left("p1"))

	b.advance(25 * time.Hour)
	require.Equal(t, 1, b.trail.OpenErasures("main"))
	require.NoError(t, b.trail.Erase(t.Context(), "main", "p1"))
	require.Zero(t, b.trail.OpenErasures("main"), "what ended is forgotten, without a question")
	n, err := other.Left(t.Context(), "main", "p1")
	require.NoError(t, err)
	require.Zero(t, n)
	require.Zero(t, b.left("p1"))
}
