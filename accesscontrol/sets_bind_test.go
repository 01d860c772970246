package accesscontrol_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/accesscontrol"
	"github.com/crmguard/crmguard/internal/testdb"
)

// What could not be asked, or would be asked wrongly, is said when it is loaded.
func TestSetsThatCannotBeBound(t *testing.T) {
	lists, units := 0, 2 // of the table's Sets
	for want, change := range map[string]func(t *accesscontrol.Table){
		"a set has no attribute":     func(t *accesscontrol.Table) { t.Sets = append(t.Sets, accesscontrol.Set{Steps: t.Sets[lists].Steps}) },
		"set lists: it stands twice": func(t *accesscontrol.Table) { t.Sets = append(t.Sets, t.Sets[lists]) },
		"set phones: the schema has no such attribute": func(t *accesscontrol.Table) {
			t.Sets = append(t.Sets, accesscontrol.Set{Attr: "phones", Steps: t.Sets[lists].Steps})
		},
		"set lists: it stands in Columns, too: its elements stand in one place": func(t *accesscontrol.Table) {
			t.Columns = append(t.Columns, accesscontrol.Column{Attr: "lists", Required: true})
		},
		"set unit: the attribute is no Set of String, Long or entities": func(t *accesscontrol.Table) {
			t.Columns = t.Columns[1:]
			t.Sets = append(t.Sets, accesscontrol.Set{Attr: "unit", Steps: t.Sets[lists].Steps})
		},
		"set units: From is not a plain SQL identifier":                                    func(t *accesscontrol.Table) { t.Sets[units].From = `unit" --` },
		"set lists: FromAs stands without From: the type of the key is KeyAs":              func(t *accesscontrol.Table) { t.Sets[lists].FromAs = accesscontrol.UUID },
		"set units: FromAs is no \"enum\": it is text, Integer or UUID":                    func(t *accesscontrol.Table) { t.Sets[units].FromAs = accesscontrol.Enum },
		"set lists: it takes 1 to 3 steps":                                                 func(t *accesscontrol.Table) { t.Sets[lists].Steps = nil },
		"set lists: step 1: Name is not a plain SQL identifier, nor one behind its schema": func(t *accesscontrol.Table) { t.Sets[lists].Steps[0].Name = "a.b.c" },
		"set lists: step 1: Match and Value are columns: each is a plain SQL identifier":   func(t *accesscontrol.Table) { t.Sets[lists].Steps[0].Value = "" },
		"set lists: step 1: exactly one of Tenant and OnlyTenant must stand: a table of pairs without a tenant takes the column from the record that it belongs to": func(t *accesscontrol.Table) { t.Sets[lists].Steps[0].Tenant = "" },
		"set lists: step 1: Tenant is not a plain SQL identifier":                        func(t *accesscontrol.Table) { t.Sets[lists].Steps[0].Tenant = "a b" },
		"set lists: step 1: TenantAs is no \"timestamp\": it is text, Integer or UUID":   func(t *accesscontrol.Table) { t.Sets[lists].Steps[0].TenantAs = accesscontrol.Timestamp },
		"set lists: step 1: Match holds UUID, and what it equals holds text":             func(t *accesscontrol.Table) { t.Sets[lists].Steps[0].MatchAs = accesscontrol.UUID },
		"set listOwners: step 2: Match holds text, and what it equals holds Integer":     func(t *accesscontrol.Table) { t.Sets[1].Steps[0].ValueAs = accesscontrol.Integer },
		"set lists: step 1: ValueAs is no \"timestamp\" where the elements are entities": func(t *accesscontrol.Table) { t.Sets[lists].Steps[0].ValueAs = accesscontrol.Timestamp },
		"set units: step 1: Levels is 1 to 32":                                           func(t *accesscontrol.Table) { t.Sets[units].Steps[0].Levels = 33 },
		"set listOwners: step 1: only the last step has Levels":                          func(t *accesscontrol.Table) { t.Sets[1].Steps[0].Levels = 1 },
		"set units: step 1: in a tree, Match and Value are ids of one type":              func(t *accesscontrol.Table) { t.Sets[units].Steps[0].ValueAs = accesscontrol.UUID },
		"attribute lists is required and has no column":                                  func(t *accesscontrol.Table) { t.Sets = t.Sets[1:] },
		"group private names the field lists2": func(t *accesscontrol.Table) {
			t.Groups = []accesscontrol.Group{{Name: "private", Action: "read", Fields: []string{"lists2"}}}
		},
	} {
		t.Run(want, func(t *testing.T) {
			config := subscriberConfig("")
			for i := range config.Tables[0].Sets { // they share an array
				config.Tables[0].Sets[i].Steps = append([]accesscontrol.Step{}, config.Tables[0].Sets[i].Steps...)
			}
			change(&config.Tables[0])
			require.Contains(t, strings.Join(problems(t, config), "\n"), "table subscriber: "+want)
		})
	}
	config := subscriberConfig("")
	config.Texts["s.cedarschema"] = strings.Replace(config.Texts["s.cedarschema"], "lists: Set<List>, listOwners", "lists?: Set<List>, listOwners", 1)
	require.Equal(t, []string{"table subscriber: set lists: the attribute is optional, and a set is never absent: where there is no row, it is empty; declare it without ?"}, problems(t, config))
}

// What a set cannot be asked says so, and what to do.
func TestConditionsOnSetsThatCannotBecomeSQL(t *testing.T) {
	for condition, want := range map[string]string{
		`resource.lists == principal.lists`:                           `attribute lists is a set of other rows: ask it with contains, containsAny, containsAll, isEmpty, or in`,
		`principal.lists.containsAll(resource.lists)`:                 `containsAll is not translated`,
		`resource.units.containsAll([principal.unit])`:                `a tree is not asked for all of a set; write contains for each, or bind the set by a closure table`,
		`resource has unit && resource.units.contains(resource.unit)`: `bind the set by a closure table`,
		`resource.units.containsAny(resource.closed)`:                 `a set of the record is compared with one that is known`,
		`resource has unit && resource.unit in resource.units`:        `only one side of in can be a column`,
		`resource.lists.contains(List::"a\0")`:                        `a text holds NUL`,
	} {
		found := problems(t, subscriberConfig(`@id("bad") permit (principal, action, resource) when { `+condition+` };`))
		require.Len(t, found, 1, condition)
		require.Contains(t, found[0], want)
	}
}

// The live tables behind sets are looked at as the bound one is; their columns
// may be NULL.
func TestCheckSchemaLooksBehindSets(t *testing.T) {
	policy, err := accesscontrol.Load(t.Context(), subscriberConfig(byUnit))
	require.NoError(t, err)
	testdb.Each(t, func(t *testing.T, d testdb.Database) {
		db := subscriberDB(t, d, "")
		require.NoError(t, policy.CheckSchema(t.Context(), db))
		strict, number, text := "", "BIGINT", "TEXT"
		needs := map[testdb.Name]string{testdb.SQLite: "TEXT", testdb.MariaDB: "varchar"}[d.Name]
		if needs == "" {
			needs = "text"
		}
		switch d.Name {
		case testdb.SQLite:
			strict, number = " STRICT", "INTEGER"
		case testdb.MariaDB:
			text = "VARCHAR(60)"
		default:
		}
		lower := number
		if d.Name != testdb.SQLite {
			lower = "bigint"
		}
		cases := map[string]string{
			"table lists: does not exist":              "",
			"table lists: column owner does not exist": fmt.Sprintf("CREATE TABLE lists (tenant %[1]s, id %[1]s)", text) + strict,
			"table lists: column id is " + lower + ", Match of listOwners needs " + needs + ", or set Step.MatchAs to Integer": fmt.Sprintf("CREATE TABLE lists (tenant %[1]s, id %[2]s, owner %[1]s)", text, number) + strict,
		}
		switch d.Name {
		case testdb.SQLite:
			cases["table lists: is not STRICT, so a column may hold values of any type: make it anew as STRICT"] = "CREATE TABLE lists (tenant TEXT, id TEXT, owner TEXT)"
		case testdb.MariaDB:
			cases["table lists: column id of listOwners has not the collation of what it is compared with, and would be compared by no index, or not at all: give both one collation"] = "CREATE TABLE lists (tenant VARCHAR(60), id VARCHAR(60) COLLATE utf8mb4_bin, owner VARCHAR(60))"
		default:
			cases["table lists: column id of listOwners has not the collation of what it is compared with, and would be compared by no index, or not at all: give both one collation"] = `CREATE TABLE lists (tenant text, id text COLLATE "POSIX", owner text)`
		}
		for want, ddl := range cases {
			_, err := db.ExecContext(t.Context(), "DROP TABLE lists")
			require.NoError(t, err)
			if ddl != "" {
				_, err = db.ExecContext(t.Context(), ddl)
				require.NoError(t, err)
			}
			var different *accesscontrol.SchemaError
			require.ErrorAs(t, policy.CheckSchema(t.Context(), db), &different, want)
			require.Equal(t, []string{want}, different.Problems)
			if ddl == "" {
				_, err = db.ExecContext(t.Context(), "CREATE TABLE lists (tenant "+text+")")
				require.NoError(t, err)
			}
		}
		// A table that several bindings look at is named once.
		for _, table := range []string{"subscribers", "lists"} {
			_, err := db.ExecContext(t.Context(), "DROP TABLE "+table)
			require.NoError(t, err)
		}
		var different *accesscontrol.SchemaError
		require.ErrorAs(t, policy.CheckSchema(t.Context(), db), &different)
		require.Equal(t, []string{"table subscribers: does not exist", "table lists: does not exist"}, different.Problems)
	})
}
