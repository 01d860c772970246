package main

import (
	"errors"
	"maps"
	"slices"
	"strings"

	"github.com/cedar-policy/cedar-go"
)

// cedarPolicy asks the engine itself, with entities made beforehand and made
// at each call.
func cedarPolicy(policies int, asked []question) (ready, fresh func(int) (bool, error), err error) {
	all := strings.Join(slices.Collect(maps.Values(policyTexts(policies))), "")
	set, err := cedar.NewPolicySetFromBytes("crm.cedar", []byte(all))
	if err != nil {
		return nil, nil, err
	}
	entities := make([]cedar.EntityMap, len(asked))
	requests := make([]cedar.Request, len(asked))
	for i := range asked {
		entities[i], requests[i] = cedarQuestion(&asked[i])
	}
	answer := func(decision cedar.Decision, failed cedar.Diagnostic) (bool, error) {
		if len(failed.Errors) > 0 {
			return false, errors.New("a policy could not be evaluated")
		}
		return decision == cedar.Allow, nil
	}
	ready = func(i int) (bool, error) { return answer(cedar.Authorize(set, entities[i], requests[i])) }
	fresh = func(i int) (bool, error) {
		known, request := cedarQuestion(&asked[i])
		return answer(cedar.Authorize(set, known, request))
	}
	return ready, fresh, nil
}

func cedarQuestion(q *question) (cedar.EntityMap, cedar.Request) {
	user, contact := cedar.NewEntityUID("User", cedar.String(q.user)), cedar.NewEntityUID("Contact", cedar.String(q.contact))
	attrs := cedar.RecordMap{
		"owner": cedar.NewEntityUID("User", cedar.String(q.owner)), "team": cedar.String(q.contactTeam), "stage": cedar.String(q.stage),
	}
	if q.blocked {
		attrs["blocked"] = cedar.True
	}
	return cedar.EntityMap{
		user: cedar.Entity{
			UID: user, Parents: cedar.NewEntityUIDSet(cedar.NewEntityUID("Role", cedar.String(q.role))),
			Attributes: cedar.NewRecord(cedar.RecordMap{"team": cedar.String(q.team)}),
		},
		contact: cedar.Entity{UID: contact, Attributes: cedar.NewRecord(attrs)},
	}, cedar.Request{Principal: user, Action: cedar.NewEntityUID("Action", cedar.String(q.action)), Resource: contact}
}

// cedarReasons asks for the ids of the policies that forbid.
func cedarReasons(policies int, asked []question) (func(int) ([]string, error), error) {
	all := strings.Join(slices.Collect(maps.Values(policyTexts(policies))), "")
	set, err := cedar.NewPolicySetFromBytes("crm.cedar", []byte(all))
	if err != nil {
		return nil, err
	}
	entities := make([]cedar.EntityMap, len(asked))
	requests := make([]cedar.Request, len(asked))
	for i := range asked {
		entities[i], requests[i] = cedarQuestion(&asked[i])
	}
	return func(i int) ([]string, error) {
		decision, why := cedar.Authorize(set, entities[i], requests[i])
		if decision == cedar.Allow || len(why.Errors) > 0 {
			return nil, errors.New("must be denied")
		}
		var ids []string
		for _, reason := range why.Reasons {
			ids = append(ids, string(set.Get(reason.PolicyID).Annotations()["id"]))
		}
		return ids, nil
	}, nil
}
