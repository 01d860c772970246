package audit_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	_ "modernc.org/sqlite"

	"github.com/crmguard/crmguard/audit"
	"github.com/crmguard/crmguard/audit/sqltrail"
	"github.com/crmguard/crmguard/audit/tilesink"
)

// atWork is where a login leaves the user in the context of a request.
type atWork struct{}

var errForbidden = errors.New("forbidden")

// mayDo stands for a policy, such as policy.Allower of package accesscontrol. It is
// asked about the trail, too: "audit.read" and "audit.export" about "audit",
// "person/<id>" or "<kind>/<id>".
func mayDo(ctx context.Context, action, resource string) error {
	user, _ := ctx.Value(atWork{}).(string)
	if user == "auditor" || user == "u-7" && action == "contact.read" && resource != "contact/p-2" {
		return nil
	}
	return errForbidden
}

// openWatched is a trail whose own questions are watched as everything else is.
// Allow is set before there is a Trail: it is a func over the variable that Open sets.
func openWatched(ctx context.Context, dir string) (trail *audit.Trail, err error) {
	db, err := sql.Open("sqlite", "file:"+filepath.Join(dir, "crm.db")+"?_pragma=journal_mode(WAL)&_pragma=synchronous(FULL)&_pragma=busy_timeout(5000)&_pragma=secure_delete(1)")
	if err != nil {
		return nil, err
	}
	if err := sqltrail.Install(ctx, db); err != nil {
		return nil, err
	}
	store, err := sqltrail.Open(ctx, db)
	if err != nil {
		return nil, err
	}
	folder, err := tilesink.Open(filepath.Join(dir, "log"))
	if err != nil {
		return nil, err
	}
	secret := filepath.Join(dir, "crm.secret")
	if err := audit.NewKeysFile(secret); err != nil { // once
		return nil, err
	}
	keys, err := audit.KeysFile(secret)
	if err != nil {
		return nil, err
	}
	key, _, err := audit.GenerateKey("crm.example/audit", 0) // once
	if err != nil {
		return nil, err
	}
	trail, err = audit.Open(ctx, store, audit.Config{
		Name: "crm.example/audit", Tenant: "main", Key: key, Sink: folder, Keys: keys, PersonKinds: []string{"contact"},
		From: func(ctx context.Context) audit.Caller {
			user, _ := ctx.Value(atWork{}).(string)
			return audit.Caller{Tenant: "main", Actor: user}
		},
		Allow: func(ctx context.Context, action, resource string) error {
			return trail.Decisions(ctx, action, resource, mayDo(ctx, action, resource))
		},
	})
	return trail, err
}

// A policy's answers become events, those about the trail itself too: what it denies
// at once, what it allows as a number a minute, with an outcome of its own.
func ExampleTrail_Decisions() {
	dir, err := os.MkdirTemp("", "audit")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer os.RemoveAll(dir)
	trail, err := openWatched(context.Background(), dir)
	if err != nil {
		fmt.Println(err)
		return
	}
	seller := context.WithValue(context.Background(), atWork{}, "u-7")
	auditor := context.WithValue(context.Background(), atWork{}, "auditor")
	if err := trail.Prepare(seller, "", "p-1", "p-2"); err != nil { // they are known: something was recorded about them
		fmt.Println(err)
	}
	read := func(contact string) error {
		resource := "contact/" + contact
		return trail.Decisions(seller, "contact.read", resource, mayDo(seller, "contact.read", resource))
	}
	fmt.Println(read("p-1"), read("p-1"), read("p-2"))
	_, err = trail.Find(seller, audit.Filter{Person: "p-1"}, audit.Page{})
	fmt.Println(errors.Is(err, errForbidden))
	if err := trail.Flush(seller); err != nil { // where a process ends
		fmt.Println(err)
	}
	show := func(f audit.Filter) {
		found, err := trail.Find(auditor, f, audit.Page{})
		if err != nil {
			fmt.Println(err)
			return
		}
		for _, e := range found.Entries {
			count := any(1)
			if len(e.Changes) > 0 {
				count = e.Changes[0].New
			}
			fmt.Println(e.Leaf.Actor, e.Leaf.Action, e.Persons[e.Leaf.Object.ID], e.Leaf.Outcome, count)
		}
	}
	show(audit.Filter{Outcome: audit.OutcomeDenied})
	show(audit.Filter{Person: "p-1", Outcome: audit.OutcomeAllowed}) // who looked at p-1
	// Output:
	// <nil> <nil> forbidden
	// true
	// u-7 audit.read p-1 denied 1
	// u-7 contact.read p-2 denied 1
	// u-7 contact.read p-1 allowed 2
}
