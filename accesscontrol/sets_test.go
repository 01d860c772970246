package accesscontrol_test

import (
	"database/sql"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/accesscontrol"
	"github.com/crmguard/crmguard/internal/testdb"
)

// subscribers are visible because of what other tables say about them.
func subscriberConfig(policies string) accesscontrol.Config {
	members := accesscontrol.Step{Name: "list_members", Tenant: "tenant", Match: "subscriber", Value: "list"}
	return accesscontrol.Config{
		Texts: map[string]string{
			"s.cedarschema": `entity List; entity Unit in [Unit]; entity User in [Unit] = { lists: Set<List>, unit: Unit };
				entity Subscriber = { lists: Set<List>, listOwners: Set<User>, units: Set<Unit>, closed: Set<Unit>, unit?: Unit, name: String };
				action read, update appliesTo { principal: User, resource: Subscriber };`,
			"s.cedar": policies,
		},
		Tables: []accesscontrol.Table{{
			Resource: "subscriber", Entity: "Subscriber", Name: "subscribers", Key: "id", Tenant: "tenant", Read: "read", Update: "update",
			Columns: []accesscontrol.Column{{Attr: "unit"}, {Attr: "name", Required: true}},
			Sets: []accesscontrol.Set{
				{Attr: "lists", Steps: []accesscontrol.Step{members}},
				{Attr: "listOwners", Steps: []accesscontrol.Step{members, {Name: "lists", Tenant: "tenant", Match: "id", Value: "owner"}}},
				{Attr: "units", From: "unit", Steps: []accesscontrol.Step{{Name: "units", Tenant: "tenant", Match: "id", Value: "parent", Levels: 3}}},
				{Attr: "closed", From: "unit", Steps: []accesscontrol.Step{{Name: "unit_closure", Tenant: "tenant", Match: "below", Value: "above"}}},
			},
		}},
	}
}

const (
	byList  = `@id("list") permit (principal, action, resource) when { resource.lists.containsAny(principal.lists) };`
	byOwner = `@id("owner") permit (principal, action, resource) when { resource.listOwners.contains(principal) };`
	byUnit  = `@id("unit") permit (principal, action, resource) when { resource.units.contains(principal.unit) };`
	byTable = `@id("table") permit (principal, action, resource) when { resource.closed.contains(principal.unit) };`
)

// subscriberDB makes their tables, behind a schema where one is given, and runs
// the statements.
func subscriberDB(t *testing.T, d testdb.Database, text string, statements ...string) *sql.DB {
	t.Helper()
	db := d.Open(t)
	if text == "" {
		text = map[testdb.Name]string{testdb.MariaDB: "VARCHAR(60)"}[d.Name]
	}
	if text == "" {
		text = "TEXT"
	}
	strict := map[testdb.Name]string{testdb.SQLite: " STRICT"}[d.Name]
	if strings.HasPrefix(string(d.Name), "postgres") && strings.HasPrefix(text, "citext") {
		statements = slices.Insert(statements, 0, "CREATE EXTENSION citext")
	}
	for _, table := range []string{
		"subscribers (id T, tenant T, unit T, name T)", "list_members (tenant T, subscriber T, list T)", "lists (tenant T, id T, owner T)",
		"units (tenant T, id T, parent T)", "unit_closure (tenant T, below T, above T)",
	} {
		table = strings.ReplaceAll(table, " T", " "+text)
		if strings.HasPrefix(table, "subscribers") {
			for _, column := range []string{"id", "tenant", "name"} {
				table = strings.Replace(table, column+" "+text, column+" "+text+" NOT NULL", 1)
			}
		}
		statements = slices.Insert(statements, min(len(statements), map[bool]int{true: 1}[strings.HasPrefix(text, "citext")]), "CREATE TABLE "+table+strict)
	}
	for _, statement := range statements {
		_, err := db.ExecContext(t.Context(), statement)
		require.NoError(t, err, statement)
	}
	return db
}

func subscriberPolicy(t *testing.T, text string) *accesscontrol.Policy {
	t.Helper()
	policy, err := accesscontrol.Load(t.Context(), subscriberConfig(text))
	require.NoError(t, err)
	return policy
}

// ids lists what a query finds, in order.
func ids(t *testing.T, db *sql.DB, query string, args ...any) []string {
	t.Helper()
	rows, err := db.QueryContext(t.Context(), query, args...)
	require.NoError(t, err, query)
	defer func() { require.NoError(t, rows.Close()) }()
	out := []string{}
	for rows.Next() {
		var id string
		require.NoError(t, rows.Scan(&id))
		out = append(out, id)
	}
	require.NoError(t, rows.Err())
	slices.Sort(out)
	return out
}

// seen lists the subscribers whose rows the filter selects; its value selects
// the others where it is negated.
func seen(t *testing.T, db *sql.DB, d testdb.Database, policy *accesscontrol.Policy, who accesscontrol.Principal) []string {
	t.Helper()
	where, err := policy.Filter(t.Context(), who, "read", "subscriber")
	require.NoError(t, err)
	condition, args := rendered(d, where, "s")
	out := ids(t, db, "SELECT s.id FROM subscribers s WHERE "+condition, args...)
	condition, args = rendered(d, where.Value(), "s")
	others := ids(t, db, "SELECT s.id FROM subscribers s WHERE NOT "+condition, args...)
	require.Len(t, others, len(ids(t, db, "SELECT id FROM subscribers"))-len(out), condition)
	return out
}

func reader(tenant, id, unit string, lists ...string) accesscontrol.Principal {
	return accesscontrol.Principal{Tenant: tenant, ID: id, Attrs: map[string]any{"lists": append([]string{}, lists...), "unit": unit}}
}

// Every table behind a set stands behind the fence: rows of another tenant, with
// the same ids, lead nowhere, neither as pairs nor behind a pair of one's own,
// neither in a tree nor in a closure.
func TestTwoTenantsWithEqualIdsBehindASetNeverMeet(t *testing.T) {
	testdb.Each(t, func(t *testing.T, d testdb.Database) {
		var fill []string
		for i, tenant := range []string{"a", "A", "b"} {
			fill = append(fill, fmt.Sprintf("INSERT INTO subscribers VALUES ('s%d', '%s', 'u0', 'n'), ('s%d', '%s', 'u2', 'n')", 2*i, tenant, 2*i+1, tenant))
		}
		fill = append(fill,
			"INSERT INTO subscribers VALUES ('same', 'a', 'u0', 'n')",
			"INSERT INTO list_members VALUES ('a', 's0', 'l1'), ('A', 's0', 'l2'), ('b', 's0', 'l2'), ('A', 's1', 'l1'), ('b', 's1', 'l1'), ('b', 'same', 'l1'), ('A', 'same', 'l1')",
			"INSERT INTO lists VALUES ('a', 'l1', 'ann'), ('b', 'l1', 'bob'), ('A', 'l1', 'bob'), ('a', 'l2', 'cyd')",
			"INSERT INTO units VALUES ('a', 'u0', 'u1'), ('b', 'u1', 'u2'), ('b', 'u0', 'u3'), ('A', 'u0', 'u3'), ('a', 'u3', 'u4'), ('A', 'u2', 'u1')",
			"INSERT INTO unit_closure VALUES ('a', 'u0', 'u1'), ('b', 'u0', 'u2'), ('A', 'u0', 'u2')",
		)
		db := subscriberDB(t, d, "", fill...)
		for _, c := range []struct {
			policy string
			who    accesscontrol.Principal
			want   []string
		}{
			{byList, reader("a", "ann", "u9", "l1"), []string{"s0"}},
			{byList, reader("a", "ann", "u9", "l2"), []string{}},
			{byList, reader("A", "ann", "u9", "l1"), []string{}},
			{byList, reader("b", "ann", "u9", "l1", "l2"), []string{}},
			{byOwner, reader("a", "ann", "u9"), []string{"s0"}},
			{byOwner, reader("a", "bob", "u9"), []string{}},
			{byOwner, reader("a", "cyd", "u9"), []string{}},
			{byUnit, reader("a", "ann", "u1"), []string{"s0", "same"}},
			{byUnit, reader("a", "ann", "u2"), []string{"s1"}},
			{byUnit, reader("a", "ann", "u3"), []string{}},
			{byUnit, reader("a", "ann", "u4"), []string{}},
			{byUnit, reader("A", "ann", "u3"), []string{"s2"}},
			{byUnit, reader("A", "ann", "u4"), []string{}},
			{byTable, reader("a", "ann", "u1"), []string{"s0", "same"}},
			{byTable, reader("a", "ann", "u2"), []string{}},
			{byTable, reader("A", "ann", "u1"), []string{}},
		} {
			require.Equal(t, c.want, seen(t, db, d, subscriberPolicy(t, c.policy), c.who), "%s %s %s", c.policy, c.who.Tenant, c.who.Attrs)
		}
		// The negation of a set is no way around it.
		no := subscriberPolicy(t, `@id("none") permit (principal, action, resource) when { resource.lists.isEmpty() && !resource.closed.contains(principal.unit) };`)
		require.Equal(t, []string{"s1", "same"}, seen(t, db, d, no, reader("a", "ann", "u2")))
	})
}

// A set of a table that is one tenant's is empty for any other, in memory and in
// SQL; only a value that a tree begins with needs no row.
func TestATableOfOneTenantIsEmptyForTheOthers(t *testing.T) {
	config := subscriberConfig(byList + byUnit)
	sets := config.Tables[0].Sets
	sets[0].Steps[0].Tenant, sets[0].Steps[0].OnlyTenant = "", "a"
	sets[2].Steps[0].Tenant, sets[2].Steps[0].OnlyTenant = "", "a"
	policy, err := accesscontrol.Load(t.Context(), config)
	require.NoError(t, err)
	testdb.Each(t, func(t *testing.T, d testdb.Database) {
		db := subscriberDB(t, d, "", "INSERT INTO subscribers VALUES ('s1', 'a', 'u0', 'n'), ('s2', 'b', 'u0', 'n')",
			"INSERT INTO list_members VALUES ('x', 's1', 'l1'), ('x', 's2', 'l1')", "INSERT INTO units VALUES ('x', 'u0', 'u1')")
		require.Equal(t, []string{"s1"}, seen(t, db, d, policy, reader("a", "ann", "u9", "l1")))
		require.Equal(t, []string{"s1"}, seen(t, db, d, policy, reader("a", "ann", "u1")))
		require.Equal(t, []string{}, seen(t, db, d, policy, reader("b", "ann", "u9", "l1")))
		require.Equal(t, []string{}, seen(t, db, d, policy, reader("b", "ann", "u1")))
		require.Equal(t, []string{"s2"}, seen(t, db, d, policy, reader("b", "ann", "u0")))
	})
	record := accesscontrol.Resource{Type: "subscriber", ID: "s2", Tenant: "b", Attrs: map[string]any{"name": "n", "unit": "u0", "lists": []string{"l1"}, "listOwners": []string{}, "units": []string{"u0"}, "closed": []string{}}}
	require.ErrorIs(t, policy.Check(t.Context(), reader("b", "ann", "u9", "l1"), "read", record), accesscontrol.ErrDenied, "whatever is brought along")
	record.Tenant = "a"
	require.NoError(t, policy.Check(t.Context(), reader("a", "ann", "u9", "l1"), "read", record))
}

// A tree is followed to its bound and no further, around circles and past rows
// without an id.
func TestLevelsOfATreeAreExact(t *testing.T) {
	testdb.Each(t, func(t *testing.T, d testdb.Database) {
		db := subscriberDB(t, d, "",
			"INSERT INTO subscribers VALUES ('s0', 'a', 'u0', 'n'), ('s1', 'a', 'u1', 'n'), ('s2', 'a', 'u2', 'n'), ('gone', 'a', 'none', 'n'), ('null', 'a', NULL, 'n'), ('c1', 'a', 'c1', 'n')",
			"INSERT INTO units VALUES ('a', 'u0', 'u1'), ('a', 'u1', 'u2'), ('a', 'u2', 'u3'), ('a', 'u3', 'u4'), ('a', 'u4', 'u5'), ('a', NULL, 'u4'), ('a', 'u0', NULL), ('a', 'U1', 'u4')",
			"INSERT INTO units VALUES ('a', 'c1', 'c2'), ('a', 'c2', 'c1'), ('a', 'c2', 'c3'), ('a', 'c1', 'c1')",
		)
		for levels, want := range map[int]map[string][]string{
			1: {"u0": {"s0"}, "u1": {"s0", "s1"}, "u2": {"s1", "s2"}, "u3": {"s2"}, "u4": {}, "none": {"gone"}, "c3": {}, "": {}},
			3: {"u3": {"s0", "s1", "s2"}, "u4": {"s1", "s2"}, "u5": {"s2"}, "c1": {"c1"}, "c2": {"c1"}, "c3": {"c1"}},
			4: {"u4": {"s0", "s1", "s2"}, "u5": {"s1", "s2"}},
			5: {"u5": {"s0", "s1", "s2"}},
		} {
			config := subscriberConfig(byUnit)
			config.Tables[0].Sets[2].Steps[0].Levels = levels
			policy, err := accesscontrol.Load(t.Context(), config)
			require.NoError(t, err)
			for unit, want := range want {
				require.Equal(t, want, seen(t, db, d, policy, reader("a", "ann", unit)), "%s over %d levels", unit, levels)
			}
			not, err := accesscontrol.Load(t.Context(), config.Replaced(`@id("all") permit (principal, action, resource); @id("not") forbid (principal, action, resource) when { resource.units.contains(principal.unit) };`))
			require.NoError(t, err)
			if levels == 1 {
				require.Equal(t, []string{"c1", "gone", "null", "s0", "s1", "s2"}, seen(t, db, d, not, reader("a", "ann", "u4")), "a row without an id, as one below u4, is no reason to forbid, or to fail")
			}
			empty, err := accesscontrol.Load(t.Context(), config.Replaced(`@id("empty") permit (principal, action, resource) when { resource.units.isEmpty() };`))
			require.NoError(t, err)
			require.Equal(t, []string{"null"}, seen(t, db, d, empty, reader("a", "ann", "u1")))
		}
	})
}

// Links and elements are compared by their bytes, whatever the collation.
func TestSetsAreComparedByTheirBytes(t *testing.T) {
	testdb.Each(t, func(t *testing.T, d testdb.Database) {
		text := map[testdb.Name]string{testdb.SQLite: "TEXT COLLATE NOCASE", testdb.MariaDB: "VARCHAR(60) COLLATE utf8mb4_general_ci"}[d.Name]
		if text == "" {
			text = "citext"
		}
		db := subscriberDB(t, d, text,
			"INSERT INTO subscribers VALUES ('s1', 'a', 'u0', 'n'), ('S1', 'a', 'U0', 'n'), ('s2', 'a', 'x', 'n'), ('s3', 'a', 'X', 'n')",
			"INSERT INTO list_members VALUES ('a', 's1', 'l1'), ('a', 'S1', 'L1'), ('a', 's2', 'é'), ('a', 's3', 'É'), ('a', 's3', 'l1'), ('a', 's3', 'L1')",
			"INSERT INTO lists VALUES ('a', 'l1', 'ann'), ('a', 'L1', 'Ann'), ('a', 'É', 'ann')",
			"INSERT INTO units VALUES ('a', 'u0', 'u1'), ('a', 'U0', 'U1'), ('a', 'u1', 'top'), ('a', 'U1', 'TOP'), ('a', 'x', 'm'), ('a', 'X', 'm')",
			"INSERT INTO unit_closure VALUES ('a', 'u0', 'u1'), ('a', 'U0', 'U1')")
		both := `@id("both") permit (principal, action, resource) when { resource.lists.containsAll([List::"l1", List::"L1"]) };`
		for _, c := range []struct {
			policy string
			who    accesscontrol.Principal
			want   []string
		}{
			{byList, reader("a", "ann", "", "l1"), []string{"s1", "s3"}},
			{byList, reader("a", "ann", "", "L1"), []string{"S1", "s3"}},
			{byList, reader("a", "ann", "", "é"), []string{"s2"}},
			{byOwner, reader("a", "ann", ""), []string{"s1", "s3"}},
			{byOwner, reader("a", "Ann", ""), []string{"S1", "s3"}},
			{byUnit, reader("a", "ann", "top"), []string{"s1"}},
			{byUnit, reader("a", "ann", "TOP"), []string{"S1"}},
			{byUnit, reader("a", "ann", "U1"), []string{"S1"}},
			{byUnit, reader("a", "ann", "m"), []string{"s2", "s3"}},
			{byUnit, reader("a", "ann", "M"), []string{}},
			{byTable, reader("a", "ann", "u1"), []string{"s1"}},
			{both, reader("a", "ann", ""), []string{"s3"}},
		} {
			slices.Sort(c.want)
			require.Equal(t, c.want, seen(t, db, d, subscriberPolicy(t, c.policy), c.who), "%s %s %v", c.policy, c.who.ID, c.who.Attrs)
		}
	})
}

// In an UPDATE or DELETE, without an alias and behind a schema, the record's
// columns stay the record's, though the tables behind the sets have columns of
// the same names.
func TestSetsInAnUpdateAndWithoutAnAlias(t *testing.T) {
	testdb.Each(t, func(t *testing.T, d testdb.Database) {
		fill := []string{
			"INSERT INTO subscribers VALUES ('s1', 'a', 'u0', 'n'), ('s2', 'a', 'u1', 'n'), ('s3', 'b', 'u0', 'n')",
			"INSERT INTO list_members VALUES ('a', 's1', 'l1'), ('b', 's3', 'l1')", "INSERT INTO lists VALUES ('a', 'l1', 'bob')",
			"INSERT INTO units VALUES ('a', 'u0', 'u1'), ('a', 'u1', 'u2'), ('a', 'u5', 'u6')",
		}
		db := subscriberDB(t, d, "", fill...)
		schema := map[testdb.Name]string{testdb.SQLite: "main", testdb.PostgresC: "public", testdb.PostgresICU: "public"}[d.Name]
		if schema == "" {
			require.NoError(t, db.QueryRowContext(t.Context(), "SELECT DATABASE()").Scan(&schema))
		}
		for _, prefix := range []string{"", schema + "."} {
			config := subscriberConfig(byList + byOwner + byUnit)
			config.Tables[0].Name = prefix + "subscribers"
			for i := range config.Tables[0].Sets {
				for j := range config.Tables[0].Sets[i].Steps {
					config.Tables[0].Sets[i].Steps[j].Name = prefix + config.Tables[0].Sets[i].Steps[j].Name
				}
			}
			policy, err := accesscontrol.Load(t.Context(), config)
			require.NoError(t, err)
			require.NoError(t, policy.CheckSchema(t.Context(), db))
			for _, who := range []accesscontrol.Principal{reader("a", "ann", "u0", "l1"), reader("a", "bob", "u9"), reader("a", "ann", "u2")} {
				want := []string{"s1"}
				if who.Attrs["unit"] == "u2" {
					want = []string{"s1", "s2"}
				}
				where, err := policy.Filter(t.Context(), who, "update", "subscriber")
				require.NoError(t, err)
				condition, args := rendered(d, where, "")
				require.Equal(t, want, ids(t, db, "SELECT id FROM "+prefix+"subscribers WHERE "+condition, args...), condition)
				for _, statement := range []string{"UPDATE " + prefix + "subscribers SET name = 'changed' WHERE ", "DELETE FROM " + prefix + "subscribers WHERE "} {
					tx, err := db.BeginTx(t.Context(), nil)
					require.NoError(t, err)
					result, err := tx.ExecContext(t.Context(), statement+condition, args...)
					require.NoError(t, err, condition)
					n, err := result.RowsAffected()
					require.NoError(t, err)
					require.EqualValues(t, len(want), n, statement)
					require.NoError(t, tx.Rollback())
				}
			}
		}
		// An alias of the application's that looks like one of ours.
		where, err := subscriberPolicy(t, byOwner+byUnit).Filter(t.Context(), reader("a", "ann", "u1"), "update", "subscriber")
		require.NoError(t, err)
		condition, args := rendered(d, where, "crmguard_1")
		require.Equal(t, []string{"s1", "s2"}, ids(t, db, "SELECT crmguard_1.id FROM subscribers crmguard_1 WHERE "+condition, args...))
	})
}
