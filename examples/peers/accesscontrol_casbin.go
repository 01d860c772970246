package main

import (
	"github.com/casbin/casbin/v3"
	"github.com/casbin/casbin/v3/model"
)

// casbinModel is the rule of policyTexts in Casbin's language. Rules end at the
// first that allows, and within one the cheap comparisons come first.
const casbinModel = `
[request_definition]
r = user, team, act, owner, near, blocked

[policy_definition]
p = role, act

[role_definition]
g = _, _

[policy_effect]
e = some(where (p.eft == allow))

[matchers]
m = r.act == p.act && r.blocked == "no" && (r.owner == r.user || r.near == r.team) && g(r.user, p.role)
`

// casbinPolicy asks an Enforcer that keeps no answers.
func casbinPolicy(policies int, asked []question) (func(int) (bool, error), error) {
	m, err := model.NewModelFromString(casbinModel)
	if err != nil {
		return nil, err
	}
	enforcer, err := casbin.NewEnforcer(m)
	if err != nil {
		return nil, err
	}
	var rules [][]string
	for _, g := range grantsOf(policies) {
		rules = append(rules, []string{g.role, g.action})
	}
	if _, err := enforcer.AddPolicies(rules); err != nil {
		return nil, err
	}
	questions := make([][]any, len(asked))
	for i := range asked {
		q := &asked[i]
		if _, err := enforcer.AddGroupingPolicy(q.user, q.role); err != nil {
			return nil, err
		}
		blocked := "no"
		if q.blocked {
			blocked = "yes"
		}
		questions[i] = []any{q.user, q.team, q.action, q.owner, q.contactTeam, blocked}
	}
	return func(i int) (bool, error) { return enforcer.Enforce(questions[i]...) }, nil
}
