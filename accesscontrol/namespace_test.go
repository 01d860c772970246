package accesscontrol_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/accesscontrol"
	"github.com/crmguard/crmguard/internal/testdb"
)

// Two parts of an application may call an action the same: it is asked for with
// its namespace then, and one that is alone without it, too.
func TestTwoNamespacesMayNameAnActionTheSame(t *testing.T) {
	config := accesscontrol.Config{
		Texts: map[string]string{
			"s.cedarschema": `namespace CRM { entity User; entity Doc; action read, write appliesTo { principal: User, resource: Doc }; }
				namespace Bill { entity Invoice; action read appliesTo { principal: CRM::User, resource: Invoice }; }`,
			"p.cedar": `@id("docs") permit (principal, action == CRM::Action::"read", resource); @id("write") permit (principal, action == CRM::Action::"write", resource);`,
		},
		Tables: []accesscontrol.Table{
			{Resource: "doc", Entity: "CRM::Doc", Read: "CRM::read", Update: "write"},
			{Resource: "invoice", Entity: "Bill::Invoice", Read: "Bill::read"},
		},
	}
	policy, err := accesscontrol.Load(t.Context(), config)
	require.NoError(t, err)
	ann := accesscontrol.Principal{Type: "CRM::User", ID: "ann", Tenant: "main"}
	doc, invoice := accesscontrol.Resource{Type: "doc", ID: "1", Tenant: "main"}, accesscontrol.Resource{Type: "invoice", ID: "1", Tenant: "main"}
	require.NoError(t, policy.Check(t.Context(), ann, "CRM::read", doc))
	require.NoError(t, policy.Check(t.Context(), ann, "CRM::write", doc))
	require.NoError(t, policy.Check(t.Context(), ann, "write", doc))
	require.ErrorIs(t, policy.Check(t.Context(), ann, "Bill::read", invoice), accesscontrol.ErrDenied)
	require.ErrorIs(t, policy.Check(t.Context(), ann, "Bill::read", doc), accesscontrol.ErrRequest)
	err = policy.Check(t.Context(), ann, "read", doc)
	require.ErrorIs(t, err, accesscontrol.ErrRequest)
	require.ErrorContains(t, err, "it stands in more than one namespace: write Bill::read, or which one is meant")
	require.ErrorContains(t, policy.Check(t.Context(), ann, "Bill::write", doc), "the schema has no such action")

	config.Tables[0].Read = "read"
	require.Equal(t, []string{"table doc: action read: it stands in more than one namespace: write Bill::read, or which one is meant"}, problems(t, config))
}

// A table may stand in a schema of its own: CheckSchema looks there, and
// nowhere else.
func TestATableMayStandInASchema(t *testing.T) {
	testdb.Each(t, func(t *testing.T, d testdb.Database) {
		db := d.Open(t)
		db.SetMaxOpenConns(1)
		exec := func(query string) {
			_, err := db.ExecContext(t.Context(), query)
			require.NoError(t, err, query)
		}
		exec(dealTable(d))
		config := dealConfig(`@id("own") permit (principal, action, resource) when { resource.owner == principal };`)
		check := func(name string) error {
			config.Tables[0].Name = name
			policy, err := accesscontrol.Load(t.Context(), config)
			require.NoError(t, err)
			return policy.CheckSchema(t.Context(), db)
		}
		require.NoError(t, check("deals"))
		require.ErrorContains(t, check("crm.deals"), "table crm.deals: does not exist")
		schema := "crm"
		switch d.Name {
		case testdb.SQLite:
			exec("ATTACH ':memory:' AS crm")
			exec("CREATE TABLE crm.deals AS SELECT * FROM main.deals")
			require.ErrorContains(t, check("crm.deals"), "is not STRICT", "it is the other table")
			schema = "main"
		case testdb.MariaDB:
			require.NoError(t, db.QueryRowContext(t.Context(), "SELECT DATABASE()").Scan(&schema))
		default:
			exec("CREATE SCHEMA crm")
			exec("ALTER TABLE deals SET SCHEMA crm")
			require.ErrorContains(t, check("deals"), "does not exist")
		}
		require.NoError(t, check(schema+".deals"))
	})
}
