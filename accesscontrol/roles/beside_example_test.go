package roles_test

import (
	"context"
	"database/sql"
	"fmt"
	"os"
	"path/filepath"

	"github.com/crmguard/crmguard/accesscontrol"
	"github.com/crmguard/crmguard/accesscontrol/roles"
)

// Two relations beside the roles: a rep sees the contacts of their accounts, and
// those that one of their lists holds, whoever owns them.
func ExampleSet_Config_beside() {
	// must and check stand in firstlines_example_test.go.
	ctx, dir := context.Background(), must(os.MkdirTemp("", "roles"))
	defer os.RemoveAll(dir)
	db := must(sql.Open("sqlite", "file:"+filepath.Join(dir, "crm.db")))
	defer db.Close()
	must(db.ExecContext(ctx, `
CREATE TABLE accounts (id TEXT PRIMARY KEY, tenant TEXT NOT NULL, owner TEXT NOT NULL) STRICT;
CREATE TABLE contacts (id TEXT PRIMARY KEY, tenant TEXT NOT NULL, owner TEXT NOT NULL, account TEXT) STRICT;
CREATE TABLE list_members (tenant TEXT, contact TEXT, list TEXT, PRIMARY KEY (tenant, contact, list)) STRICT;
INSERT INTO accounts VALUES ('acme', 'main', 'ann'), ('bolt', 'main', 'bob');
INSERT INTO contacts VALUES ('c1', 'main', 'ann', NULL), ('c2', 'main', 'bob', 'acme'), ('c3', 'main', 'bob', 'bolt'), ('c4', 'main', 'bob', NULL);
INSERT INTO list_members VALUES ('main', 'c3', 'news'), ('other', 'c4', 'news');`))

	set := must(roles.New(roles.Model{
		Roles: map[string]roles.Role{"rep": roles.Can("contact.read").Own("owner")},
		Tables: []accesscontrol.Table{
			{
				Resource: "contact", Entity: "Contact", Name: "contacts", Key: "id", Tenant: "tenant",
				Columns: []accesscontrol.Column{{Attr: "owner", Required: true}, {Attr: "account", Join: true}},
				Sets:    []accesscontrol.Set{{Attr: "lists", Steps: []accesscontrol.Step{{Name: "list_members", Tenant: "tenant", Match: "contact", Value: "list"}}}},
			},
			{
				Resource: "account", Entity: "Account", Name: "accounts", Key: "id", Tenant: "tenant",
				Columns: []accesscontrol.Column{{Attr: "owner", Required: true}},
			},
		},
		Attrs: map[string]string{ // what the two policies read
			"Contact.account": "Account", "Account.owner": "User", "Contact.lists": "Set<String>", "User.lists": "Set<String>",
		},
	}))
	config := set.Config()
	config.Texts["own.cedar"] = `
		@id("account") permit (principal in Role::"rep", action == Action::"contact.read", resource is Contact)
		when { resource has account && resource.account.owner == principal };
		@id("list") permit (principal in Role::"rep", action == Action::"contact.read", resource is Contact)
		when { principal has lists && resource.lists.containsAny(principal.lists) };`
	policy := must(accesscontrol.Load(ctx, config))

	ann := must(set.Principal(ctx, "main", "ann", roles.Grant{Role: "rep"}))
	ann.Attrs["lists"] = []string{"news"} // as the application knows them
	condition, args := must(policy.Filter(ctx, ann, "contact.read", "contact")).SQLite("c")
	var ids string
	check(db.QueryRowContext(ctx, "SELECT group_concat(id, ' ' ORDER BY id) FROM contacts c WHERE "+condition, args...).Scan(&ids))
	fmt.Println(ids)

	// A record in memory brings along what the policies read.
	fmt.Println(policy.Check(ctx, ann, "contact.read", accesscontrol.Resource{
		Type: "contact", ID: "c2", Tenant: "main", Attrs: map[string]any{"owner": "bob", "account": "acme", "lists": []string{}},
		Related: map[string]accesscontrol.Resource{"account": {Type: "account", ID: "acme", Tenant: "main", Attrs: map[string]any{"owner": "ann"}}},
	}))
	// Output:
	// c1 c2 c3
	// <nil>
}
