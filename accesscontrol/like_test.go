package accesscontrol_test

import (
	"database/sql"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/accesscontrol"
	"github.com/crmguard/crmguard/internal/testdb"
)

// pattern writes a pattern of Cedar, with a wildcard between the parts.
func pattern(parts ...string) string {
	for i, part := range parts {
		quoted := quote(part)
		parts[i] = strings.ReplaceAll(quoted[1:len(quoted)-1], "*", `\*`)
	}
	return `"` + strings.Join(parts, "*") + `"`
}

// likeAtom is a condition about what a text is like.
func (g generator) likeAtom() string {
	of := func() string {
		texts := append([]string{"", "", "*", "a", "e", "o", "%", "_", "[", "]", "?", "!", "\\", "\u0308"}, edgeTexts...)
		parts := []string{pick(g.Rand, texts)}
		for range g.IntN(4) {
			parts = append(parts, pick(g.Rand, texts))
		}
		return pattern(parts...)
	}
	if g.IntN(2) == 0 {
		return "resource.stage like " + of()
	}
	return g.guarded("region", "resource.region like "+of())
}

// likeConfig has a text of each kind of column that can be like a pattern.
func likeConfig(policy string) accesscontrol.Config {
	config := dealConfig(policy)
	config.Texts["d.cedarschema"] = `entity User; entity Deal = { stage: String, other?: String }; action read appliesTo { principal: User, resource: Deal };`
	config.Tables[0].Columns = []accesscontrol.Column{{Attr: "stage", Required: true, Like: true}, {Attr: "other", Like: true}}
	return config
}

var likeTexts = []string{
	"", " ", "a", "A", "ab", "aab", "abab", "a*b", "*", "**", "%", "%%", "_", "a_b", "aXb", "a%b", `\`, `a\b`, `\\`, `\%`, "[a]", "[", "]", "[*]", "?", "a?b", "!", "!%", "!!",
	"Zürich", "Zu\u0308rich", "ü", "\u0308", "北京", "北", "京北京", "\U0001F600", "\u200b", "a\u200bb", "a\nb", "\n", "'", `"`, "a ", " a", "ß", "ss", "\u00e9", "\xc3\xa9\xc3", "$1", "ann@example.com", "ann@EXAMPLE.com", "ann@example.com ", "ann@example.com.evil",
	strings.Repeat("ab", 2000), strings.Repeat("北", 1500) + "!",
}

// A condition on what a text is like selects what Cedar permits, byte by byte:
// nothing but * means anything, however the database compares and matches.
func TestLikeIsCedars(t *testing.T) {
	rounds := number(t, "CRMGUARD_RANDOM_ROUNDS", 90)
	testdb.Each(t, func(t *testing.T, d testdb.Database) {
		columns := "(id VARCHAR(20) PRIMARY KEY, tenant VARCHAR(20) NOT NULL, stage TEXT NOT NULL, other TEXT)"
		switch d.Name {
		case testdb.SQLite:
			columns = "(id TEXT PRIMARY KEY, tenant TEXT NOT NULL, stage TEXT NOT NULL COLLATE NOCASE, other TEXT COLLATE RTRIM) STRICT"
		case testdb.MariaDB:
			columns = "(id VARCHAR(20) PRIMARY KEY, tenant VARCHAR(20) NOT NULL, stage TEXT COLLATE utf8mb4_general_ci NOT NULL, other VARBINARY(9000))"
		default:
		}
		db := d.Open(t)
		exec := func(query string, args ...any) {
			_, err := db.ExecContext(t.Context(), query, args...)
			require.NoError(t, err)
		}
		exec("CREATE TABLE deals " + columns)
		var records []accesscontrol.Resource
		places := "(?, 'main', ?, ?)"
		if d.Name == testdb.PostgresC || d.Name == testdb.PostgresICU {
			places = "($1, 'main', $2, $3)"
		}
		for i, text := range likeTexts {
			text = strings.ToValidUTF8(text, "\ufffd")
			var other any = strings.ToValidUTF8(likeTexts[len(likeTexts)-1-i], "\ufffd")
			if i%3 == 0 {
				other = nil
			}
			id := fmt.Sprint("d", i)
			exec("INSERT INTO deals VALUES "+places, id, text, other)
			records = append(records, accesscontrol.Resource{Type: "deal", ID: id, Tenant: "main", Attrs: map[string]any{"stage": text, "other": other}})
		}
		r := rand.New(rand.NewPCG(number(t, "CRMGUARD_SEED", 20261128), uint64(len(d.Name))))
		random := func() string {
			text := []rune(strings.ToValidUTF8(pick(r, likeTexts), "?"))
			from := r.IntN(len(text) + 1)
			cut := text[from : from+r.IntN(len(text)-from+1)]
			return string(cut[:min(len(cut), 60)])
		}
		allowed := 0
		for round := range rounds {
			parts := []string{random()}
			for range r.IntN(4) {
				parts = append(parts, random())
			}
			switch round % 3 { // not only what hardly anything is like
			case 0:
				parts = append([]string{""}, append(parts, "")...)
			case 1:
				parts = []string{"", parts[0]}
			default:
			}
			like := pattern(parts...)
			text := pick(r, []string{
				`@id("p") permit (principal, action, resource) when { resource.stage like ` + like + ` };`,
				`@id("p") permit (principal, action, resource) unless { resource.stage like ` + like + ` };`,
				`@id("p") permit (principal, action, resource) when { resource has other && resource.other like ` + like + ` };`,
				`@id("p") permit (principal, action, resource); @id("f") forbid (principal, action, resource) when { resource has other && resource.other like ` + like + ` };`,
			})
			policy, err := accesscontrol.Load(t.Context(), likeConfig(text))
			require.NoError(t, err, text)
			if round == 0 {
				require.NoError(t, policy.CheckSchema(t.Context(), db))
			}
			ann := accesscontrol.Principal{Tenant: "main", ID: "ann"}
			where, err := policy.Filter(t.Context(), ann, "read", "deal")
			require.NoError(t, err)
			var want []string
			for _, record := range records {
				request := accesscontrol.Request{Principal: ann, Action: "read", Resource: record}
				byCedar, err := policy.Cedar(t.Context(), request)
				require.NoError(t, err)
				decided, err := policy.Decide(t.Context(), request)
				require.NoError(t, err)
				require.Equal(t, byCedar.Allowed, decided.Allowed, "%s\n%q", text, record.Attrs)
				if decided.Allowed {
					want = append(want, record.ID)
				}
			}
			allowed += len(want)
			slices.Sort(want)
			for _, where := range []accesscontrol.Where{where, where.Value()} {
				condition, args := rendered(d, where, "d")
				require.Equal(t, want, deals(t, db, "SELECT id FROM deals d WHERE "+condition, args...), "%s\n%s\n%q", text, condition, args)
			}
		}
		require.Greater(t, allowed, len(records)*int(rounds)/8)
	})
}

// A text of SQLite ends for GLOB where it holds NUL: it is like nothing there,
// and not unlike it either, so that it passes neither a permit nor a forbid.
func TestATextThatHoldsNULIsLikeNothingInSQLite(t *testing.T) {
	db := openDB(t, "CREATE TABLE deals (id TEXT PRIMARY KEY, tenant TEXT NOT NULL, stage TEXT NOT NULL, other TEXT) STRICT")
	for _, text := range []string{"ann@example.com\x00", "ann@example.com\x00@evil", "\x00ann@example.com"} {
		_, err := db.ExecContext(t.Context(), "INSERT INTO deals VALUES (?, 'main', ?, NULL)", fmt.Sprintf("%q", text), text)
		require.NoError(t, err)
	}
	for _, text := range []string{
		`@id("p") permit (principal, action, resource) when { resource.stage like "*@example.com" };`,
		`@id("p") permit (principal, action, resource) unless { resource.stage like "*@example.com" };`,
		`@id("p") permit (principal, action, resource); @id("f") forbid (principal, action, resource) when { resource.stage like "*@evil" };`,
	} {
		policy, err := accesscontrol.Load(t.Context(), likeConfig(text))
		require.NoError(t, err)
		where, err := policy.Filter(t.Context(), accesscontrol.Principal{Tenant: "main", ID: "ann"}, "read", "deal")
		require.NoError(t, err)
		for _, where := range []accesscontrol.Where{where, where.Value()} {
			condition, args := where.SQLite("")
			require.Empty(t, deals(t, db, "SELECT id FROM deals WHERE "+condition, args...), text)
		}
	}
}

// What may be like a pattern is declared, and holds text; a pattern without a
// wildcard is found by an index.
func TestLikeIsDeclared(t *testing.T) {
	const policy = `@id("p") permit (principal, action, resource) when { resource.stage like "won" };`
	undeclared := likeConfig(policy)
	undeclared.Tables[0].Columns[0].Like = false
	_, err := accesscontrol.Load(t.Context(), undeclared)
	require.ErrorContains(t, err, "policy p: cannot become SQL: resource.stage like …: a pattern may read every row: set Column.Like if it shall")
	declared, err := accesscontrol.Load(t.Context(), likeConfig(policy))
	require.NoError(t, err)
	where, err := declared.Filter(t.Context(), accesscontrol.Principal{Tenant: "main", ID: "ann"}, "read", "deal")
	require.NoError(t, err)
	condition, args := where.Postgres("", 1)
	require.Equal(t, `("tenant" = $1::text AND "stage" = $2::text)`, condition)
	require.Equal(t, []any{"main", "won"}, args)
	for _, pattern := range []string{`"a\0*"`, `"` + strings.Repeat("a", 10_001) + `*"`} {
		_, err = accesscontrol.Load(t.Context(), likeConfig(strings.Replace(policy, `"won"`, pattern, 1)))
		require.ErrorContains(t, err, "resource.stage like …")
	}
	for name, change := range map[string]func(*accesscontrol.Column){
		"opaque": func(c *accesscontrol.Column) { c.Opaque = true },
		"uuid":   func(c *accesscontrol.Column) { c.As = accesscontrol.UUID },
		"field":  func(c *accesscontrol.Column) { c.Attr, c.Required = "none", false },
	} {
		config := likeConfig(policy)
		change(&config.Tables[0].Columns[0])
		_, err = accesscontrol.Load(t.Context(), config)
		require.ErrorContains(t, err, "is no text that can be like a pattern", name)
	}
}

// deals are the ids that a query selects, sorted.
func deals(t *testing.T, db *sql.DB, query string, args ...any) (out []string) {
	t.Helper()
	rows, err := db.QueryContext(t.Context(), query, args...)
	require.NoError(t, err, query)
	defer func() { require.NoError(t, rows.Close()) }()
	for rows.Next() {
		var id string
		require.NoError(t, rows.Scan(&id))
		out = append(out, id)
	}
	require.NoError(t, rows.Err())
	slices.Sort(out)
	return out
}
