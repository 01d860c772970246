package accesscontrol_test

import (
	"database/sql"
	"fmt"
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

// Items that refer to accounts, which refer to each other and to regions, and
// to other items. Ids stand in two tenants at once, and some refer to nothing.

const joinSchema = `
entity Account = { owner: User, team?: Team, kind: String, rank?: Long, open: Bool, held?: Bool, region?: Region, parent?: Account, head: Account };
entity Region = { manager: User, name: String, closed?: Bool };
`

func joinConfig(policies string) accesscontrol.Config {
	config := itemConfig(policies)
	config.Texts["item.cedarschema"] = joinSchema + strings.Replace(itemSchema, "secret?: String,", "account?: Account, chief: Account, peer?: Item, secret?: String,", 1)
	table := &config.Tables[0]
	table.Columns = append(table.Columns[:9:9],
		accesscontrol.Column{Attr: "account", Name: "account_id", Join: true},
		accesscontrol.Column{Attr: "chief", Required: true, Join: true},
		accesscontrol.Column{Attr: "peer", Join: true})
	config.Tables = append(config.Tables, accesscontrol.Table{
		Resource: "account", Entity: "Account", Name: "accounts", Key: "id", Tenant: "tenant",
		Columns: []accesscontrol.Column{
			{Attr: "owner", Required: true},
			{Attr: "team"},
			{Attr: "kind", Required: true},
			{Attr: "rank"},
			{Attr: "open", Required: true},
			{Attr: "held"},
			{Attr: "region", As: accesscontrol.Integer, Join: true},
			{Attr: "parent", Join: true},
			{Attr: "head", Required: true, Join: true},
		},
	}, accesscontrol.Table{
		Resource: "region", Entity: "Region", Name: "regions", Key: "no", KeyAs: accesscontrol.Integer, OnlyTenant: "main",
		Columns: []accesscontrol.Column{{Attr: "manager", Required: true}, {Attr: "name", Required: true}, {Attr: "closed"}},
	})
	return config
}

// joinDDL writes the tables. Each column of the items that is asked about has a
// namesake in the accounts.
func joinDDL(name testdb.Name) string {
	text, other, key, number, flag, strict := "text", "varchar(60)", "text", "bigint", "boolean", ""
	switch name {
	case testdb.SQLite:
		text, other, key, number, flag, strict = "TEXT", "TEXT COLLATE NOCASE", "TEXT COLLATE NOCASE", "INTEGER", "INTEGER", " STRICT"
	case testdb.MariaDB:
		text, other, flag = "VARCHAR(60) COLLATE utf8mb4_general_ci", "VARCHAR(60) COLLATE utf8mb4_general_ci", "BOOLEAN"
		key = text
	default:
	}
	return strings.NewReplacer("TEXT", text, "OTHER", other, "id KEY", "id "+key, "NUMBER", number, "FLAG", flag, "END", strict).Replace(`
CREATE TABLE items (id TEXT NOT NULL, tenant TEXT NOT NULL, owner OTHER NOT NULL, "order" TEXT, backup TEXT, stage OTHER NOT NULL, region TEXT, amount NUMBER NOT NULL, score NUMBER, flag FLAG NOT NULL, blocked FLAG,
  account_id OTHER, chief TEXT NOT NULL, peer TEXT, PRIMARY KEY (tenant, id))END;
CREATE TABLE accounts (id KEY NOT NULL, tenant TEXT NOT NULL, owner TEXT NOT NULL, team TEXT, kind OTHER NOT NULL, rank NUMBER, open FLAG NOT NULL, held FLAG, region NUMBER, parent OTHER, head TEXT NOT NULL, PRIMARY KEY (tenant, id))END;
CREATE TABLE regions (no NUMBER NOT NULL PRIMARY KEY, manager OTHER NOT NULL, name TEXT NOT NULL, closed FLAG)END`)
}

// joinWorld is the rows as the test made them, which are the records too.
type joinWorld struct {
	items    []accesscontrol.Resource
	accounts map[string]accesscontrol.Resource // by tenant/id
	regions  map[string]accesscontrol.Resource
}

func (w joinWorld) item(tenant, id string) (accesscontrol.Resource, bool) {
	i := slices.IndexFunc(w.items, func(r accesscontrol.Resource) bool { return r.Tenant == tenant && r.ID == id })
	if i < 0 {
		return accesscontrol.Resource{}, false
	}
	return w.items[i], true
}

// with is a record with all that it refers to, as deep as a policy may look: of
// its own tenant, or, where there is none, now and then of another one.
func (w joinWorld) with(r accesscontrol.Resource, depth int) accesscontrol.Resource {
	if depth == 0 {
		return r
	}
	related := map[string]accesscontrol.Resource{}
	for _, attr := range []string{"account", "chief", "peer", "parent", "head", "region"} {
		id, refers := r.Attrs[attr]
		if !refers || id == nil || r.Type == "item" && attr == "region" {
			continue
		}
		key := fmt.Sprint(id)
		var other accesscontrol.Resource
		var found bool
		for _, tenant := range []string{r.Tenant, "other", "main"} {
			if found {
				continue
			}
			switch attr {
			case "peer":
				other, found = w.item(tenant, key)
			case "region":
				other, found = w.regions[key]
			default:
				other, found = w.accounts[tenant+"/"+key]
			}
		}
		if found {
			other = w.with(other, depth-1)
		}
		related[attr] = other
	}
	r.Related = related
	return r
}

func newJoinWorld(t *testing.T, db *sql.DB, name testdb.Name, r *rand.Rand) joinWorld {
	t.Helper()
	exec := func(query string, args ...any) {
		_, err := db.ExecContext(t.Context(), query, args...)
		require.NoError(t, err, query)
	}
	for statement := range strings.SplitSeq(joinDDL(name), ";") {
		if name == testdb.MariaDB || name == testdb.SQLite {
			statement = strings.ReplaceAll(statement, `"`, "`")
		}
		exec(statement)
	}
	insert := func(table string, row accesscontrol.Resource, columns map[string]string) {
		names, places, args := []string{}, []string{}, []any{}
		add := func(column string, v any) {
			names, args = append(names, column), append(args, v)
			places = append(places, map[bool]string{true: "$" + strconv.Itoa(len(args)), false: "?"}[strings.HasPrefix(string(name), "postgres")])
		}
		for attr, v := range row.Attrs {
			column := attr
			if columns[attr] != "" {
				column = columns[attr]
			}
			add(column, v)
		}
		if table == "regions" {
			add("no", row.ID)
		} else {
			add("id", row.ID)
			add("tenant", row.Tenant)
		}
		exec("INSERT INTO "+table+" ("+strings.Join(names, ", ")+") VALUES ("+strings.Join(places, ", ")+")", args...)
	}
	orNull := func(v any) any {
		if r.IntN(4) == 0 {
			return nil
		}
		return v
	}
	text := func() string { return pick(r, []string{"a", "A", "a ", "won", "Zürich", "北京", "it's", ""}) }
	w := joinWorld{accounts: map[string]accesscontrol.Resource{}, regions: map[string]accesscontrol.Resource{}}
	for i := range 5 {
		region := accesscontrol.Resource{Type: "region", ID: strconv.Itoa(i), Tenant: "main", Attrs: map[string]any{"manager": pick(r, users), "name": text(), "closed": orNull(r.IntN(2) == 0)}}
		w.regions[region.ID] = region
		insert("regions", region, nil)
	}
	accounts := []string{"a0", "a1", "a2", "a3", "a4", "a5", "x6", "x7", "A0", "none"} // the last two are in no tenant
	for _, tenant := range []string{"main", "other", "Main"} {
		for _, id := range accounts[:8] {
			if (tenant == "Main") != (id[0] == 'x') { // these are in no other one
				continue
			}
			account := accesscontrol.Resource{Type: "account", ID: id, Tenant: tenant, Attrs: map[string]any{
				"owner": pick(r, users), "team": orNull(pick(r, teams)), "kind": text(), "rank": orNull(pick(r, []int64{0, 1, 7, 42, -1})),
				"open": r.IntN(2) == 0, "held": orNull(r.IntN(2) == 0), "region": orNull(int64(r.IntN(7))), "parent": orNull(pick(r, accounts)), "head": pick(r, accounts),
			}}
			w.accounts[tenant+"/"+id] = account
			insert("accounts", account, nil)
		}
	}
	quoted := map[bool]string{true: `"order"`, false: "`order`"}[strings.HasPrefix(string(name), "postgres")]
	for i := range 60 {
		tenant := pick(r, []string{"main", "main", "main", "other", "other", "other", "Main"})
		id := "i" + strconv.Itoa(r.IntN(40))
		if tenant == "Main" {
			id = "m" + strconv.Itoa(i)
		}
		if _, twice := w.item(tenant, id); twice {
			continue
		}
		item := accesscontrol.Resource{Type: "item", ID: id, Tenant: tenant, Attrs: map[string]any{
			"owner": pick(r, users), "team": orNull(pick(r, teams)), "backup": orNull(pick(r, users)), "stage": text(), "region": orNull(text()),
			"amount": pick(r, []int64{0, 1, 7, 42, -1}), "score": orNull(int64(7)), "flag": r.IntN(2) == 0, "blocked": orNull(r.IntN(2) == 0),
			"account": orNull(pick(r, accounts)), "chief": pick(r, accounts), "peer": orNull("i" + strconv.Itoa(r.IntN(40))),
		}}
		w.items = append(w.items, item)
		insert("items", item, map[string]string{"team": quoted, "account": "account_id"})
	}
	return w
}

// behind guards an attribute of another record that may be absent.
func (g generator) behind(base, attr, atom string) string {
	switch g.IntN(8) {
	case 0, 1, 2, 3:
		return fmt.Sprintf("(%s has %s && %s)", base, attr, atom)
	case 4:
		return fmt.Sprintf("!(%s has %s && %s)", base, attr, atom)
	case 5:
		return fmt.Sprintf("(if %s has %s then %s else %s)", base, attr, atom, g.known())
	case 6:
		return fmt.Sprintf("(!(%s has %s) || !(%s has %s && %s))", base, attr, base, attr, atom)
	default:
		return fmt.Sprintf("(%s has %s)", base, attr)
	}
}

// ofAccount is a condition about an account, with so many joins left.
func (g generator) ofAccount(a string, left int) string {
	switch n := g.IntN(21); {
	case n == 0:
		return a + ".owner " + g.equal() + " " + g.user()
	case n == 1:
		return a + ".owner in " + pick(g.Rand, []string{g.team(), "principal.teams", g.user()})
	case n == 2:
		return a + ".owner " + g.equal() + " resource.owner"
	case n == 3:
		return a + ".kind " + g.equal() + " " + pick(g.Rand, []string{"resource.stage", `"a"`, `"A"`, "principal.region"})
	case n == 4:
		return pick(g.Rand, []string{`["a", "won"]`, "principal.tags"}) + ".contains(" + a + ".kind)"
	case n == 5:
		return a + ".open"
	case n == 6:
		return pick(g.Rand, []string{"[true, false]", "[false]", "principal.flags"}) + ".contains(" + a + ".open)"
	case n == 7:
		return g.behind(a, "held", a+".held")
	case n == 8:
		return g.behind(a, "team", pick(g.Rand, []string{"principal in " + a + ".team", a + ".team == " + g.team()}))
	case n == 9:
		return g.behind(a, "rank", a+".rank "+g.ordered()+" "+pick(g.Rand, []string{"7", "resource.amount", "context.now", "principal.level"}))
	case n == 10:
		return pick(g.Rand, []string{a + " == Account::\"a1\"", a + ".owner is User", a + ".owner is Team", a + " has owner", "principal.nums.contains(resource.amount)"})
	case n <= 12 && left > 0:
		return g.behind(a, "region", g.ofRegion(a+".region"))
	case n <= 15 && left > 0:
		return g.behind(a, "parent", g.ofAccount(a+".parent", left-1))
	case n <= 18 && left > 0:
		return pick(g.Rand, []string{"(" + a + ".head has held || resource.flag)", g.ofAccount(a+".head", left-1)})
	default:
		return g.behind(a, pick(g.Rand, []string{"region", "parent", "held", "team"}), "true")
	}
}

func (g generator) ofRegion(r string) string {
	return pick(g.Rand, []string{
		r + ".manager " + g.equal() + " " + g.user(), r + ".manager " + g.equal() + " resource.owner", r + ".name " + g.equal() + " \"a\"",
		g.behind(r, "closed", r+".closed"), r + ` == Region::"1"`, r + ` == Region::"01"`,
	})
}

// joinAtom is a condition about records behind the item.
func (g generator) joinAtom() string {
	switch g.IntN(6) {
	case 0, 1:
		return g.behind("resource", "account", g.ofAccount("resource.account", 2))
	case 2, 3:
		return g.ofAccount("resource.chief", 2)
	case 4:
		return g.behind("resource", "peer", pick(g.Rand, []string{
			"resource.peer.stage " + g.equal() + " resource.stage", "resource.peer.owner == " + g.user(), "resource.peer.flag", g.behind("resource.peer", "blocked", "resource.peer.blocked"),
			g.ofAccount("resource.peer.chief", 1), "resource.peer == resource", "resource.peer.peer == resource", g.behind("resource.peer", "peer", "resource.peer.peer.flag"),
		}))
	default:
		return g.behind("resource", "account", pick(g.Rand, []string{
			"resource.account.owner " + g.equal() + " resource.chief.owner", "resource.account == resource.chief", "resource.account.kind == resource.chief.kind",
			g.behind("resource.account", "region", "resource.account.region.manager == resource.chief.owner"),
		}))
	}
}

var joinText = regexp.MustCompile("^(?:TRUE|FALSE|NULL(?:::boolean)?|EXISTS|SELECT|FROM|RAND\\(\\)|WHERE|AS|IS|NOT|IN|AND|OR|CASE|WHEN|THEN|ELSE|END|[ (),.]|<=|>=|<>|=|<|>|\\?|\\$[0-9]+|[01]\\b|(?:::(?:text|bigint|boolean))|CAST|AS BINARY|SELECT value FROM json_each|ANY|(?:::text)+(?:::(?:text|bigint)\\[\\])|COLLATE (?:BINARY|\"C\")" +
	"|[`\"](?:c|crmguard_[0-9]+|items|accounts|regions|no|manager|name|closed|kind|team|rank|open|held|parent|head|account_id|chief|peer|tenant|id|owner|order|backup|stage|region|amount|score|flag|blocked)[`\"])*$")

// What policies read of other records, a filter selects by it and a check
// decides by it as Cedar does: over references that lead nowhere or to another
// tenant's record of the same id, back to the record itself, through three
// records, and in every place of a condition.
func TestFilterEqualsChecksBehindJoins(t *testing.T) {
	rounds := number(t, "CRMGUARD_RANDOM_ROUNDS", 70)
	testdb.Each(t, func(t *testing.T, d testdb.Database) {
		seed := number(t, "CRMGUARD_SEED", 20261128)
		g := generator{Rand: rand.New(rand.NewPCG(seed, uint64(slices.Index(testdb.Names(), d.Name)))), joins: true}
		db := d.Open(t)
		world := newJoinWorld(t, db, d.Name, g.Rand)
		records := make([]accesscontrol.Resource, len(world.items))
		for i, r := range world.items {
			records[i] = world.with(r, accesscontrol.MaxJoins)
		}
		people := itemPrincipals()
		outsider := people[0]
		outsider.Tenant = "other" // whose regions these are not
		people = append(people[:2:2], outsider)
		var sets uint64
		var refused int
		var seen tally
		for sets < rounds {
			text := g.policies()
			policy, err := accesscontrol.Load(t.Context(), joinConfig(text))
			if err != nil {
				require.ErrorIs(t, err, accesscontrol.ErrPolicy)
				require.Contains(t, err.Error(), "optional attribute", "the generator writes nothing else that is refused:\n%s", text)
				refused++
				continue
			}
			if sets++; sets == 1 {
				require.NoError(t, policy.CheckSchema(t.Context(), db))
			}
			for _, principal := range people {
				where, err := policy.Filter(t.Context(), principal, "read", "item")
				require.NoError(t, err, text)
				condition, args := rendered(d, where, "c")
				require.Regexp(t, joinText, condition)
				if strings.Contains(condition, "crmguard_1") {
					seen.joined++
				}
				selected := joinRows(t, db, "SELECT c.tenant, c.id, 1 FROM items AS c WHERE "+condition, args)
				condition, args = rendered(d, where.Value(), "c")
				require.Regexp(t, joinText, condition)
				values := joinRows(t, db, "SELECT c.tenant, c.id, "+condition+" FROM items AS c", args)
				if seen.filters++; len(selected) == 0 {
					seen.empty++
				}
				actor, err := policy.For(principal)
				require.NoError(t, err, text)
				byCedar, err := policy.CedarFor(principal, "read", "item")
				require.NoError(t, err, text)
				for _, r := range records {
					decided, err := actor.Decide(t.Context(), "read", r)
					require.NoError(t, err, text)
					want, err := byCedar(r)
					require.NoError(t, err, text)
					key := r.Tenant + "/" + r.ID
					seen.row(t, decided, want, values[key], selected[key].Bool, func() string {
						return fmt.Sprintf("principal %s of %s\n%s\n%s\n%v", principal.ID, principal.Tenant, text, condition, r)
					})
				}
			}
		}
		t.Logf("seed %d: %d valid sets, %d refused, %v", seed, sets, refused, &seen)
		seen.proves(t, 20)
		require.Greater(t, seen.joined, seen.filters/3)
		require.NotZero(t, seen.failing)
	})
}

// joinRows reads a value for each item.
func joinRows(t *testing.T, db *sql.DB, query string, args []any) map[string]sql.NullBool {
	t.Helper()
	rows, err := db.QueryContext(t.Context(), query, args...)
	require.NoError(t, err, query)
	defer func() { require.NoError(t, rows.Close()) }()
	out := map[string]sql.NullBool{}
	for rows.Next() {
		var tenant, id string
		var v sql.NullBool
		require.NoError(t, rows.Scan(&tenant, &id, &v))
		out[tenant+"/"+id] = v
	}
	require.NoError(t, rows.Err())
	return out
}
