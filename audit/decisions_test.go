package audit_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/audit"
)

// decided are the events of decisions in the log, by id.
func (a *asker) decided(action string) []audit.Entry {
	a.t.Helper()
	found, err := a.trail.Find(a.t.Context(), audit.Filter{Tenant: "main", Action: action}, audit.Page{Size: 1000})
	require.NoError(a.t, err)
	return found.Entries
}

// allowed are the counts of what was allowed.
func (a *asker) allowed(action string) []audit.Entry {
	a.t.Helper()
	found, err := a.trail.Find(a.t.Context(), audit.Filter{Tenant: "main", Action: action, Outcome: audit.OutcomeAllowed}, audit.Page{Size: 1000})
	require.NoError(a.t, err)
	return found.Entries
}

func (a *asker) from(actor string) {
	a.t.Helper()
	a.config.From = func(context.Context) audit.Caller { return audit.Caller{Tenant: "main", Actor: actor, Request: "r-1"} }
	a.open()
}

// A denial is an event of its own, at once; what is allowed is counted, and
// recorded with the persons whom the trail knows.
func TestDecisionsBecomeEvents(t *testing.T) {
	eachAsker(t, func(t *testing.T, a *asker) {
		a.tell(audit.Event{Tenant: "main", Actor: "u-1", Action: "contact.create", Object: audit.PersonRef("contact", "p1")})
		a.from("u-7")
		no := fmt.Errorf("policy: %w", errNo)
		require.Equal(t, no, a.trail.Decisions(t.Context(), "contact.read", "contact/p1", no))
		require.Equal(t, no, a.trail.Decisions(t.Context(), "contact.read", "contact/nobody-knows", no))
		require.Equal(t, no, a.trail.Decisions(t.Context(), "contact.read", "deal/ann@canary.example", no))
		require.Equal(t, no, a.trail.Decisions(t.Context(), "contact.read", "contact", no))
		denied := a.decided("contact.read")
		require.Len(t, denied, 4)
		objects := 0
		for _, e := range denied {
			require.Equal(t, audit.OutcomeDenied, e.Leaf.Outcome)
			require.Equal(t, "u-7", e.Leaf.Actor)
			require.Equal(t, "r-1", e.Leaf.Request)
			if e.Leaf.Object.Kind != "" {
				require.Equal(t, "p1", e.Persons[e.Leaf.Object.ID])
				objects++
			}
		}
		require.Equal(t, 1, objects)

		allow := a.trail.Watch(func(context.Context, string, string) error { return nil })
		for n := range 250 {
			require.NoError(t, allow(t.Context(), "contact.show", fmt.Sprintf("contact/p%d", n)))
		}
		require.Empty(t, a.allowed("contact.show"))
		a.run()
		require.Empty(t, a.allowed("contact.show"), "their minute is not over")
		a.advance(time.Minute)
		require.NoError(t, allow(t.Context(), "contact.list", "contact"))
		shown := a.allowed("contact.show")
		require.Len(t, shown, 1)
		require.Equal(t, int64(250), shown[0].Changes[0].New)
		require.Len(t, shown[0].Persons, 1, "the only one whom the trail knows")
		about := a.find(audit.Filter{Tenant: "main", Person: "p1", Action: "contact.show", Outcome: audit.OutcomeAllowed}, audit.Page{})
		require.Len(t, about.Entries, 1, "who looked at p1")
		require.NoError(t, a.trail.Flush(t.Context()))
		require.Len(t, a.allowed("contact.list"), 1)
		require.NoError(t, a.trail.Flush(t.Context()))
		require.Len(t, a.allowed("contact.list"), 1)
		a.run()
		require.Empty(t, a.allowed("contact.list")[0].Leaf.Persons)
	})
}

// Who is refused a thousand times does not fill the log: sixty of them are events,
// and the others a number.
func TestDenialsAreBounded(t *testing.T) {
	a := newAsker(t, openDB(t, t.TempDir()+"/crm.db"))
	a.from("u-7")
	for range 1000 {
		require.ErrorIs(t, a.trail.Decisions(t.Context(), "contact.read", "deal/7", errNo), errNo)
	}
	require.Len(t, a.decided("contact.read"), 60)
	a.advance(time.Minute)
	a.run()
	denied := a.decided("contact.read")
	require.Len(t, denied, 61)
	counted := 0
	for _, e := range denied {
		if len(e.Changes) > 0 {
			counted++
			require.Equal(t, int64(940), e.Changes[0].New)
			require.Equal(t, audit.Ref("deal", "7"), e.Leaf.Object, "of all of them")
		}
	}
	require.Equal(t, 1, counted)
	require.ErrorIs(t, a.trail.Decisions(t.Context(), "contact.read", "deal/7", errNo), errNo)
	require.Len(t, a.decided("contact.read"), 62, "a new minute")
}

// What the database does not take stays counted, and is recorded once; a denial
// stays one.
func TestDecisionsOutliveTheDatabase(t *testing.T) {
	a := newAsker(t, openDB(t, t.TempDir()+"/crm.db"))
	a.from("u-7")
	for range 10 {
		require.NoError(t, a.trail.Decisions(t.Context(), "contact.show", "deal/7", nil))
	}
	a.exec(`ALTER TABLE crmguard_audit_events RENAME TO elsewhere`)
	a.advance(time.Minute)
	require.NoError(t, a.trail.Decisions(t.Context(), "contact.show", "deal/7", nil), "nothing is lost by it")
	err := a.trail.Decisions(t.Context(), "contact.read", "deal/7", errNo)
	require.ErrorIs(t, err, errNo)
	require.Contains(t, err.Error(), "audit: write")
	require.Error(t, a.trail.Flush(t.Context()))
	require.Error(t, a.trail.Flush(t.Context()))
	a.exec(`ALTER TABLE elsewhere RENAME TO crmguard_audit_events`)
	require.NoError(t, a.trail.Flush(t.Context()))
	total := int64(0)
	for _, e := range a.allowed("contact.show") {
		total += e.Changes[0].New.(int64)
	}
	require.Equal(t, int64(11), total)
}

func TestDecisionsOfManyAtOnceAreAllCounted(t *testing.T) {
	a := newAsker(t, openDB(t, t.TempDir()+"/crm.db"))
	a.from("u-7")
	var group sync.WaitGroup
	for range 8 {
		group.Go(func() {
			for n := range 100 {
				if n%10 == 0 {
					a.advance(20 * time.Second)
				}
				if err := a.trail.Decisions(t.Context(), "contact.show", "deal/7", nil); err != nil {
					t.Error(err)
				}
			}
		})
	}
	group.Wait()
	require.NoError(t, a.trail.Flush(t.Context()))
	total := int64(0)
	for _, e := range a.allowed("contact.show") {
		total += e.Changes[0].New.(int64)
	}
	require.Equal(t, int64(800), total)
}

func TestDecisionsNeedACaller(t *testing.T) {
	b := newBench(t)
	require.ErrorIs(t, b.trail.Decisions(t.Context(), "contact.read", "deal/7", nil), audit.ErrInvalid)
	err := b.trail.Decisions(t.Context(), "contact.read", "deal/7", errNo)
	require.ErrorIs(t, err, audit.ErrInvalid)
	require.ErrorIs(t, err, errNo)
	require.False(t, strings.Contains(err.Error(), "deal/7"))
	over, cancel := contextCanceled(t)
	cancel()
	require.Equal(t, context.Canceled, b.trail.Decisions(over, "contact.read", "deal/7", context.Canceled))
	require.ErrorIs(t, (*audit.Trail)(nil).Decisions(t.Context(), "a", "b", errNo), errNo)
	require.True(t, errors.Is((*audit.Trail)(nil).Flush(t.Context()), audit.ErrNotOpen))
}
