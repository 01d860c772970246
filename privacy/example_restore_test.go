package privacy_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/crmguard/crmguard/privacy"
)

// A backup from before an erasure is restored: the gate is shut until a replay.
func ExampleDesk_Replay() {
	// newExample stands in examplecrm_test.go, must and check in firstlines_example_test.go.
	ctx := context.Background()
	crm := newExample(ctx, nil)
	defer crm.remove()
	backup := crm.backup(ctx)
	must(crm.Execute(ctx, crm.approved(ctx, "p1").ID))
	crm.restore(ctx, backup) // she is back

	fmt.Println(errors.Is(crm.Ready(ctx), privacy.ErrBehind))
	would := must(crm.ReplayPlan(ctx)) // changes nothing
	fmt.Println(would.Back, would.Counts[0].Table, would.Counts[0].Rows)
	fmt.Println(must(crm.Replay(ctx)).Erased)
	fmt.Println(crm.Ready(ctx))
	// Output:
	// true
	// 1 contacts 1
	// 1
	// <nil>
}

// A restore brings a row back of which nobody knows when it was created.
func ExampleDesk_Decide() {
	// newExample stands in examplecrm_test.go, must and check in firstlines_example_test.go.
	ctx := context.Background()
	crm := newExample(ctx, nil)
	defer crm.remove()
	must(crm.db.ExecContext(ctx, `INSERT INTO contacts (id, person, email) VALUES ('c3', 'p1', 'ann@work.example')`))
	backup := crm.backup(ctx)
	must(crm.db.ExecContext(ctx, `DELETE FROM contacts WHERE id = 'c3'`)) // so that the erasure did not meet it
	must(crm.Execute(ctx, crm.approved(ctx, "p1").ID))
	crm.restore(ctx, backup)

	replayed, err := crm.Replay(ctx)
	fmt.Println(replayed.Erased, errors.Is(err, privacy.ErrUndecided), errors.Is(crm.Ready(ctx), privacy.ErrUndecided))
	for _, row := range replayed.Undated {
		check(crm.Decide(ctx, privacy.Decision{
			Tenant: "main", Person: row.Person, Table: row.Table, Key: row.Key, Erase: true, By: "user/1", Because: "older-than-erasure",
		}))
	}
	fmt.Println(must(crm.Replay(ctx)).Counts[0].Rows, crm.Ready(ctx))
	// Output:
	// 1 true true
	// 1 <nil>
}

// In an emergency the application serves although the gate refuses.
func ExampleDesk_OpenAnyway() {
	// newExample stands in examplecrm_test.go, must and check in firstlines_example_test.go.
	ctx := context.Background()
	crm := newExample(ctx, nil)
	defer crm.remove()
	backup := crm.backup(ctx)
	must(crm.Execute(ctx, crm.approved(ctx, "p1").ID))
	crm.restore(ctx, backup)
	check(crm.OpenAnyway(ctx, privacy.Opening{By: "user/1", Approved: "user/2", Because: "incident:2026-0113", Until: crm.now.Add(time.Hour)}))
	gate := must(crm.Gate(ctx))
	fmt.Println(gate.Opening.By, gate.Until.Sub(crm.now))
	crm.now = gate.Until
	fmt.Println(errors.Is(crm.Ready(ctx), privacy.ErrBehind))
	// Output:
	// user/1 1h0m0s
	// true
}

// What is approved and due is carried out by itself.
func ExampleDesk_Run() {
	// newExample stands in examplecrm_test.go, must and check in firstlines_example_test.go.
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	crm := newExample(ctx, func(c *privacy.Config) {
		c.Observe = func(_ context.Context, name string, _ float64, _ ...slog.Attr) {
			fmt.Println(name)
			if name == "privacy.run" { // the end of a pass
				stop() // in earnest when the application ends
			}
		}
	})
	defer crm.remove()
	crm.approved(ctx, "p1")
	fmt.Println(crm.Run(ctx))
	// Output:
	// privacy.planned
	// privacy.replayed
	// privacy.erased
	// privacy.run
	// context canceled
}
