package audit_test

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/audit"
	"github.com/crmguard/crmguard/audit/auditlog"
	"github.com/crmguard/crmguard/audit/audittest"
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

// updates counts the events about a person that are no merges.
func (b *bench) updates(person string) (n int) {
	for _, e := range b.history(audit.About(person)) {
		if e.Leaf.Kind == auditlog.KindEvent {
			n++
		}
	}
	return n
}

// damage turns a bit of the head of a person.
func (b *bench) damage(person string) {
	b.t.Helper()
	head := b.blob(`SELECT head FROM crmguard_audit_surrogates WHERE person = ?`, person)
	head[len(head)/2] ^= 1
	b.exec(`UPDATE crmguard_audit_surrogates SET head = ? WHERE person = ?`, head, person)
}

// A head that does not open stops nobody: neither a person nor a tenant. What was
// recorded about the person before belongs to the person still.
func TestADamagedHeadStopsNobody(t *testing.T) {
	b := newBench(t)
	b.record(update("p", 1))
	b.record(update("q", 1))
	b.record(update("r", 1))
	require.NoError(t, b.trail.Merge(t.Context(), "main", "r", "p"))
	b.run()
	before := b.surrogate("p")
	b.damage("p")
	b.open()
	require.NoError(t, b.trail.Prepare(t.Context(), "main", "q", "p"))
	after := b.surrogate("p")
	require.NotEqual(t, before, after)
	b.record(update("p", 2))
	b.run()
	require.Equal(t, 3, b.updates("p"), "those of before, and of whoever was merged")
	require.Equal(t, audit.HealthAlarm, b.statusOf()["audit.heads"].Level)
	require.Equal(t, auditlog.Tampered, b.verifyStore(b.checkpoint()).Verdict)
	require.NoError(t, b.trail.Erase(t.Context(), "main", "p"))
	require.Zero(t, b.openingsOf(before))
	require.Zero(t, b.openingsOf(after))
	b.run()
	require.Equal(t, auditlog.OK, b.verifyStore(b.checkpoint()).Verdict)
	require.Equal(t, audit.HealthOK, b.statusOf()["audit.heads"].Level)

	b.damage("")
	b.open()
	require.NoError(t, b.trail.Prepare(t.Context(), "main", "new"))
	b.record(update("new", 1))
	b.run()
	require.Equal(t, audit.HealthAlarm, b.statusOf()["audit.heads"].Level)
}

// Whoever was merged into somebody, and whose head is damaged, stays merged.
func TestADamagedHeadOfAMergedPerson(t *testing.T) {
	b := newBench(t)
	b.record(update("p", 1))
	b.record(update("q", 1))
	require.NoError(t, b.trail.Merge(t.Context(), "main", "p", "q"))
	b.run()
	b.damage("p")
	b.open()
	b.record(update("p", 2))
	b.run()
	require.Equal(t, 3, b.updates("q"))
	require.NoError(t, b.trail.Erase(t.Context(), "main", "q"))
	b.run()
	require.Zero(t, b.count(`SELECT COUNT(*) FROM crmguard_audit_surrogates WHERE person <> '' OR state = 4`))
	require.Equal(t, auditlog.OK, b.verifyStore(b.checkpoint()).Verdict)
}

// The mirror has the head that opens.
func TestADamagedHeadComesFromTheMirror(t *testing.T) {
	for _, person := range []string{"p", ""} {
		b := newBench(t)
		b.config.Mirror = &audittest.Sink{}
		b.open()
		b.record(update("p", 1))
		b.run()
		b.damage(person)
		b.open()
		b.record(update("p", 2))
		b.run()
		require.Len(t, b.history(audit.About("p")), 2)
		require.Equal(t, auditlog.OK, b.verifyStore(b.checkpoint()).Verdict)
		require.Equal(t, audit.HealthOK, b.statusOf()["audit.heads"].Level)
	}
}

// Keys that do not answer draw nothing anew.
func TestKeysThatAreAwayDrawNoSurrogate(t *testing.T) {
	b := newBench(t)
	b.record(update("p", 1))
	b.run()
	before := b.surrogate("p")
	b.openWith(noKeys{b.keys})
	require.ErrorIs(t, b.trail.Prepare(t.Context(), "main", "p"), errAway)
	b.openWith(b.keys)
	require.NoError(t, b.trail.Prepare(t.Context(), "main", "p"))
	require.Equal(t, before, b.surrogate("p"))
}

var errAway = errors.New("away")

// noKeys are keys of a service that is away.
type noKeys struct{ *audittest.Keys }

func (noKeys) Seal(context.Context, string, string, []byte, []byte) ([]byte, error) {
	return nil, errAway
}

func (noKeys) Open(context.Context, string, string, []byte, []byte) ([]byte, error) {
	return nil, errAway
}

// counted counts what is opened.
type counted struct {
	*audittest.Keys
	opens atomic.Int64
}

func (k *counted) Open(ctx context.Context, tenant, person string, sealed, ad []byte) ([]byte, error) {
	k.opens.Add(1)
	return k.Keys.Open(ctx, tenant, person, sealed, ad)
}

// Rows that somebody puts there cost a sale no key, and those of a restore one for
// each person, however often it is asked.
func TestRowsOfNobodyCostFewKeys(t *testing.T) {
	const rows = 300
	for _, mine := range []bool{false, true} {
		b := newBench(t)
		keys := &counted{Keys: b.keys}
		b.openWith(keys)
		b.record(update("p", 1))
		b.run()
		for i := range rows {
			surrogate := make([]byte, 16)
			surrogate[0], surrogate[14], surrogate[15] = 7, byte(i>>8), byte(i)
			tag := []byte{1}
			if mine {
				tag = b.trail.UnmappedTag(t, "main", surrogate)
			}
			b.exec(`INSERT INTO crmguard_audit_surrogates (tenant, surrogate, k, head, state, tag) VALUES ('main', ?, 1, randomblob(100), 2, ?)`, surrogate, tag)
		}
		keys.opens.Store(0)
		require.NoError(t, b.trail.Prepare(t.Context(), "main", "new"))
		first := keys.opens.Load()
		if mine {
			require.GreaterOrEqual(t, first, int64(rows))
		} else {
			require.Less(t, first, int64(10))
		}
		keys.opens.Store(0)
		for range 3 {
			require.Empty(t, b.history(audit.About("new")))
		}
		require.Less(t, keys.opens.Load(), int64(10))
	}
}
