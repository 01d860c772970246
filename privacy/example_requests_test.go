package privacy_test

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/crmguard/crmguard/privacy"
	"github.com/crmguard/crmguard/privacy/datastore"
)

// A court wants the data kept: the erasure waits until the hold is lifted.
func ExampleDesk_Hold() {
	// newExample stands in examplecrm_test.go, must and check in firstlines_example_test.go.
	ctx := context.Background()
	crm := newExample(ctx, nil)
	defer crm.remove()
	plan := crm.approved(ctx, "p1")
	hold := must(crm.Hold(ctx, privacy.LegalHold{Tenant: "main", Person: "p1", Because: "litigation:2026-7", By: "user/3"}))
	fmt.Println(must(crm.Execute(ctx, plan.ID)).State)
	for _, h := range must(crm.Holds(ctx, "main", "p1")) {
		fmt.Println(h.ID == hold, h.Because)
	}
	check(crm.Lift(ctx, "main", hold, "user/3"))
	fmt.Println(must(crm.Execute(ctx, plan.ID)).State) // Run does so by itself
	// Output:
	// held
	// true litigation:2026-7
	// done
}

// A store is gone for good, so that its part of an erasure cannot be finished.
func ExampleDesk_Void() {
	// newExample stands in examplecrm_test.go, must and check in firstlines_example_test.go.
	ctx := context.Background()
	gone := errors.New("no such host")
	crm := newExample(ctx, func(c *privacy.Config) {
		c.Stores = []datastore.Store{datastore.Func{
			Name: "search", Class: datastore.Deleted,
			Erase: func(context.Context, string, string) error { return gone },
		}.Store()}
	})
	defer crm.remove()
	plan := crm.approved(ctx, "p1")
	outcome := must(crm.Execute(ctx, plan.ID))
	fmt.Println(outcome.State, outcome.Stores[1].Err, errors.Is(crm.Ready(ctx), privacy.ErrBehind))

	check(crm.Void(ctx, privacy.Voiding{Plan: plan.ID, By: "user/1", Approved: "user/2", Because: "store-lost"}))
	fmt.Println(crm.Ready(ctx)) // what the database has erased stays erased
	_, err := crm.Execute(ctx, plan.ID)
	fmt.Println(err)
	// Output:
	// partial privacy: store search: erase failed true
	// <nil>
	// privacy: the erasure was voided
}

// An import asks before it brings somebody back who was erased.
func ExampleDesk_Suppressed() {
	// newExample stands in examplecrm_test.go, must and check in firstlines_example_test.go.
	ctx := context.Background()
	crm := newExample(ctx, nil)
	defer crm.remove()
	must(crm.Execute(ctx, crm.approved(ctx, "p1").ID))
	since, erased, err := crm.Suppressed(ctx, "main", "email", " Ann@POST.example")
	fmt.Println(since.Format(time.DateOnly), erased, err)

	check(crm.Unsuppress(ctx, "main", "email", "ann@post.example")) // she has signed up anew
	_, erased, err = crm.Suppressed(ctx, "main", "email", "ann@post.example")
	fmt.Println(erased, err)
	// Output:
	// 2026-11-23 true <nil>
	// false <nil>
}

// Several plans are carried out, whatever becomes of one of them.
func ExampleDesk_EraseMany() {
	// newExample stands in examplecrm_test.go, must and check in firstlines_example_test.go.
	ctx := context.Background()
	crm := newExample(ctx, nil)
	defer crm.remove()
	plans := []string{crm.approved(ctx, "p1").ID, crm.approved(ctx, "p2").ID}
	check(crm.Cancel(ctx, plans[0]))
	outcomes, err := crm.EraseMany(ctx, plans)
	for _, o := range outcomes {
		fmt.Printf("%v %q\n", o.Plan == plans[0], o.State)
	}
	var failed *privacy.PlanError
	fmt.Println(errors.As(err, &failed), failed.Plan == plans[0], failed.Err)
	// Output:
	// true ""
	// false "done"
	// true true privacy: the plan was cancelled
}

// What somebody should know, and what to do about it.
func ExampleDesk_Status() {
	// newExample stands in examplecrm_test.go, must and check in firstlines_example_test.go.
	ctx := context.Background()
	crm := newExample(ctx, nil)
	defer crm.remove()
	crm.approved(ctx, "p1")
	for _, f := range must(crm.Status(ctx)) {
		if f.Level > privacy.HealthOK {
			fmt.Println(f.Level, f.Name, f.Value, f.Unit)
		}
	}
	// Output:
	// notice privacy.ledger.anchors 0 heads
	// notice privacy.plans.waiting 1 plans
}
