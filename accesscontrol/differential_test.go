package accesscontrol_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"math/rand/v2"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/accesscontrol"
)

// insertItems writes n rows on the edges, some of them of another tenant.
func insertItems(tb testing.TB, db *sql.DB, r *rand.Rand, n int) {
	tb.Helper()
	orNull := func(v any) any {
		if r.IntN(3) == 0 {
			return nil
		}
		return v
	}
	tx, err := db.BeginTx(tb.Context(), nil)
	require.NoError(tb, err)
	for i := range n {
		tenant := "main"
		if r.IntN(10) == 0 {
			tenant = pick(r, []string{"Main", "other"})
		}
		_, err := tx.ExecContext(tb.Context(), "INSERT INTO items (id, tenant, owner, `order`, backup, stage, region, amount, score, flag, blocked) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
			"i"+strconv.Itoa(i), tenant, pick(r, users), orNull(pick(r, teams)), orNull(pick(r, users)), pick(r, edgeTexts), orNull(pick(r, edgeTexts)),
			pick(r, edgeInts), orNull(pick(r, edgeInts)), r.IntN(2), orNull(r.IntN(2)))
		require.NoError(tb, err)
	}
	require.NoError(tb, tx.Commit())
}

func items(ctx context.Context, db *sql.DB) ([]accesscontrol.Resource, error) {
	rows, err := db.QueryContext(ctx, "SELECT id, tenant, owner, `order`, backup, stage, region, amount, score, flag, blocked FROM items")
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	names := []string{"owner", "team", "backup", "stage", "region", "amount", "score", "flag", "blocked"}
	var out []accesscontrol.Resource
	for rows.Next() {
		r := accesscontrol.Resource{Type: "item", Attrs: map[string]any{}}
		values := make([]any, len(names))
		into := []any{&r.ID, &r.Tenant}
		for i := range values {
			into = append(into, &values[i])
		}
		if err := rows.Scan(into...); err != nil {
			return nil, err
		}
		for i, name := range names {
			r.Attrs[name] = values[i]
		}
		out = append(out, r)
	}
	return out, rows.Err()
}

// outcome evaluates the condition of a filter as a value for every row: it is
// 1 or 0, and never NULL.
func outcome(ctx context.Context, db *sql.DB, where accesscontrol.Where) (map[string]sql.NullInt64, error) {
	condition, args := where.Value().SQLite("c")
	rows, err := db.QueryContext(ctx, "SELECT c.id, "+condition+" FROM items AS c", args...)
	if err != nil {
		return nil, fmt.Errorf("%w in %s", err, condition)
	}
	defer rows.Close()
	out := map[string]sql.NullInt64{}
	for rows.Next() {
		var id string
		var v sql.NullInt64
		if err := rows.Scan(&id, &v); err != nil {
			return nil, err
		}
		out[id] = v
	}
	return out, rows.Err()
}

// fixedText is all that may stand in a filter: words and operators, quoted
// names of the binding, placeholders.
var fixedText = regexp.MustCompile("^(?:TRUE|FALSE|NULL(?:::boolean)?|IS|NOT|IN|AND|OR|CASE|WHEN|THEN|ELSE|END|[ (),.]|<=|>=|<>|=|<|>|\\?|\\$[0-9]+|[01]\\b|(?:::(?:text|bigint|boolean|uuid|timestamptz|date))|CAST|AS BINARY|LIKE|ESCAPE '!'|GLOB|instr|char\\(0\\)|AS DATETIME\\(3\\)|SELECT value FROM json_each|ANY|(?:::text)+(?:::(?:text|bigint|uuid|date)\\[\\])|COLLATE (?:BINARY|\"C\")|[`\"](?:c|uid|kind|small|day|until|due|tenant|id|owner|order|backup|stage|region|amount|score|flag|blocked)[`\"])*$")

// Records without a table may be asked everything that Cedar knows: what has no
// form of its own is left to Cedar, and the answers are Cedar's, with the same
// policies as reasons and the same policies failing.
func TestChecksOfRecordsWithoutATableEqualCedar(t *testing.T) {
	g := generator{Rand: rand.New(rand.NewPCG(20261127, 1)), all: true}
	db := openDB(t, itemDDL)
	insertItems(t, db, g.Rand, 40)
	records, err := items(t.Context(), db)
	require.NoError(t, err)
	for _, r := range records {
		if g.IntN(2) == 0 {
			r.Attrs["labels"] = []string{pick(g.Rand, edgeTexts), pick(g.Rand, edgeTexts)}
			r.Attrs["due"] = pick(g.Rand, []string{"2026-11-22T00:00:00Z", "2026-11-21T23:59:59.999Z", "1970-01-01T00:00:00Z"})
		}
	}
	sets, comparisons, allowed, failed := 0, 0, 0, 0
	for sets < 150 {
		text := g.policies()
		config := itemConfig(text)
		config.Tables[0].Name = ""
		policy, err := accesscontrol.Load(t.Context(), config)
		if err != nil {
			require.Regexp(t, "optional attribute", err.Error(), "the generator writes nothing else that is refused:\n%s", text)
			continue
		}
		sets++
		for _, principal := range itemPrincipals() {
			for _, r := range records {
				request := accesscontrol.Request{Principal: principal, Action: "read", Resource: r}
				d, err := policy.Decide(t.Context(), request)
				require.NoError(t, err, text)
				byCedar, err := policy.Cedar(t.Context(), request)
				require.NoError(t, err, text)
				d.Nearest = accesscontrol.Nearest{}
				require.Equal(t, byCedar, d, "%s\n%v", text, r.Attrs)
				comparisons++
				if d.Allowed {
					allowed++
				}
				failed += len(d.Failed)
			}
		}
	}
	t.Logf("%d sets, %d comparisons, %d allowed, %d policies failed", sets, comparisons, allowed, failed)
	require.Greater(t, allowed, comparisons/10)
	require.Greater(t, failed, 500)
}

func first(s string, _ []any) string { return s }

// With thousands of rows, the filter is the same text: it holds no row.
func TestFilterHoldsNoRowAndNoLiteral(t *testing.T) {
	db := openDB(t, itemDDL)
	g := generator{Rand: rand.New(rand.NewPCG(3, 3))}
	policy, err := accesscontrol.Load(t.Context(), itemConfig(`
@id("p") permit (principal, action, resource) when { resource.stage == "canary-literal" && resource.owner == principal && principal.tags.contains(resource.stage) };
@id("f") forbid (principal, action, resource) when { resource == Item::"canary-row" || (resource has region && resource.region == principal.region) };`))
	require.NoError(t, err)
	principal := itemPrincipals()[0]
	principal.ID = "canary-principal"
	principal.Attrs["region"] = "canary-region"
	principal.Attrs["tags"] = []string{"canary-tag"}
	before, err := policy.Filter(t.Context(), principal, "read", "item")
	require.NoError(t, err)
	insertItems(t, db, g.Rand, 50)
	after, err := policy.Filter(t.Context(), principal, "read", "item")
	require.NoError(t, err)
	require.Equal(t, first(before.SQLite("c")), first(after.SQLite("c")))
	for _, render := range []func() (string, []any){
		func() (string, []any) { return after.SQLite("c") },
		func() (string, []any) { return after.Postgres("c", 3) },
	} {
		text, args := render()
		require.NotContains(t, text, "canary")
		require.NotContains(t, text, "main")
		require.Equal(t, []any{"main", "canary-literal", "canary-principal", "canary-tag", "canary-row", "canary-region"}, args)
	}
	text, _ := after.Postgres("c", 3)
	require.Contains(t, text, `"c"."tenant" = $3::text`)
	require.Contains(t, text, "$8")
	require.NotContains(t, text, "$9")
}

// An alias is quoted, whatever it holds, and may be empty.
func TestAliasCannotBreakOut(t *testing.T) {
	policy, err := accesscontrol.Load(t.Context(), itemConfig(`@id("p") permit (principal, action, resource) when { resource.flag };`))
	require.NoError(t, err)
	where, err := policy.Filter(t.Context(), itemPrincipals()[0], "read", "item")
	require.NoError(t, err)
	text, _ := where.Postgres(`c" OR 1=1 --`, 1)
	require.True(t, strings.HasPrefix(text, `("c"" OR 1=1 --"."tenant" = $1::text`), text)
	text, _ = where.SQLite("")
	require.Equal(t, "(`tenant` = ? COLLATE BINARY AND CASE `flag` WHEN 1 THEN 1 WHEN 0 THEN 0 END)", text)
	db := openDB(t, itemDDL)
	_, args := where.SQLite("")
	_, err = db.ExecContext(t.Context(), "DELETE FROM items WHERE "+text, args...)
	require.NoError(t, err)
}

// A forbid that fails denies: in a check, and in SQL.
func TestFailingForbidDenies(t *testing.T) {
	db := openDB(t, itemDDL)
	insertItems(t, db, rand.New(rand.NewPCG(5, 5)), 20)
	records, err := items(t.Context(), db)
	require.NoError(t, err)
	neil := itemPrincipals()[1] // level is the largest integer, and no lead
	for name, condition := range map[string]string{
		"overflow":       `principal.level + 1 > 0`,
		"missing entity": `principal.lead.active`,
		"after a column": `resource.flag && principal.level + 1 > 0`,
	} {
		policy, err := accesscontrol.Load(t.Context(), itemConfig(`@id("all") permit (principal, action, resource); @id("broken") forbid (principal, action, resource) when { `+condition+` };`))
		require.NoError(t, err)
		where, err := policy.Filter(t.Context(), neil, "read", "item")
		require.NoError(t, err)
		bySQL, err := outcome(t.Context(), db, where)
		require.NoError(t, err)
		for _, r := range records {
			d, err := policy.Decide(t.Context(), accesscontrol.Request{Principal: neil, Action: "read", Resource: r})
			require.NoError(t, err)
			if name == "after a column" && r.Attrs["flag"] == int64(0) {
				require.Equal(t, r.Tenant == "main", d.Allowed, "the forbid does not get as far as the failing part")
			} else if r.Tenant == "main" {
				require.False(t, d.Allowed, name)
				require.Equal(t, accesscontrol.ForbidFailed, d.Reason)
				require.Equal(t, []string{"broken"}, d.Policies)
				require.Equal(t, []string{"broken"}, d.Failed)
				err = policy.Check(t.Context(), neil, "read", r)
				require.True(t, errors.Is(err, accesscontrol.ErrDenied))
			}
			require.Equal(t, sql.NullInt64{Int64: map[bool]int64{true: 1}[d.Allowed], Valid: true}, bySQL[r.ID], name)
		}
	}
}
