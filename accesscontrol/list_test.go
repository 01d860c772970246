package accesscontrol_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/accesscontrol"
	"github.com/crmguard/crmguard/internal/testdb"
)

// What means something in the literal of an array, in JSON or in SQL is a text
// like any other, in a list of few and in one of many.
func TestAListIsComparedByItsTexts(t *testing.T) {
	hostile := append([]string{
		`{}`, `{`, `}`, `{a,b}`, `a,b`, `,`, `"`, `\"`, `\\`, `\`, `a\`, `NULL`, `null`, ` `, ` a`, "a\tb", "a\nb", "\r", `[1]`, `1`, `01`, `1.0`, "\u2028", "\U0001F600", "\u00e9", "e\u0301", `\u0061`, "$1", "?", "'", "''", "é",
	}, edgeTexts...)
	hostile = slices.Compact(slices.Sorted(slices.Values(hostile)))
	testdb.Each(t, func(t *testing.T, d testdb.Database) {
		db := d.Open(t)
		ddl := strings.Replace(dealTable(d), "stage VARCHAR(60) COLLATE utf8mb4_general_ci", "stage VARCHAR(60) COLLATE utf8mb4_unicode_ci", 1)
		_, err := db.ExecContext(t.Context(), ddl)
		require.NoError(t, err)
		insert := "INSERT INTO deals (id, tenant, owner, stage, amount) VALUES (?, 'main', 'ann', ?, ?)"
		if strings.HasPrefix(string(d.Name), "postgres") {
			insert = "INSERT INTO deals (id, tenant, owner, stage, amount) VALUES ($1, 'main', 'ann', $2, $3)"
		}
		for i, text := range hostile {
			_, err := db.ExecContext(t.Context(), insert, fmt.Sprintf("d%02d", i), text, edgeInts[i%len(edgeInts)])
			require.NoError(t, err)
		}
		count := func(texts []string, numbers []int64) (n int, args int) {
			ann := accesscontrol.Principal{Tenant: "main", ID: "ann", Attrs: map[string]any{"teams": []string{}, "stages": texts, "amounts": numbers}}
			where, err := listPolicy(t).Filter(t.Context(), ann, "read", "deal")
			require.NoError(t, err)
			condition, bound := rendered(d, where, "d")
			require.NoError(t, db.QueryRowContext(t.Context(), "SELECT count(*) FROM deals d WHERE "+condition, bound...).Scan(&n), condition)
			return n, len(bound)
		}
		// None of these is a row's text, however it is written.
		var others []string
		var numbers []int64
		for i := range 60 {
			others = append(others, fmt.Sprintf(`{"other, %d\`, i))
			numbers = append(numbers, int64(100+i))
		}
		for i, text := range hostile {
			n, _ := count([]string{text}, nil)
			require.Equal(t, 1, n, "%q alone", text)
			n, args := count(append([]string{text}, others...), nil)
			require.Equal(t, 1, n, "%q among many", text)
			if d.Name != testdb.MariaDB {
				require.Equal(t, 2, args, "a long list is one argument")
			}
			n, _ = count(append(slices.Delete(slices.Clone(hostile), i, i+1), others...), nil)
			require.Equal(t, len(hostile)-1, n, "all but %q", text)
		}
		for _, number := range edgeInts {
			few, _ := count(nil, []int64{number})
			many, _ := count(nil, append([]int64{number}, numbers...))
			require.NotZero(t, few)
			require.Equal(t, few, many, "%d", number)
		}
		n, _ := count(nil, numbers)
		require.Zero(t, n)
	})
}

func listPolicy(t *testing.T) *accesscontrol.Policy {
	t.Helper()
	config := dealConfig(`@id("stages") permit (principal, action, resource) when { principal.stages.contains(resource.stage) || principal.amounts.contains(resource.amount) };
		@id("team") permit (principal, action, resource) when { resource has team && principal.teams.contains(resource.team) };`)
	config.Texts["d.cedarschema"] = strings.Replace(config.Texts["d.cedarschema"], "teams: Set<Team>", "teams: Set<Team>, stages: Set<String>, amounts: Set<Long>", 1)
	policy, err := accesscontrol.Load(t.Context(), config)
	require.NoError(t, err)
	return policy
}
