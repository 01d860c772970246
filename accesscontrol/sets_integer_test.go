package accesscontrol_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/accesscontrol"
	"github.com/crmguard/crmguard/internal/testdb"
)

// Ids that are integers lead from table to table, up a tree, and are elements:
// as entities by their decimal form, and as numbers. The tree is the record's
// own table.
func TestSetsOfIntegers(t *testing.T) {
	integer := accesscontrol.Integer
	table := accesscontrol.Table{
		Resource: "account", Entity: "Account", Name: "accounts", Key: "id", KeyAs: integer, Tenant: "tenant", TenantAs: integer,
		Sets: []accesscontrol.Set{
			{Attr: "above", Steps: []accesscontrol.Step{{Name: "accounts", Tenant: "tenant", TenantAs: integer, Match: "id", MatchAs: integer, Value: "parent", ValueAs: integer, Levels: 2}}},
			{Attr: "numbers", From: "parent", FromAs: integer, Steps: []accesscontrol.Step{{Name: "accounts", Tenant: "tenant", TenantAs: integer, Match: "id", MatchAs: integer, Value: "parent", Levels: 2}}},
			{Attr: "teams", Steps: []accesscontrol.Step{{Name: "account_teams", Tenant: "tenant", TenantAs: integer, Match: "account", MatchAs: integer, Value: "team", ValueAs: integer}}},
		},
	}
	testdb.Each(t, func(t *testing.T, d testdb.Database) {
		db := d.Open(t)
		number, strict := "BIGINT", ""
		if d.Name == testdb.SQLite {
			number, strict = "INTEGER", " STRICT"
		}
		for _, statement := range []string{
			"CREATE TABLE accounts (id # NOT NULL, tenant # NOT NULL, parent #)" + strict, "CREATE TABLE account_teams (tenant #, account #, team #)" + strict,
			"INSERT INTO accounts VALUES (1, 7, NULL), (2, 7, 1), (3, 7, 2), (4, 7, 3), (4, 8, 9)", "INSERT INTO account_teams VALUES (7, 1, 5), (7, 2, 50), (8, 3, 5), (7, 4, NULL)",
		} {
			_, err := db.ExecContext(t.Context(), strings.ReplaceAll(statement, "#", number))
			require.NoError(t, err, statement)
		}
		for condition, want := range map[string][]string{
			`resource.above.contains(Account::"1")`:                    {"1", "2", "3"},
			`resource.above.contains(Account::"01")`:                   {},
			`resource.above.contains(Account::"x")`:                    {},
			`resource.numbers.containsAny([1, 9])`:                     {"2", "3", "4"},
			`resource.numbers.isEmpty()`:                               {"1"},
			`resource.teams.containsAny([Team::"5", Team::"x"])`:       {"1"},
			`resource.teams.containsAll([Team::"5", Team::"x"])`:       {},
			`resource.teams.isEmpty()`:                                 {"3", "4"},
			`!resource.above.contains(Account::"2") && context.always`: {"1"},
		} {
			policy, err := accesscontrol.Load(t.Context(), accesscontrol.Config{
				Texts: map[string]string{
					"s.cedarschema": `entity Team; entity User; entity Account = { above: Set<Account>, numbers: Set<Long>, teams: Set<Team> };
						action read, update appliesTo { principal: User, resource: Account, context: { always: Bool } };`,
					"s.cedar": `@id("p") permit (principal, action, resource) when { ` + condition + ` };`,
				},
				Tables: []accesscontrol.Table{table},
			})
			require.NoError(t, err)
			require.NoError(t, policy.CheckSchema(t.Context(), db))
			ann := accesscontrol.Principal{Tenant: "7", ID: "ann", Context: map[string]any{"always": true}}
			where, err := policy.Filter(t.Context(), ann, "read", "account")
			require.NoError(t, err)
			sql, args := rendered(d, where, "a")
			require.Equal(t, want, ids(t, db, "SELECT a.id FROM accounts a WHERE "+sql, args...), condition)
			if d.Name == testdb.MariaDB {
				continue // a statement that changes the tree sees its own changes there, as [accesscontrol.Set] says
			}
			sql, args = rendered(d, where, "")
			for _, statement := range []string{"UPDATE accounts SET parent = 0 WHERE ", "DELETE FROM accounts WHERE "} {
				tx, err := db.BeginTx(t.Context(), nil)
				require.NoError(t, err)
				result, err := tx.ExecContext(t.Context(), statement+sql, args...)
				require.NoError(t, err, sql)
				n, err := result.RowsAffected()
				require.NoError(t, err)
				require.EqualValues(t, len(want), n, "%s%s", statement, condition)
				require.NoError(t, tx.Rollback())
			}
		}
	})
}
