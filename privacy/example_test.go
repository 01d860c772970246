package privacy_test

import (
	"bytes"
	"context"
	"fmt"

	"filippo.io/age"

	"github.com/crmguard/crmguard/privacy"
	"github.com/crmguard/crmguard/privacy/certificate"
)

// A person is forgotten, and gets proof.
func ExampleDesk_Execute() {
	// newExample stands in examplecrm_test.go, must and check in firstlines_example_test.go.
	ctx := context.Background()
	crm := newExample(ctx, func(c *privacy.Config) { c.Lease = 0 })
	defer crm.remove()
	plan := must(crm.PlanErasure(ctx, privacy.Request{Tenant: "main", Person: "p1", Reason: "gdpr-17", By: "user/1"}))
	fmt.Println(plan.Counts[0].Table, plan.Counts[0].Rows, plan.Counts[0].Class)
	fmt.Println(crm.Approve(ctx, plan.ID, "user/1"))
	fmt.Println(crm.Approve(ctx, plan.ID, "user/2"))
	_, err := crm.Execute(ctx, plan.ID)
	fmt.Println(err)

	crm.now = plan.NotBefore
	outcome := must(crm.Execute(ctx, plan.ID))
	fmt.Println(outcome.State) // another process may still hold a cached key
	crm.now = outcome.Until
	outcome = must(crm.Execute(ctx, plan.ID))
	fmt.Println(outcome.State)

	says := must(certificate.Verify(outcome.Certificate, crm.public)).Statement
	fmt.Println("erasure", says.Intent, says.Concerns(outcome.Salt, "main", "p1"))
	fmt.Println(says.NotCovered[0], "|", says.NotCovered[1])
	// Output:
	// contacts 1 deleted
	// privacy: whoever asked for the erasure cannot approve it
	// <nil>
	// privacy: the plan may not be executed yet
	// waiting
	// done
	// erasure 1 true
	// mail already sent | backups from before the erasure, until they are deleted: all they hold, for no key of the person was destroyed
}

// A person asks what is known about them.
func ExampleDesk_Export() {
	// newExample stands in examplecrm_test.go, must and check in firstlines_example_test.go.
	ctx := context.Background()
	crm := newExample(ctx, nil)
	defer crm.remove()
	identity := must(age.GenerateX25519Identity()) // the person's own
	var file bytes.Buffer                          // in earnest a file, or an answer over HTTP
	exported := must(crm.Export(ctx, "main", "p1", identity.Recipient().String(), &file))
	for _, table := range exported.Manifest.Tables {
		fmt.Println(table.Name, table.Rows)
	}
	fmt.Println(exported.Size == int64(file.Len()))
	// Output:
	// contacts 1
	// true
}

// The gate is asked at every start, before serving.
func ExampleDesk_Ready() {
	// newExample stands in examplecrm_test.go, must and check in firstlines_example_test.go.
	ctx := context.Background()
	crm := newExample(ctx, nil)
	defer crm.remove()
	if err := crm.Ready(ctx); err != nil { // ErrBehind: keep readers out, and Replay
		fmt.Println(err)
		return
	}
	gate := must(crm.Gate(ctx))                    // the same, with what a nil leaves open
	fmt.Println(gate.Unanchored)                   // nobody keeps a head of the ledger elsewhere
	fmt.Println(string(must(crm.LedgerHead(ctx)))) // for the manifest of a backup
	// Output:
	// true
	// {"hash":"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA","n":0}
}

// What is known about a person, by its place.
func ExampleDesk_Find() {
	// newExample stands in examplecrm_test.go, must and check in firstlines_example_test.go.
	ctx := context.Background()
	crm := newExample(ctx, nil)
	defer crm.remove()
	for _, row := range must(crm.Find(ctx, "main", "p2")) {
		fmt.Println(row.Store, row.Table, row.Key, row.Class)
	}
	// Output: database contacts c2 deleted
}

// A plan is withdrawn before it is carried out.
func ExampleDesk_Cancel() {
	// newExample stands in examplecrm_test.go, must and check in firstlines_example_test.go.
	ctx := context.Background()
	crm := newExample(ctx, nil)
	defer crm.remove()
	plan := crm.approved(ctx, "p1")
	fmt.Println(plan.State, crm.Cancel(ctx, plan.ID))
	_, err := crm.Execute(ctx, plan.ID)
	fmt.Println(err)
	// Output:
	// planned <nil>
	// privacy: the plan was cancelled
}
