package accesscontrol

import (
	"slices"

	"github.com/crmguard/crmguard/accesscontrol/internal/sqlcond"
)

// denial is a no that is the same for many records: made once, and handed to
// whoever asks. errors.As gives each of them a [Denied] of their own. It is
// safe for concurrent use.
type denial struct {
	of     outcomes
	denied Denied
}

func (d *denial) Error() string { return d.denied.Error() }

// Is and Why are those of a Denied.
func (d *denial) Is(target error) bool { return d.denied.Is(target) }

func (d *denial) Why() (reason, policySet string) { return d.denied.Why() }

// As gives a copy: whoever changes it changes nobody else's.
func (d *denial) As(target any) bool {
	to, is := target.(**Denied)
	if is {
		own := d.denied
		own.Policies, own.Failed = slices.Clone(own.Policies), slices.Clone(own.Failed)
		*to = &own
	}
	return is
}

// outcomes are all that the denials of a residual depend on: whether the record
// is another tenant's, and otherwise what each rule is of it, two bits each.
type outcomes struct {
	otherTenant bool
	rules       uint64
}

// maxRules fit into outcomes.
const maxRules = 32

// maxDenials of a residual are kept; those of few rules are fewer.
const maxDenials = 16

// denied is the error for a no.
func (r *residual) denied(row *sqlcond.Row, reason Reason, failed bool, policySet string) error {
	of := outcomes{otherTenant: reason == OtherTenant}
	if reason != OtherTenant && (reason != NotPermitted || failed) { // or else all rules are false, or were not asked
		of.rules = outcomesOf(r.permits, row, outcomesOf(r.forbids, row, 0))
	}
	told := r.denials.Load()
	var kept []*denial
	if told != nil {
		kept = *told
	}
	distinct := len(r.forbids)+len(r.permits) <= maxRules
	for _, d := range kept {
		if distinct && d.of == of {
			return d
		}
	}
	made := &denial{of, Denied{Action: r.asked.action, Resource: r.asked.record, Decision: r.explain(row, reason, failed, policySet)}}
	if distinct && len(kept) < maxDenials {
		longer := append(slices.Clip(kept), made)
		r.denials.CompareAndSwap(told, &longer) // whoever was faster has kept theirs
	}
	return made
}

// outcomesOf writes what the rules are of a row behind what is there.
func outcomesOf(rules []rule, row *sqlcond.Row, behind uint64) uint64 {
	for i := range rules {
		behind = behind<<2 | uint64(rules[i].condition.Eval(row))
	}
	return behind
}
