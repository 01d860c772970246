package roles_test

import (
	"context"
	"database/sql"
	"fmt"
	"log"
	"os"
	"path/filepath"

	_ "modernc.org/sqlite"

	"github.com/crmguard/crmguard/accesscontrol"
	"github.com/crmguard/crmguard/accesscontrol/roles"
)

// must and check stand for what an application does about an error.
func must[T any](value T, err error) T {
	check(err)
	return value
}

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}

// Three roles, somebody who holds one of them, and a list.
func Example_firstLines() {
	ctx, dir := context.Background(), must(os.MkdirTemp("", "roles"))
	defer os.RemoveAll(dir)
	db := must(sql.Open("sqlite", "file:"+filepath.Join(dir, "crm.db")))
	defer db.Close()

	crm := map[string]roles.Role{
		"rep":     roles.Can("deal.read", "deal.update").Own("owner_id"),  // 本人
		"manager": roles.Can("deal.read").Unit("unit_id").Inherits("rep"), // 本部门
		"auditor": roles.Can("deal.read"),                                 // 全公司
	}
	set := must(roles.New(roles.Model{Roles: crm, Tables: []accesscontrol.Table{{
		Resource: "deal", Entity: "Deal", Name: "deals", Key: "id", Tenant: "tenant",
		Columns: []accesscontrol.Column{{Attr: "owner_id", Required: true}, {Attr: "unit_id", Required: true}},
	}}}))
	policy := must(accesscontrol.Load(ctx, set.Config()))
	check(roles.Install(ctx, db)) // as the owner of the tables
	store := must(roles.Open(ctx, db, set, roles.Options{}))
	// once a tenant, by a command on the server: a second time it is Held
	check(store.Bootstrap(ctx, roles.Assignment{Tenant: "main", Principal: "ann", Role: "manager", Scope: roles.InUnit("south"), MayGive: true}))
	ann := must(store.Principal(ctx, "main", "ann")) // once a request
	where := must(policy.Filter(ctx, ann, "deal.read", "deal"))

	fmt.Println(where.Postgres("d", 1))
	// Output:
	// ("d"."tenant" = $1::text AND ("d"."unit_id" IN ($2::text) OR "d"."owner_id" = $3::text)) [main south ann]
}
