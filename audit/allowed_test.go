package audit_test

import (
	"context"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/audit"
	"github.com/crmguard/crmguard/audit/auditlog"
	"github.com/crmguard/crmguard/audit/audittest"
)

// Who was asked whether they may change somebody has not changed anybody: what was
// allowed and what was done are found apart, waiting and filed, and by their action
// what was done alone.
func TestWhatWasAllowedIsNotWhatWasDone(t *testing.T) {
	eachAsker(t, func(t *testing.T, a *asker) {
		a.from("u-7")
		done := a.tell(audit.Event{Tenant: "main", Actor: "u-7", Action: "contact.export", Object: audit.PersonRef("contact", "p1")})
		allow := a.trail.Watch(func(context.Context, string, string) error { return nil })
		for range 3 {
			require.NoError(t, allow(t.Context(), "contact.export", "contact/p1"))
		}
		require.NoError(t, allow(t.Context(), "contact.update", "contact/p1"), "may the button be shown?")
		require.NoError(t, a.trail.Flush(t.Context()))
		ask := func(when string) {
			acts := a.find(audit.Filter{Tenant: "main", Action: "contact.export"}, audit.Page{})
			require.Len(t, acts.Entries, 1, when)
			require.Equal(t, done, acts.Entries[0].Leaf.ID, when)
			require.Empty(t, a.decided("contact.update"), "%s: nobody has changed p1", when)
			checks := a.allowed("contact.export")
			require.Len(t, checks, 1, when)
			require.Equal(t, audit.OutcomeAllowed, checks[0].Leaf.Outcome, when)
			require.Equal(t, int64(3), checks[0].Changes[0].New, when)
			require.Len(t, a.find(audit.Filter{Tenant: "main", Outcome: audit.OutcomeAllowed}, audit.Page{}).Entries, 2, when)
			require.Len(t, a.find(audit.Filter{Tenant: "main", Outcome: audit.OutcomeOK}, audit.Page{}).Entries, 1, when)
			about := a.find(audit.Filter{Tenant: "main", Person: "p1"}, audit.Page{})
			require.Len(t, about.Entries, 3, "%s: who looked at p1 is part of the person's history", when)
		}
		ask("waiting")
		a.run()
		ask("filed")
		for column, want := range map[string]int{"action": 1, "allowed": 1} { // apart in the index, too
			var n int
			query := a.trail.Dialect().Bind(`SELECT COUNT(*) FROM crmguard_audit_found WHERE action_k = ?`)
			require.NoError(t, a.db.QueryRowContext(t.Context(), query, audit.FindKey(column, "main", "contact.export")).Scan(&n))
			require.Equal(t, want, n, column)
		}
		report, err := a.trail.VerifyStore(t.Context(), nil)
		require.NoError(t, err)
		require.Empty(t, report.Faults)
	})
}

// A policy around the trail's own questions is asked about "person/<id>": the person
// stands under the surrogate, whatever the kinds of persons are, and goes with an
// erasure. Where nobody has said which kinds are persons, no id stands there at all.
func TestWhoIsAskedAboutDoesNotStandInTheLog(t *testing.T) {
	for name, kinds := range map[string][]string{"nil": nil, "none": {}, "contact": {"contact"}, "person": {"person"}} {
		t.Run(name, func(t *testing.T) {
			a := newAsker(t, openDB(t, t.TempDir()+"/crm.db"))
			var trail *audit.Trail
			var decision error
			a.config.PersonKinds = kinds
			a.config.From = func(context.Context) audit.Caller { return audit.Caller{Tenant: "main", Actor: "u-7"} }
			a.config.Allow = func(ctx context.Context, action, resource string) error {
				return trail.Decisions(ctx, action, resource, decision)
			}
			a.open()
			trail = a.trail
			a.tell(audit.Event{Action: "contact.update", Persons: []string{"canary4711"}})
			ask := func() error {
				_, err := trail.Find(t.Context(), audit.Filter{Person: "canary4711"}, audit.Page{})
				return err
			}
			require.NoError(t, ask())
			require.NoError(t, trail.Decisions(t.Context(), "contact.read", "contact/canary4711", nil))
			require.NoError(t, trail.Decisions(t.Context(), "deal.read", "deal/17", nil))
			require.NoError(t, trail.Flush(t.Context()))
			decision = errNo
			require.ErrorIs(t, ask(), errNo)
			decision = nil
			a.run()

			found, err := trail.Find(t.Context(), audit.Filter{Person: "canary4711", Outcome: audit.OutcomeDenied}, audit.Page{})
			require.NoError(t, err)
			require.Len(t, found.Entries, 1)
			require.Equal(t, "person", found.Entries[0].Leaf.Object.Kind)
			require.Equal(t, "canary4711", found.Entries[0].Persons[found.Entries[0].Leaf.Object.ID])
			require.Len(t, a.find(audit.Filter{Person: "canary4711", Action: "audit.read", Outcome: audit.OutcomeAllowed}, audit.Page{}).Entries, 1)
			deals := 0
			for e, err := range auditlog.Entries(t.Context(), a.config.Sink.(*audittest.Sink).FS()) {
				require.NoError(t, err)
				if name != "none" && name != "person" { // there contact is declared to be no person
					require.NotContains(t, string(e.Leaf), "canary4711")
				}
				if strings.Contains(string(e.Leaf), `["deal","17"]`) {
					deals++
				}
			}
			want := 1
			if kinds == nil {
				want = 0
			}
			require.Equal(t, want, deals)

			_, err = trail.Note(t.Context(), audit.Event{Action: "a.b", Object: audit.Ref("person", "canary4711")})
			require.ErrorIs(t, err, audit.ErrInvalid)
			require.NoError(t, trail.Erase(t.Context(), "main", "canary4711"))
		})
	}
}
