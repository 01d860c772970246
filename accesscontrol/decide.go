package accesscontrol

import (
	"context"
	"fmt"
	"log/slog"
	"slices"

	"github.com/cedar-policy/cedar-go"

	"github.com/crmguard/crmguard/accesscontrol/internal/cedarx"
)

// decide answers one question for an actor that was checked already.
func (s *snapshot) decide(ctx context.Context, a *actor, action string, r Record) (Decision, error) {
	if err := ctx.Err(); err != nil {
		return Decision{}, err
	}
	q, err := s.question(a, action, r.Type)
	if err != nil {
		return Decision{}, err
	}
	if r.Tenant == "" {
		return Decision{}, fmt.Errorf("%w: Record.Tenant, the record's", ErrTenant)
	}
	resource, err := q.table.resource(r)
	if err != nil {
		return Decision{}, err
	}
	if own, brought := q.entities[resource.UID]; brought && !own.Attributes.Equal(resource.Attributes) {
		return Decision{}, &RequestError{Part: "record", Name: r.Type, Text: errSame.Error()}
	}
	d := s.judge(q, r, resource)
	s.observe(ctx, "accesscontrol.check", float64(map[bool]int{true: 1}[d.Allowed]),
		slog.String("action", action), slog.String("record", r.Type), slog.String("reason", string(d.Reason)))
	return d, nil
}

// judge applies the two rules that no policy can switch off, another tenant's
// record is denied and a forbid that fails forbids, around Cedar's answer.
func (s *snapshot) judge(q *question, r Record, resource cedar.Entity) Decision {
	d := Decision{PolicySet: s.hash}
	if r.Tenant != q.tenant || q.table.OnlyTenant != "" && q.table.OnlyTenant != q.tenant {
		d.Reason = OtherTenant
		return d
	}
	entities := layered{q.entities, s.actionEntities, {resource.UID: resource}}
	picked := s.rules.about(q.action.UID, q.action.Ancestors, q.uid, q.groups)
	v := s.rules.decide(entities, cedar.Request{Principal: q.uid, Action: q.action.UID, Resource: resource.UID, Context: q.context}, picked)
	d.Policies, d.Failed = v.reasons, v.failed
	switch {
	case len(v.forbidFailed) > 0 && (v.allowed || len(v.reasons) == 0):
		d.Reason, d.Policies = ForbidFailed, v.forbidFailed
	case v.allowed:
		d.Allowed = true
	case len(v.reasons) > 0:
		d.Reason = Forbidden
	default:
		d.Reason = NotPermitted
		env := s.env(q)
		env.Entities, env.Resource = entities, resource.UID
		d.Nearest = s.nearest(q, env, picked)
	}
	return d
}

// mostNearest bounds the work for an explanation.
const mostNearest = 32

// nearest finds the permit about this principal, action and type with the
// fewest conditions that are not met.
func (s *snapshot) nearest(q *question, env *cedarx.Env, picked []int) Nearest {
	var best Nearest
	fewest, tried := 0, 0
	for _, i := range picked {
		p := s.rules.policies[i]
		if !p.Permit || !s.heads(p, q) || !mayBeAbout(p.Resource, env.Resource) {
			continue
		}
		if tried++; tried > mostNearest {
			break
		}
		unmet, first := unmetOf(p, env)
		if unmet > 0 && (best.Policy == "" || unmet < fewest) {
			best, fewest = Nearest{Policy: p.ID, Condition: first}, unmet
		}
	}
	return best
}

// heads says whether principal and action are within the scope of a policy.
func (s *snapshot) heads(p *cedarx.Policy, q *question) bool {
	return inScope(p.Principal, q.uid, q.groups) && inScope(p.Action, q.action.UID, q.action.Ancestors)
}

func mayBeAbout(scope cedarx.Scope, resource cedar.Value) bool {
	uid, isEntity := resource.(cedar.EntityUID)
	return isEntity && inScope(scope, uid, nil)
}

// unmetOf counts the conjuncts that do not hold and words the first.
func unmetOf(p *cedarx.Policy, env *cedarx.Env) (unmet int, first string) {
	for _, condition := range p.Conditions {
		for _, part := range conjuncts(condition) {
			v, err := part.Eval(*env)
			if holds, isBool := v.(cedar.Boolean); err == nil && isBool && bool(holds) != condition.Unless {
				continue
			}
			if unmet++; unmet == 1 {
				first = part.String()
				if condition.Unless {
					first = "!(" + first + ")"
				}
			}
		}
	}
	return unmet, first
}

// conjuncts takes `a && b && c` of a when apart. An unless is one piece.
func conjuncts(c cedarx.Condition) []*cedarx.Expr {
	out := []*cedarx.Expr{c.Body}
	for !c.Unless && out[0].Op == cedarx.And {
		out = slices.Concat(out[0].Args, out[1:])
	}
	return out
}
