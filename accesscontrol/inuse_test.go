package accesscontrol_test

import (
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/accesscontrol"
	"github.com/crmguard/crmguard/internal/testdb"
)

// The condition that selects rows counts, changes and deletes the same ones,
// under whatever name the statement knows the table.
func TestAFilterCountsChangesAndDeletesWhatItSelects(t *testing.T) {
	testdb.Each(t, func(t *testing.T, d testdb.Database) {
		g := generator{Rand: rand.New(rand.NewPCG(20261128, 5))}
		db := nativeDB(t, d, g, 120)
		records := nativeRecords(t, db, d.Name)
		policy, err := accesscontrol.Load(t.Context(), nativeConfig(d.Name, `
@id("few") permit (principal == User::"ann", action, resource) when { resource.stage like "*a*" || resource has region && resource.region like "*[*" };
@id("many") permit (principal == User::"李", action, resource) when { resource has team && principal.teams.contains(resource.team) || principal.tags.contains(resource.stage) };
@id("not") forbid (principal, action, resource) when { resource has blocked && resource.blocked };`))
		require.NoError(t, err)
		for _, principal := range nativePrincipals() {
			where, err := policy.Filter(t.Context(), principal, "read", "item")
			require.NoError(t, err)
			var want []string
			for _, r := range records {
				if policy.Check(t.Context(), principal, "read", r) == nil {
					want = append(want, r.ID)
				}
			}
			slices.Sort(want)
			require.Equal(t, principal.ID == "o'neil", len(want) == 0, "%s: %d", principal.ID, len(want))
			for _, alias := range []string{"", "items", "c", "a \"`c"} {
				as, from := "", "DELETE FROM items"
				if alias != "" && alias != "items" {
					quoted := `"` + strings.ReplaceAll(alias, `"`, `""`) + `"`
					if d.Name == testdb.MariaDB {
						quoted = "`" + strings.ReplaceAll(alias, "`", "``") + "`"
						from = "DELETE " + quoted + " FROM items"
					}
					as = " AS " + quoted
				}
				condition, args := rendered(d, where, alias)
				var n int
				require.NoError(t, db.QueryRowContext(t.Context(), "SELECT count(*) FROM items"+as+" WHERE "+condition, args...).Scan(&n))
				require.Equal(t, len(want), n)

				tx, err := db.BeginTx(t.Context(), nil)
				require.NoError(t, err)
				change, more := "UPDATE items"+as+" SET backup = ? WHERE "+condition, append([]any{"changed"}, args...)
				if d.Name == testdb.PostgresC || d.Name == testdb.PostgresICU {
					condition, args := where.Postgres(alias, 2)
					change, more = "UPDATE items"+as+" SET backup = $1 WHERE "+condition, append([]any{"changed"}, args...)
				}
				result, err := tx.ExecContext(t.Context(), change, more...)
				require.NoError(t, err, change)
				changed, err := result.RowsAffected()
				require.NoError(t, err)
				require.EqualValues(t, len(want), changed)
				require.NoError(t, tx.Rollback())

				tx, err = db.BeginTx(t.Context(), nil)
				require.NoError(t, err)
				result, err = tx.ExecContext(t.Context(), from+as+" WHERE "+condition, args...)
				require.NoError(t, err)
				deleted, err := result.RowsAffected()
				require.NoError(t, err)
				require.EqualValues(t, len(want), deleted)
				var left int
				require.NoError(t, tx.QueryRowContext(t.Context(), "SELECT count(*) FROM items WHERE id IN ('"+strings.Join(want, "', '")+"')").Scan(&left))
				require.Zero(t, left, "others were deleted")
				require.NoError(t, tx.Rollback())
			}
		}
	})
}

// A ? in an alias would be counted as a placeholder, by GORM and by drivers that
// write arguments into the text: nothing is selected then.
func TestAQuestionMarkInAnAliasSelectsNothing(t *testing.T) {
	policy, err := accesscontrol.Load(t.Context(), itemConfig(`@id("p") permit (principal, action, resource) when { resource.flag };`))
	require.NoError(t, err)
	actor, err := policy.For(itemPrincipals()[0])
	require.NoError(t, err)
	where, err := actor.Filter(t.Context(), "read", "item")
	require.NoError(t, err)
	page, err := actor.Page(t.Context(), "item", nil, "")
	require.NoError(t, err)
	for _, render := range []func(string) (string, []any){where.Gorm, where.SQLite, where.MySQL, where.Value().Gorm} {
		condition, args := render("c?")
		require.Equal(t, "(1 = 0)", condition)
		require.Empty(t, args)
	}
	behind, _, _ := page.Gorm("c?")
	require.Equal(t, "(1 = 0)", behind)
	condition, args := where.Postgres("c?", 1)
	require.Equal(t, `("c?"."tenant" = $1::text AND "c?"."flag")`, condition)
	require.Equal(t, []any{"main"}, args)
}
