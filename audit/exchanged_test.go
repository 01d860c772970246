package audit_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/audit"
	"github.com/crmguard/crmguard/audit/auditlog"
)

// exchange exchanges the persons of two surrogates, as somebody may who writes the
// table.
func (b *bench) exchange(one, other string) {
	b.t.Helper()
	for _, step := range [][2]string{{one, "tmp"}, {other, one}, {"tmp", other}} {
		b.exec(`UPDATE crmguard_audit_surrogates SET person = ? WHERE person = ?`, step[1], step[0])
	}
}

func (b *bench) openingsOf(owner []byte) int {
	b.t.Helper()
	return b.count(`SELECT COUNT(*) FROM crmguard_audit_openings WHERE owner = ?`, owner)
}

// Whose a surrogate is is believed under its tag alone: an erasure of one person
// reaches nobody else, nobody is merged or shown as somebody else, and CatchUp sets it
// right.
func TestAnExchangedPersonIsNotBelieved(t *testing.T) {
	b := newBench(t)
	b.record(update("p", 1))
	b.record(update("q", 1))
	b.record(update("r", 1))
	b.run()
	ofP, ofQ := b.surrogate("p"), b.surrogate("q")
	b.exchange("p", "q")
	b.open()

	require.ErrorIs(t, b.trail.Erase(t.Context(), "main", "p"), auditlog.ErrTampered)
	_, err := b.trail.Left(t.Context(), "main", "p")
	require.ErrorIs(t, err, auditlog.ErrTampered)
	require.ErrorIs(t, b.trail.Merge(t.Context(), "main", "r", "p"), auditlog.ErrTampered)
	for _, err := range b.trail.History(t.Context(), "main", audit.About("p"), audit.Page{}) {
		require.ErrorIs(t, err, auditlog.ErrTampered)
	}
	_, err = b.trail.Find(t.Context(), audit.Filter{Tenant: "main", Person: "q"}, audit.Page{})
	require.ErrorIs(t, err, auditlog.ErrTampered)
	found, err := b.trail.Find(t.Context(), audit.Filter{Tenant: "main", Action: "contact.update"}, audit.Page{})
	require.NoError(t, err)
	require.Len(t, found.Entries, 3)
	for _, e := range found.Entries {
		for _, person := range e.Persons {
			require.Equal(t, "r", person, "nobody is shown as somebody else")
		}
	}
	require.Equal(t, auditlog.Tampered, b.verifyStore(b.checkpoint()).Verdict)
	require.Equal(t, 1, b.openingsOf(ofP))
	require.Equal(t, 1, b.openingsOf(ofQ))

	require.NoError(t, b.trail.CatchUp(t.Context()))
	require.NoError(t, b.trail.Prepare(t.Context(), "main", "p", "q"))
	require.Equal(t, ofP, b.surrogate("p"))
	require.Equal(t, ofQ, b.surrogate("q"))
	require.Equal(t, auditlog.OK, b.verifyStore(b.checkpoint()).Verdict)
	require.NoError(t, b.trail.Erase(t.Context(), "main", "p"))
	require.Zero(t, b.openingsOf(ofP))
	require.Equal(t, 1, b.openingsOf(ofQ))
	require.Len(t, b.history(audit.About("q")), 1)
}

// Who hides whose a row is keeps nothing from an erasure: the head says it.
func TestAHiddenPersonIsErased(t *testing.T) {
	b := newBench(t)
	b.record(update("p", 1))
	b.run()
	owner := b.surrogate("p")
	b.exec(`UPDATE crmguard_audit_surrogates SET person = 'nobody knows' WHERE person = 'p'`)
	b.open()
	require.NoError(t, b.trail.Erase(t.Context(), "main", "p"))
	require.Zero(t, b.openingsOf(owner))
	b.run()
	require.Equal(t, auditlog.OK, b.verifyStore(b.checkpoint()).Verdict)
}

// That somebody merged two by hand is not believed either.
func TestAMergeByHandIsNotBelieved(t *testing.T) {
	b := newBench(t)
	b.record(update("p", 1))
	b.record(update("q", 1))
	b.run()
	ofQ := b.surrogate("q")
	b.exec(`UPDATE crmguard_audit_surrogates SET into_surrogate = ? WHERE person = 'q'`, b.surrogate("p"))
	require.Len(t, b.history(audit.About("p")), 1)
	require.NoError(t, b.trail.Erase(t.Context(), "main", "p"))
	require.Equal(t, 1, b.openingsOf(ofQ))
	require.NoError(t, b.trail.CatchUp(t.Context()))
	b.run()
	require.Equal(t, auditlog.OK, b.verifyStore(b.checkpoint()).Verdict)
}

// What is about nobody is known by its surrogate, whatever the column says.
func TestTheRowOfNobodyIsSetRight(t *testing.T) {
	b := newBench(t)
	b.record(update("p", 1))
	b.run()
	b.exchange("", "p")
	b.open()
	require.ErrorIs(t, b.trail.Prepare(t.Context(), "main", "p"), auditlog.ErrTampered)
	require.NoError(t, b.trail.CatchUp(t.Context()))
	require.NoError(t, b.trail.Prepare(t.Context(), "main", "p"))
	require.Len(t, b.history(audit.About("p")), 1)
	require.Equal(t, auditlog.OK, b.verifyStore(b.checkpoint()).Verdict)
}
