package roles

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"

	"github.com/crmguard/crmguard/accesscontrol"
)

// Set is a [Model] that was checked. It never changes and is safe for
// concurrent use.
type Set struct {
	model   Model
	tables  map[string]*accesscontrol.Table // by Resource
	types   map[string]map[string]string    // Cedar type by entity and attribute
	actions map[string]string               // Resource by action
	closure map[string][]string             // the role and all that come with it
}

// roleName is what a role of the model may be called: it stands in ids of
// policies.
var roleName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9_-]{0,62}$`)

// identifier is what attributes and entities may be called in generated Cedar.
var identifier = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]{0,62}$`)

// reserved are words and types of Cedar that look like names.
var reserved = regexp.MustCompile(`^(true|false|if|then|else|in|is|like|has|__cedar|Set|String|Long|Bool|Boolean|Resource|Entity|Extension|ipaddr|decimal|datetime|duration)$`)

// policyName is what package accesscontrol takes for the id of a policy.
var policyName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._:/-]{0,127}$`)

func plainName(name string) bool { return identifier.MatchString(name) && !reserved.MatchString(name) }

// New checks a model. One with any fault is refused as a [*ModelError] that
// lists all of them.
func New(m Model) (*Set, error) {
	m.Tables, m.Exclusive = slices.Clone(m.Tables), slices.Clone(m.Exclusive)
	m.Roles, m.Attrs = maps.Clone(m.Roles), maps.Clone(m.Attrs)
	s := &Set{model: m, tables: map[string]*accesscontrol.Table{}, types: map[string]map[string]string{}, actions: map[string]string{}, closure: map[string][]string{}}
	c := &checker{Set: s}
	c.boundTables()
	for _, action := range m.Actions {
		c.action("Actions", action)
	}
	for _, name := range sorted(m.Roles) {
		c.role(name, m.Roles[name])
	}
	c.lineages()
	c.exclusive()
	for _, name := range sorted(m.Attrs) {
		entity, attr, _ := strings.Cut(name, ".")
		c.declare("Attrs", entity, attr, m.Attrs[name])
	}
	if len(c.problems) > 0 {
		slices.Sort(c.problems)
		return nil, &ModelError{Problems: slices.Compact(c.problems)}
	}
	return s, nil
}

func sorted[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }

// checker collects the faults of a model.
type checker struct {
	*Set
	problems []string
}

func (c *checker) problem(format string, args ...any) {
	c.problems = append(c.problems, fmt.Sprintf(format, args...))
}

func (c *checker) boundTables() {
	for i := range c.model.Tables {
		t := &c.model.Tables[i]
		own := slices.Contains([]string{UserKind, UnitKind, TeamKind, TerritoryKind, roleKind}, t.Entity)
		switch {
		case own:
			c.problem("table %s: the entity %s is one of this package: call that of the record otherwise, such as %sRecord", t.Resource, t.Entity, t.Entity)
		case !plainName(t.Entity):
			c.problem("table %s: the entity is a plain name, without a namespace, and no word of Cedar", t.Resource)
		default:
			c.tables[t.Resource] = t
			c.types[t.Entity] = map[string]string{}
		}
	}
	c.types[UserKind] = map[string]string{}
	for _, record := range sorted(c.tables) {
		t := c.tables[record]
		named := []string{t.Read, t.Create, t.Update, t.Delete}
		for _, g := range t.Groups {
			named = append(named, g.Action, g.Masked, g.Update)
		}
		for _, action := range named {
			if was, known := c.actions[action]; known && was != record {
				c.problem("action %s is named by the tables %s and %s: an action is about one", action, was, record)
			}
			if action != "" {
				c.actions[action] = record
			}
		}
	}
}

// action finds the table that an action is about: the one that names it, or
// whose record name it begins with, the longest.
func (c *checker) action(where, action string) *accesscontrol.Table {
	if record, known := c.actions[action]; known {
		return c.tables[record]
	}
	for record := action; ; {
		at := strings.LastIndexByte(record, '.')
		if at < 0 {
			c.problem("%s: action %s is about no table: an action is the Resource of a table, a point and a verb", where, action)
			return nil
		}
		record = record[:at]
		if t := c.tables[record]; t != nil {
			c.actions[action] = record
			return t
		}
	}
}

func (c *checker) role(name string, r Role) {
	if !roleName.MatchString(name) {
		c.problem("role %q: a name is 1 to 63 of A-Z a-z 0-9 _ and -, the first one a letter or a digit", name)
	}
	seen := map[string]bool{}
	for _, rule := range r.rules {
		where := "role " + name
		facts, known := rule.reach.facts()
		switch {
		case len(rule.actions) == 0:
			c.problem("%s: a reach or a Can without actions", where)
		case !known:
			c.problem("%s: no such reach: ParseReach lists them", where)
		case (rule.attr == "") != (rule.reach == All):
			c.problem("%s: %s %s", where, rule.reach, map[bool]string{true: "reaches all, and takes no attribute", false: "needs the attribute that it looks at"}[rule.reach == All])
		case facts.below && c.model.Below == nil:
			c.problem("%s: %s reaches what stands below: set Below", where, rule.reach)
		}
		for _, action := range rule.actions {
			id := policyID(name, action, rule)
			switch {
			case seen[id]:
				c.problem("%s: %s stands twice", where, id)
			case !policyName.MatchString(id):
				c.problem("%s: no policy can be called %q: an action is letters, digits and . _ : / -, and with role, reach and attribute 128 of them at most", where, id)
			}
			seen[id] = true
			if t := c.action(where, action); t != nil && rule.attr != "" {
				c.attribute(where, t, rule.attr, facts.kind)
			}
		}
	}
	for _, parent := range r.inherits {
		if _, known := c.model.Roles[parent]; !known {
			c.problem("role %s: inherits from %q, which is no role of the model", name, parent)
		}
	}
}

// attribute declares what a reach looks at.
func (c *checker) attribute(where string, t *accesscontrol.Table, attr, kind string) {
	switch {
	case strings.Contains(attr, "."), slices.ContainsFunc(t.Sets, func(set accesscontrol.Set) bool { return set.Attr == attr }):
		c.problem("%s: %s is no column of table %s, and a reach looks at one: write a policy of your own beside the roles, as Set.Config says", where, attr, t.Resource)
	case t.Name != "" && !slices.ContainsFunc(t.Columns, func(col accesscontrol.Column) bool { return col.Attr == attr }):
		c.problem("%s: table %s has no column %s: add it to Columns", where, t.Resource, attr)
	default:
		c.declare(where, t.Entity, attr, kind)
	}
}

func (c *checker) declare(where, entity, attr, kind string) {
	attrs := c.types[entity]
	switch {
	case attrs == nil:
		c.problem("%s: no table binds an entity %q", where, entity)
	case !plainName(attr):
		c.problem("%s: an attribute of %s is no plain name, or a word of Cedar", where, entity)
	case attrs[attr] != "" && attrs[attr] != kind:
		c.problem("%s: attribute %s of %s is a %s and a %s", where, attr, entity, attrs[attr], kind)
	default:
		attrs[attr] = kind
	}
}

// lineages works out what comes with each role, and refuses circles.
func (c *checker) lineages() {
	parents := func(name string) []string { return c.model.Roles[name].inherits }
	for name := range c.model.Roles {
		all, circle := lineage(name, parents)
		if circle {
			c.problem("role %s: inherits from itself, by way of others perhaps", name)
		}
		c.closure[name] = all
	}
}

// lineage is a role and all that come with it, in the order in which they are
// met; circle says that the role is one of those.
func lineage(role string, parents func(string) []string) (all []string, circle bool) {
	all = []string{role}
	for i := 0; i < len(all); i++ {
		for _, parent := range parents(all[i]) {
			circle = circle || parent == role
			if !slices.Contains(all, parent) {
				all = append(all, parent)
			}
		}
	}
	return all, circle
}

func (c *checker) exclusive() {
	for _, set := range c.model.Exclusive {
		if len(set) < 2 {
			c.problem("Exclusive: a set needs two roles at least")
		}
		for _, name := range set {
			if _, known := c.model.Roles[name]; !known {
				c.problem("Exclusive: %q is no role of the model", name)
			}
		}
	}
	for name := range c.model.Roles {
		if a, b, both := c.conflict(c.closure[name]); both {
			c.problem("role %s: comes with %s and %s, which exclude each other", name, a, b)
		}
	}
}

// conflict finds two roles that nobody may hold together.
func (s *Set) conflict(held []string) (a, b string, both bool) {
	for _, set := range s.model.Exclusive {
		a = ""
		for _, name := range set {
			switch {
			case !slices.Contains(held, name) || name == a:
			case a == "":
				a = name
			default:
				return a, name, true
			}
		}
	}
	return "", "", false
}

// kinds are the kinds of scope that the rules of some roles look at, sorted.
func (s *Set) kinds(roles []string) (out []string) {
	for _, name := range roles {
		for _, rule := range s.model.Roles[name].rules {
			if facts, _ := rule.reach.facts(); facts.scoped && !slices.Contains(out, facts.kind) {
				out = append(out, facts.kind)
			}
		}
	}
	slices.Sort(out)
	return out
}

// looksBelow says whether some roles reach below things of a kind.
func (s *Set) looksBelow(roles []string, kind string) bool {
	return slices.ContainsFunc(roles, func(name string) bool {
		return slices.ContainsFunc(s.model.Roles[name].rules, func(r rule) bool {
			facts, _ := r.reach.facts()
			return facts.below && facts.kind == kind
		})
	})
}
