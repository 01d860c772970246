package accesscontrol_test

import (
	"context"
	"fmt"
	"log"

	"github.com/crmguard/crmguard/accesscontrol"
)

// must stands for what an application does about an error.
func must[T any](value T, err error) T {
	if err != nil {
		log.Fatal(err)
	}
	return value
}

// One policy answers about a record and selects the rows of a list.
func Example_firstLines() {
	ctx := context.Background()
	contact := accesscontrol.Resource{Type: "contact", ID: "c1", Tenant: "main", Attrs: map[string]any{"owner": "ann"}}

	policy := must(accesscontrol.Load(ctx, accesscontrol.Config{
		Texts: map[string]string{ // or Files, an embed.FS
			"crm.cedarschema": `entity User; entity Contact = { owner: User }; action "contact.read" appliesTo { principal: User, resource: Contact };`,
			"crm.cedar":       `@id("own") permit (principal, action == Action::"contact.read", resource) when { resource.owner == principal };`,
		},
		Tables: []accesscontrol.Table{{
			Resource: "contact", Entity: "Contact", Name: "contacts", Key: "id", Tenant: "tenant",
			Columns: []accesscontrol.Column{{Attr: "owner", Required: true}},
		}},
	}))
	ann := accesscontrol.Principal{Type: "User", ID: "ann", Tenant: "main"}
	session := must(policy.For(ann))                   // for one request of hers
	err := session.Check(ctx, "contact.read", contact) // nil, or why not
	where := must(session.Filter(ctx, "contact.read", "contact"))
	condition, args := where.Postgres("c", 1) // or SQLite, MySQL, Gorm

	fmt.Println(err)
	fmt.Println(condition, args)
	// Output:
	// <nil>
	// ("c"."tenant" = $1::text AND "c"."owner" = $2::text) [main ann]
}
