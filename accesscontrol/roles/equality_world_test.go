package roles_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"

	"github.com/crmguard/crmguard/accesscontrol"
	"github.com/crmguard/crmguard/accesscontrol/roles"
	"github.com/crmguard/crmguard/internal/testdb"
)

// Sets of roles at random, over tables at random. They are kept as they were
// drawn, so that what they mean can be said without asking the package.

var (
	drawnIDs   = []string{"a", "A", "007", "8", "a b", "李", "Unit/a", "manager", uuidTwo} // beside those that fit more types of columns
	drawnNames = map[string][]string{                                                     // attributes by what they refer to
		roles.UserKind: {"owner_id", "order", "principal"}, roles.UnitKind: {"unit_id", "select", "resource"},
		roles.TeamKind: {"team_id", "group", "when"}, roles.TerritoryKind: {"territory_id", "context", "action"},
	}
	drawnRoleNames = []string{"manager", "a", "A", "7", "in", "x-y", "Role_1", "everywhere", "a-everywhere"}
	drawnKinds     = []string{roles.UserKind, roles.UnitKind, roles.TeamKind, roles.TerritoryKind}
	drawnReaches   = map[string][]roles.Reach{
		roles.UserKind: {roles.Own, roles.Reports}, roles.UnitKind: {roles.Unit, roles.Units}, roles.TeamKind: {roles.Team}, roles.TerritoryKind: {roles.Territory},
	}
)

const (
	uuidOne = "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"
	uuidTwo = "00000000-0000-4000-8000-000000000000"
)

// drawnAttr is an attribute that names a user, a unit, a team or a territory.
type drawnAttr struct {
	name, kind, column string
	required           bool
	as                 accesscontrol.ColumnType
}

type drawnTable struct {
	resource, entity, name string
	keyAs, tenantAs        accesscontrol.ColumnType
	only                   string
	actions                []string
	attrs                  []drawnAttr
}

// drawnRule is one Can, and drawnRole what a role was made of.
type (
	drawnRule struct {
		actions []string
		reach   roles.Reach
		attr    string
	}
	drawnRole struct {
		rules    []drawnRule
		inherits []string
	}
)

// roleWorld is a set of roles over tables, and the people of two tenants.
type roleWorld struct {
	*rand.Rand
	database testdb.Name
	tenants  []string
	ids      []string // of everything: people, units, teams and territories
	tables   []drawnTable
	roles    map[string]drawnRole
	names    []string                       // of the roles of the model, in the order in which they were drawn
	defined  map[string]map[string][]string // roles that a tenant has put together
	above    map[string][]string            // what stands directly above a thing, by tenant, kind and id
	held     map[person][]roles.Grant
	reached  map[roles.Reach]int // permissions by the reach that gave them
}

type person struct{ tenant, id string }

func pickOf[T any](r *rand.Rand, list []T) T { return list[r.IntN(len(list))] }

func newRoleWorld(r *rand.Rand, name testdb.Name, round int) *roleWorld {
	w := &roleWorld{Rand: r, database: name, roles: map[string]drawnRole{}, defined: map[string]map[string][]string{}, above: map[string][]string{}, held: map[person][]roles.Grant{}, reached: map[roles.Reach]int{}}
	w.ids = []string{"7", uuidOne}
	for _, i := range r.Perm(len(drawnIDs))[:3] {
		w.ids = append(w.ids, drawnIDs[i])
	}
	n := strconv.Itoa(round + 1) // no zero in front: a column of integers holds none
	w.tenants = []string{"main" + n, "other" + n}
	types := []accesscontrol.ColumnType{""}
	switch w.IntN(4) {
	case 0:
		w.tenants, types = []string{n + "1", n + "2"}, []accesscontrol.ColumnType{"", accesscontrol.Integer}
	case 1:
		w.tenants = []string{fmt.Sprintf("a0eebc99-9c0b-4ef8-bb6d-%012x", 2*round), fmt.Sprintf("a0eebc99-9c0b-4ef8-bb6d-%012x", 2*round+1)}
		if types = append(types, accesscontrol.UUID); name == testdb.SQLite {
			types = types[:1]
		}
	}
	for i := range 1 + w.IntN(2) {
		w.tables = append(w.tables, w.table(i, n, pickOf(r, types)))
	}
	for range 2 + w.IntN(4) {
		w.drawRole()
	}
	for _, tenant := range w.tenants {
		w.drawAbove(tenant)
	}
	return w
}

func (w *roleWorld) columnType() accesscontrol.ColumnType {
	as := pickOf(w.Rand, []accesscontrol.ColumnType{"", "", "", accesscontrol.Integer, accesscontrol.UUID})
	if as == accesscontrol.UUID && w.database == testdb.SQLite {
		return ""
	}
	return as
}

func (w *roleWorld) table(i int, round string, tenantAs accesscontrol.ColumnType) drawnTable {
	t := drawnTable{resource: []string{"deal", "deal.line"}[i], entity: []string{"Deal", "Line"}[i], name: []string{"deals", "lines"}[i] + round, keyAs: w.columnType(), tenantAs: tenantAs}
	if w.IntN(6) == 0 {
		t.only = w.tenants[0]
	}
	t.actions = []string{t.resource + ".read", t.resource + ".update", "look-at-" + t.entity}[:1+w.IntN(3)]
	for j, kind := range drawnKinds {
		for _, name := range drawnNames[kind] {
			if w.IntN(5) > 1 {
				continue
			}
			t.attrs = append(t.attrs, drawnAttr{name, kind, pickOf(w.Rand, []string{"c", "From_", "tenant_"}) + strconv.Itoa(j) + name, w.IntN(2) == 0, w.columnType()})
		}
	}
	return t
}

// drawRole draws a role that inherits from earlier ones.
func (w *roleWorld) drawRole() {
	name := pickOf(w.Rand, drawnRoleNames)
	if _, taken := w.roles[name]; taken {
		return
	}
	var r drawnRole
	for range 1 + w.IntN(4) {
		t := pickOf(w.Rand, w.tables)
		rule := drawnRule{actions: slices.Clone(t.actions), reach: roles.All}
		if len(rule.actions) > 1 && w.IntN(2) == 0 {
			rule.actions = []string{pickOf(w.Rand, t.actions)}
		}
		if len(t.attrs) > 0 && w.IntN(8) > 0 {
			a := pickOf(w.Rand, t.attrs)
			if units := slices.IndexFunc(t.attrs, func(a drawnAttr) bool { return a.kind == roles.UnitKind }); units >= 0 && w.IntN(3) == 0 {
				a = t.attrs[units] // one rule for a unit and one for those below it, in one role
			}
			rule.reach, rule.attr = pickOf(w.Rand, drawnReaches[a.kind]), a.name
		}
		if !slices.ContainsFunc(r.rules, func(old drawnRule) bool { // New refuses what stands twice
			return old.reach == rule.reach && old.attr == rule.attr && slices.ContainsFunc(old.actions, func(a string) bool { return slices.Contains(rule.actions, a) })
		}) {
			r.rules = append(r.rules, rule)
		}
	}
	for i, parent := range w.names {
		if w.IntN(5) == 0 || i == len(w.names)-1 && w.IntN(2) == 0 { // at any depth
			r.inherits = append(r.inherits, parent)
		}
	}
	if len(r.inherits) > 0 && w.IntN(5) == 0 {
		r.rules = nil
	}
	w.roles[name], w.names = r, append(w.names, name)
}

// drawAbove draws who and what stands above what: never in a circle, and one
// thing below several now and then.
func (w *roleWorld) drawAbove(tenant string) {
	for _, kind := range []string{roles.UserKind, roles.UnitKind, roles.TerritoryKind} {
		ids := slices.Clone(w.ids)
		w.Shuffle(len(ids), func(i, j int) { ids[i], ids[j] = ids[j], ids[i] })
		for i := 1; i < len(ids); i++ {
			for range w.IntN(3) {
				at := tenant + "/" + kind + "/" + ids[i]
				w.above[at] = append(w.above[at], ids[w.IntN(i)])
			}
		}
	}
}

// under climbs from a thing and says whether it meets another one.
func (w *roleWorld) under(tenant, kind, id, top string) bool {
	return slices.ContainsFunc(w.above[tenant+"/"+kind+"/"+id], func(up string) bool { return up == top || w.under(tenant, kind, up, top) })
}

func (w *roleWorld) below(_ context.Context, tenant, kind, top string) (out []string, err error) {
	for _, id := range w.ids {
		if w.under(tenant, kind, id, top) {
			out = append(out, id)
		}
	}
	if len(top)%2 == 0 { // some trees count the thing itself
		out = append(out, top)
	}
	return out, nil
}

// model writes the literal.
func (w *roleWorld) model() roles.Model {
	m := roles.Model{Roles: map[string]roles.Role{}, Below: w.below, Attrs: map[string]string{}}
	for _, t := range w.tables {
		bound := accesscontrol.Table{Resource: t.resource, Entity: t.entity, Name: t.name, Key: "id", KeyAs: t.keyAs, Tenant: "tenant", TenantAs: t.tenantAs}
		if t.only != "" {
			bound.Tenant, bound.TenantAs, bound.OnlyTenant = "", "", t.only
		}
		for _, action := range t.actions {
			if strings.HasPrefix(action, "look") {
				bound.Delete = action // the name does not say what it is about
			}
		}
		for _, a := range t.attrs {
			bound.Columns = append(bound.Columns, accesscontrol.Column{Attr: a.name, Name: a.column, Required: a.required, As: a.as})
			m.Attrs[t.entity+"."+a.name] = a.kind
		}
		m.Actions, m.Tables = append(m.Actions, t.actions...), append(m.Tables, bound)
	}
	for name, drawn := range w.roles {
		role := roles.Inherits(drawn.inherits...)
		for _, rule := range drawn.rules {
			role = role.Can(rule.actions...)
			switch rule.reach {
			case roles.Own:
				role = role.Own(rule.attr)
			case roles.Reports:
				role = role.Reports(rule.attr)
			case roles.Unit:
				role = role.Unit(rule.attr)
			case roles.Units:
				role = role.Units(rule.attr)
			case roles.Team:
				role = role.Team(rule.attr)
			case roles.Territory:
				role = role.Territory(rule.attr)
			case roles.All:
			}
		}
		m.Roles[name] = role
	}
	return m
}
