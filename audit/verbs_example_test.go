package audit_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"

	"github.com/crmguard/crmguard/audit"
	"github.com/crmguard/crmguard/audit/auditlog"
)

func ExampleTrail_Prepare() {
	// openShop is the set-up of the first Example, in example_test.go.
	ctx := context.Background()
	s := openShop(ctx)
	defer s.close()
	sale := audit.Event{Tenant: "main", Actor: "u-1", Action: "deal.close", Object: audit.Ref("deal", "17"), Persons: []string{"p-1", "p-2"}}
	record := func() error {
		tx, err := s.db.BeginTx(ctx, nil)
		if err != nil {
			return err
		}
		defer tx.Rollback()
		if _, err := s.trail.Record(ctx, tx, sale); err != nil {
			return err
		}
		return tx.Commit()
	}
	fmt.Println(errors.Is(record(), audit.ErrNotPrepared))  // nothing was written
	fmt.Println(s.trail.Prepare(ctx, "main", "p-1", "p-2")) // before BeginTx
	fmt.Println(record())
	// Output:
	// true
	// <nil>
	// <nil>
}

func ExampleTrail_Proof() {
	// openShop is the set-up of the first Example, in example_test.go.
	ctx := context.Background()
	s := openShop(ctx)
	defer s.close()
	id, _ := s.change(ctx, "p-1", "ann@b.example")
	_, err := s.trail.Proof(ctx, id)
	fmt.Println(errors.Is(err, audit.ErrNotPublished)) // wait for the next pass
	s.trail.RunOnce(ctx)
	proof, err := s.trail.Proof(ctx, id)
	fmt.Println(string(bytes.SplitN(proof, []byte("\n"), 2)[0]), err)
	// Output:
	// true
	// c2sp.org/tlog-proof@v1 <nil>
}

func ExampleTrail_Checkpoint() {
	// openShop is the set-up of the first Example, in example_test.go.
	ctx := context.Background()
	s := openShop(ctx)
	defer s.close()
	s.change(ctx, "p-1", "ann@b.example")
	s.trail.RunOnce(ctx)
	kept, err := s.trail.Checkpoint(ctx) // mail it, print it, store it at another provider
	lines := bytes.Split(kept, []byte("\n"))
	fmt.Printf("%s, %s entries, %v\n", lines[0], lines[1], err)
	report, err := auditlog.VerifyLog(ctx, s.sink.FS(), auditlog.Trust{Key: s.vkey, Kept: kept})
	fmt.Println(report.Kept, err)
	// Output:
	// crm.example/audit/0, 2 entries, <nil>
	// ok <nil>
}

func ExampleTrail_Progress() {
	// openShop is the set-up of the first Example, in example_test.go.
	ctx := context.Background()
	s := openShop(ctx)
	defer s.close()
	s.change(ctx, "p-1", "ann@b.example")
	status, err := s.trail.Progress(ctx)
	fmt.Println(status.Size, status.Published, status.Queued, err)
	s.trail.RunOnce(ctx)
	status, err = s.trail.Progress(ctx) // the event and the beat that anchors the other stores
	fmt.Println(status.Size, status.Published, status.Queued, err)
	// Output:
	// 0 0 1 <nil>
	// 2 2 0 <nil>
}

func Example_parseLeaf() {
	// openShop is the set-up of the first Example, in example_test.go.
	ctx := context.Background()
	s := openShop(ctx)
	defer s.close()
	s.change(ctx, "p-1", "ann@b.example")
	s.trail.RunOnce(ctx)
	for e, err := range auditlog.Entries(ctx, s.sink.FS()) { // what anyone sees who reads the folder
		if err != nil {
			fmt.Println(err)
			return
		}
		leaf, err := auditlog.ParseLeaf(e.Leaf)
		fmt.Println(e.Index, leaf.Kind, leaf.Action, len(leaf.Persons), len(leaf.Changes), err)
	}
	_, err := auditlog.ParseLeaf([]byte(`{"v": 1}`))
	fmt.Println(errors.Is(err, auditlog.ErrMalformed))
	// Output:
	// 0 event contact.create 1 1 <nil>
	// 1 beat  0 0 <nil>
	// true
}

func ExampleGenerateKey() {
	key, verifier, err := audit.GenerateKey("crm.example/audit", 0) // the name is without the counter
	fmt.Println(key[:32], verifier[:19], err)                       // Config.Key, a secret, and what goes to every auditor
	_, _, err = audit.GenerateKey("our audit log", 0)
	fmt.Println(err)
	// Output:
	// PRIVATE+KEY+crm.example/audit/0+ crm.example/audit/0 <nil>
	// audit: invalid: generate key: the name of the log holds '+', white space or control characters, or is not UTF-8
}
