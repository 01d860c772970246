package accesscontrol_test

import (
	"context"
	"fmt"

	"github.com/crmguard/crmguard/accesscontrol"
)

// A contact may be seen because its account is: the column account_id says Join,
// a filter looks at accounts within the tenant, and a check is handed the account.
func ExampleColumn_join() {
	ctx := context.Background()
	policy, err := accesscontrol.Load(ctx, accesscontrol.Config{
		Texts: map[string]string{
			"crm.cedarschema": `entity User; entity Account = { owner: User }; entity Contact = { account?: Account };
				action "contact.read" appliesTo { principal: User, resource: Contact };`,
			"crm.cedar": `@id("mine") permit (principal, action == Action::"contact.read", resource)
				when { resource has account && resource.account.owner == principal };`,
		},
		Tables: []accesscontrol.Table{{
			Resource: "contact", Entity: "Contact", Name: "contacts", Key: "id", Tenant: "tenant",
			Columns: []accesscontrol.Column{{Attr: "account", Name: "account_id", Join: true}},
		}, {
			Resource: "account", Entity: "Account", Name: "accounts", Key: "id", Tenant: "tenant",
			Columns: []accesscontrol.Column{{Attr: "owner", Required: true}},
		}},
	})
	if err != nil {
		panic(err)
	}
	ann := accesscontrol.Principal{Tenant: "main", ID: "ann"}
	where, err := policy.Filter(ctx, ann, "contact.read", "contact")
	if err != nil {
		panic(err)
	}
	condition, args := where.Postgres("c", 1)
	fmt.Println(condition, args)

	contact := accesscontrol.Resource{Type: "contact", ID: "c1", Tenant: "main", Attrs: map[string]any{"account": "a1"}}
	fmt.Println(policy.Check(ctx, ann, "contact.read", contact))
	contact.Related = map[string]accesscontrol.Resource{
		"account": {Type: "account", ID: "a1", Tenant: "main", Attrs: map[string]any{"owner": "ann"}},
	}
	fmt.Println(policy.Check(ctx, ann, "contact.read", contact))
	// Output:
	// ("c"."tenant" = $1::text AND ("c"."account_id" IS NOT NULL AND EXISTS (SELECT 1 FROM "accounts" AS "crmguard_1" WHERE "crmguard_1"."id" = "c"."account_id"::text AND "crmguard_1"."tenant" = $2::text AND "crmguard_1"."owner" = $3::text))) [main main ann]
	// accesscontrol: bad request: resource resource.account: the policies read this record: bring Related["account"], the zero Resource where there is none
	// <nil>
}
