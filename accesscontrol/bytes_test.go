package accesscontrol_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/accesscontrol"
	"github.com/crmguard/crmguard/internal/testdb"
)

// textTypes are columns for texts, whatever they take for equal by themselves.
// CheckSchema refuses some of them; even then nobody sees another tenant.
func textTypes(name testdb.Name) []string {
	switch name {
	case testdb.SQLite:
		return []string{"TEXT", "TEXT COLLATE NOCASE", "TEXT COLLATE RTRIM"}
	case testdb.MariaDB:
		return []string{"VARCHAR(40)", "VARCHAR(40) COLLATE utf8mb4_bin", "VARCHAR(40) COLLATE utf8mb4_nopad_bin", "VARCHAR(40) COLLATE utf8mb4_unicode_520_ci", "CHAR(40)", "VARBINARY(40)", "VARCHAR(40) CHARACTER SET utf8mb3"}
	default:
		return []string{"text", "varchar(40)", "citext", "word", `text COLLATE "C"`}
	}
}

// Texts that collations take for equal are different ones, as a tenant, as a
// key, as a reference and as any other attribute, alone, in a list and beside
// another column.
func TestTextsAreComparedByTheirBytes(t *testing.T) {
	alike := []string{"t", "T", "t ", "\u00e9", "e\u0301", "E\u0301", "e", "\u00df", "ss", "i", "\u0131", "I"}
	policies := map[string]string{
		"tenant": `@id("p") permit (principal, action, resource);`,
		"id":     `@id("p") permit (principal, action, resource) when { principal.deals.contains(resource) };`,
		"owner":  `@id("p") permit (principal, action, resource) when { resource.owner == principal };`,
		"stage":  `@id("p") permit (principal, action, resource) when { resource.stage == principal.stage };`,
		"list":   `@id("p") permit (principal, action, resource) when { principal.stages.contains(resource.stage) };`,
		"column": `@id("p") permit (principal, action, resource) when { resource.stage == principal.stage && resource.stage != resource.other };`,
		"not":    `@id("p") permit (principal, action, resource) unless { resource.stage != principal.stage };`,
	}
	testdb.Each(t, func(t *testing.T, d testdb.Database) {
		db := d.Open(t)
		exec := func(query string, args ...any) {
			_, err := db.ExecContext(t.Context(), query, args...)
			require.NoError(t, err, query)
		}
		insert := "INSERT INTO deals (id, tenant, owner, stage, other) VALUES (?, ?, ?, ?, ?)"
		if strings.HasPrefix(string(d.Name), "postgres") {
			exec("CREATE EXTENSION citext")
			exec("CREATE DOMAIN word AS text")
			insert = "INSERT INTO deals (id, tenant, owner, stage, other) VALUES ($1, $2, $3, $4, $5)"
		}
		for i, column := range textTypes(d.Name) {
			table := fmt.Sprint("deals", i)
			exec(fmt.Sprintf("CREATE TABLE "+table+" (id %[1]s NOT NULL, tenant %[1]s NOT NULL, owner %[1]s NOT NULL, stage %[1]s NOT NULL, other %[1]s NOT NULL)", column))
			for i, text := range alike {
				if strings.HasPrefix(column, "CHAR(") && text == "t " {
					continue // it comes back as "t"
				}
				exec(strings.Replace(insert, "deals", table, 1), text, text, text, text, alike[(i+1)%len(alike)])
			}
			for name, policy := range policies {
				for _, text := range alike {
					if strings.HasPrefix(column, "CHAR(") && text == "t " {
						continue
					}
					config := dealConfig(policy)
					config.Texts["d.cedarschema"] = `entity User = { stage: String, stages: Set<String>, deals: Set<Deal> }; entity Deal = { owner: User, stage: String, other: String }; action read appliesTo { principal: User, resource: Deal };`
					config.Tables[0].Columns = []accesscontrol.Column{{Attr: "owner", Required: true}, {Attr: "stage", Required: true}, {Attr: "other", Required: true}}
					if name != "tenant" {
						config.Tables[0].Tenant, config.Tables[0].OnlyTenant = "", "main"
					}
					stages := []string{text, "none"}
					for i := range len(column) * 10 { // a long list for some
						stages = append(stages, fmt.Sprint("none", i))
					}
					person := accesscontrol.Principal{Tenant: "main", ID: text, Attrs: map[string]any{"stage": text, "stages": stages, "deals": []string{text}}}
					if name == "tenant" {
						person.Tenant = text
					}
					policy, err := accesscontrol.Load(t.Context(), config)
					require.NoError(t, err)
					where, err := policy.Filter(t.Context(), person, "read", "deal")
					require.NoError(t, err)
					for _, where := range []accesscontrol.Where{where, where.Value()} {
						condition, args := rendered(d, where, "d")
						var found string
						err = db.QueryRowContext(t.Context(), "SELECT d.id FROM "+table+" d WHERE "+condition, args...).Scan(&found)
						require.NoError(t, err, "%s of %s, %q: %s", name, column, text, condition)
						require.Equal(t, text, found, "%s of %s: %s", name, column, condition)
						var n int
						require.NoError(t, db.QueryRowContext(t.Context(), "SELECT count(*) FROM "+table+" d WHERE "+condition, args...).Scan(&n))
						require.Equal(t, 1, n, "%s of %s, %q: %s", name, column, text, condition)
					}
				}
			}
		}
	})
}

// GORM counts the placeholders itself, and makes of them what PostgreSQL takes.
func TestGormTakesMarksAndNamesInQuotes(t *testing.T) {
	where, err := listPolicy(t).Filter(t.Context(), accesscontrol.Principal{Tenant: "main", ID: "ann", Attrs: map[string]any{"teams": []string{"a?", "b"}, "stages": []string{"s"}, "amounts": []int64{}}}, "read", "deal")
	require.NoError(t, err)
	condition, args := where.Gorm("deals")
	postgres, same := where.Postgres("deals", 1)
	require.Equal(t, same, args)
	for i := range args {
		require.Contains(t, condition, "?")
		condition = strings.Replace(condition, "?", fmt.Sprintf("$%d", i+1), 1)
	}
	require.Equal(t, postgres, condition)
	require.NotContains(t, condition, "?")
	for _, arg := range args {
		require.NotContains(t, fmt.Sprintf("%T", arg), "[]", "GORM would write a slice as a list of its own")
	}
}
