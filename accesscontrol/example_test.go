package accesscontrol_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"strings"

	"github.com/crmguard/crmguard/accesscontrol"
)

// Rows by checks are rows by filter, for each role, and one record side by
// side as each of them sees it.
func Example() {
	// exampleCRM, contacts, crmPeople and selected stand in crm_test.go.
	ctx, policy, db, done := exampleCRM()
	defer done()
	records, err := contacts(ctx, db)
	if err != nil {
		log.Fatal(err)
	}
	people := crmPeople()
	for _, role := range []string{"sales", "manager", "support", "auditor", "outsider"} {
		byChecks := []string{}
		for _, r := range records {
			if policy.Check(ctx, people[role], "contact.read", r) == nil {
				byChecks = append(byChecks, r.ID)
			}
		}
		where, err := policy.Filter(ctx, people[role], "contact.read", "contact")
		if err != nil {
			log.Fatal(err)
		}
		byFilter, err := selected(ctx, db, "contacts", where)
		if err != nil {
			log.Fatal(err)
		}
		fields, err := policy.Fields(ctx, people[role], records[0])
		if err != nil {
			log.Fatal(err)
		}
		fmt.Printf("%-8s checks %v filter %v; c1 hides %v\n", role, byChecks, byFilter, fields.Hidden())
	}
	// Output:
	// sales    checks [c1 c2] filter [c1 c2]; c1 hides []
	// manager  checks [c1 c5] filter [c1 c5]; c1 hides []
	// support  checks [c1 c2 c3 c5] filter [c1 c2 c3 c5]; c1 hides [email first_name phone]
	// auditor  checks [c1 c2 c3 c4 c5] filter [c1 c2 c3 c4 c5]; c1 hides [email first_name phone]
	// outsider checks [] filter []; c1 hides [account blocked country email first_name language owner phone]
}

func ExampleLoad() {
	ctx := context.Background()
	_, err := accesscontrol.Load(ctx, accesscontrol.Config{
		Texts: map[string]string{
			"crm.cedarschema": `
				entity User;
				entity Contact = { owner: User, city?: String };
				action "contact.read" appliesTo { principal: User, resource: Contact };`,
			"crm.cedar": `
				@id("own") permit (principal, action, resource) when { resource.owner == principal };
				@id("bern") permit (principal, action, resource) when { resource.city == "Bern" };
				@id("b") forbid (principal, action, resource) when { resource has city && resource.city like "B*" };`,
		},
		Tables: []accesscontrol.Table{{
			Resource: "contact", Entity: "Contact", Name: "contacts", Key: "id", Tenant: "tenant",
			Columns: []accesscontrol.Column{{Attr: "owner", Required: true}, {Attr: "city"}},
		}},
	})
	fmt.Println(err)
	// Output:
	// accesscontrol: policy set refused: crm.cedar:3:5: policy bern: unable to guarantee safety of access to optional attribute `city` on entity type `Contact`
	// crm.cedar:4:5: policy b: cannot become SQL: resource.city like …: a pattern may read every row: set Column.Like if it shall, on records of type contact
}

func ExamplePolicy_Check() {
	// exampleCRM and crmPeople stand in crm_test.go.
	ctx, policy, _, done := exampleCRM()
	defer done()
	contact := accesscontrol.Resource{Type: "contact", ID: "c2", Tenant: "main", Attrs: map[string]any{"owner": "bob", "account": "acme"}}
	ann := crmPeople()["sales"]
	fmt.Println(policy.Check(ctx, ann, "contact.read", contact))
	fmt.Println(policy.Check(ctx, ann, "contact.update", contact))
	// Output:
	// <nil>
	// accesscontrol: denied: contact.update on contact: not_permitted
}

func ExamplePolicy_Decide() {
	// exampleCRM and crmPeople stand in crm_test.go.
	ctx, policy, _, done := exampleCRM()
	defer done()
	contact := accesscontrol.Resource{Type: "contact", ID: "c4", Tenant: "main", Attrs: map[string]any{"owner": "ann", "blocked": true}}
	decision, err := policy.Decide(ctx, accesscontrol.Request{Principal: crmPeople()["sales"], Action: "contact.read", Resource: contact})
	fmt.Println(decision.Allowed, decision.Reason, decision.Policies, err)
	// Output: false forbidden [blocked] <nil>
}

func ExamplePolicy_Filter() {
	// exampleCRM and crmPeople stand in crm_test.go.
	ctx, policy, db, done := exampleCRM()
	defer done()
	where, err := policy.Filter(ctx, crmPeople()["manager"], "contact.read", "contact")
	if err != nil {
		log.Fatal(err)
	}
	condition, args := where.SQLite("c")
	var n int
	err = db.QueryRowContext(ctx, "SELECT count(*) FROM contacts AS c WHERE c.language = 'de' AND "+condition, args...).Scan(&n)
	fmt.Println(n, err)
	// Output: 2 <nil>
}

func ExampleWhere_Postgres() {
	// exampleCRM and crmPeople stand in crm_test.go.
	ctx, policy, _, done := exampleCRM()
	defer done()
	where, err := policy.Filter(ctx, crmPeople()["manager"], "contact.read", "contact")
	if err != nil {
		log.Fatal(err)
	}
	condition, args := where.Postgres("c", 3)
	fmt.Println(strings.NewReplacer(" AND (", "\n  AND (", " AND NOT", "\n  AND NOT").Replace(condition))
	fmt.Println(args)
	// Output:
	// ("c"."tenant" = $3::text
	//   AND ("c"."country" IS NOT NULL AND "c"."country" IN ($4::text, $5::text))
	//   AND NOT ("c"."blocked" IS NOT NULL AND "c"."blocked"))
	// [main AT DE]
}

func ExampleWhere_SQLite() {
	// exampleCRM and crmPeople stand in crm_test.go.
	ctx, policy, db, done := exampleCRM()
	defer done()
	// The filter stands in the statement that writes: nothing can change
	// between a check and the change.
	where, err := policy.Filter(ctx, crmPeople()["manager"], "contact.delete", "contact")
	if err != nil {
		log.Fatal(err)
	}
	condition, args := where.SQLite("contacts")
	result, err := db.ExecContext(ctx, "DELETE FROM contacts WHERE id = ? AND "+condition, append([]any{"c2"}, args...)...)
	if err != nil {
		log.Fatal(err)
	}
	n, err := result.RowsAffected()
	fmt.Println(n, err)
	// Output: 0 <nil>
}

func ExamplePolicy_Fields() {
	// exampleCRM and crmPeople stand in crm_test.go.
	ctx, policy, _, done := exampleCRM()
	defer done()
	contact := accesscontrol.Resource{Type: "contact", ID: "c1", Tenant: "main", Attrs: map[string]any{"owner": "ann", "country": "DE"}}
	fields, err := policy.Fields(ctx, crmPeople()["support"], contact)
	fmt.Println(fields["country"], fields["email"], fields.Hidden(), err)
	// Output: readable hidden [email first_name phone] <nil>
}

func ExamplePolicy_CheckChange() {
	// exampleCRM and crmPeople stand in crm_test.go.
	ctx, policy, _, done := exampleCRM()
	defer done()
	before := accesscontrol.Resource{Type: "contact", ID: "c1", Tenant: "main", Attrs: map[string]any{"owner": "ann", "country": "DE"}}
	after := before
	after.Attrs = map[string]any{"owner": "bob", "country": "DE"}
	err := policy.CheckChange(ctx, crmPeople()["sales"], before, after)
	fmt.Println(errors.Is(err, accesscontrol.ErrDenied), err)
	// Output: true accesscontrol: denied: contact.update on contact: not_permitted
}

func ExamplePolicy_Allower() {
	// exampleCRM and crmPeople stand in crm_test.go.
	ctx, policy, _, done := exampleCRM()
	defer done()
	// A func in words of the standard library, for packages that must ask.
	allow := policy.Allower(func(context.Context) (accesscontrol.Principal, error) {
		return crmPeople()["auditor"], nil // of the session in the context, with the roles of this moment
	})
	fmt.Println(allow(ctx, "audit.read", "audit"))
	// Output: <nil>
}

func ExamplePolicy_Reload() {
	// exampleCRM and crmConfig stand in crm_test.go.
	ctx, policy, _, done := exampleCRM()
	defer done()
	config := crmConfig()
	config.Texts["freeze.cedar"] = `@id("freeze") forbid (principal, action == Action::"contact.update", resource);`
	before := policy.Hash()
	fmt.Println(policy.Reload(ctx, config), policy.Hash() != before)
	config.Texts["freeze.cedar"] = `@id("freeze") forbid (principal, action == Action::"contact.updaet", resource);`
	fmt.Println(errors.Is(policy.Reload(ctx, config), accesscontrol.ErrPolicy))
	// Output:
	// <nil> true
	// true
}

func ExamplePolicy_CheckSchema() {
	// exampleCRM stands in crm_test.go.
	ctx, policy, db, done := exampleCRM()
	defer done()
	fmt.Println(policy.CheckSchema(ctx, db))
	if _, err := db.ExecContext(ctx, "ALTER TABLE contacts RENAME COLUMN country TO land"); err != nil {
		log.Fatal(err)
	}
	fmt.Println(policy.CheckSchema(ctx, db))
	// Output:
	// <nil>
	// accesscontrol: live schema does not fit the binding: table contacts: column country does not exist
}

func ExamplePolicy_Hash() {
	// exampleCRM stands in crm_test.go.
	_, policy, _, done := exampleCRM()
	defer done()
	fmt.Println(len(policy.Hash()), "hex digits, for the policy member of an audit entry")
	// Output: 64 hex digits, for the policy member of an audit entry
}

func ExampleConfig_Replaced() {
	// crmConfig and crmPeople stand in crm_test.go.
	ctx := context.Background()
	policy, err := accesscontrol.Load(ctx, crmConfig().Replaced(`@id("all") permit (principal, action, resource);`))
	if err != nil {
		log.Fatal(err)
	}
	contact := accesscontrol.Resource{Type: "contact", ID: "c1", Tenant: "main", Attrs: map[string]any{"owner": "ann"}}
	fmt.Println(policy.Check(ctx, crmPeople()["outsider"], "contact.delete", contact))
	// Output: <nil>
}
