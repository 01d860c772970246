package audit_test

import (
	"context"
	"errors"
	"fmt"

	"github.com/crmguard/crmguard/audit"
	"github.com/crmguard/crmguard/audit/auditlog"
)

func ExampleTrail_Event() {
	// openShop is the set-up of the first Example, in example_test.go.
	ctx := context.Background()
	s := openShop(ctx)
	defer s.close()
	id, _ := s.change(ctx, "p-1", "ann@b.example") // the row keeps the id
	e, err := s.trail.Event(ctx, id)
	fmt.Println(e.Leaf.Actor, e.Leaf.Action, e.Changes[0].New, err)
	_, err = s.trail.Event(ctx, "0196b3a0-1111-7222-8333-444455556666")
	fmt.Println(errors.Is(err, audit.ErrNotFound))
	// Output:
	// u-1 contact.create ann@b.example <nil>
	// true
}

// An outsider gets one value, and checks it with the verifier key of the log.
func ExampleTrail_Disclose() {
	// openShop is the set-up of the first Example, in example_test.go.
	ctx := context.Background()
	s := openShop(ctx)
	defer s.close()
	id, _ := s.change(ctx, "p-1", "ann@b.example")
	s.trail.RunOnce(ctx)
	data, err := s.trail.Disclose(ctx, id, "email", "p-1", auditlog.SideNew)
	if err != nil {
		fmt.Println(err)
		return
	}
	shown, err := auditlog.CheckDisclosure(auditlog.Trust{Key: s.vkey}, data)
	fmt.Println(shown.Leaf.Action, shown.Path, shown.Value, err)
	// Output:
	// contact.create email ann@b.example <nil>
}

// A policy's answers become events: what it denies at once, what it allows as a
// number a minute. Watch goes around whatever asks for an Allow.
func ExampleTrail_Watch() {
	// openShop is the set-up of the first Example, in example_test.go.
	ctx := context.Background()
	s := openShop(ctx)
	defer s.close()
	s.config.From = func(context.Context) audit.Caller { return audit.Caller{Tenant: "main", Actor: "u-7"} } // who asks
	s.config.PersonKinds = []string{"contact"}                                                               // so a deal may be named
	s.reopen(ctx)
	errDenied := errors.New("denied")
	policy := func(_ context.Context, _, resource string) error { // stands for policy.Allower(who) of accesscontrol
		if resource == "deal/7" {
			return errDenied
		}
		return nil
	}
	allow := s.trail.Watch(policy)
	fmt.Println(errors.Is(allow(ctx, "deal.read", "deal/7"), errDenied))
	fmt.Println(allow(ctx, "deal.read", "deal/8"), allow(ctx, "deal.read", "deal/9"))
	s.trail.Flush(ctx) // where a process ends
	found, _ := s.trail.Find(ctx, audit.Filter{Action: "deal.read"}, audit.Page{})
	for _, e := range found.Entries {
		fmt.Println(e.Leaf.Actor, e.Leaf.Outcome, e.Leaf.Object.ID)
	}
	found, _ = s.trail.Find(ctx, audit.Filter{Action: "deal.read", Outcome: audit.OutcomeAllowed}, audit.Page{})
	for _, e := range found.Entries {
		fmt.Println(e.Leaf.Actor, e.Leaf.Outcome, e.Changes[0].New)
	}
	// Output:
	// true
	// <nil> <nil>
	// u-7 denied 7
	// u-7 allowed 2
}
