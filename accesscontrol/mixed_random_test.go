package accesscontrol_test

import (
	"database/sql"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/accesscontrol"
	"github.com/crmguard/crmguard/internal/testdb"
)

// The items of the joins, with sets, patterns, dates and groups beside them: all
// that a condition may be, in one condition.

func mixedConfig(policies string) accesscontrol.Config {
	config := joinConfig(policies)
	schema := config.Texts["item.cedarschema"]
	schema = strings.Replace(schema, "kind: String,", "kind: String, since?: datetime,", 1)
	schema = strings.Replace(schema, "secret?: String,", "day?: datetime, lists: Set<String>, marks: Set<String>, groups: Set<Team>, secret?: String,", 1)
	config.Texts["item.cedarschema"] = strings.Replace(schema, "action read, write in", "action read, write, pii, peek, edit, pay in", 1)
	items, accounts := &config.Tables[0], &config.Tables[1]
	for i, c := range items.Columns {
		switch c.Attr {
		case "stage":
			items.Columns[i].Like, items.Columns[i].Mask = true, accesscontrol.MaskEmail
		case "region":
			items.Columns[i].Like = true
		case "amount":
			items.Columns[i].Mask = accesscontrol.MaskLast4
		case "account":
			items.Columns[i].Mask = accesscontrol.MaskAll
		}
	}
	items.Columns = append(items.Columns, accesscontrol.Column{Attr: "day", As: accesscontrol.Date})
	// Few fields: SQLite takes no tree where a statement looks at 1,000 tables.
	items.Groups = []accesscontrol.Group{
		{Name: "pii", Action: "pii", Masked: "peek", Update: "edit", Fields: []string{"stage", "account"}},
		{Name: "pay", Action: "pay", Fields: []string{"amount"}},
	}
	members := accesscontrol.Step{Name: "members", Tenant: "tenant", Match: "item", Value: "list"}
	tree := accesscontrol.Step{Name: "team_tree", Tenant: "tenant", Match: "id", Value: "parent", Levels: 3}
	items.Sets = []accesscontrol.Set{
		{Attr: "lists", Steps: []accesscontrol.Step{members}},
		{Attr: "marks", From: "account_id", Steps: []accesscontrol.Step{members}}, // of the account
		{Attr: "groups", From: "order", Steps: []accesscontrol.Step{tree}},
	}
	accounts.Columns[2].Like = true
	accounts.Columns = append(accounts.Columns, accesscontrol.Column{Attr: "since", As: accesscontrol.Date})
	return config
}

// newMixedWorld is that of the joins, with days and with the rows of the sets.
func newMixedWorld(t *testing.T, db *sql.DB, d testdb.Database, g generator) joinWorld {
	t.Helper()
	w := newJoinWorld(t, db, d.Name, g.Rand)
	text, day, strict := "text", "date", ""
	switch d.Name {
	case testdb.SQLite:
		text, day, strict = "TEXT COLLATE NOCASE", "TEXT", " STRICT"
	case testdb.MariaDB:
		text = "VARCHAR(60) COLLATE utf8mb4_general_ci"
	default:
	}
	exec := func(query string, args ...any) {
		if strings.HasPrefix(string(d.Name), "postgres") {
			for i := range args {
				query = strings.Replace(query, "?", "$"+strconv.Itoa(i+1), 1)
			}
		}
		_, err := db.ExecContext(t.Context(), query, args...)
		require.NoError(t, err, query)
	}
	exec("ALTER TABLE items ADD COLUMN day " + day)
	exec("ALTER TABLE accounts ADD COLUMN since " + day)
	exec("CREATE TABLE members (tenant " + text + ", item " + text + ", list " + text + ")" + strict)
	exec("CREATE TABLE team_tree (tenant " + text + ", id " + text + ", parent " + text + ")" + strict)
	dated := func(table, column string, r accesscontrol.Resource) {
		if g.IntN(3) > 0 {
			at := pick(g.Rand, nativeDays)
			exec("UPDATE "+table+" SET "+column+" = ? WHERE tenant = ? AND id = ?", at, r.Tenant, r.ID)
			r.Attrs[column] = at
		}
	}
	tables := map[string][]pair{}
	add := func(table, columns, tenant, match, next string) {
		exec("INSERT INTO "+table+" (tenant, "+columns+") VALUES (?, ?, ?)", tenant, match, next)
		of := func(s string) sql.NullString { return sql.NullString{String: s, Valid: true} }
		tables[table] = append(tables[table], pair{tenant, of(match), of(next)})
	}
	for range 12 {
		add("team_tree", "id, parent", pick(g.Rand, []string{"main", "main", "other"}), pick(g.Rand, setTeams), pick(g.Rand, setTeams))
	}
	for range 150 {
		of := pick(g.Rand, []string{"i" + strconv.Itoa(g.IntN(40)), "a" + strconv.Itoa(g.IntN(6)), "A0", "I1"})
		add("members", "item, list", pick(g.Rand, []string{"main", "main", "main", "other", "Main"}), of, pick(g.Rand, []string{"a", "A", "a ", "won", "lead", "", "北京"}))
	}
	for _, key := range slices.Sorted(maps.Keys(w.accounts)) {
		dated("accounts", "since", w.accounts[key])
	}
	for _, r := range w.items {
		dated("items", "day", r)
		follow := func(from []string, table string) []string {
			out := []string{}
			for _, p := range tables[table] {
				if p.tenant == r.Tenant && slices.Contains(from, p.match.String) {
					out = append(out, p.next.String)
				}
			}
			return out
		}
		r.Attrs["lists"], r.Attrs["marks"], r.Attrs["groups"] = follow([]string{r.ID}, "members"), []string{}, []string{}
		if account, is := r.Attrs["account"].(string); is {
			r.Attrs["marks"] = follow([]string{account}, "members")
		}
		if team, is := r.Attrs["team"].(string); is {
			above := []string{team}
			for range 3 {
				above = append(above, follow(above, "team_tree")...)
			}
			r.Attrs["groups"] = above
		}
	}
	return w
}

// mixedAtom is a condition in which a set, a pattern or a date meets a record
// that is referred to.
func (g generator) mixedAtom() string {
	a := pick(g.Rand, []string{"resource.chief", "resource.chief.head"})
	like := func(of string) string {
		return of + " like " + pattern(pick(g.Rand, []string{"", "a", "A", "w", "Z", "*"}), pick(g.Rand, []string{"", "ü", " ", "n"}))
	}
	at := pick(g.Rand, []string{"principal.clock", `datetime("2026-11-22T00:00:00.001Z")`, `datetime("1970-01-01")`, `datetime("9999-12-31T23:59:59.999Z").offset(duration("1ms"))`, `datetime("0000-01-01")`})
	list := pick(g.Rand, []string{"resource.lists", "resource.marks"})
	set := pick(g.Rand, []string{
		list + ".contains(" + g.text() + ")", list + ".containsAny(principal.tags)", list + `.containsAll(["a", "A"])`, list + ".isEmpty()", list + ".contains(resource.stage)",
		"principal in resource.groups", "resource.groups.contains(" + g.setTeam() + ")", "resource.groups.containsAny(principal.teams)", "principal.lead in resource.groups",
	})
	switch g.IntN(9) {
	case 0:
		return like(a + ".kind")
	case 1:
		return g.behind("resource", "account", like("resource.account.kind"))
	case 2:
		return g.behind(a, "since", a+".since "+g.ordered()+" "+at)
	case 3:
		return g.behind(a, "since", "["+at+", principal.clock].contains("+a+".since)")
	case 4:
		return g.guarded("day", g.behind(a, "since", a+".since "+g.ordered()+" resource.day"))
	case 5:
		return g.behind("resource", "account", g.behind("resource.account", "since", at+" "+g.ordered()+" resource.account.since"))
	case 6:
		return fmt.Sprintf("(if %s.open then %s else %s)", a, set, like(a+".kind"))
	case 7:
		return "(" + like(a+".kind") + " " + pick(g.Rand, []string{"||", "&&"}) + " !(" + set + "))"
	default:
		return set
	}
}

// What is said with all of it together, filters select by it and checks decide by
// it as Cedar does; select lists show what Redact shows; and what CheckUse lets
// pass is hidden in no row.
func TestAllConditionsTogether(t *testing.T) {
	rounds := number(t, "CRMGUARD_MIXED_ROUNDS", 10)
	testdb.Each(t, func(t *testing.T, d testdb.Database) {
		seed := number(t, "CRMGUARD_SEED", 20261128)
		g := generator{Rand: rand.New(rand.NewPCG(seed, uint64(slices.Index(testdb.Names(), d.Name)))), joins: true, mixed: true}
		db := d.Open(t)
		world := newMixedWorld(t, db, d, g)
		records := make([]accesscontrol.Resource, len(world.items))
		for i, r := range world.items {
			records[i] = world.with(r, accesscontrol.MaxJoins)
		}
		people := itemPrincipals()[:2]
		var sets uint64
		var hidden, used, unused int
		var all tally
		for sets < rounds {
			text := g.grouped()
			policy, err := accesscontrol.Load(t.Context(), mixedConfig(text))
			if err != nil {
				require.ErrorIs(t, err, accesscontrol.ErrPolicy)
				require.Regexp(t, "optional attribute|too long as SQL", err.Error(), "the generator writes nothing else that is refused:\n%s", text)
				continue
			}
			if sets++; sets == 1 {
				require.NoError(t, policy.CheckSchema(t.Context(), db))
			}
			for _, principal := range people {
				actor, err := policy.For(principal)
				require.NoError(t, err)
				where, err := actor.Filter(t.Context(), "read", "item")
				require.NoError(t, err)
				condition, args := rendered(d, where, "c")
				selected := joinRows(t, db, "SELECT c.tenant, c.id, 1 FROM items AS c WHERE "+condition, args)
				whole, args := rendered(d, where.Value(), "c")
				values := joinRows(t, db, "SELECT c.tenant, c.id, "+whole+" FROM items AS c", args)
				if all.filters++; len(selected) == 0 {
					all.empty++
				}
				if strings.Contains(condition, "crmguard_1") {
					all.joined++
				}
				byCedar, err := policy.CedarFor(principal, "read", "item")
				require.NoError(t, err)
				list, err := actor.Columns(t.Context(), "item")
				require.NoError(t, err)
				rows := listed(t, db, d, list)
				hides := map[string]bool{}
				fields := []string{"stage", "account", "amount"}
				shows := map[string]map[string]bool{"stage": {}, "account": {}, "amount": {}}
				for _, r := range records {
					decided, err := actor.Decide(t.Context(), "read", r)
					require.NoError(t, err, text)
					want, err := byCedar(r)
					require.NoError(t, err, text)
					key := r.Tenant + "/" + r.ID
					all.row(t, decided, want, values[key], selected[key].Bool, func() string {
						return fmt.Sprintf("principal %s\n%s\n%s\n%v", principal.ID, text, condition, r)
					})
					if !decided.Allowed {
						continue
					}
					shown, seen, err := actor.Redact(t.Context(), r)
					require.NoError(t, err)
					for _, name := range []string{"stage", "region", "amount", "account", "owner"} {
						visible := min(seen[name], accesscontrol.Readable)
						got, want := rows[r.ID][name], shown.Attrs[name]
						said, grouped := rows[r.ID][name+"_visibility"]
						if !equalText(got, want) || grouped && !equalText(said, int64(visible)) {
							t.Fatalf("%s is %s: list %q (%v), Redact %q\n%s", name, seen[name], got, said, want, text)
						}
						if visible < accesscontrol.Readable {
							hidden++
							hides[name] = true
						} else if shows[name] != nil {
							shows[name][r.ID] = true
						}
					}
				}
				for _, name := range fields {
					using, err := actor.FilterUsing(t.Context(), "read", "item", name)
					require.NoError(t, err)
					bySQL, err := byWhere(t.Context(), db, d, using)
					require.NoError(t, err)
					require.Equal(t, shows[name], bySQL, "%s\n%s", name, text)
					if actor.CheckUse(t.Context(), "item", name) == nil {
						used++
						require.False(t, hides[name], "%s\n%s", name, text)
					} else {
						unused++
					}
				}
			}
		}
		t.Logf("seed %d: %d sets, %v, %d fields hidden or masked, %d may be used and %d not", seed, sets, &all, hidden, used, unused)
		all.proves(t, 20)
		require.Greater(t, min(hidden, used, unused, all.joined), 2)
	})
}
