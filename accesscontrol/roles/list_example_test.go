package roles_test

import (
	"context"
	"database/sql"
	"fmt"
	"strings"

	"github.com/crmguard/crmguard/accesscontrol"
	"github.com/crmguard/crmguard/accesscontrol/roles"
)

// A list with roles on PostgreSQL: a test runs it there, over a table deals (id,
// tenant, owner_id, unit_id), all of them text NOT NULL.
func Example_list() {
	// must and check stand in firstlines_example_test.go.
	db := must(sql.Open("pgx", "postgres:///crm"))
	defer db.Close()
	fmt.Println(list(context.Background(), db, "ann"))
}

// list is everything from nothing to the ids that a person may see.
func list(ctx context.Context, db *sql.DB, person string) []string {
	set := must(roles.New(roles.Model{
		Tables: []accesscontrol.Table{{
			Resource: "deal", Entity: "Deal", Name: "deals", Key: "id", Tenant: "tenant",
			Columns: []accesscontrol.Column{{Attr: "owner_id", Required: true}, {Attr: "unit_id", Required: true}},
		}},
		Roles: map[string]roles.Role{
			"rep":     roles.Can("deal.read").Own("owner_id"),
			"manager": roles.Can("deal.read").Unit("unit_id").Inherits("rep"),
		},
	}))
	policy := must(accesscontrol.Load(ctx, set.Config()))
	check(policy.CheckSchema(ctx, db))
	check(roles.Install(ctx, db))
	store := must(roles.Open(ctx, db, set, roles.Options{}))
	check(store.Bootstrap(ctx, roles.Assignment{Tenant: "main", Principal: "ann", Role: "manager", Scope: roles.InUnit("south")}))
	who := must(store.Principal(ctx, "main", person))
	condition, args := must(policy.Filter(ctx, who, "deal.read", "deal")).Postgres("d", 1)
	var ids string
	check(db.QueryRowContext(ctx, "SELECT concat_ws(' ', '', string_agg(id, ' ' ORDER BY id)) FROM deals d WHERE "+condition, args...).Scan(&ids))
	return strings.Fields(ids)
}
