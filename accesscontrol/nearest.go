package accesscontrol

import (
	"slices"

	"github.com/crmguard/crmguard/accesscontrol/internal/cedarx"
	"github.com/crmguard/crmguard/accesscontrol/internal/sqlcond"
)

// mostNearest bounds the work for an explanation.
const mostNearest = 32

// nearest finds the permit about this principal, action and type with the
// fewest conditions that are not met.
func (s *snapshot) nearest(q *question, row *sqlcond.Row) Nearest {
	var best Nearest
	fewest, tried := 0, 0
	c := s.compilerOf(q)
	for _, i := range s.rules.about(q.action.UID, q.action.Ancestors, q.uid, q.groups) {
		p := s.rules.policies[i]
		if !p.Permit || !s.heads(p, q) {
			continue
		}
		if scope, err := c.scope(p.Resource); err != nil || scope.Eval(row) != sqlcond.True {
			continue
		}
		if tried++; tried > mostNearest {
			break
		}
		unmet, first := c.unmet(p, row)
		if unmet > 0 && (best.Policy == "" || unmet < fewest) {
			best, fewest = Nearest{Policy: p.ID, Condition: first}, unmet
		}
	}
	return best
}

// unmet counts the conjuncts that do not hold and words the first.
func (c *compiler) unmet(p *cedarx.Policy, row *sqlcond.Row) (unmet int, first string) {
	for _, condition := range p.Conditions {
		for _, part := range conjuncts(condition) {
			want := sqlcond.Truth(!condition.Unless)
			if is, err := c.pred(part); err == nil && is.Eval(row) == want {
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
