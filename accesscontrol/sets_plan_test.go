package accesscontrol_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/accesscontrol"
	"github.com/crmguard/crmguard/internal/testdb"
)

// A set is asked through the indexes of its tables, and those of the record,
// that a hand-written condition is asked through.
func TestASetLeavesTheIndexToTheDatabase(t *testing.T) {
	testdb.Each(t, func(t *testing.T, d testdb.Database) {
		statements := []string{
			"CREATE INDEX subscribers_id ON subscribers (tenant, id)", "CREATE INDEX subscribers_unit ON subscribers (tenant, unit)",
			"CREATE INDEX members_subscriber ON list_members (tenant, subscriber)", "CREATE INDEX members_list ON list_members (tenant, list)",
			"CREATE INDEX lists_id ON lists (tenant, id)", "CREATE INDEX lists_owner ON lists (tenant, owner)",
			"CREATE INDEX closure_below ON unit_closure (tenant, below)", "CREATE INDEX closure_above ON unit_closure (tenant, above)",
			"CREATE INDEX units_parent ON units (tenant, parent)",
		}
		const n, chunk = 6_000, 500
		for _, table := range []struct{ name, row string }{
			{"subscribers", "('s%[1]d', 'a', 'u%[2]d', 'n')"},
			{"list_members", "('a', 's%[1]d', 'l%[2]d')"},
			{"lists", "('a', 'l%[1]d', 'p%[2]d')"},
			{"unit_closure", "('a', 'u%[1]d', 'v%[2]d')"},
			{"units", "('a', 'u%[1]d', 'v%[2]d')"},
		} {
			for from := 0; from < n; from += chunk {
				rows := make([]string, chunk)
				for i := range rows {
					rows[i] = fmt.Sprintf(table.row, from+i, (from+i)%1000)
				}
				statements = append(statements, "INSERT INTO "+table.name+" VALUES "+strings.Join(rows, ", "))
			}
		}
		statements = append(statements, map[bool]string{true: "ANALYZE TABLE subscribers, list_members, lists, unit_closure, units", false: "ANALYZE"}[d.Name == testdb.MariaDB])
		db := subscriberDB(t, d, "", statements...)
		for _, c := range []struct {
			name, policy, byHand string
			indexes              []string
		}{
			{"lists", byList, "EXISTS (SELECT 1 FROM list_members m WHERE m.subscriber = s.id AND m.tenant = 'a' AND m.list = 'l1')", []string{"members_"}},
			{"owners", byOwner, "EXISTS (SELECT 1 FROM list_members m, lists l WHERE m.subscriber = s.id AND m.tenant = 'a' AND l.id = m.list AND l.tenant = 'a' AND l.owner = 'ann')", []string{"members_", "lists_"}},
			{"closure", byTable, "EXISTS (SELECT 1 FROM unit_closure u WHERE u.below = s.unit AND u.tenant = 'a' AND u.above = 'v1')", []string{"closure_"}},
			{"lists and own", byList + `@id("own") permit (principal, action, resource) when { resource.name == "x" };`, "(s.name = 'x' OR EXISTS (SELECT 1 FROM list_members m WHERE m.subscriber = s.id AND m.tenant = 'a' AND m.list = 'l1'))", []string{"members_"}},
			{"tree", byUnit, "s.unit IN (WITH RECURSIVE d (id) AS (SELECT id FROM units WHERE tenant = 'a' AND parent = 'v1' UNION SELECT units.id FROM units, d WHERE tenant = 'a' AND parent = d.id) SELECT id FROM d)", []string{"units_parent"}},
		} {
			policy, err := accesscontrol.Load(t.Context(), subscriberConfig(c.policy))
			require.NoError(t, err)
			where, err := policy.Filter(t.Context(), reader("a", "ann", "v1", "l1"), "read", "subscriber")
			require.NoError(t, err)
			condition, args := rendered(d, where, "s")
			filtered := plan(t, db, d, "SELECT * FROM subscribers s WHERE "+condition, args...)
			byHand := plan(t, db, d, "SELECT * FROM subscribers s WHERE s.tenant = 'a' AND "+c.byHand)
			if c.name != "tree" && strings.Contains(byHand, "subscribers_") {
				c.indexes = append(c.indexes, "subscribers_")
			}
			for _, index := range c.indexes {
				require.Contains(t, byHand, index, c.name)
				require.Contains(t, filtered, index, "%s: %s\n%s", c.name, condition, filtered)
			}
		}
	})
}
