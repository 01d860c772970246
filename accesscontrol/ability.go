package accesscontrol

import (
	"context"
	"maps"
	"slices"
	"strings"

	"github.com/crmguard/crmguard/accesscontrol/internal/cedarx"
)

// Ability is what a principal may do: an action on the records of a type.
type Ability struct {
	// Action and Resource (the type) are what may be done.
	Action, Resource string
	// Permits say on which records: each of them is enough.
	Permits []Clause
	// Forbids say on which of those not: each of them is enough.
	Forbids []Clause
	// Err says that it could not be found out, such as for a value of the
	// context that the action requires.
	Err error
}

// Clause is what is left of a policy for one principal.
type Clause struct {
	// Policy is its id.
	Policy string
	// Condition is what the record must be like, in Cedar with every literal as
	// `…`. What the principal and the context say already is left out; empty
	// means any record.
	Condition string
}

// String is the ability in one line.
func (a Ability) String() string {
	var b strings.Builder
	b.WriteString(a.Action + " on " + a.Resource)
	if a.Err != nil {
		return b.String() + ": " + a.Err.Error()
	}
	b.WriteString(words(" when ", a.Permits) + words(" unless ", a.Forbids))
	return b.String()
}

func words(lead string, clauses []Clause) string {
	if len(clauses) == 0 {
		return ""
	}
	parts := make([]string, 0, len(clauses))
	for _, c := range clauses {
		condition := c.Condition
		if condition == "" {
			condition = "any"
		}
		parts = append(parts, condition+" ["+c.Policy+"]")
	}
	return lead + strings.Join(parts, ", or ")
}

// WhatCan lists what a principal may do: each action on each type of records
// that it applies to, with the conditions that are left for the record. What no
// record could pass is left out. It is sorted by record and action, and measures
// nothing.
func (p *Policy) WhatCan(ctx context.Context, principal Principal) ([]Ability, error) {
	s, err := p.once(ctx, &principal)
	if err != nil {
		return nil, err
	}
	out := []Ability{}
	for _, record := range slices.Sorted(maps.Keys(s.set.tables)) {
		for _, action := range slices.Sorted(maps.Keys(s.set.actions)) {
			applies := s.set.actions[action]
			if !slices.Contains(applies.Resources, s.set.tables[record].kind) || !slices.Contains(applies.Principals, s.facts.uid.Type) {
				continue
			}
			if err := ctx.Err(); err != nil {
				return nil, err
			}
			a := Ability{Action: action, Resource: record}
			r, err := s.residual(asked{action, record})
			switch {
			case err != nil:
				a.Err = err
			case !r.mayHold():
				continue
			default:
				a.Permits, a.Forbids = s.set.clauses(r, r.permits), s.set.clauses(r, r.forbids)
				if len(a.Permits) == 0 {
					continue
				}
			}
			out = append(out, a)
		}
	}
	return out, nil
}

// clauses words what is left of policies, and leaves out what can never hold.
func (s *snapshot) clauses(r *residual, rules []rule) (out []Clause) {
	c := s.compilerOf(r.question)
	for _, left := range rules {
		i, _ := slices.BinarySearchFunc(s.rules.policies, left.id, func(p *cedarx.Policy, id string) int { return strings.Compare(p.ID, id) })
		if text := c.wording(s.rules.policies[i]); text.says(s.rules.policies[i].Permit) {
			out = append(out, Clause{left.id, text.text})
		}
	}
	return out
}
