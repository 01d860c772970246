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
func (p *Policy) Cedar(_ context.Context, r Request) (Decision, error) {
	answer, err := p.CedarFor(r.Principal, r.Action, r.Resource.Type)
	if err != nil {
		return Decision{}, err
	}
	return answer(r.Resource)
}

// CedarFor is [Policy.Cedar] for many records.
func (p *Policy) CedarFor(principal Principal, action, record string) (func(Resource) (Decision, error), error) {
	s, err := p.snapshot()
	if err != nil {
		return nil, err
	}
	facts, err := s.factsOf(principal)
	if err != nil {
		return nil, err
	}
	q, err := s.question(facts, action, record)
	if err != nil {
		return nil, err
	}
	return func(r Resource) (Decision, error) { return s.byCedar(q, &r) }, nil
}

func (s *snapshot) byCedar(q *question, r *Resource) (Decision, error) {
	record, err := q.table.entity(r)
	if err != nil {
		return Decision{}, err
	}
	d := Decision{PolicySet: s.hash}
	if r.Tenant != q.tenant || q.table.OnlyTenant != "" && q.table.OnlyTenant != q.tenant {
		d.Reason = OtherTenant
		return d, nil
	}
	others := cedarx.EntityMap{}
	if err := s.bring(others, q, q.table, r); err != nil {
		return Decision{}, err
	}
	entities := layered{others, q.entities, s.static.entities, s.actionEntities, {record.UID: record}}
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

// bring collects the records that a record refers to, those of the principal's
// tenant.
func (s *snapshot) bring(to cedarx.EntityMap, q *question, t *table, r *Resource) error {
	for attr, other := range r.Related {
		table := t.relations[attr]
		if other.Tenant != q.tenant || table.OnlyTenant != "" && table.OnlyTenant != q.tenant {
			continue
		}
		entity, err := table.entity(&other)
		if err != nil {
			return err
		}
		to[entity.UID] = entity
		if err := s.bring(to, q, table, &other); err != nil {
			return err
		}
	}
	return nil
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
