package accesscontrol

import (
	"context"
	"iter"
	"slices"

	"github.com/cedar-policy/cedar-go"

	"github.com/crmguard/crmguard/accesscontrol/internal/cedarx"
)

// Cedar answers as [Policy.Decide] does, from cedar.Authorize over the whole
// policy set and none of this package's indexes and conditions, with its two
// stricter rules around it: another tenant's record is denied, and a forbid
// that fails forbids.
func (p *Policy) Cedar(ctx context.Context, r Request) (Decision, error) {
	s, err := p.snapshot()
	if err != nil {
		return Decision{}, err
	}
	facts, err := s.factsOf(r.Principal)
	if err != nil {
		return Decision{}, err
	}
	q, err := s.question(facts, r.Action, r.Record.Type)
	if err != nil {
		return Decision{}, err
	}
	record, err := q.table.entity(&r.Record)
	if err != nil {
		return Decision{}, err
	}
	d := Decision{PolicySet: s.hash}
	if r.Record.Tenant != q.tenant || q.table.OnlyTenant != "" && q.table.OnlyTenant != q.tenant {
		d.Reason = OtherTenant
		return d, nil
	}
	entities := layered{q.entities, s.static.entities, s.actionEntities, {record.UID: record}}
	decision, diagnostic := cedar.Authorize(all(s.rules.policies), entities, cedar.Request{Principal: q.uid, Action: q.action.UID, Resource: record.UID, Context: q.context})
	permits := map[string]bool{}
	for _, p := range s.rules.policies {
		permits[p.ID] = p.Permit
	}
	var failing []string
	for _, failure := range diagnostic.Errors {
		id := string(failure.PolicyID)
		d.Failed = append(d.Failed, id)
		if !permits[id] {
			failing = append(failing, id)
		}
	}
	for _, reason := range diagnostic.Reasons {
		d.Policies = append(d.Policies, string(reason.PolicyID))
	}
	switch {
	case len(d.Policies) > 0 && decision == cedar.Deny:
		d.Reason = Forbidden
	case len(failing) > 0:
		d.Reason, d.Policies = ForbidFailed, failing
	case decision == cedar.Allow:
		d.Allowed = true
	default:
		d.Reason = NotPermitted
	}
	slices.Sort(d.Policies)
	slices.Sort(d.Failed)
	return d, nil
}

// all is a policy set as cedar-go wants it.
type all []*cedarx.Policy

// All yields the policies.
func (a all) All() iter.Seq2[cedar.PolicyID, *cedar.Policy] {
	return func(yield func(cedar.PolicyID, *cedar.Policy) bool) {
		for _, p := range a {
			if !yield(cedar.PolicyID(p.ID), p.Compiled) {
				return
			}
		}
	}
}
