package accesscontrol_test

import (
	"database/sql"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/accesscontrol"
	"github.com/crmguard/crmguard/internal/testdb"
)

// What schemas drawn at random have found.

// A table that is wholly one tenant's has no column to tell a row from the miss
// of an outer join.
func TestTheMissOfAnOuterJoinIsNoRecordOfAnOnlyTenant(t *testing.T) {
	testdb.Each(t, func(t *testing.T, d testdb.Database) {
		config := foundConfig(`@id("p") permit (principal, action, resource) when { !(resource has note && resource.note == "x") };`)
		config.Tables[0].Tenant, config.Tables[0].OnlyTenant = "", "main"
		policy, err := accesscontrol.Load(t.Context(), config)
		require.NoError(t, err)
		where, err := policy.Filter(t.Context(), accesscontrol.Principal{Tenant: "main", ID: "ann"}, "read", "deal")
		require.NoError(t, err)
		db := d.Open(t)
		foundTable(t, d, db)
		value, args := rendered(d, where.Value(), "c")
		_, rows := allOf(t, db, "SELECT "+value+" FROM (SELECT 1 AS one UNION ALL SELECT 2) AS k LEFT JOIN deals AS c ON k.one = 1 ORDER BY k.one", args...)
		require.Len(t, rows, 2)
		require.True(t, isTrue(t, rows[0][0]))
		require.False(t, isTrue(t, rows[1][0]))
	})
}

// SQLite takes the word TRUE for a column that is called so.
func TestAColumnMayBeCalledTrue(t *testing.T) {
	testdb.Each(t, func(t *testing.T, d testdb.Database) {
		policy, err := accesscontrol.Load(t.Context(), foundConfig(`@id("p") permit (principal, action, resource) when { if resource has note then true else false };
@id("f") forbid (principal, action, resource) when { resource has note && resource.note == "x" };`))
		require.NoError(t, err)
		where, err := policy.Filter(t.Context(), accesscontrol.Principal{Tenant: "main", ID: "ann"}, "read", "deal")
		require.NoError(t, err)
		db := d.Open(t)
		foundTable(t, d, db)
		for _, where := range []accesscontrol.Where{where, where.Value()} {
			value, args := rendered(d, where, "c")
			_, rows := allOf(t, db, "SELECT "+value+" FROM deals AS c", args...)
			require.True(t, isTrue(t, rows[0][0]), value)
		}
	})
}

// foundTable has one deal, whose note stands in a column that is called true.
func foundTable(t *testing.T, d testdb.Database, db *sql.DB) {
	t.Helper()
	text, tail := map[testdb.Name]string{testdb.SQLite: "TEXT", testdb.MariaDB: "VARCHAR(60)"}[d.Name], map[testdb.Name]string{testdb.SQLite: " STRICT"}[d.Name]
	w := schemaWorld{database: d.Name}
	if text == "" {
		text = "text"
	}
	for _, statement := range []string{
		"CREATE TABLE deals (id " + text + " NOT NULL, tenant " + text + " NOT NULL, " + w.quoted("true") + " " + text + ", " + w.quoted("false") + " " + text + ")" + tail,
		"INSERT INTO deals VALUES ('d', 'main', 'note', 'note')",
	} {
		_, err := db.ExecContext(t.Context(), statement)
		require.NoError(t, err)
	}
}

func foundConfig(policies string) accesscontrol.Config {
	return accesscontrol.Config{
		Texts: map[string]string{"d.cedar": policies, "d.cedarschema": `entity User; entity Deal = { note?: String }; action read appliesTo { principal: User, resource: Deal };`},
		Tables: []accesscontrol.Table{{
			Resource: "deal", Entity: "Deal", Name: "deals", Key: "id", Tenant: "tenant", Columns: []accesscontrol.Column{{Attr: "note", Name: "true"}}, Read: "read",
		}},
	}
}

// Types may call different things by one name: a policy about one of them reads
// what that one means.
func TestAJoinOfOneTypeMayBeNoJoinInAnother(t *testing.T) {
	config := func(scope string) accesscontrol.Config {
		return accesscontrol.Config{
			Texts: map[string]string{
				"d.cedar": `@id("p") permit (principal, action, ` + scope + `) when { resource.owner.open };`,
				"d.cedarschema": `entity User = { open: Bool }; entity Account = { open: Bool }; entity Deal = { owner: Account }; entity Note = { owner: Account };
action read appliesTo { principal: User, resource: [Deal, Note] };`,
			},
			Tables: []accesscontrol.Table{
				{Resource: "deal", Entity: "Deal", Name: "deals", Key: "id", Tenant: "tenant", Columns: []accesscontrol.Column{{Attr: "owner", Required: true, Join: true}}},
				{Resource: "note", Entity: "Note", Name: "notes", Key: "id", Tenant: "tenant", Columns: []accesscontrol.Column{{Attr: "owner", Required: true}}},
				{Resource: "account", Entity: "Account", Name: "accounts", Key: "id", Tenant: "tenant", Columns: []accesscontrol.Column{{Attr: "open", Required: true}}},
			},
		}
	}
	for _, scope := range []string{`resource is Deal`, `resource == Deal::"d"`} {
		_, err := accesscontrol.Load(t.Context(), config(scope))
		require.NoError(t, err)
	}
	for _, scope := range []string{`resource`, `resource is Note`, `resource == Note::"n"`} {
		_, err := accesscontrol.Load(t.Context(), config(scope))
		require.ErrorContains(t, err, "reads another Account")
	}
}
