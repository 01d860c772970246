package accesscontrol_test

import (
	"context"
	"database/sql"
	"fmt"
	"os"
	"path/filepath"

	"github.com/crmguard/crmguard/accesscontrol"
)

// memory is a database for an example.
func memory(statements ...string) (db *sql.DB, done func()) {
	dir := must(os.MkdirTemp("", ""))
	db = must(sql.Open("sqlite", "file:"+filepath.Join(dir, "example.db")))
	for _, statement := range statements {
		must(db.Exec(statement)) //nolint:noctx // an example's tables
	}
	return db, func() { _, _ = db.Close(), os.RemoveAll(dir) }
}

// A subscriber is visible because one of my lists holds it: the lists stand in a
// table of pairs.
func ExampleSet() {
	// must stands in firstlines_example_test.go, memory in sets_example_test.go.
	ctx := context.Background()
	db, done := memory(
		"CREATE TABLE subscribers (id TEXT PRIMARY KEY, tenant TEXT NOT NULL) STRICT",
		"CREATE TABLE list_members (tenant TEXT, list TEXT, subscriber TEXT, PRIMARY KEY (tenant, subscriber, list)) STRICT",
		"INSERT INTO subscribers VALUES ('s1', 'main'), ('s2', 'main'), ('s3', 'main')",
		"INSERT INTO list_members VALUES ('main', 'news', 's1'), ('main', 'trade', 's1'), ('main', 'press', 's2')")
	defer done()
	policy := must(accesscontrol.Load(ctx, accesscontrol.Config{
		Texts: map[string]string{
			"crm.cedarschema": `entity List; entity User = { lists: Set<List> }; entity Subscriber = { lists: Set<List> };
				action "subscriber.read" appliesTo { principal: User, resource: Subscriber };`,
			"crm.cedar": `@id("lists") permit (principal, action, resource) when { resource.lists.containsAny(principal.lists) };`,
		},
		Tables: []accesscontrol.Table{{
			Resource: "subscriber", Entity: "Subscriber", Name: "subscribers", Key: "id", Tenant: "tenant",
			Sets: []accesscontrol.Set{{Attr: "lists", Steps: []accesscontrol.Step{
				{Name: "list_members", Tenant: "tenant", Match: "subscriber", Value: "list"},
			}}},
		}},
	}))
	ann := accesscontrol.Principal{Type: "User", ID: "ann", Tenant: "main", Attrs: map[string]any{"lists": []string{"news", "jobs"}}}
	session := must(policy.For(ann))
	where := must(session.Filter(ctx, "subscriber.read", "subscriber"))
	condition, args := where.SQLite("s")
	var n int
	err := db.QueryRowContext(ctx, "SELECT count(*) FROM subscribers s WHERE "+condition, args...).Scan(&n)
	fmt.Println(n, err)

	// A record in memory brings its elements along, read under the same tenant.
	err = session.Check(ctx, "subscriber.read", accesscontrol.Resource{
		Type: "subscriber", ID: "s2", Tenant: "main", Attrs: map[string]any{"lists": []string{"press"}},
	})
	fmt.Println(err)
	// Output:
	// 1 <nil>
	// accesscontrol: denied: subscriber.read on subscriber: not_permitted
}

// Everything of my unit and below (本部门及下级): a closure table has a row for
// each unit with each one above it, and with itself. Where units have only a
// parent, a Step with Levels walks them.
func ExampleStep() {
	// must stands in firstlines_example_test.go, memory in sets_example_test.go.
	ctx := context.Background()
	db, done := memory(
		"CREATE TABLE accounts (id TEXT PRIMARY KEY, tenant TEXT NOT NULL, unit TEXT NOT NULL) STRICT",
		"CREATE TABLE unit_above (tenant TEXT, below TEXT, above TEXT, PRIMARY KEY (tenant, below, above)) STRICT",
		"INSERT INTO accounts VALUES ('a1', 'main', 'berlin'), ('a2', 'main', 'europe'), ('a3', 'main', 'asia')",
		"INSERT INTO unit_above VALUES ('main', 'berlin', 'berlin'), ('main', 'berlin', 'europe'), ('main', 'europe', 'europe'), ('main', 'asia', 'asia')")
	defer done()
	policy := must(accesscontrol.Load(ctx, accesscontrol.Config{
		Texts: map[string]string{
			"crm.cedarschema": `entity Unit; entity User = { unit: Unit }; entity Account = { units: Set<Unit> };
				action "account.read" appliesTo { principal: User, resource: Account };`,
			"crm.cedar": `@id("unit") permit (principal, action, resource) when { resource.units.contains(principal.unit) };`,
		},
		Tables: []accesscontrol.Table{{
			Resource: "account", Entity: "Account", Name: "accounts", Key: "id", Tenant: "tenant",
			Sets: []accesscontrol.Set{{Attr: "units", From: "unit", Steps: []accesscontrol.Step{
				{Name: "unit_above", Tenant: "tenant", Match: "below", Value: "above"},
			}}},
		}},
	}))
	mia := accesscontrol.Principal{Type: "User", ID: "mia", Tenant: "main", Attrs: map[string]any{"unit": "europe"}}
	where := must(policy.Filter(ctx, mia, "account.read", "account"))
	condition, args := where.SQLite("a")
	var n int
	err := db.QueryRowContext(ctx, "SELECT count(*) FROM accounts a WHERE "+condition, args...).Scan(&n)
	fmt.Println(n, err)
	// Output:
	// 2 <nil>
}
