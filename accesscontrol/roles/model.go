package roles

import (
	"context"
	"slices"

	"github.com/crmguard/crmguard/accesscontrol"
)

// Model says which roles there are and what they may do. It is a literal of the
// application; [New] checks it.
type Model struct {
	// Tables bind the records, as in accesscontrol.Config. An action is the
	// Resource of one of them, a point and a verb: "deal.read".
	Tables []accesscontrol.Table
	// Roles by name: 1 to 63 of A-Z a-z 0-9 _ and -, the first one a letter or a
	// digit. Who composes further roles at run time, does it with [Store.Define].
	Roles map[string]Role
	// Exclusive are sets of roles of which nobody may hold two, whether they
	// were assigned or come with another role.
	Exclusive [][]string
	// Below answers the ids of all that stand below one, at any depth: of a kind
	// [UnitKind] or [TerritoryKind] the units or territories, of [UserKind] the
	// persons whose manager one is, directly or not. Nil where no role reaches
	// below. It is asked outside of any transaction, and its answer is kept as
	// long as assignments are ([Options.MaxAge]).
	Below func(ctx context.Context, tenant, kind, id string) ([]string, error)
	// Attrs are attributes that policies of your own read beside the roles: the
	// Cedar type by entity and attribute, {"Deal.stage": "String"}. Those of
	// "User" are optional, those of a Set of the table never absent, all others as
	// their Column says. A type of an entity that no table binds, as in Set<List>,
	// is declared behind the generated schema: Texts["roles.cedarschema"] +=
	// "entity List;".
	Attrs map[string]string
	// Actions are those that only policies of your own permit.
	Actions []string
}

// Role is what one role may do. It is a value: each method returns another one.
type Role struct {
	rules    []rule
	inherits []string
}

// rule is some actions and the records that they reach.
type rule struct {
	actions []string
	reach   Reach
	attr    string
}

// Can begins a role: the actions on all records of the tenant (全公司), unless
// the method behind it reaches less.
func Can(actions ...string) Role { return Role{}.Can(actions...) }

// Inherits begins a role that may do what others may.
func Inherits(roles ...string) Role { return Role{}.Inherits(roles...) }

// Can adds further actions, which have a reach of their own.
func (r Role) Can(actions ...string) Role {
	r.rules = append(slices.Clip(r.rules), rule{actions: slices.Clone(actions), reach: All})
	return r
}

// Inherits adds what other roles may do, reached as they say.
func (r Role) Inherits(roles ...string) Role {
	r.inherits = append(slices.Clip(r.inherits), roles...)
	return r
}

// Reach narrows the actions of the last Can to some records: those whose
// attribute attr names whom or what the reach says.
func (r Role) Reach(reach Reach, attr string) Role {
	r.rules = slices.Clone(r.rules)
	if len(r.rules) == 0 {
		r.rules = []rule{{}} // New says what is missing
	}
	last := &r.rules[len(r.rules)-1]
	last.reach, last.attr = reach, attr
	return r
}

// Own is private records: attr is the principal (本人).
func (r Role) Own(attr string) Role { return r.Reach(Own, attr) }

// Reports is owner and managers: attr is the principal or a person below
// (本人及下属).
func (r Role) Reports(attr string) Role { return r.Reach(Reports, attr) }

// Unit is the records of the unit that the assignment names, and of none below
// (本部门).
func (r Role) Unit(attr string) Role { return r.Reach(Unit, attr) }

// Units is the records of that unit and of all below (本部门及下级).
func (r Role) Units(attr string) Role { return r.Reach(Units, attr) }

// Team is the records of the team that the assignment names (团队).
func (r Role) Team(attr string) Role { return r.Reach(Team, attr) }

// Territory is the records of the territory that the assignment names and of
// all below (区域).
func (r Role) Territory(attr string) Role { return r.Reach(Territory, attr) }
