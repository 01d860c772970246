package audit_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/crmguard/crmguard/audit"
	"github.com/crmguard/crmguard/audit/auditlog"
)

// Who exported contacts in May: page by page, newest first.
func ExampleTrail_Find() {
	// openShop stands in example_test.go.
	ctx := context.Background()
	s := openShop(ctx)
	defer s.close()
	for _, actor := range []string{"u-1", "u-2", "u-1"} {
		s.trail.Note(ctx, audit.Event{Tenant: "main", Actor: actor, Action: "contact.export", Object: audit.Ref("list", "7")})
	}
	now := time.Now()
	question := audit.Filter{Tenant: "main", Action: "contact.export", From: now.AddDate(0, -1, 0), To: now.AddDate(0, 1, 0)}
	for page := (audit.Page{Size: 2}); ; {
		found, err := s.trail.Find(ctx, question, page)
		if err != nil {
			fmt.Println(err)
			return
		}
		for _, e := range found.Entries {
			fmt.Println(e.Leaf.Actor, e.Leaf.Action, e.Leaf.Object.ID)
		}
		if found.Next == "" {
			break
		}
		page.Before = found.Next
	}
	// Output:
	// u-1 contact.export 7
	// u-2 contact.export 7
	// u-1 contact.export 7
}

func ExampleTrail_Event() {
	// openShop stands in example_test.go.
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

func ExampleTrail_Export() {
	// openShop stands in example_test.go.
	ctx := context.Background()
	s := openShop(ctx)
	defer s.close()
	s.change(ctx, "p-1", "ann@b.example")
	file, err := os.CreateTemp("", "audit-*.csv")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer os.Remove(file.Name())
	defer file.Close()
	out, err := s.trail.Export(ctx, file, audit.Filter{Tenant: "main", Person: "p-1"})
	fmt.Println(out.Entries, out.Rows, out.Pending, err)
	// Output:
	// 1 1 0 <nil>
}

// An outsider gets one value, and checks it with the verifier key of the log.
func ExampleTrail_Disclose() {
	// openShop stands in example_test.go.
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
	// openShop stands in example_test.go.
	ctx := context.Background()
	s := openShop(ctx)
	defer s.close()
	s.config.From = func(context.Context) audit.Caller { return audit.Caller{Tenant: "main", Actor: "u-7"} } // who asks
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
		if e.Leaf.Outcome == audit.OutcomeDenied {
			fmt.Println(e.Leaf.Actor, "was denied", e.Leaf.Object.ID)
		} else {
			fmt.Println(e.Leaf.Actor, "read", e.Changes[0].New)
		}
	}
	// Output:
	// true
	// <nil> <nil>
	// u-7 read 2
	// u-7 was denied 7
}
