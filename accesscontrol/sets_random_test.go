package accesscontrol_test

import (
	"database/sql"
	"math/rand/v2"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/accesscontrol"
	"github.com/crmguard/crmguard/internal/testdb"
)

// Items with sets of every form: pairs, what stands behind pairs, integers,
// UUIDs, a tree above a column, and one above what stands in other rows.
func setConfig(name testdb.Name, policies string) accesscontrol.Config {
	config := nativeConfig(name, policies)
	config.Texts["item.cedarschema"] = strings.Replace(config.Texts["item.cedarschema"], "secret?: String,",
		"lists: Set<String>, teams: Set<Team>, codes: Set<Long>, marks: Set<User>, above: Set<Team>, reach: Set<Team>, secret?: String,", 1)
	uuid := accesscontrol.UUID
	if name == testdb.SQLite {
		uuid = ""
	}
	groups := accesscontrol.Step{Name: "item_groups", Tenant: "tenant", Match: "item", Value: "team"}
	tree := accesscontrol.Step{Name: "team_tree", Tenant: "tenant", Match: "id", Value: "parent"}
	three, two := tree, tree
	three.Levels, two.Levels = 3, 2
	config.Tables[0].Sets = []accesscontrol.Set{
		{Attr: "lists", Steps: []accesscontrol.Step{{Name: "members", Tenant: "tenant", Match: "item", Value: "list"}}},
		{Attr: "teams", Steps: []accesscontrol.Step{groups, tree}}, // the parents, as pairs
		{Attr: "codes", Steps: []accesscontrol.Step{{Name: "codes", Tenant: "tenant", Match: "item", Value: "code"}}},
		{Attr: "marks", Steps: []accesscontrol.Step{{Name: "marks", OnlyTenant: "main", Match: "item", Value: "mark", ValueAs: uuid}}},
		{Attr: "above", From: "order", Steps: []accesscontrol.Step{three}},
		{Attr: "reach", Steps: []accesscontrol.Step{groups, two}},
	}
	return config
}

// pair is a row behind a set.
type pair struct {
	tenant      string
	match, next sql.NullString
}

// setTables fills the tables behind the sets, and answers their rows.
func setTables(t *testing.T, db *sql.DB, d testdb.Database, g generator, n int) map[string][]pair {
	t.Helper()
	text, number, uuid, strict := "varchar(60)", "bigint", "uuid", ""
	switch d.Name {
	case testdb.SQLite:
		text, number, uuid, strict = "TEXT COLLATE NOCASE", "INTEGER", "TEXT", " STRICT"
	case testdb.MariaDB:
		text = "VARCHAR(60) COLLATE utf8mb4_general_ci"
	default:
	}
	exec := func(query string, args ...any) {
		_, err := db.ExecContext(t.Context(), query, args...)
		require.NoError(t, err, query)
	}
	if d.Name == testdb.MariaDB { // what is linked has one collation
		exec("ALTER TABLE items MODIFY `order` " + text)
	}
	mark := func(i int) string {
		if strings.HasPrefix(string(d.Name), "postgres") {
			return "$" + strconv.Itoa(i)
		}
		return "?"
	}
	insert := map[string]string{}
	for table, columns := range map[string][3]string{
		"members": {"item", "list", text}, "item_groups": {"item", "team", text}, "team_tree": {"id", "parent", text}, "codes": {"item", "code", number}, "marks": {"item", "mark", uuid},
	} {
		exec("CREATE TABLE " + table + " (tenant " + text + ", " + columns[0] + " " + text + ", " + columns[1] + " " + columns[2] + ")" + strict)
		insert[table] = "INSERT INTO " + table + " VALUES (" + mark(1) + ", " + mark(2) + ", " + mark(3) + ")"
	}
	out := map[string][]pair{}
	orNull := func(s string) sql.NullString { return sql.NullString{String: s, Valid: g.IntN(8) > 0} }
	add := func(table string, match, next string) {
		p := pair{"main", orNull(match), orNull(next)}
		if table != "marks" && g.IntN(4) == 0 { // all marks are those of main
			p.tenant = pick(g.Rand, []string{"Main", "main ", "other"})
		}
		var last any = p.next
		if n, err := strconv.ParseInt(next, 10, 64); err == nil && table == "codes" && p.next.Valid {
			last = n
		}
		if !p.next.Valid {
			last = nil
		}
		var first any
		if p.match.Valid {
			first = p.match.String
		}
		exec(insert[table], p.tenant, first, last)
		out[table] = append(out[table], p)
	}
	for range n {
		item := pick(g.Rand, []string{"i", "i", "i", "I"}) + strconv.Itoa(g.IntN(n))
		add("members", item, pick(g.Rand, edgeTexts))
		add("members", "i"+strconv.Itoa(g.IntN(9)), pick(g.Rand, edgeTexts[:4]))
		add("item_groups", item, pick(g.Rand, setTeams))
		add("codes", item, strconv.FormatInt(pick(g.Rand, edgeInts), 10))
		add("marks", item, pick(g.Rand, nativeUUIDs[:3]))
	}
	for table, column := range map[string]string{"members": "item", "item_groups": "item", "codes": "item", "marks": "item", "team_tree": "id"} {
		exec("CREATE INDEX " + table + "_" + column + " ON " + table + " (tenant, " + column + ")")
	}
	for range 12 { // a tree with circles, and with more than one parent
		add("team_tree", pick(g.Rand, setTeams), pick(g.Rand, setTeams))
	}
	if d.Name != testdb.MariaDB { // or it plans for tables of unknown size
		exec("ANALYZE")
	}
	return out
}

var setTeams = append([]string{"T1", "t4", "t5", "t6"}, teams...)

// setAttrs is what an application reads of the tables for a record.
func setAttrs(tables map[string][]pair, r accesscontrol.Resource) {
	follow := func(from []string, table string) (out []string) {
		for _, p := range tables[table] {
			if p.match.Valid && p.next.Valid && p.tenant == r.Tenant && slices.Contains(from, p.match.String) {
				out = append(out, p.next.String)
			}
		}
		return out
	}
	up := func(from []string, levels int) []string {
		out := slices.Clone(from)
		for range levels {
			from = follow(from, "team_tree")
			out = append(out, from...)
		}
		return out
	}
	self := []string{r.ID}
	groups := follow(self, "item_groups")
	r.Attrs["lists"] = append([]string{}, follow(self, "members")...)
	r.Attrs["teams"] = append([]string{}, follow(groups, "team_tree")...)
	r.Attrs["marks"] = append([]string{}, follow(self, "marks")...)
	if r.Tenant != "main" {
		r.Attrs["marks"] = []string{}
	}
	r.Attrs["reach"] = append([]string{}, up(groups, 2)...)
	r.Attrs["above"] = []string{}
	switch team := r.Attrs["team"].(type) {
	case string:
		r.Attrs["above"] = up([]string{team}, 3)
	case []byte:
		r.Attrs["above"] = up([]string{string(team)}, 3)
	}
	codes := []int64{}
	for _, text := range follow(self, "codes") {
		n, _ := strconv.ParseInt(text, 10, 64)
		codes = append(codes, n)
	}
	r.Attrs["codes"] = codes
}

func (g generator) setTeam() string { return "Team::" + quote(pick(g.Rand, setTeams)) }

// setAtom is a condition about a set.
func (g generator) setAtom() string {
	user := func() string { return "User::" + quote(pick(g.Rand, nativeUUIDs)) }
	teamSet := pick(g.Rand, []string{"resource.teams", "resource.above", "resource.reach"})
	pairs := pick(g.Rand, []string{"resource.teams"})
	switch g.IntN(14) {
	case 0:
		return "resource.lists.contains(" + g.text() + ")"
	case 1:
		return "resource.lists.containsAny(" + pick(g.Rand, []string{"principal.tags", g.set(literalText(g))}) + ")"
	case 2:
		return "principal.tags.containsAny(resource.lists)"
	case 3:
		return "resource.lists.containsAll(" + pick(g.Rand, []string{"principal.tags", g.set(literalText(g)), `["a", "A"]`, `["", "a"]`, "[" + g.text() + "]"}) + ")"
	case 4:
		return pick(g.Rand, []string{"resource.lists", "resource.codes", "resource.marks", teamSet}) + ".isEmpty()"
	case 5:
		return "resource.lists.contains(resource.stage)"
	case 6:
		return g.guarded("region", "resource.lists.contains(resource.region)")
	case 7:
		return "resource.codes." + pick(g.Rand, []string{"contains(" + g.long() + ")", "containsAny(principal.nums)", "containsAll(" + g.set(literalInt(g)) + ")", "contains(resource.amount)"})
	case 8:
		return "resource.marks." + pick(g.Rand, []string{"contains(" + user() + ")", "containsAny(" + g.set(user) + ")", "containsAll(" + g.set(user) + ")", "contains(principal)"})
	case 9:
		return pick(g.Rand, []string{"principal", "principal.lead", g.team()}) + " in " + teamSet
	case 10:
		return teamSet + pick(g.Rand, []string{".contains(" + g.setTeam() + ")", ".containsAny(principal.teams)", ".containsAny(" + g.set(g.setTeam) + ")"})
	case 11:
		return pairs + ".containsAll(" + pick(g.Rand, []string{"principal.teams", g.set(g.setTeam)}) + ")"
	case 12:
		return g.guarded("team", "resource.teams.contains(resource.team)")
	default:
		return pick(g.Rand, []string{"resource has lists", "principal is User in " + teamSet, "principal.lead is Team in " + teamSet})
	}
}

// setText is what may stand in a filter with sets, beside what may in any.
var setText = regexp.MustCompile(strings.Replace(fixedText.String(), "^(?:", "^(?:EXISTS|RAND|SELECT|FROM|AS|WHERE|GROUP BY|HAVING COUNT|DISTINCT|WITH RECURSIVE|UNION|\\+ 1|"+
	"[`\"](?:crmguard_[0-9]+|members|item_groups|team_tree|codes|marks|item|list|team|parent|code|mark|bytes|depth)[`\"]|", 1))

// Sets are asked as Cedar asks them: what a check answers of a record with its
// elements is what its row is in the SQL, in both forms, on each database.
func TestFilterEqualsChecksOfSets(t *testing.T) {
	rounds := number(t, "CRMGUARD_RANDOM_SETS", 30) // 4 x 30 sets x 60 rows x 3 principals are 21,600
	testdb.Each(t, func(t *testing.T, d testdb.Database) {
		seed := number(t, "CRMGUARD_SEED", 20261128)
		g := generator{Rand: rand.New(rand.NewPCG(seed, uint64(slices.Index(testdb.Names(), d.Name)))), native: true, sets: true, times: d.Name != testdb.SQLite}
		const many = 60
		db := nativeDB(t, d, g, many)
		tables := setTables(t, db, d, g, many)
		records := nativeRecords(t, db, d.Name)
		asCedar := make([]accesscontrol.Resource, len(records))
		for i, r := range records {
			setAttrs(tables, r)
			asCedar[i] = forCedar(r)
		}
		people := nativePrincipals()
		var sets uint64
		var seen tally
		for sets < rounds {
			text := g.policies()
			policy, err := accesscontrol.Load(t.Context(), setConfig(d.Name, text))
			if err != nil {
				require.ErrorIs(t, err, accesscontrol.ErrPolicy)
				require.Contains(t, err.Error(), "optional attribute", "the generator writes nothing else that is refused:\n%s", text)
				continue
			}
			if sets++; sets == 1 {
				require.NoError(t, policy.CheckSchema(t.Context(), db))
			}
			for _, principal := range people {
				seen.items(t, db, d, policy, principal, text, setText, records, asCedar)
			}
		}
		t.Logf("seed %d: %d valid sets, %v", seed, sets, &seen)
		seen.proves(t, 10)
	})
}
