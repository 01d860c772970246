package main

import (
	"context"
	"errors"

	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/rego"
	"github.com/open-policy-agent/opa/v1/storage"
	"github.com/open-policy-agent/opa/v1/storage/inmem"
)

// opaModule is the rule of policyTexts in OPA's language. Which role may do what
// is data, in objects, where it is found by a key: so OPA's documentation advises
// for speed.
const opaModule = `package crm

default allow := false

allow if {
	data.grants[input.user.role][input.action]
	not input.contact.blocked
	near
}

near if input.contact.owner == input.user.id

near if input.contact.team == input.user.team
`

// opaGrants are the permits of policyTexts.
func opaGrants(policies int) storage.Store {
	grants := map[string]any{}
	for _, g := range grantsOf(policies) {
		actions, _ := grants[g.role].(map[string]any)
		if actions == nil {
			actions = map[string]any{}
			grants[g.role] = actions
		}
		actions[g.action] = true
	}
	return inmem.NewFromObjectWithOpts(map[string]any{"grants": grants}, inmem.OptReturnASTValuesOnRead(true))
}

// opaPolicy asks a prepared query, whose input is parsed beforehand.
func opaPolicy(ctx context.Context, policies int, asked []question) (func(int) (bool, error), error) {
	query, err := rego.New(
		rego.Query("data.crm.allow"), rego.Module("crm.rego", opaModule), rego.Store(opaGrants(policies)),
	).PrepareForEval(ctx)
	if err != nil {
		return nil, err
	}
	inputs := make([]ast.Value, len(asked))
	for i := range asked {
		q := &asked[i]
		contact := map[string]any{"owner": q.owner, "team": q.contactTeam, "stage": q.stage}
		if q.blocked {
			contact["blocked"] = true
		}
		inputs[i], err = ast.InterfaceToValue(map[string]any{
			"user": map[string]any{"id": q.user, "role": q.role, "team": q.team}, "action": q.action, "contact": contact,
		})
		if err != nil {
			return nil, err
		}
	}
	return func(i int) (bool, error) {
		answer, err := query.Eval(ctx, rego.EvalParsedInput(inputs[i]))
		if err == nil && len(answer) != 1 {
			err = errors.New("not one answer")
		}
		return answer.Allowed(), err
	}, nil
}
