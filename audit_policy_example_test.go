package crmguard_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	_ "modernc.org/sqlite"

	"github.com/crmguard/crmguard/accesscontrol"
	"github.com/crmguard/crmguard/audit"
	"github.com/crmguard/crmguard/audit/sqltrail"
	"github.com/crmguard/crmguard/audit/tilesink"
)

// whoAsks is where a login leaves the user in the context of a request.
type whoAsks struct{}

// principalOf is who acts, with the roles that they have now.
func principalOf(ctx context.Context) (accesscontrol.Principal, error) {
	id, _ := ctx.Value(whoAsks{}).(string)
	p := accesscontrol.Principal{Type: "User", ID: id, Tenant: "main"}
	if id == "audrey" {
		p.Parents = []accesscontrol.Ref{{Type: "Role", ID: "auditor"}}
	}
	return p, nil
}

// trailPolicy is the part of a policy that answers who may ask the trail: about
// "audit" (all of it), "person/<id>", and "<kind>/<id>" of each kind that is asked
// about. Find fetches no row, for the history of what was deleted is asked for, too:
// such a record has its tenant, and nothing else.
func trailPolicy(ctx context.Context) (*accesscontrol.Policy, error) {
	return accesscontrol.Load(ctx, accesscontrol.Config{
		Texts: map[string]string{
			"trail.cedarschema": `entity Role; entity User in [Role]; entity Audit; entity Person; entity Deal;
				action "audit.read", "audit.export", "audit.disclose" appliesTo { principal: User, resource: [Audit, Person, Deal] };`,
			"trail.cedar": `@id("auditors") permit (principal in Role::"auditor", action in [Action::"audit.read", Action::"audit.export"], resource);`,
		},
		Tables: []accesscontrol.Table{
			{Resource: "audit", Entity: "Audit"}, {Resource: "person", Entity: "Person"}, {Resource: "deal", Entity: "Deal"},
		},
		Find: func(_ context.Context, tenant, kind, id string) (accesscontrol.Resource, error) {
			return accesscontrol.Resource{Type: kind, ID: id, Tenant: tenant}, nil
		},
	})
}

// openAudited is a trail that asks the policy who may read it, and records what the
// policy says. Allow is set before there is a Trail: it closes over the variable.
func openAudited(ctx context.Context, dir string) (trail *audit.Trail, err error) {
	policy, err := trailPolicy(ctx)
	if err != nil {
		return nil, err
	}
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
	if err := audit.NewKeysFile(secret); err != nil { // once; or vault.AuditKeys()
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
			who, _ := principalOf(ctx)
			return audit.Caller{Tenant: "main", Actor: who.ID}
		},
		Allow: func(ctx context.Context, action, resource string) error {
			return trail.Watch(policy.Allower(principalOf))(ctx, action, resource)
		},
	})
	return trail, err
}

// A policy of accesscontrol says who may ask the audit trail, and the trail records
// who was let and who was not, why, and by which policies.
func Example_whoMayReadTheTrail() {
	dir, err := os.MkdirTemp("", "audit")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer os.RemoveAll(dir)
	trail, err := openAudited(context.Background(), dir)
	if err != nil {
		fmt.Println(err)
		return
	}
	seller := context.WithValue(context.Background(), whoAsks{}, "sam")
	auditor := context.WithValue(context.Background(), whoAsks{}, "audrey")
	if _, err := trail.Note(seller, audit.Event{Action: "contact.delete", Object: audit.PersonRef("contact", "p-1")}); err != nil {
		fmt.Println(err)
	}
	_, err = trail.Find(seller, audit.Filter{Person: "p-1"}, audit.Page{})
	fmt.Println(errors.Is(err, accesscontrol.ErrDenied))
	found, err := trail.Find(auditor, audit.Filter{Outcome: audit.OutcomeDenied}, audit.Page{})
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, e := range found.Entries {
		fmt.Println(e.Leaf.Actor, e.Leaf.Action, e.Persons[e.Leaf.Object.ID], e.Leaf.Outcome, e.Leaf.Reason, len(e.Leaf.Policy))
	}
	// Output:
	// true
	// sam audit.read p-1 denied not_permitted 64
}
