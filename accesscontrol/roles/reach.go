package roles

import (
	"fmt"
	"strings"
)

// Reach is which records of a type a role may act upon.
type Reach string

// The reaches. For Chinese terms see [Reach.Chinese].
const (
	All       Reach = "all"       // every record of the tenant
	Own       Reach = "own"       // owned by the principal
	Reports   Reach = "reports"   // owned by the principal or by somebody below
	Unit      Reach = "unit"      // of the unit of the assignment
	Units     Reach = "units"     // of that unit and of those below
	Team      Reach = "team"      // of the team of the assignment
	Territory Reach = "territory" // of the territory of the assignment and of those below
)

// The kinds of what stands below something, and of scopes: the Cedar entity
// types of the generated schema.
const (
	UserKind      = "User"
	UnitKind      = "Unit"
	TeamKind      = "Team"
	TerritoryKind = "Territory"
	roleKind      = "Role"
)

type reachFacts struct {
	reach   Reach
	chinese string
	kind    string // what the attribute refers to
	scoped  bool   // the assignment names which
	below   bool   // Model.Below is asked
}

func reaches() []reachFacts {
	return []reachFacts{
		{All, "全公司", "", false, false},
		{Own, "本人", UserKind, false, false},
		{Reports, "本人及下属", UserKind, false, true},
		{Unit, "本部门", UnitKind, true, false},
		{Units, "本部门及下级", UnitKind, true, true},
		{Team, "团队", TeamKind, true, false},
		{Territory, "区域", TerritoryKind, true, true},
	}
}

func (r Reach) facts() (reachFacts, bool) {
	for _, f := range reaches() {
		if f.reach == r {
			return f, true
		}
	}
	return reachFacts{}, false
}

// Chinese is the term that Chinese applications show as a data scope (数据权限),
// "" for what is no reach.
func (r Reach) Chinese() string {
	f, _ := r.facts()
	return f.chinese
}

// ParseReach reads a reach from its name, in English or Chinese: "units" and
// "本部门及下级" are one. So roles may stand in a file of settings.
func ParseReach(term string) (Reach, error) {
	var known []string
	for _, f := range reaches() {
		if term == string(f.reach) || term == f.chinese {
			return f.reach, nil
		}
		known = append(known, string(f.reach)+" ("+f.chinese+")")
	}
	return "", fmt.Errorf("roles: no such reach; there are %s", strings.Join(known, ", "))
}
