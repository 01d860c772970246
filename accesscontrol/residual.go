package accesscontrol

import (
	"errors"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/crmguard/crmguard/accesscontrol/internal/cedarx"
	"github.com/crmguard/crmguard/accesscontrol/internal/sqlcond"
)

// residual is what the policies leave of one action on one record type for one
// principal: conditions about the record and nothing else. A check evaluates
// them on a record, a filter writes them as SQL, and fields and changes ask
// them: there is no second answer.
type residual struct {
	*question
	// permits and forbids stand in the order of their ids. What can never hold
	// is left out.
	permits, forbids []rule
	// foreign says that a part is left to Cedar, which wants the whole record.
	foreign bool
	// reads are the joins that a part looks at.
	reads map[*join]bool
	// once measures it for filters: how many values, and whether any row
	// can pass.
	once    sync.Once
	values  int
	nothing bool
	// own says whether any record may be of the principal's tenant.
	own bool
	// asked is what a denial repeats, and denials are those that were wanted: a
	// longer list takes the place of one that is there.
	asked   asked
	denials atomic.Pointer[[]*denial]
}

// rule is what is left of a policy.
type rule struct {
	id        string
	condition sqlcond.Cond
}

// residual evaluates the policies about a question as far as they do not look
// at the record.
func (s *snapshot) residual(q *question) (*residual, error) {
	out := &residual{question: q}
	c := s.compilerOf(q)
	for _, i := range s.rules.about(q.action.UID, q.action.Ancestors, q.uid, q.groups) {
		p := s.rules.policies[i]
		if !s.heads(p, q) {
			continue
		}
		condition, err := c.policy(p)
		if refused, is := errors.AsType[*untranslatable](err); is { // cannot happen after Load; never a guess if it does
			return nil, &PolicyError{[]Problem{{Policy: p.ID, Position: p.Position, Text: refused.text}}}
		}
		if err != nil {
			return nil, err
		}
		switch {
		case condition == sqlcond.False:
		case p.Permit:
			out.permits = append(out.permits, rule{p.ID, condition})
		default:
			out.forbids = append(out.forbids, rule{p.ID, condition})
		}
	}
	out.foreign, out.reads = c.foreigners > 0, c.reads
	out.own = out.mayOwn()
	return out, nil
}

func (s *snapshot) compilerOf(q *question) *compiler {
	return &compiler{table: q.table, tenant: q.tenant, env: s.env(q), known: q.entities, static: s.static, actions: s.actionEntities, reads: map[*join]bool{}}
}

// heads says whether principal and action are within the scope of a policy.
func (s *snapshot) heads(p *cedarx.Policy, q *question) bool {
	return inScope(p.Principal, q.uid, q.groups) && inScope(p.Action, q.action.UID, q.action.Ancestors)
}

// mayOwn says whether any record of the table may be of the principal's tenant.
func (r *residual) mayOwn() bool {
	return r.table.mayOwn(r.tenant)
}

// mayOwn says whether any record of the table may be a tenant's.
func (t *table) mayOwn(tenant string) bool {
	if t.OnlyTenant != "" && t.OnlyTenant != tenant {
		return false
	}
	return t.tenant.holds(sqlcond.TextOf(tenant))
}

// answer is the decision about a row: empty for yes. Another tenant's record is
// denied whatever the policies say, a forbid that fails forbids, and a permit
// that fails does not permit.
//
// failed says whether a policy failed that was asked.
func (r *residual) answer(row *sqlcond.Row, tenant string) (reason Reason, failed bool) {
	if !r.own || r.table.tenant.tenant(tenant) != r.tenant {
		return OtherTenant, false
	}
	for i := range r.forbids {
		switch r.forbids[i].condition.Eval(row) {
		case sqlcond.True:
			return Forbidden, failed
		case sqlcond.Failed:
			failed = true
		case sqlcond.False:
		}
	}
	if failed {
		return ForbidFailed, true
	}
	for i := range r.permits {
		switch r.permits[i].condition.Eval(row) {
		case sqlcond.True:
			return "", failed
		case sqlcond.Failed:
			failed = true
		case sqlcond.False:
		}
	}
	return NotPermitted, failed
}

// explain names the policies that determined an answer.
func (r *residual) explain(row *sqlcond.Row, reason Reason, failed bool, policySet string) Decision {
	d := Decision{Allowed: reason == "", Reason: reason, PolicySet: policySet}
	if reason == OtherTenant || reason == NotPermitted && !failed {
		return d // no policy has determined it
	}
	permitting, unsure := split(r.permits, row)
	forbidding, failing := split(r.forbids, row)
	switch reason {
	case "":
		d.Policies = permitting
	case Forbidden:
		d.Policies = forbidding
	case ForbidFailed:
		d.Policies = failing
	default: // nothing applied
	}
	d.Failed = slices.Concat(unsure, failing)
	slices.Sort(d.Failed)
	return d
}

// split lists the rules that hold, and those that fail.
func split(rules []rule, row *sqlcond.Row) (holding, failing []string) {
	for i := range rules {
		switch rules[i].condition.Eval(row) {
		case sqlcond.True:
			holding = append(holding, rules[i].id)
		case sqlcond.Failed:
			failing = append(failing, rules[i].id)
		case sqlcond.False:
		}
	}
	return holding, failing
}
