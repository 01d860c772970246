package accesscontrol_test

import (
	"context"
	"database/sql"
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/accesscontrol"
	"github.com/crmguard/crmguard/internal/testdb"
)

// rendered is a filter as the database takes it.
func rendered(d testdb.Database, where accesscontrol.Where, alias string) (string, []any) {
	switch d.Name {
	case testdb.SQLite:
		return where.SQLite(alias)
	case testdb.MariaDB:
		return where.MySQL(alias)
	default:
		return where.Postgres(alias, 1)
	}
}

// plan is how the database would carry out a query, as text.
func plan(t *testing.T, db *sql.DB, d testdb.Database, query string, args ...any) string {
	t.Helper()
	explain := map[testdb.Name]string{testdb.SQLite: "EXPLAIN QUERY PLAN "}[d.Name]
	if explain == "" {
		explain = "EXPLAIN "
	}
	rows, err := db.QueryContext(t.Context(), explain+query, args...)
	require.NoError(t, err, query)
	defer func() { require.NoError(t, rows.Close()) }()
	columns, err := rows.Columns()
	require.NoError(t, err)
	var out strings.Builder
	for rows.Next() {
		values := make([]sql.NullString, len(columns))
		into := make([]any, len(columns))
		for i := range values {
			into[i] = &values[i]
		}
		require.NoError(t, rows.Scan(into...))
		for i, v := range values {
			if columns[i] != "possible_keys" { // MariaDB's list of what it did not take
				out.WriteString(v.String + " ")
			}
		}
		out.WriteString("\n")
	}
	require.NoError(t, rows.Err())
	return out.String()
}

func dealTable(d testdb.Database) string {
	text := map[testdb.Name]string{testdb.MariaDB: "VARCHAR(60) COLLATE utf8mb4_general_ci", testdb.SQLite: "TEXT"}[d.Name]
	if text == "" {
		text = "text"
	}
	number := map[testdb.Name]string{testdb.SQLite: "INTEGER"}[d.Name]
	if number == "" {
		number = "bigint"
	}
	strict := map[testdb.Name]string{testdb.SQLite: " STRICT"}[d.Name]
	return fmt.Sprintf(`CREATE TABLE deals (id %[1]s PRIMARY KEY, tenant %[1]s NOT NULL, owner %[1]s NOT NULL, team %[1]s, stage %[1]s NOT NULL, amount %[2]s NOT NULL)%[3]s`, text, number, strict)
}

func dealPolicy(ctx context.Context, t *testing.T, text string) *accesscontrol.Policy {
	t.Helper()
	policy, err := accesscontrol.Load(ctx, dealConfig(text))
	require.NoError(t, err)
	return policy
}

func dealConfig(text string) accesscontrol.Config {
	return accesscontrol.Config{
		Texts: map[string]string{
			"d.cedarschema": `entity Team; entity User = { teams: Set<Team> }; entity Deal = { owner: User, team?: Team, stage: String, amount: Long };
				action read appliesTo { principal: User, resource: Deal };`,
			"d.cedar": text,
		},
		Tables: []accesscontrol.Table{{
			Resource: "deal", Entity: "Deal", Name: "deals", Key: "id", Tenant: "tenant",
			Columns: []accesscontrol.Column{{Attr: "owner", Required: true}, {Attr: "team"}, {Attr: "stage", Required: true}, {Attr: "amount", Required: true}},
		}},
	}
}

// A list asks the index that a hand-written WHERE would ask: the condition of a
// filter is no wrapping around columns.
func TestAFilterLeavesTheIndexToTheDatabase(t *testing.T) {
	testdb.Each(t, func(t *testing.T, d testdb.Database) {
		db := d.Open(t)
		_, err := db.ExecContext(t.Context(), dealTable(d))
		require.NoError(t, err)
		for _, index := range []string{"CREATE INDEX deals_owner ON deals (tenant, owner)", "CREATE INDEX deals_team ON deals (tenant, team)"} {
			_, err = db.ExecContext(t.Context(), index)
			require.NoError(t, err)
		}
		var rows []string
		for i := range 20_000 {
			rows = append(rows, fmt.Sprintf("('d%d', 't%d', 'u%d', 'team%d', 'open', %d)", i, i%5, i%1000, i%700, i))
			if len(rows) == 500 {
				_, err = db.ExecContext(t.Context(), "INSERT INTO deals VALUES "+strings.Join(rows, ", "))
				require.NoError(t, err)
				rows = nil
			}
		}
		_, err = db.ExecContext(t.Context(), map[bool]string{true: "ANALYZE TABLE deals", false: "ANALYZE"}[d.Name == testdb.MariaDB])
		require.NoError(t, err)

		ann := accesscontrol.Principal{Tenant: "t1", ID: "u1", Attrs: map[string]any{"teams": []string{"team3", "team8"}}}
		many := ann
		var teams []string
		for i := range 60 {
			teams = append(teams, fmt.Sprintf("team%d", 3+5*i))
		}
		many.Attrs = map[string]any{"teams": teams}
		for _, c := range []struct {
			name, policy, index, byHand string
			principal                   accesscontrol.Principal
		}{
			{"own", `@id("own") permit (principal, action, resource) when { resource.owner == principal };
				@id("large") forbid (principal, action, resource) when { resource.amount > 19999 };`, "deals_owner", "d.tenant = 't1' AND d.owner = 'u1' AND NOT d.amount > 19999", ann},
			{"team", `@id("team") permit (principal, action, resource) when { resource has team && principal.teams.contains(resource.team) };`, "deals_team", "d.tenant = 't1' AND d.team IN ('team3', 'team8')", ann},
			{"teams", `@id("team") permit (principal, action, resource) when { resource has team && principal.teams.contains(resource.team) };`, "deals_team", "d.tenant = 't1' AND d.team IN ('" + strings.Join(teams, "', '") + "')", many},
			{"own or team", `@id("own") permit (principal, action, resource) when { resource.owner == principal };
				@id("team") permit (principal, action, resource) when { resource has team && principal.teams.contains(resource.team) };`, "deals_", "d.tenant = 't1' AND (d.owner = 'u1' OR d.team IN ('team3', 'team8'))", ann},
		} {
			where, err := dealPolicy(t.Context(), t, c.policy).Filter(t.Context(), c.principal, "read", "deal")
			require.NoError(t, err)
			condition, args := rendered(d, where, "d")
			byHand := plan(t, db, d, "SELECT * FROM deals d WHERE "+c.byHand)
			require.Contains(t, byHand, c.index, c.name)
			filtered := plan(t, db, d, "SELECT * FROM deals d WHERE "+condition, args...)
			require.Contains(t, filtered, c.index, "%s: %s\nby hand:\n%s\nfiltered:\n%s", c.name, condition, byHand, filtered)
		}
	})
}

// Outside of a WHERE the condition is a value: it is TRUE or FALSE for each
// row, and FALSE where an outer join found none.
func TestAFilterAsAValueIsNeverNull(t *testing.T) {
	testdb.Each(t, func(t *testing.T, d testdb.Database) {
		db := d.Open(t)
		_, err := db.ExecContext(t.Context(), dealTable(d))
		require.NoError(t, err)
		_, err = db.ExecContext(t.Context(), "INSERT INTO deals VALUES ('d1', 'main', 'ann', NULL, 'open', 1), ('d2', 'main', 'bob', NULL, 'open', 1), ('d3', 'other', 'ann', 'a', 'won', 1)")
		require.NoError(t, err)
		ann := accesscontrol.Principal{Tenant: "main", ID: "ann", Attrs: map[string]any{"teams": []string{"a"}}}
		for _, text := range []string{
			`@id("p") permit (principal, action, resource) when { resource.owner == principal };`,
			`@id("p") permit (principal, action, resource) when { resource has team && principal.teams.contains(resource.team) || resource.owner == principal };`,
			`@id("p") permit (principal, action, resource); @id("f") forbid (principal, action, resource) when { resource.owner != principal };`,
		} {
			where, err := dealPolicy(t.Context(), t, text).Filter(t.Context(), ann, "read", "deal")
			require.NoError(t, err)
			condition, args := rendered(d, where.Value(), "d")
			count := func(query string) (n int) {
				require.NoError(t, db.QueryRowContext(t.Context(), query, args...).Scan(&n), query)
				return n
			}
			join := "SELECT count(*) FROM (SELECT 'd1' AS id UNION SELECT 'd2' UNION SELECT 'd3' UNION SELECT 'none') k LEFT JOIN deals d ON d.id = k.id WHERE "
			require.Equal(t, 1, count(join+condition), text)
			require.Equal(t, 3, count(join+"NOT "+condition), text)
			require.Equal(t, 0, count(join+condition+" IS NULL"), text)
		}
	})
}
