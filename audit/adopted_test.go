package audit_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/audit/auditlog"
)

// What was published goes where it was published: a row that somebody gave another
// place stops CatchUp, and is not moved.
func TestARowAtAnotherPlaceIsNotAdopted(t *testing.T) {
	b := newBench(t)
	b.record(update("p1", 1))
	b.run()
	id := b.record(update("p1", 2))
	file := b.backup()
	b.run()
	b.restore(file)
	b.exec(`UPDATE crmguard_audit_events SET idx = 77, body = NULL WHERE id = ?`, key(id))
	err := b.trail.CatchUp(t.Context())
	require.ErrorIs(t, err, auditlog.ErrTampered)
	require.ErrorContains(t, err, "at another place")
	require.Equal(t, 1, b.count(`SELECT COUNT(*) FROM crmguard_audit_events WHERE idx = 77`))
}

// An entry that comes while the database catches up, beyond what is published, is
// nobody's: the state does not pass it by.
func TestAnEntryThatComesWhileCatchingUp(t *testing.T) {
	stopped := 0
	for at := int64(1); at <= 4; at++ {
		b := newBench(t)
		b.fill(3)
		b.run()
		file := b.backup()
		b.fill(3)
		b.run()
		b.restore(file)
		trail, hook := b.hooked(func() {
			b.exec(`INSERT INTO crmguard_audit_entries (idx, id, leaf, at, filed) SELECT 99, x'00', leaf, at, filed FROM crmguard_audit_entries WHERE idx = 1`)
		})
		hook.left.Store(at)
		if err := trail.CatchUp(t.Context()); err != nil {
			require.ErrorIs(t, err, auditlog.ErrTampered)
			require.ErrorContains(t, err, "beyond the log")
			stopped++
		}
	}
	require.Positive(t, stopped)
}
