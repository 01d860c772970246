package audit_test

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/audit"
	"github.com/crmguard/crmguard/audit/auditlog"
)

// cancels is a writer whose reader goes away.
type cancels struct{ cancel func() }

func (c cancels) Write(p []byte) (int, error) {
	c.cancel()
	return len(p), nil
}

// An export whose reader has gone is in the log as one that is not whole, although
// its context is over.
func TestAnExportThatWasCancelledSaysSo(t *testing.T) {
	a := newAsker(t, openDB(t, t.TempDir()+"/crm.db"))
	a.from("u-7")
	for range 1200 { // two pages
		a.tell(audit.Event{Tenant: "main", Actor: "u-1", Action: "contact.read"})
	}
	a.run()
	ended, cancel := context.WithCancel(t.Context())
	_, err := a.trail.Export(ended, cancels{cancel}, audit.Filter{})
	require.ErrorIs(t, err, context.Canceled)
	end := a.find(audit.Filter{Action: "audit.exported"}, audit.Page{}).Entries
	require.Len(t, end, 1)
	require.Equal(t, audit.OutcomePartial, end[0].Leaf.Outcome)
}

// An event that is published while its disclosure is being made is one that was not
// when it was looked at: the answer is to ask again, not that its value is gone.
func TestADisclosureOfWhatIsPublishedMeanwhile(t *testing.T) {
	b := newBench(t)
	b.config.Allow = func(ctx, string, string) error { b.run(); return nil }
	b.open()
	id := b.record(update("p1", 1))
	_, err := b.trail.Disclose(t.Context(), id, "email", "p1", auditlog.SideNew)
	require.ErrorIs(t, err, audit.ErrNotPublished)
	_, err = b.trail.Disclose(t.Context(), id, "email", "p1", auditlog.SideNew)
	require.NoError(t, err)
}

// A row that was set aside is no event.
func TestWhatWasSetAsideIsNoEvent(t *testing.T) {
	b := newBench(t)
	id := b.record(update("p1", 1))
	b.rewrite(id, "contact.update", "contact.remove")
	_, err := b.trail.Event(t.Context(), id)
	require.ErrorIs(t, err, auditlog.ErrTampered)
	require.Len(t, b.run().Refused, 1)
	_, err = b.trail.Event(t.Context(), id)
	require.ErrorIs(t, err, audit.ErrNotFound)
}

// A question names a person as an event does, and no other tenant's events answer
// it, wherever they are on their way.
func TestAQuestionIsOfOneTenantAndItsKinds(t *testing.T) {
	b := newBench(t)
	b.config.PersonKinds = []string{"contact"}
	b.open()
	_, err := b.trail.Find(t.Context(), audit.Filter{Tenant: "main", Object: audit.Ref("contact", "p1")}, audit.Page{})
	require.ErrorIs(t, err, audit.ErrInvalid)
	_, err = b.trail.Find(t.Context(), audit.Filter{Tenant: "main", Object: audit.PersonRef("deal", "p1")}, audit.Page{})
	require.ErrorIs(t, err, audit.ErrInvalid)
	for _, tenant := range []string{"main", "other"} {
		_, err := b.trail.Note(t.Context(), audit.Event{Tenant: tenant, Actor: "u-1", Action: "a.b"})
		require.NoError(t, err)
	}
	for range 2 {
		found, err := b.trail.Find(t.Context(), audit.Filter{Tenant: "main"}, audit.Page{})
		require.NoError(t, err)
		require.Len(t, found.Entries, 1)
		b.run()
	}
	b.exec(`UPDATE crmguard_audit_found SET tenant_k = ?`, audit.FindKey("tenant", "main", ""))
	found, err := b.trail.Find(t.Context(), audit.Filter{Tenant: "main"}, audit.Page{})
	require.NoError(t, err)
	require.Len(t, found.Entries, 1, "keys of 64 bits are not the tenant")
}

// A value that was changed, or is gone, is not shown as one that was erased, nor as
// any other.
func TestAChangedValueIsNotDisclosed(t *testing.T) {
	for _, damage := range []string{`UPDATE crmguard_audit_openings SET sealed = x'00'`, `DELETE FROM crmguard_audit_openings`} {
		b := newBench(t)
		id := b.record(update("p1", 1))
		b.run()
		b.exec(damage)
		data, err := b.trail.Disclose(t.Context(), id, "email", "p1", auditlog.SideNew)
		require.ErrorIs(t, err, audit.ErrClosed)
		require.NotContains(t, err.Error(), "erased")
		require.Nil(t, data)
	}
}
