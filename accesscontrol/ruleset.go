package accesscontrol

import (
	"slices"
	"strings"

	"github.com/crmguard/crmguard/accesscontrol/internal/cedarx"
)

// ruleset is the policies of a set, sorted by id, behind an index by action
// and principal: what a check costs depends on the policies that are about
// this principal and this action, not on how many there are.
type ruleset struct {
	policies  []*cedarx.Policy
	byAction  map[cedarx.EntityUID]*bucket
	anyAction *bucket
}

type bucket struct {
	anyone   []int
	byType   map[cedarx.EntityType][]int
	byEntity map[cedarx.EntityUID][]int
}

func newBucket() *bucket {
	return &bucket{byType: map[cedarx.EntityType][]int{}, byEntity: map[cedarx.EntityUID][]int{}}
}

func (b *bucket) add(i int, principal cedarx.Scope) {
	switch principal.Kind {
	case cedarx.ScopeEq, cedarx.ScopeIn, cedarx.ScopeIsIn:
		for _, e := range principal.Entities {
			b.byEntity[e] = append(b.byEntity[e], i)
		}
	case cedarx.ScopeIs:
		b.byType[principal.Type] = append(b.byType[principal.Type], i)
	default:
		b.anyone = append(b.anyone, i)
	}
}

// collect appends the policies whose scope may be about the principal.
func (b *bucket) collect(dst []int, principal cedarx.EntityUID, groups []cedarx.EntityUID) []int {
	dst = append(dst, b.anyone...)
	dst = append(dst, b.byType[principal.Type]...)
	dst = append(dst, b.byEntity[principal]...)
	for _, g := range groups {
		dst = append(dst, b.byEntity[g]...)
	}
	return dst
}

func newRuleset(policies []*cedarx.Policy) *ruleset {
	policies = slices.Clone(policies)
	slices.SortStableFunc(policies, func(a, b *cedarx.Policy) int { return strings.Compare(a.ID, b.ID) })
	r := &ruleset{
		policies: policies,
		byAction: map[cedarx.EntityUID]*bucket{}, anyAction: newBucket(),
	}
	for i, p := range policies {
		if p.Action.Kind != cedarx.ScopeEq && p.Action.Kind != cedarx.ScopeIn {
			r.anyAction.add(i, p.Principal)
			continue
		}
		for _, action := range p.Action.Entities {
			b := r.byAction[action]
			if b == nil {
				b = newBucket()
				r.byAction[action] = b
			}
			b.add(i, p.Principal)
		}
	}
	return r
}

// about gives the positions of all policies that may be about the action and
// the principal, ascending, each once. It may give too many: the scope is
// evaluated again. It never gives too few.
func (r *ruleset) about(action cedarx.EntityUID, actionGroups []cedarx.EntityUID, principal cedarx.EntityUID, groups []cedarx.EntityUID) []int {
	out := r.anyAction.collect(nil, principal, groups)
	if b := r.byAction[action]; b != nil {
		out = b.collect(out, principal, groups)
	}
	for _, g := range actionGroups {
		if b := r.byAction[g]; b != nil {
			out = b.collect(out, principal, groups)
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// closure lists the ancestors of an entity, itself not included.
func closure(entities cedarx.EntityGetter, uid cedarx.EntityUID) []cedarx.EntityUID {
	var out []cedarx.EntityUID
	seen := map[cedarx.EntityUID]bool{uid: true}
	next := []cedarx.EntityUID{uid}
	for len(next) > 0 {
		entity, known := entities.Get(next[0])
		next = next[1:]
		if !known {
			continue
		}
		for parent := range entity.Parents.All() {
			if !seen[parent] {
				seen[parent] = true
				out = append(out, parent)
				next = append(next, parent)
			}
		}
	}
	return out
}

// inScope says whether an entity with these ancestors is within a scope.
func inScope(s cedarx.Scope, uid cedarx.EntityUID, groups []cedarx.EntityUID) bool {
	within := func() bool {
		return slices.ContainsFunc(s.Entities, func(e cedarx.EntityUID) bool { return e == uid || slices.Contains(groups, e) })
	}
	switch s.Kind {
	case cedarx.ScopeEq:
		return uid == s.Entities[0]
	case cedarx.ScopeIn:
		return within()
	case cedarx.ScopeIs:
		return uid.Type == s.Type
	case cedarx.ScopeIsIn:
		return uid.Type == s.Type && within()
	default:
		return true
	}
}
