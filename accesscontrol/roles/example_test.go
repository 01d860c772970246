package roles_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/crmguard/crmguard/accesscontrol"
	"github.com/crmguard/crmguard/accesscontrol/roles"
)

// exampleStore is a store over two roles, and an administrator who may give both.
func exampleStore() (ctx context.Context, store *roles.Store, done func()) {
	ctx, dir := context.Background(), must(os.MkdirTemp("", "roles"))
	db := must(sql.Open("sqlite", "file:"+filepath.Join(dir, "crm.db")))
	check(roles.Install(ctx, db))
	store = must(roles.Open(ctx, db, exampleSet(), roles.Options{}))
	check(store.Bootstrap(ctx, roles.Assignment{Tenant: "main", Principal: "root", Role: "manager", Scope: roles.Everywhere(), MayGive: true}))
	return ctx, store, func() {
		check(db.Close())
		check(os.RemoveAll(dir))
	}
}

func exampleSet() *roles.Set {
	return must(roles.New(roles.Model{
		Tables: []accesscontrol.Table{{
			Resource: "deal", Entity: "Deal", Name: "deals", Key: "id", Tenant: "tenant",
			Columns: []accesscontrol.Column{{Attr: "owner_id", Required: true}, {Attr: "unit_id", Required: true}},
		}},
		Roles: map[string]roles.Role{
			"rep":     roles.Can("deal.read", "deal.update").Own("owner_id"),
			"manager": roles.Can("deal.read").Unit("unit_id").Inherits("rep"),
			"payer":   roles.Can("deal.read"),
			"auditor": roles.Can("deal.read"),
		},
		Exclusive: [][]string{{"payer", "auditor"}},
	}))
}

// What was generated can be printed, reviewed and put into files.
func ExampleSet_Config() {
	// Helpers stand in example_test.go, must and check in firstlines_example_test.go.
	config := exampleSet().Config()
	fmt.Print(config.Texts["roles-manager.cedar"])
	// Output:
	// @id("manager/deal.read/unit.unit_id")
	// permit (principal in Role::"manager", action == Action::"deal.read", resource is Deal)
	// when { principal in Role::"manager.everywhere" || principal has "manager.unit" && principal["manager.unit"].contains(resource.unit_id) };
}

// All that is wrong with a model is said at once.
func ExampleNew() {
	_, err := roles.New(roles.Model{Roles: map[string]roles.Role{
		"rep":  roles.Can("deal.read").Own("owner_id"),
		"boss": roles.Inherits("chief"),
	}})
	fmt.Println(err)
	// Output:
	// roles: model refused: role boss: inherits from "chief", which is no role of the model
	// role rep: action deal.read is about no table: an action is the Resource of a table, a point and a verb
}

// Each data scope of a CRM is a word behind Can.
func ExampleRole_Reach() {
	// Helpers stand in example_test.go, must and check in firstlines_example_test.go.
	reach := must(roles.ParseReach("本部门及下级")) // as a settings page has it
	fmt.Println(reach, reach.Chinese())
	_ = roles.Can("deal.read").Reach(reach, "unit_id") // the same as Units("unit_id")
	// Output: units 本部门及下级
}

// Roles that come from a token or a directory need no tables.
func ExampleSet_Principal() {
	// Helpers stand in example_test.go, must and check in firstlines_example_test.go.
	ctx, set := context.Background(), exampleSet()
	policy := must(accesscontrol.Load(ctx, set.Config()))
	ann := must(set.Principal(ctx, "main", "ann", roles.Grant{Role: "rep"}, roles.Grant{Role: "manager", Scope: roles.InUnit("south")}))
	deal := accesscontrol.Resource{Type: "deal", ID: "d1", Tenant: "main", Attrs: map[string]any{"owner_id": "bob", "unit_id": "south"}}
	decision := must(policy.Decide(ctx, accesscontrol.Request{Principal: ann, Action: "deal.read", Resource: deal}))
	fmt.Println(decision.Allowed, decision.Policies)
	fmt.Println(policy.Check(ctx, ann, "deal.update", deal))
	// Output:
	// true [manager/deal.read/unit.unit_id]
	// accesscontrol: denied: deal.update on deal: not_permitted
}

func ExampleStore_Assign() {
	// Helpers stand in example_test.go, must and check in firstlines_example_test.go.
	ctx, store, done := exampleStore()
	defer done()
	check(store.Assign(ctx, roles.Assignment{
		Tenant: "main", Principal: "ann", Role: "manager", Scope: roles.InUnit("south"), By: "root",
		NotAfter: time.Now().AddDate(0, 6, 0), Reason: "parental leave of the manager",
	}))
	err := store.Assign(ctx, roles.Assignment{Tenant: "main", Principal: "bob", Role: "rep", By: "ann"})
	fmt.Println(err)
	// Output: roles: refused: not_theirs: role rep: who gives a role holds it with MayGive, for that scope or one above, and for at least as long; ask somebody who does
}

func ExampleStore_Bootstrap() {
	// Helpers stand in example_test.go, must and check in firstlines_example_test.go.
	ctx, store, done := exampleStore()
	defer done()
	ann := roles.Assignment{Tenant: "main", Principal: "ann", Role: "payer"}
	fmt.Println(store.Bootstrap(ctx, ann))
	ann.Role = "auditor"
	err := store.Bootstrap(ctx, ann)
	var refused *roles.RefusedError
	fmt.Println(errors.As(err, &refused), refused.Rule, refused.Role, refused.Other)
	// Output:
	// <nil>
	// true excluded payer auditor
}

func ExampleStore_Revoke() {
	// Helpers stand in example_test.go, must and check in firstlines_example_test.go.
	ctx, store, done := exampleStore()
	defer done()
	south := roles.Assignment{Tenant: "main", Principal: "ann", Role: "manager", Scope: roles.InUnit("south"), MayGive: true, By: "root"}
	check(store.Assign(ctx, south))
	check(store.Assign(ctx, roles.Assignment{Tenant: "main", Principal: "bob", Role: "rep", By: "ann"}))
	for _, gone := range must(store.Revoke(ctx, south)) { // for the audit trail
		fmt.Println(gone.Principal, gone.Role, "by", gone.By)
	}
	// Output:
	// ann manager by root
	// bob rep by ann
}

func ExampleStore_Dismiss() {
	// Helpers stand in example_test.go, must and check in firstlines_example_test.go.
	ctx, store, done := exampleStore()
	defer done()
	fmt.Println(len(must(store.Dismiss(ctx, "main", "root"))), len(must(store.RolesOf(ctx, "main", "root"))))
	// Output: 1 0
}

func ExampleStore_Define() {
	// Helpers stand in example_test.go, must and check in firstlines_example_test.go.
	ctx, store, done := exampleStore()
	defer done()
	check(store.Define(ctx, roles.Definition{Tenant: "main", Role: "区域经理", Inherits: []string{"manager"}, By: "root"}))
	check(store.Bootstrap(ctx, roles.Assignment{Tenant: "main", Principal: "ann", Role: "区域经理", Scope: roles.InUnit("south")}))
	for _, holding := range must(store.WhoHas(ctx, "main", "rep")) {
		fmt.Println(holding.Principal, holding.Role, holding.Scope, holding.Includes)
	}
	fmt.Println(store.Undefine(ctx, "main", "区域经理"))
	// Unordered output:
	// root manager * [manager rep]
	// ann 区域经理 unit/south [区域经理 manager rep]
	// roles: refused: in_use: role 区域经理: it is assigned: revoke it first, or make another role
}

func ExampleStore_Principal() {
	// Helpers stand in example_test.go, must and check in firstlines_example_test.go.
	ctx, store, done := exampleStore()
	defer done()
	policy := must(accesscontrol.Load(ctx, exampleSet().Config()))
	// For packages that ask in words of the standard library: the person of the
	// session, with the roles of this moment.
	allow := policy.Allower(func(ctx context.Context) (accesscontrol.Principal, error) {
		return store.Principal(ctx, "main", "root")
	})
	fmt.Println(allow(ctx, "deal.read", "lead/1"))
	// Output: accesscontrol: bad request: resource: the resource is no bound type, nor "type/id" of one
}

func ExampleKeysFrom() {
	_, err := roles.KeysFrom([]byte("too short"))
	fmt.Println(err)
	// Output: roles: keys: the secret has 9 bytes: hand in 32 random bytes (not their hex digits)
}

func ExampleStore_Conflicts() {
	// Helpers stand in example_test.go, must and check in firstlines_example_test.go.
	ctx, store, done := exampleStore()
	defer done()
	fmt.Println(store.Conflicts(ctx, "main")) // after each change of Model.Exclusive
	// Output: [] <nil>
}

func ExampleStore_Prune() {
	// Helpers stand in example_test.go, must and check in firstlines_example_test.go.
	ctx, store, done := exampleStore()
	defer done()
	fmt.Println(store.Prune(ctx, "main", time.Now().AddDate(-1, 0, 0))) // a year is kept
	// Output: 0 <nil>
}

// An Actor that is held follows the store: no process has to be told.
func ExampleStore_For() {
	// Helpers stand in example_test.go, must and check in firstlines_example_test.go.
	ctx, store, done := exampleStore()
	defer done()
	policy := must(accesscontrol.Load(ctx, exampleSet().Config()))
	check(store.Assign(ctx, roles.Assignment{Tenant: "main", Principal: "ann", Role: "rep", By: "root"}))
	ann := must(store.For(ctx, policy, "main", "ann", nil)) // once a connection, say
	deal := accesscontrol.Resource{Type: "deal", ID: "d1", Tenant: "main", Attrs: map[string]any{"owner_id": "ann", "unit_id": "south"}}
	fmt.Println(ann.Check(ctx, "deal.update", deal))
	must(store.Revoke(ctx, roles.Assignment{Tenant: "main", Principal: "ann", Role: "rep", By: "root"}))
	fmt.Println(ann.Check(ctx, "deal.update", deal))
	// Output:
	// <nil>
	// accesscontrol: denied: deal.update on deal: not_permitted
}

// Who can see this record, of all who hold a role.
func ExampleStore_Principals() {
	// Helpers stand in example_test.go, must and check in firstlines_example_test.go.
	ctx, store, done := exampleStore()
	defer done()
	policy := must(accesscontrol.Load(ctx, exampleSet().Config()))
	for person, role := range map[string]string{"ann": "rep", "bob": "rep", "eve": "auditor"} {
		check(store.Bootstrap(ctx, roles.Assignment{Tenant: "main", Principal: person, Role: role}))
	}
	deal := accesscontrol.Resource{Type: "deal", ID: "d1", Tenant: "main", Attrs: map[string]any{"owner_id": "ann", "unit_id": "south"}}
	for access, err := range policy.WhoCan(ctx, store.Principals(ctx, "main"), "deal.read", deal) {
		check(err)
		check(access.Err)
		fmt.Println(access.Principal.ID, access.Policies)
	}
	// Output:
	// ann [rep/deal.read/own.owner_id]
	// eve [auditor/deal.read/all]
	// root [manager/deal.read/unit.unit_id]
}

// What a page of the operator shows.
func ExampleStore_Status() {
	// Helpers stand in example_test.go, must and check in firstlines_example_test.go.
	ctx, store, done := exampleStore()
	defer done()
	for _, finding := range must(store.Status(ctx)) {
		if finding.Level != accesscontrol.HealthOK && finding.Name == "accesscontrol.roles.forged" {
			fmt.Println(finding)
		}
	}
	// Output:
	// notice accesscontrol.roles.forged 0 rows: whoever can write into the tables can give themselves any role, and nothing would tell: set Options.Tagger
}
