package audit_test

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/crmguard/crmguard/audit"
	"github.com/crmguard/crmguard/audit/auditlog"
)

// A log of ten years ago, of which what is older than five goes.
func ExampleTrail_Prune() {
	// openShop stands in example_test.go.
	ctx := context.Background()
	s := openShop(ctx)
	defer s.close()
	now := time.Date(2016, 5, 1, 9, 0, 0, 0, time.UTC)
	var kept []byte // in earnest it lies in another administrative domain
	s.config.Now = func() time.Time { return now }
	s.config.Kept = func(context.Context) ([]byte, error) { return kept, nil }
	s.config.Hold = func(ctx context.Context, tenant string) (until time.Time, err error) {
		return time.Time{}, nil // nobody has a legal hold
	}
	s.reopen(ctx)
	id, _ := s.trail.Note(ctx, audit.Event{Tenant: "main", Actor: "u-1", Action: "deal.read", Object: audit.Ref("deal", "0")})
	for n := range 299 {
		s.trail.Note(ctx, audit.Event{Tenant: "main", Actor: "u-1", Action: "deal.read", Object: audit.Ref("deal", fmt.Sprint(n))})
	}
	s.trail.RunOnce(ctx)
	now = now.AddDate(10, 0, 0)
	s.trail.Note(ctx, audit.Event{Tenant: "main", Actor: "u-1", Action: "deal.read", Object: audit.Ref("deal", "7")})
	s.trail.RunOnce(ctx)

	kept, _ = s.trail.Checkpoint(ctx)
	r, err := s.trail.Prune(ctx, now.AddDate(-5, 0, 0))
	fmt.Println(r.Pruned, r.New, err) // a whole bundle of the 301 that are old
	_, err = s.trail.Event(ctx, id)
	fmt.Println(errors.Is(err, audit.ErrPruned))
	report, err := auditlog.VerifyLog(ctx, s.sink.FS(), auditlog.Trust{Key: s.vkey, Kept: kept})
	fmt.Println(report.Verdict, report.Pruned, err)
	// Output:
	// 256 256 <nil>
	// true
	// ok 256 <nil>
}

// Values go after a year; that they were changed, and by whom, stays.
func ExampleTrail_PruneOpenings() {
	// openShop stands in example_test.go.
	ctx := context.Background()
	s := openShop(ctx)
	defer s.close()
	now := time.Date(2024, 5, 1, 9, 0, 0, 0, time.UTC)
	s.config.Now = func() time.Time { return now }
	s.reopen(ctx)
	id, _ := s.change(ctx, "p-1", "ann@b.example")
	s.trail.RunOnce(ctx)
	now = now.AddDate(2, 0, 0)
	s.change(ctx, "p-2", "bob@b.example")
	s.trail.RunOnce(ctx)

	r, err := s.trail.PruneOpenings(ctx, "main", "contact.", now.AddDate(-1, 0, 0))
	fmt.Println(r.Rows, err)
	e, err := s.trail.Event(ctx, id)
	fmt.Println(e.Leaf.Actor, e.Leaf.Action, e.Changes[0].Path, e.Changes[0].New, e.Changes[0].Verdict, err)
	// Output:
	// 1 <nil>
	// u-1 contact.create email <nil> pruned <nil>
}
