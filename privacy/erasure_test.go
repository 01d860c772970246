package privacy_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/privacy"
	"github.com/crmguard/crmguard/privacy/datastore"
	"github.com/crmguard/crmguard/privacy/erasurelog"
)

// quick is a system without delays.
func quick(t *testing.T) *system {
	s := newSystem(t)
	s.cfg.Delay, s.cfg.Lease, s.cfg.PerDay = privacy.None, privacy.None, privacy.None
	s.reopen()
	return s
}

// done executes until it is.
func (s *system) done(plan string) privacy.Outcome {
	s.t.Helper()
	o, err := s.desk.Execute(s.t.Context(), plan)
	require.NoError(s.t, err)
	require.Equal(s.t, privacy.Done, o.State, "%+v", o.Stores)
	return o
}

// What came since the plan was made is the person's, too: it goes, and is
// counted. Another table, or another fate of a row, was never approved.
func TestWhatCameSinceThePlan(t *testing.T) {
	s := quick(t)
	ann := s.contact("ann@a.example")
	kept := s.invoice(ann, s.now.AddDate(-10, 0, 3))
	p := s.approved(ann)
	s.contactOf(ann, newID(), "ann.new@a.example")
	s.activity("another table", ann)
	_, err := s.desk.Execute(t.Context(), p.ID)
	require.ErrorIs(t, err, privacy.ErrPlanChanged)
	s.exec(`DELETE FROM activity_persons`)
	s.exec(`DELETE FROM activities`)
	s.exec(`UPDATE invoices SET issued = ? WHERE id = ?`, s.now.AddDate(-11, 0, 0).UnixMicro(), kept) // it is not kept any more
	_, err = s.desk.Execute(t.Context(), p.ID)
	require.ErrorIs(t, err, privacy.ErrPlanChanged)
	require.Empty(t, ops(t, s))
	require.NoError(t, s.desk.Ready(t.Context()), "nothing has begun")
	s.exec(`UPDATE invoices SET issued = ? WHERE id = ?`, s.now.UnixMicro(), kept)
	o := s.done(p.ID)
	for _, c := range o.Counts {
		if c.Table == "contacts" {
			require.Equal(t, 2, c.Rows)
		}
	}
	require.Equal(t, 0, s.count(`SELECT COUNT(*) FROM contacts`))
}

func TestAnApprovalExpires(t *testing.T) {
	s := newSystem(t)
	ann := s.contact("ann@a.example")
	p := s.approved(ann)
	s.now = s.now.Add(30 * 24 * time.Hour)
	_, err := s.desk.Execute(t.Context(), p.ID)
	require.ErrorIs(t, err, privacy.ErrExpired)
	require.Equal(t, 1, s.count(`SELECT COUNT(*) FROM contacts`))
	require.ErrorIs(t, s.desk.Approve(t.Context(), p.ID, "user/1"), privacy.ErrSelfApproval)
	require.NoError(t, s.desk.Approve(t.Context(), p.ID, "user/3"))
	s.waits(p.ID)
	s.now = s.now.Add(60 * 24 * time.Hour)
	require.Equal(t, privacy.Done, s.done(p.ID).State, "once it has begun nothing expires")
	s.cfg.ApprovalLife = privacy.None
	s.reopen()
	p = s.approved(s.contact("bob@b.example"))
	s.now = s.now.AddDate(3, 0, 0)
	s.waits(p.ID)
}

// hungry hangs at one of its calls and knows no context.
type hungry struct {
	datastore.Store
	release chan struct{}
	calls   chan string
	at      string
}

func (h hungry) hang(op, person string) {
	if h.at == op+" "+person {
		h.calls <- op
		<-h.release
	}
}

func (h hungry) Erase(_ context.Context, scope datastore.Scope, _ []datastore.Row) error {
	h.hang("erase", scope.Person)
	return nil
}

func (h hungry) Find(_ context.Context, scope datastore.Scope) ([]datastore.Row, error) {
	h.hang("find", scope.Person)
	return nil, nil
}

func (h hungry) Remaining(_ context.Context, scope datastore.Scope, _ []datastore.Row) (int, error) {
	h.hang("remaining", scope.Person)
	return 0, nil
}

// A store that hangs, whatever its context says, holds up its own plan and
// nobody else's; the call comes back when its context ends; the store is not
// asked a second time meanwhile; and when it comes back the erasure goes on.
func TestAStoreThatHangs(t *testing.T) {
	for _, at := range []string{"find", "erase", "remaining"} {
		t.Run(at, func(t *testing.T) {
			s := quick(t)
			ann, bob := s.contact("ann@a.example"), s.contact("bob@b.example")
			p, other := s.approved(ann), s.approved(bob)
			h := hungry{datastore.Func{Name: "hungry", Class: datastore.Deleted, Erase: s.keys.erase}.Store(), make(chan struct{}), make(chan string, 9), at + " " + ann}
			s.cfg.Stores = append(s.cfg.Stores, h)
			s.reopen()
			ctx, cancel := context.WithCancel(t.Context())
			var wg sync.WaitGroup
			wg.Go(func() {
				_, err := s.desk.Execute(ctx, p.ID)
				if !errors.Is(err, context.Canceled) {
					t.Errorf("Execute gave %v", err)
				}
			})
			require.Equal(t, at, <-h.calls)
			s.done(other.ID)
			cancel()
			wg.Wait() // although the store is there still
			o, err := s.desk.Execute(t.Context(), p.ID)
			require.NoError(t, err)
			require.Equal(t, privacy.Partial, o.State)
			require.ErrorIs(t, o.Stores[2].Err, privacy.ErrHangs)
			require.Empty(t, h.calls, "it is not asked a second time")
			close(h.release)
			require.Eventually(t, func() bool {
				o, err := s.desk.Execute(t.Context(), p.ID)
				return err == nil && o.State == privacy.Done
			}, time.Minute, time.Millisecond)
		})
	}
}

// A legal hold keeps the person there, whatever is approved, in a restored
// database, too; who lifts it is named.
func TestALegalHold(t *testing.T) {
	s := quick(t)
	ann := s.contact("ann@a.example")
	p := s.approved(ann)
	backup := s.snapshot()
	hold := privacy.LegalHold{Tenant: "main", Person: ann, Because: "litigation:7", By: "user/8"}
	id, err := s.desk.Hold(t.Context(), hold)
	require.NoError(t, err)
	require.NoError(t, s.desk.Ready(t.Context()))
	s.restore(backup) // it stands in the ledger
	s.cfg.Delay, s.cfg.Lease = privacy.None, privacy.None
	s.reopen()
	o, err := s.desk.Execute(t.Context(), p.ID)
	require.NoError(t, err)
	require.Equal(t, privacy.Held, o.State)
	require.Equal(t, 1, s.count(`SELECT COUNT(*) FROM contacts`))
	require.Equal(t, []string{"hold"}, ops(t, s))
	list, err := s.desk.Holds(t.Context(), "main", ann)
	require.NoError(t, err)
	require.Len(t, list, 1)
	require.Equal(t, id, list[0].ID)
	require.Equal(t, "litigation:7", list[0].Because)
	require.NotContains(t, strings.Join(lines(t, s.ledgerPath()), ""), "user/8", "a keyed digest")

	require.ErrorIs(t, s.desk.Lift(t.Context(), "main", newID(), "user/9"), erasurelog.ErrAbsent)
	require.NoError(t, s.desk.Lift(t.Context(), "main", id, "user/9"))
	require.NoError(t, s.desk.Lift(t.Context(), "main", id, "user/9"), "again changes nothing")
	s.done(p.ID)
	require.Equal(t, []string{"hold", "lift", "intent", "done"}, ops(t, s))
	require.NoError(t, s.desk.Ready(t.Context()))
	require.NotZero(t, s.count(`SELECT COUNT(*) FROM events WHERE action = 'privacy.lift'`))
}

// One that has an end is over by itself. One that comes in the middle of an
// erasure stops it where it is.
func TestAHoldThatEndsAndOneThatComesLate(t *testing.T) {
	s := quick(t)
	ann := s.contact("ann@a.example")
	p := s.approved(ann)
	until := s.now.Add(time.Hour)
	_, err := s.desk.Hold(t.Context(), privacy.LegalHold{Tenant: "main", Person: ann, Because: "audit", By: "user/8", Until: until})
	require.NoError(t, err)
	o, err := s.desk.Execute(t.Context(), p.ID)
	require.NoError(t, err)
	require.Equal(t, privacy.Held, o.State)
	require.Equal(t, until, o.Until)
	s.now = until
	s.keys.broken = true
	s.isPartial(p.ID)
	s.keys.broken = false
	id, err := s.desk.Hold(t.Context(), privacy.LegalHold{Tenant: "main", Person: ann, Because: "audit", By: "user/8"})
	require.NoError(t, err)
	o, err = s.desk.Execute(t.Context(), p.ID)
	require.NoError(t, err)
	require.Equal(t, privacy.Held, o.State)
	require.NotNil(t, s.keys.keys[ann], "what is left stays")
	require.NoError(t, s.desk.Lift(t.Context(), "main", id, "user/9"))
	s.done(p.ID)

	for _, bad := range []privacy.LegalHold{
		{Person: ann, Because: "a", By: "b"},
		{Tenant: "main", Because: "a", By: "b"},
		{Tenant: "main", Person: ann, By: "b"},
		{Tenant: "main", Person: ann, Because: "a"},
		{Tenant: "main", Person: ann, Because: "a b", By: "b"},
	} {
		_, err := s.desk.Hold(t.Context(), bad)
		require.Error(t, err, "%+v", bad)
	}
}

// The way out of what cannot be finished: two principals, recorded; the gate
// opens without it, no replay knows it, and it never ends again.
func TestVoid(t *testing.T) {
	s := quick(t)
	ann := s.contact("ann@a.example")
	p := s.approved(ann)
	v := privacy.Voiding{Plan: p.ID, By: "user/1", Approved: "user/2", Because: "store-lost"}
	require.ErrorIs(t, s.desk.Void(t.Context(), v), privacy.ErrNotBegun)
	s.keys.broken = true
	s.isPartial(p.ID)
	require.ErrorIs(t, s.desk.Ready(t.Context()), privacy.ErrBehind)
	require.ErrorIs(t, s.desk.Cancel(t.Context(), p.ID), privacy.ErrBegun)
	alone := v
	alone.Approved = "USER/1"
	require.ErrorIs(t, s.desk.Void(t.Context(), alone), privacy.ErrSelfApproval)
	require.NoError(t, s.desk.Void(t.Context(), v))
	require.NoError(t, s.desk.Void(t.Context(), v), "again changes nothing")
	require.NoError(t, s.desk.Ready(t.Context()))
	require.Equal(t, []string{"intent", "partial", "void"}, ops(t, s))
	_, err := s.desk.Execute(t.Context(), p.ID)
	require.ErrorIs(t, err, privacy.ErrVoided)
	require.Equal(t, 1, s.count(`SELECT COUNT(*) FROM events WHERE action = 'privacy.void'`))
	require.Equal(t, 0, s.count(`SELECT COUNT(*) FROM crmguard_privacy_plan WHERE body IS NOT NULL`))
	for note := range s.ledger.Notes(t.Context()) {
		require.Fail(t, "a note is left", note.Name)
	}
	s.keys.broken = false
	o := s.done(s.approved(s.contact("bob@b.example")).ID)
	require.ErrorIs(t, s.desk.Void(t.Context(), privacy.Voiding{Plan: o.Plan, By: "a", Approved: "b", Because: "c"}), privacy.ErrEnded, "never after done")
}

// An old row is genuine, and only makes the desk look again; nothing else that
// somebody writes into the tables counts.
func TestWhoeverWritesToThePlanTable(t *testing.T) {
	s := quick(t)
	ann := s.contact("ann@a.example")
	p := s.approved(ann)
	s.exec(`CREATE TABLE crmguard_copy AS SELECT * FROM crmguard_privacy_plan`)
	o := s.done(p.ID)
	for column, value := range map[string]any{
		"outcome": []byte(`{"approved_by":"ceo","by":"nobody","counts":[],"reason":"forged"}`), "certificate": []byte("junk"),
		"tenant": "other", "person": "1/x", "intent": 7, "erased": 7, "mac": []byte("1.x"),
	} {
		s.exec(`CREATE TABLE before AS SELECT * FROM crmguard_privacy_plan`)
		s.exec(`UPDATE crmguard_privacy_plan SET `+column+` = ?`, value)
		_, err := s.desk.Plan(t.Context(), p.ID)
		require.ErrorIs(t, err, privacy.ErrPlanForged, column)
		_, err = s.desk.Execute(t.Context(), p.ID)
		require.ErrorIs(t, err, privacy.ErrPlanForged, column)
		s.exec(`DELETE FROM crmguard_privacy_plan`)
		s.exec(`INSERT INTO crmguard_privacy_plan SELECT * FROM before`)
		s.exec(`DROP TABLE before`)
	}
	require.Equal(t, o.Certificate, s.done(p.ID).Certificate)
	s.exec(`DELETE FROM crmguard_privacy_plan`)
	s.exec(`INSERT INTO crmguard_privacy_plan SELECT * FROM crmguard_copy`) // approved, as it was
	again := s.done(p.ID)
	require.Empty(t, again.Certificate, "there is one, and it was given out")
	require.Equal(t, []string{"intent", "done"}, ops(t, s))
	require.Equal(t, 0, s.count(`SELECT COUNT(*) FROM crmguard_privacy_plan WHERE body IS NOT NULL`))
}

func TestEraseMany(t *testing.T) {
	s := quick(t)
	s.cfg.PerDay = 2
	s.reopen()
	var plans []string
	for i := range 3 {
		plans = append(plans, s.approved(s.contact(fmt.Sprintf("p%d@a.example", i))).ID)
	}
	unapproved, err := s.desk.PlanErasure(t.Context(), privacy.Request{Tenant: "main", Person: s.contact("d@d.example"), Reason: "r", By: "u"})
	require.NoError(t, err)
	s.now = s.now.Add(48 * time.Hour)
	order := []string{plans[0], unapproved.ID, plans[1], plans[2], newID()}
	outcomes, err := s.desk.EraseMany(t.Context(), order)
	require.ErrorIs(t, err, privacy.ErrNotApproved)
	require.ErrorIs(t, err, privacy.ErrTooMany)
	require.NotErrorIs(t, err, privacy.ErrNoPlan, "it stops at the cap")
	var states []privacy.State
	for _, o := range outcomes {
		states = append(states, o.State)
	}
	require.Equal(t, []privacy.State{privacy.Done, "", privacy.Done, "", ""}, states)
	var about *privacy.PlanError
	require.ErrorAs(t, err, &about)
	require.Equal(t, unapproved.ID, about.Plan)
	s.now = s.now.Add(25 * time.Hour)
	_, err = s.desk.EraseMany(t.Context(), plans)
	require.NoError(t, err)
	require.Equal(t, 1, s.count(`SELECT COUNT(*) FROM contacts`))
}
