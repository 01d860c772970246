package accesscontrol_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"strconv"
	"strings"

	"github.com/crmguard/crmguard/accesscontrol"
)

// A generator of policies over everything that a filter translates, of rows
// that sit on the edges, and of principals.

const itemSchema = `
entity Role;
entity Team in [Team];
entity User in [Role, Team] = {
  level: Long, region: String, nick?: String, active: Bool, lead: User,
  teams: Set<Team>, tags: Set<String>, nums: Set<Long>, flags: Set<Bool>, clock: datetime,
};
entity Item = {
  owner: User, team?: Team, backup?: User, stage: String, region?: String,
  amount: Long, score?: Long, flag: Bool, blocked?: Bool,
  secret?: String, unmapped?: String, labels?: Set<String>, due?: datetime,
};
action any;
action read, write in [any] appliesTo { principal: [User], resource: [Item], context: { now: Long, purpose?: String } };
`

func itemTable() accesscontrol.Table {
	return accesscontrol.Table{
		Resource: "item", Entity: "Item", Name: "items", Key: "id", Tenant: "tenant",
		Columns: []accesscontrol.Column{
			{Attr: "owner", Required: true},
			{Attr: "team", Name: "order"}, // a reserved word, on purpose
			{Attr: "backup"},
			{Attr: "stage", Required: true},
			{Attr: "region"},
			{Attr: "amount", Required: true},
			{Attr: "score"},
			{Attr: "flag", Required: true},
			{Attr: "blocked"},
			{Attr: "secret", Opaque: true},
			{Attr: "labels"},
			{Attr: "due"},
			{Attr: "email", Opaque: true},
		},
		Read: "read", Update: "write",
	}
}

func itemConfig(policies string) accesscontrol.Config {
	return accesscontrol.Config{
		Texts:  map[string]string{"item.cedarschema": itemSchema, "item.cedar": policies},
		Tables: []accesscontrol.Table{itemTable()},
	}
}

const itemDDL = "CREATE TABLE items (id TEXT PRIMARY KEY, tenant TEXT NOT NULL, owner TEXT NOT NULL, `order` TEXT, backup TEXT, stage TEXT NOT NULL, region TEXT," +
	" amount INTEGER NOT NULL, score INTEGER, flag INTEGER NOT NULL, blocked INTEGER, secret BLOB, labels TEXT, due INTEGER, email BLOB) STRICT"

// Values on the edges: empty, case, trailing space, non-ASCII in both normal
// forms, quotes, wildcards, comments, words of SQL, bounds of integers.
var (
	edgeTexts = []string{
		"", "a", "A", "a ", "lead", "won", "Zürich", "Zu\u0308rich", "北京", "it's", `"quoted"`, "`tick`", "%", "_", `back\slash`, `\`,
		"'; DROP TABLE items; --", "\U0001F600", "NULL", "0", "1", "TRUE", "$1", "?", "line\nbreak", "ß", "SS", "\u200b",
	}
	edgeInts = []int64{0, 1, -1, 2, 7, 42, math.MaxInt64, math.MinInt64, math.MaxInt64 - 1, math.MinInt64 + 1, 1 << 53, 1<<53 + 1, -(1<<53 + 1), math.MaxInt32, math.MinInt32}
	users    = []string{"ann", "bob", "Ann", "o'neil", "李", "7", "07"}
	teams    = []string{"t1", "t2", "t3", "té", "t'x"}
)

func pick[T any](r *rand.Rand, of []T) T { return of[r.IntN(len(of))] }

// quote writes a Cedar string literal.
func quote(s string) string {
	var b strings.Builder
	b.WriteByte('"')
	for _, c := range s {
		switch {
		case c == '"' || c == '\\':
			b.WriteByte('\\')
			b.WriteRune(c)
		case c < 0x20 || c > 0x7e:
			fmt.Fprintf(&b, `\u{%x}`, c)
		default:
			b.WriteRune(c)
		}
	}
	return b.String() + `"`
}

type generator struct {
	*rand.Rand
	// all writes what only records without a table may be asked.
	all bool
	// native writes about the attributes that nativeItems adds; times, about
	// the one that SQLite has no column for.
	native, times bool
	// sets writes about the attributes that setItems adds.
	sets bool
	// joins writes about the records that joinedItems adds.
	joins bool
	// mixed writes about sets, patterns and dates beside these.
	mixed bool
}

func (g generator) text() string {
	switch g.IntN(6) {
	case 0:
		return "principal.region"
	case 1:
		return "principal.lead.region"
	default:
		return quote(pick(g.Rand, edgeTexts))
	}
}

func (g generator) long() string {
	switch g.IntN(8) {
	case 0:
		return "principal.level"
	case 1:
		return "context.now"
	case 2:
		return "(principal.level + " + strconv.FormatInt(pick(g.Rand, edgeInts), 10) + ")" // may overflow
	default:
		return strconv.FormatInt(pick(g.Rand, edgeInts), 10)
	}
}

func (g generator) user() string {
	return pick(g.Rand, []string{"principal", "principal.lead", "User::" + quote(pick(g.Rand, users))})
}

func (g generator) team() string { return "Team::" + quote(pick(g.Rand, teams)) }

func (g generator) set(of func() string) string {
	parts := []string{of()}
	for range g.IntN(3) {
		parts = append(parts, of())
	}
	return "[" + strings.Join(parts, ", ") + "]"
}

func literalText(g generator) func() string {
	return func() string { return quote(pick(g.Rand, edgeTexts)) }
}

func literalInt(g generator) func() string {
	return func() string { return strconv.FormatInt(pick(g.Rand, edgeInts), 10) }
}

// guarded attributes are optional: most atoms about them are written behind a
// guard, in one of its forms, and now and then without, which Load refuses.
func (g generator) guarded(attr, atom string) string {
	switch g.IntN(12) {
	case 0, 1, 2, 3, 4:
		return fmt.Sprintf("(resource has %s && %s)", attr, atom)
	case 5, 6:
		return fmt.Sprintf("(!(resource has %s) || %s)", attr, atom)
	case 7:
		return fmt.Sprintf("(if resource has %s then %s else %s)", attr, atom, g.known())
	case 8:
		return fmt.Sprintf("(resource has %s && !(%s))", attr, atom)
	case 9, 10:
		return fmt.Sprintf("!(resource has %s && %s)", attr, atom)
	default:
		if g.IntN(6) == 0 {
			return atom
		}
		return fmt.Sprintf("(resource has %s)", attr)
	}
}

func (g generator) ordered() string {
	return pick(g.Rand, []string{"==", "!=", "<", "<=", ">", ">="})
}

func (g generator) equal() string { return pick(g.Rand, []string{"==", "!="}) }

// known does not look at the resource. Some forms fail for some principals.
func (g generator) known() string {
	switch g.IntN(9) {
	case 0:
		return "principal.active"
	case 1:
		return "principal in " + g.team()
	case 2:
		return "(principal has nick && principal.nick == " + g.text() + ")"
	case 3:
		return "(context has purpose && context.purpose == " + g.text() + ")"
	case 4:
		return "context.now " + g.ordered() + " " + g.long()
	case 5:
		return fmt.Sprintf("(principal.level + %d > 0)", pick(g.Rand, edgeInts))
	case 6:
		return "principal.lead.active" // fails when the lead was not brought along
	case 7:
		return "principal.region like \"*" + pick(g.Rand, []string{"a", "ü", "x"}) + "*\""
	default:
		return pick(g.Rand, []string{"true", "false"})
	}
}

// beyond SQL are the forms that no column can answer.
func (g generator) beyondSQL() string {
	switch g.IntN(10) {
	case 0:
		return "resource.stage like \"*" + pick(g.Rand, []string{"a", "ü", "x", "e*d"}) + "*\""
	case 1:
		return "resource.amount + 1 " + g.ordered() + " " + g.long() // may overflow
	case 2:
		return g.guarded("labels", "resource.labels.contains("+g.text()+")")
	case 3:
		return g.guarded("labels", "resource.labels.containsAny(principal.tags)")
	case 4:
		return g.guarded("due", "resource.due "+g.ordered()+" principal.clock")
	case 5:
		return "resource.owner.region " + g.equal() + " " + g.text() // fails where the owner was not brought along
	case 6:
		return "resource in Item::\"i" + strconv.Itoa(g.IntN(9)) + "\""
	case 7:
		return "[resource.owner, principal].contains(" + g.user() + ")"
	case 8:
		return "(if resource.flag then principal else resource.owner) == " + g.user()
	default:
		return "{a: resource.stage, b: resource.amount} == {a: " + g.text() + ", b: " + g.long() + "}"
	}
}

func (g generator) atom() string {
	if g.all && g.IntN(3) == 0 {
		return g.beyondSQL()
	}
	if g.sets && g.IntN(3) > 0 {
		return g.setAtom()
	}
	if g.native && g.IntN(3) == 0 {
		return g.nativeAtom()
	}
	if g.mixed && g.IntN(3) == 0 {
		return g.mixedAtom()
	}
	if g.joins && g.IntN(2) == 0 {
		return g.joinAtom()
	}
	switch g.IntN(24) {
	case 0:
		return "resource.stage " + g.equal() + " " + g.text()
	case 1:
		return g.text() + " " + g.equal() + " resource.stage"
	case 2:
		return g.guarded("region", "resource.region "+g.equal()+" "+g.text())
	case 3:
		return g.guarded("region", "resource.region "+g.equal()+" resource.stage")
	case 4:
		return "principal.tags.contains(resource.stage)"
	case 5:
		return g.guarded("region", g.set(literalText(g))+".contains(resource.region)")
	case 6:
		return "resource.amount " + g.ordered() + " " + g.long()
	case 7:
		return g.long() + " " + g.ordered() + " resource.amount"
	case 8:
		return g.guarded("score", "resource.score "+g.ordered()+" "+g.long())
	case 9:
		return g.guarded("score", "resource.score "+g.ordered()+" resource.amount")
	case 10:
		return pick(g.Rand, []string{"principal.nums", g.set(literalInt(g))}) + ".contains(resource.amount)"
	case 11:
		return "resource.flag"
	case 12:
		return pick(g.Rand, []string{
			"resource.flag " + g.equal() + " " + pick(g.Rand, []string{"true", "false", "principal.active"}),
			pick(g.Rand, []string{"[true]", "[false]", "[true, false]", "principal.flags", "principal.lead.flags"}) + ".contains(resource.flag)",
		})
	case 13:
		return g.guarded("blocked", "resource.blocked")
	case 14:
		return g.guarded("blocked", "resource.blocked "+g.equal()+" resource.flag")
	case 15:
		return "resource.owner " + g.equal() + " " + g.user()
	case 16:
		return "resource.owner in " + pick(g.Rand, []string{g.team(), "principal.teams", g.set(g.team), g.user()})
	case 17:
		return g.guarded("backup", "resource.backup "+g.equal()+" "+pick(g.Rand, []string{"resource.owner", g.user()}))
	case 18:
		return g.guarded("team", pick(g.Rand, []string{"principal in resource.team", "principal is User in resource.team", "principal.lead is User in resource.team", "principal.lead is Team in resource.team", g.team() + " in resource.team"}))
	case 19:
		return g.guarded("team", pick(g.Rand, []string{"principal.teams.contains(resource.team)", "resource.team in " + g.team(), "resource.team == " + g.team()}))
	case 20:
		return "resource " + g.equal() + " Item::\"i" + strconv.Itoa(g.IntN(9)) + "\""
	case 21:
		return pick(g.Rand, []string{"resource is Item", "resource.owner is User", "(resource.owner is User in " + g.team() + ")", "resource.owner is Team"})
	case 22:
		return g.set(g.user) + ".contains(resource.owner)"
	default:
		return g.known()
	}
}

func (g generator) condition(depth int) string {
	if depth == 0 {
		return g.atom()
	}
	switch g.IntN(7) {
	case 0, 1:
		return "(" + g.condition(depth-1) + " && " + g.condition(depth-1) + ")"
	case 2, 3:
		return "(" + g.condition(depth-1) + " || " + g.condition(depth-1) + ")"
	case 4:
		return "!(" + g.condition(depth-1) + ")"
	case 5:
		return "(if " + g.condition(depth-1) + " then " + g.condition(depth-1) + " else " + g.condition(depth-1) + ")"
	default:
		return g.atom()
	}
}

func (g generator) policy(i int) string {
	effect := pick(g.Rand, []string{"permit", "permit", "permit", "forbid"})
	principal := pick(g.Rand, []string{"principal", "principal", "principal is User", "principal in Team::\"t1\"", "principal == User::\"ann\"", "principal is User in Team::\"t2\""})
	action := pick(g.Rand, []string{"action", "action == Action::\"read\"", "action in Action::\"any\"", "action in [Action::\"read\", Action::\"write\"]"})
	resource := pick(g.Rand, []string{"resource", "resource", "resource is Item", "resource == Item::\"i3\""})
	if g.all && g.IntN(5) == 0 {
		resource = pick(g.Rand, []string{"resource in Item::\"i4\"", "resource is Item in Item::\"i5\""})
	}
	var text strings.Builder
	fmt.Fprintf(&text, "@id(\"p%d\")\n%s (%s, %s, %s)", i, effect, principal, action, resource)
	for range 1 + g.IntN(2) {
		text.WriteString("\n" + pick(g.Rand, []string{"when", "when", "unless"}) + " { " + g.condition(g.IntN(3)) + " }")
	}
	return text.String() + ";\n"
}

func (g generator) policies() string {
	var b strings.Builder
	switch n := g.IntN(6); { // forbids matter only where something is permitted
	case n < 2:
		b.WriteString("@id(\"all\") permit (principal, action, resource);\n")
	case (g.native || g.joins) && n < 4:
		b.WriteString("@id(\"most\") permit (principal, action, resource) when { resource.flag || resource.amount > 7 };\n")
	}
	for i := range 1 + g.IntN(5) {
		b.WriteString(g.policy(i))
	}
	return b.String()
}

func itemPrincipals() []accesscontrol.Principal {
	base := func(id string, level int64) accesscontrol.Principal {
		return accesscontrol.Principal{
			Tenant: "main", ID: id,
			Attrs: map[string]any{
				"level": level, "region": "Zürich", "active": true, "lead": "bob", "clock": "2026-11-22T00:00:00Z",
				"teams": []string{"t1", "té"}, "tags": []string{"lead", "it's", "北京"}, "nums": []int64{1, math.MaxInt64, math.MinInt64}, "flags": []bool{level < 0},
			},
			Parents: []accesscontrol.Ref{{Type: "Team", ID: "t1"}},
			Context: map[string]any{"now": int64(42)},
		}
	}
	lead := accesscontrol.Entity{
		Type: "User", ID: "bob", Parents: []accesscontrol.Ref{{Type: "Team", ID: "t2"}},
		Attrs: map[string]any{
			"level": 1, "region": "a", "active": false, "lead": "bob", "clock": "2026-11-22T00:00:00Z",
			"teams": []string{}, "tags": []string{}, "nums": []int64{}, "flags": []bool{},
		},
	}
	ann := base("ann", 7)
	ann.Attrs["nick"] = "it's"
	ann.Entities = []accesscontrol.Entity{
		lead,
		{Type: "Team", ID: "t1", Parents: []accesscontrol.Ref{{Type: "Team", ID: "t3"}}},
		{Type: "Team", ID: "t2", Parents: []accesscontrol.Ref{{Type: "Team", ID: "t3"}}},
	}
	neil := base("o'neil", math.MaxInt64) // brings no lead: conditions on it fail
	neil.Attrs["active"] = false
	neil.Attrs["region"] = "'; DROP TABLE items; --"
	neil.Context["purpose"] = "won"
	li := base("李", math.MinInt64)
	li.Parents = []accesscontrol.Ref{{Type: "Team", ID: "t2"}, {Type: "Role", ID: "r"}}
	li.Attrs["teams"], li.Attrs["tags"], li.Attrs["nums"] = []string{}, []string{}, []int64{}
	li.Entities = []accesscontrol.Entity{lead}
	return []accesscontrol.Principal{ann, neil, li}
}
