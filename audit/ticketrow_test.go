package audit_test

import (
	"context"
	"database/sql"
	"log/slog"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/audit"
	"github.com/crmguard/crmguard/audit/auditlog"
)

// A process that only records learns by its own Prepare that the database was put back
// under it to before a person was known: what it records keeps its values.
func TestAProcessThatOnlyRecordsLearnsOfARestore(t *testing.T) {
	b, _ := mirrored(t)
	b.record(update("a", 1))
	b.run()
	file := b.backup()
	var moved float64
	other := b.beside(func(c *audit.Config) {
		c.Observe = func(_ context.Context, name string, n float64, _ ...slog.Attr) {
			if name == "audit.tickets.moved" {
				moved += n
			}
		}
	})
	e := update("p", 1)
	e.ID, _ = audit.NewID()
	require.NoError(t, other.Prepare(t.Context(), "main", "a", "p"))
	b.putInPlace(file)
	require.NoError(t, b.trail.CatchUp(t.Context()))
	b.advance(6 * time.Second)
	require.NoError(t, other.Prepare(t.Context(), "main", "a", "p"))
	require.NoError(t, b.in(func(tx *sql.Tx) error {
		_, err := other.Record(t.Context(), tx, e)
		return err
	}))
	b.run()
	require.InDelta(t, 1, moved, 0, "p, and not a")
	got, err := b.trail.Event(t.Context(), e.ID)
	require.NoError(t, err)
	require.Equal(t, audit.OpeningOK, got.Changes[0].Verdict)
	require.Equal(t, auditlog.OK, b.verifyStore(b.checkpoint()).Verdict)
}
