package accesscontrol_test

import (
	"context"
	"database/sql"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/accesscontrol"
	"github.com/crmguard/crmguard/internal/testdb"
)

const contactSchema = `entity User;
entity Region = { manager: User };
entity Account = { owner: User, region?: Region, parent?: Account, closed?: Bool, note?: String };
entity Contact = { owner: User, account?: Account };
action read, edit, make, drop appliesTo { principal: User, resource: [Contact, Account] };`

// mine is the rule of most CRMs: a contact is seen because its account is.
const mine = `@id("mine") permit (principal, action, resource is Contact) when { resource has account && resource.account.owner == principal };`

func contactConfig(policies string) accesscontrol.Config {
	return accesscontrol.Config{
		Texts: map[string]string{"c.cedarschema": contactSchema, "c.cedar": policies},
		Tables: []accesscontrol.Table{
			{
				Resource: "contact", Entity: "Contact", Name: "contacts", Key: "id", Tenant: "tenant", Read: "read", Create: "make", Update: "edit", Delete: "drop",
				Columns: []accesscontrol.Column{{Attr: "owner", Required: true}, {Attr: "account", Join: true}},
			},
			{
				Resource: "account", Entity: "Account", Name: "accounts", Key: "id", Tenant: "tenant",
				Columns: []accesscontrol.Column{{Attr: "owner", Required: true}, {Attr: "region", Join: true}, {Attr: "parent", Join: true}, {Attr: "closed"}, {Attr: "note", Opaque: true}},
			},
			{
				Resource: "region", Entity: "Region", Name: "regions", Key: "id", Tenant: "tenant",
				Columns: []accesscontrol.Column{{Attr: "manager", Required: true}},
			},
		},
	}
}

func contactPolicy(t *testing.T, policies string) *accesscontrol.Policy {
	t.Helper()
	policy, err := accesscontrol.Load(t.Context(), contactConfig(policies))
	require.NoError(t, err)
	return policy
}

// contactDDL has accounts a1 to a3 in two tenants, with other owners.
func contactDDL(d testdb.Database) string {
	text, flag, strict := "text", "boolean", ""
	switch d.Name {
	case testdb.SQLite:
		text, flag, strict = "TEXT", "INTEGER", " STRICT"
	case testdb.MariaDB:
		text = "VARCHAR(60) COLLATE utf8mb4_general_ci"
	default:
	}
	return strings.NewReplacer("TEXT", text, "FLAG", flag, "END", strict).Replace(`
CREATE TABLE contacts (id TEXT NOT NULL, tenant TEXT NOT NULL, owner TEXT NOT NULL, account TEXT, PRIMARY KEY (tenant, id))END;
CREATE TABLE accounts (id TEXT NOT NULL, tenant TEXT NOT NULL, owner TEXT NOT NULL, region TEXT, parent TEXT, closed FLAG, note TEXT, PRIMARY KEY (tenant, id))END;
CREATE TABLE regions (id TEXT NOT NULL, tenant TEXT NOT NULL, manager TEXT NOT NULL, PRIMARY KEY (tenant, id))END;
INSERT INTO accounts VALUES ('a1', 'main', 'ann', NULL, NULL, NULL, NULL), ('a2', 'main', 'bob', 'r1', 'a1', NULL, NULL), ('a1', 'other', 'bob', NULL, NULL, NULL, NULL), ('a2', 'other', 'ann', 'r1', 'a1', NULL, NULL), ('a3', 'other', 'ann', NULL, NULL, NULL, NULL);
INSERT INTO regions VALUES ('r1', 'main', 'bob'), ('r1', 'other', 'ann');
INSERT INTO contacts VALUES ('c1', 'main', 'x', 'a1'), ('c2', 'main', 'x', 'a2'), ('c3', 'main', 'x', 'a3'), ('c4', 'main', 'x', NULL), ('c5', 'main', 'x', 'A1'), ('c1', 'other', 'x', 'a1'), ('c2', 'other', 'x', 'a2')`)
}

func contactDB(t *testing.T, d testdb.Database) *sql.DB {
	t.Helper()
	db := d.Open(t)
	for statement := range strings.SplitSeq(contactDDL(d), ";") {
		_, err := db.ExecContext(t.Context(), statement)
		require.NoError(t, err, statement)
	}
	return db
}

// contactsOf lists what a filter selects, as tenant/id.
func contactsOf(t *testing.T, db *sql.DB, d testdb.Database, where accesscontrol.Where) []string {
	t.Helper()
	out := []string{}
	condition, args := rendered(d, where, "c")
	for id := range joinRows(t, db, "SELECT c.tenant, c.id, NULL FROM contacts c WHERE "+condition, args) {
		out = append(out, id)
	}
	slices.Sort(out)
	return out
}

func ann(tenant string) accesscontrol.Principal {
	return accesscontrol.Principal{Tenant: tenant, ID: "ann"}
}

// The ids of two tenants are equal, and no record of one is ever reached from
// one of the other: in a permit, in a forbid, and through more than one record.
func TestTwoTenantsWithEqualIDsBehindARelationNeverMeet(t *testing.T) {
	others := map[string]accesscontrol.Resource{}
	for _, id := range []string{"a1", "a2", "a3"} {
		others[id] = accesscontrol.Resource{Type: "account", ID: id, Tenant: "other", Attrs: map[string]any{"owner": "ann"}}
	}
	all := `@id("all") permit (principal, action, resource); `
	// A table that is wholly another tenant's.
	config := contactConfig(mine)
	config.Tables[1].Tenant, config.Tables[1].OnlyTenant = "", "main"
	policy, err := accesscontrol.Load(t.Context(), config)
	require.NoError(t, err)
	testdb.Each(t, func(t *testing.T, d testdb.Database) {
		db := contactDB(t, d)
		for policy, want := range map[string][]string{
			mine: {"main/c1"},
			all + `@id("f") forbid (principal, action, resource) when { resource has account && resource.account.owner == principal };`:                                         {"main/c2", "main/c4"},
			`@id("p") permit (principal, action, resource) when { resource has account && resource.account has region && resource.account.region.manager == principal };`:       {},
			`@id("p") permit (principal, action, resource) when { resource has account && resource.account has parent && resource.account.parent.owner == principal };`:         {"main/c2"},
			`@id("p") permit (principal, action, resource) when { resource has account && !(resource.account has region) };`:                                                    {"main/c1", "main/c3", "main/c5"},
			all + `@id("f") forbid (principal, action, resource) when { resource has account && resource.account has region && resource.account.region.manager != principal };`: {"main/c1", "main/c3", "main/c4", "main/c5"},
		} {
			where, err := contactPolicy(t, policy).Filter(t.Context(), ann("main"), "read", "contact")
			require.NoError(t, err)
			require.Equal(t, want, contactsOf(t, db, d, where), policy)
		}
		where, err := policy.Filter(t.Context(), ann("other"), "read", "contact")
		require.NoError(t, err)
		require.Empty(t, contactsOf(t, db, d, where))
	})
	record := accesscontrol.Resource{Type: "contact", ID: "c", Tenant: "other", Attrs: map[string]any{"owner": "x", "account": "a2"}, Related: map[string]accesscontrol.Resource{"account": others["a2"]}}
	require.ErrorIs(t, policy.Check(t.Context(), ann("other"), "read", record), accesscontrol.ErrDenied)
	require.NoError(t, contactPolicy(t, mine).Check(t.Context(), ann("other"), "read", record))
	for _, id := range []string{"a1", "a2", "a3"} {
		record := accesscontrol.Resource{Type: "contact", ID: "c", Tenant: "main", Attrs: map[string]any{"owner": "x", "account": id}, Related: map[string]accesscontrol.Resource{"account": others[id]}}
		require.ErrorIs(t, contactPolicy(t, mine).Check(t.Context(), ann("main"), "read", record), accesscontrol.ErrDenied)
		record.Tenant = "other"
		require.NoError(t, contactPolicy(t, mine).Check(t.Context(), ann("other"), "read", record))
	}
}

// A statement may know the table by no alias at all, by an alias that the
// library would give, and change or delete what the filter selects. The names of
// both tables are the same.
func TestJoinsInEveryStatement(t *testing.T) {
	testdb.Each(t, func(t *testing.T, d testdb.Database) {
		for _, qualified := range []bool{false, true} {
			db := contactDB(t, d)
			schema := map[testdb.Name]string{testdb.SQLite: "'main'", testdb.MariaDB: "DATABASE()"}[d.Name]
			if schema == "" {
				schema = "current_schema()::text"
			}
			require.NoError(t, db.QueryRowContext(t.Context(), "SELECT "+schema).Scan(&schema))
			config := contactConfig(mine + `@id("f") forbid (principal, action, resource) when { resource has account && resource.account has parent && resource.account.parent.owner == resource.owner };`)
			table := func(i int) string { return config.Tables[i].Name }
			if qualified {
				for i := range config.Tables {
					config.Tables[i].Name = schema + "." + config.Tables[i].Name
				}
			}
			policy, err := accesscontrol.Load(t.Context(), config)
			require.NoError(t, err)
			require.NoError(t, policy.CheckSchema(t.Context(), db))
			where, err := policy.Filter(t.Context(), ann("main"), "read", "contact")
			require.NoError(t, err)
			for _, alias := range []string{"", "c", "crmguard_1", "CRMGUARD_2", "accounts"} {
				condition, args := rendered(d, where, alias)
				as := ""
				if alias != "" {
					as = " AS " + alias
					if alias == "CRMGUARD_2" && d.Name != testdb.MariaDB && d.Name != testdb.SQLite {
						as = ` AS "CRMGUARD_2"`
					}
				}
				var n int
				require.NoError(t, db.QueryRowContext(t.Context(), "SELECT COUNT(*) FROM "+table(0)+as+" WHERE "+condition, args...).Scan(&n), condition)
				require.Equal(t, 1, n, "%q: %s", alias, condition)
			}
			condition, args := rendered(d, where, "")
			for _, statement := range []string{"UPDATE " + table(0) + " SET owner = 'y' WHERE ", "DELETE FROM " + table(0) + " WHERE "} {
				done, err := db.ExecContext(t.Context(), statement+condition, args...)
				require.NoError(t, err, condition)
				n, err := done.RowsAffected()
				require.NoError(t, err)
				require.Equal(t, int64(1), n, condition)
			}
			// A record that refers to one of its own table.
			config.Texts["c.cedar"] = `@id("p") permit (principal, action, resource is Account) when { resource has parent && resource.parent.owner == principal };`
			policy, err = accesscontrol.Load(t.Context(), config)
			require.NoError(t, err)
			where, err = policy.Filter(t.Context(), ann("main"), "read", "account")
			require.NoError(t, err)
			condition, args = rendered(d, where, "")
			for _, statement := range []string{"UPDATE " + table(1) + " SET note = 'y' WHERE ", "DELETE FROM " + table(1) + " WHERE "} {
				done, err := db.ExecContext(t.Context(), statement+condition, args...)
				require.NoError(t, err, condition)
				n, err := done.RowsAffected()
				require.NoError(t, err)
				require.Equal(t, int64(1), n, condition)
			}
			for _, name := range []string{"contacts", "accounts", "regions"} {
				_, err := db.ExecContext(t.Context(), "DROP TABLE "+name)
				require.NoError(t, err)
			}
		}
	})
}

// A database may keep what it found for one record, and take another one for the
// same whose texts are equal under a collation.
func TestWhatIsFoundForOneRecordIsNotTakenForAnother(t *testing.T) {
	testdb.Each(t, func(t *testing.T, d testdb.Database) {
		db := contactDB(t, d)
		_, err := db.ExecContext(t.Context(), "INSERT INTO contacts VALUES ('d1', 'main', 'ann', 'a1'), ('d2', 'main', 'ANN', 'a1'), ('d3', 'main', 'ann', 'A1'), ('d4', 'main', 'ann ', 'a1'), ('d5', 'main', 'ann', 'a1')")
		require.NoError(t, err)
		for _, policy := range []string{
			`@id("p") permit (principal, action, resource is Contact) when { resource.owner == User::"none" || resource has account && resource.account.owner == resource.owner };`,
			`@id("p") permit (principal, action, resource is Contact) when { resource.owner == User::"none" || resource has account && resource.account.owner == principal && resource.owner == principal };`,
		} {
			where, err := contactPolicy(t, policy).Filter(t.Context(), ann("main"), "read", "contact")
			require.NoError(t, err)
			require.Equal(t, []string{"main/d1", "main/d5"}, contactsOf(t, db, d, where), first(rendered(d, where, "c")))
		}
	})
}

// A check says what it misses, and wants nothing that no policy reads.
func TestRelatedRecords(t *testing.T) {
	policy := contactPolicy(t, mine+`@id("up") permit (principal, action == Action::"edit", resource is Contact) when { resource has account && resource.account has parent && resource.account.parent.owner == principal };`)
	account := func(id string, related map[string]accesscontrol.Resource) accesscontrol.Resource {
		return accesscontrol.Resource{Type: "account", ID: id, Tenant: "main", Attrs: map[string]any{"owner": "bob", "parent": "a9"}, Related: related}
	}
	contact := func(related map[string]accesscontrol.Resource) accesscontrol.Resource {
		return accesscontrol.Resource{Type: "contact", ID: "c1", Tenant: "main", Attrs: map[string]any{"owner": "x", "account": "a1"}, Related: related}
	}
	of := func(account accesscontrol.Resource) accesscontrol.Resource {
		return contact(map[string]accesscontrol.Resource{"account": account})
	}
	parent := accesscontrol.Resource{Type: "account", ID: "a9", Tenant: "main", Attrs: map[string]any{"owner": "ann"}}
	other := parent
	other.Tenant = "other"
	elsewhere := contact(nil)
	elsewhere.Tenant = "other"
	alone := contact(nil)
	delete(alone.Attrs, "account")
	wrong := account("a1", nil)
	wrong.Attrs["owner"] = 3.5
	misspelt := account("a1", nil)
	misspelt.Attrs["ovner"] = "ann"
	nobody := account("a1", nil)
	nobody.Attrs = map[string]any{}
	for name, c := range map[string]struct {
		action string
		record accesscontrol.Resource
		want   string
	}{
		"nothing is brought":              {"read", contact(nil), `resource resource.account: the policies read this record: bring Related["account"], the zero Resource where there is none`},
		"the one behind it is not":        {"edit", of(account("a1", nil)), `resource resource.account.parent: the policies read this record: bring Related["parent"]`},
		"nobody reads the one behind it":  {"read", of(account("a1", nil)), "not_permitted"},
		"it is not there":                 {"read", of(accesscontrol.Resource{}), "not_permitted"},
		"the one behind is not there":     {"edit", of(account("a1", map[string]accesscontrol.Resource{"parent": {}})), "not_permitted"},
		"all is there":                    {"edit", of(account("a1", map[string]accesscontrol.Resource{"parent": parent})), ""},
		"of another tenant":               {"edit", of(account("a1", map[string]accesscontrol.Resource{"parent": other})), "not_permitted"},
		"another record":                  {"read", of(account("a2", nil)), "not the one that the attribute refers to"},
		"another type":                    {"read", of(accesscontrol.Resource{Type: "region", ID: "a1", Tenant: "main"}), "of another type than account"},
		"no tenant":                       {"read", of(accesscontrol.Resource{Type: "account", ID: "a1"}), "the related record has no tenant"},
		"a value of the wrong type":       {"read", of(wrong), "resource.account.owner"},
		"an attribute that there is not":  {"read", of(misspelt), "resource.account.ovner: attribute is not in the schema"},
		"a required attribute is missing": {"read", of(nobody), "resource.account.owner: required attribute is missing"},
		"a relation that there is not":    {"read", contact(map[string]accesscontrol.Resource{"accounts": {}}), "no column says Join"},
		"another tenant's record":         {"read", elsewhere, "not_permitted"},
		"the reference is NULL":           {"read", alone, "not_permitted"},
	} {
		err := policy.Check(t.Context(), ann("main"), c.action, c.record)
		if c.want == "" {
			require.NoError(t, err, name)
			continue
		}
		if c.want == "not_permitted" {
			require.ErrorIs(t, err, accesscontrol.ErrDenied, name)
			require.NotErrorIs(t, err, accesscontrol.ErrRequest, name)
			continue
		}
		require.ErrorIs(t, err, accesscontrol.ErrRequest, name)
		require.ErrorContains(t, err, c.want, name)
	}
}

// Fields, changes, whoever may, and what a shadow or an Allower asks, read the
// same records.
func TestRelatedRecordsInEveryAnswer(t *testing.T) {
	ctx := t.Context()
	config := contactConfig(mine)
	record := accesscontrol.Resource{
		Type: "contact", ID: "c1", Tenant: "main", Attrs: map[string]any{"owner": "x", "account": "a1"},
		Related: map[string]accesscontrol.Resource{"account": {Type: "account", ID: "a1", Tenant: "main", Attrs: map[string]any{"owner": "ann"}}},
	}
	config.Find = func(context.Context, string, string, string) (accesscontrol.Resource, error) { return record, nil }
	policy, err := accesscontrol.Load(ctx, config)
	require.NoError(t, err)

	fields, err := policy.Fields(ctx, ann("main"), record)
	require.NoError(t, err)
	require.Equal(t, []string{"account", "owner"}, fields.Readable())
	shown, _, err := policy.Redact(ctx, ann("main"), record)
	require.NoError(t, err)
	require.Equal(t, record.Attrs, shown.Attrs)
	require.Empty(t, shown.Related, "what another record holds is not this one's to show")
	bare := record
	bare.Related = nil
	_, err = policy.Fields(ctx, ann("main"), bare)
	require.ErrorIs(t, err, accesscontrol.ErrRequest)

	moved := record
	moved.Attrs = map[string]any{"owner": "x", "account": "a2"}
	moved.Related = map[string]accesscontrol.Resource{"account": {Type: "account", ID: "a2", Tenant: "main", Attrs: map[string]any{"owner": "bob"}}}
	require.NoError(t, policy.CheckChange(ctx, ann("main"), record, record))
	require.ErrorIs(t, policy.CheckChange(ctx, ann("main"), record, moved), accesscontrol.ErrDenied, "nobody gives away to an account that is not theirs")

	require.NoError(t, policy.Allower(func(context.Context) (accesscontrol.Principal, error) { return ann("main"), nil })(ctx, "read", "contact/c1"))

	var differences []accesscontrol.Difference
	shadow := &accesscontrol.Shadow{ // whose Old says no: the policy says yes
		Policy: policy, Wait: time.Minute,
		Report: func(_ context.Context, d accesscontrol.Difference) { differences = append(differences, d) },
	}
	require.False(t, shadow.Check(ctx, ann("main"), "read", record))
	require.Len(t, differences, 1)
	require.Equal(t, []string{"mine"}, differences[0].New.Policies)

	var found []string
	for who, err := range policy.WhoCan(ctx, accesscontrol.Each(ann("main"), accesscontrol.Principal{Tenant: "main", ID: "bob"}, ann("other")), "read", record) {
		require.NoError(t, err)
		require.NoError(t, who.Err)
		found = append(found, who.Principal.ID)
	}
	require.Equal(t, []string{"ann"}, found)
	abilities, err := policy.WhatCan(ctx, ann("main"))
	require.NoError(t, err)
	require.Contains(t, fmt.Sprint(abilities), "resource.account.owner")

	after := contactPolicy(t, `@id("p") permit (principal, action, resource);`)
	for change, err := range accesscontrol.Diff(ctx, policy, after, accesscontrol.Each(accesscontrol.Request{Principal: ann("main"), Action: "read", Resource: moved})) {
		require.NoError(t, err)
		require.Equal(t, []string{"p"}, change.Policies())
	}
	gained, lost, err := accesscontrol.DiffRows(ctx, policy, after, ann("main"), "read", "contact")
	require.NoError(t, err)
	d := testdb.New(t, testdb.SQLite)
	db := contactDB(t, d)
	require.Equal(t, []string{"main/c2", "main/c3", "main/c4", "main/c5"}, contactsOf(t, db, d, gained))
	require.Empty(t, contactsOf(t, db, d, lost))
}
