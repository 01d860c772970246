package accesscontrol

import (
	"strings"

	"github.com/crmguard/crmguard/accesscontrol/internal/cedarx"
	"github.com/crmguard/crmguard/accesscontrol/internal/sqlcond"
)

// wording is what is left of a condition, for people: a text about the record,
// or, where that is empty, an outcome that no record changes. Beside a text the
// outcome Failed says that the condition fails where the text holds. It is
// shorter than the condition that answers, and means the same but for parts that
// fail inside of others.
type wording struct {
	text    string
	outcome sqlcond.Outcome
	loose   bool // the text is a || or an if, which wants parentheses
}

// says is whether a policy can have a say with what is left of it: a permit
// where it may hold, a forbid where it may fail, too.
func (w wording) says(permit bool) bool {
	if w.outcome == sqlcond.Failed {
		return !permit
	}
	return w.text != "" || w.outcome == sqlcond.True
}

// tight is the text as an operand.
func (w wording) tight() string {
	if w.loose {
		return "(" + w.text + ")"
	}
	return w.text
}

func known(o sqlcond.Outcome) wording { return wording{outcome: o} }

// wording words the resource scope and the conditions of a policy.
func (c *compiler) wording(p *cedarx.Policy) wording {
	out := known(sqlcond.True)
	if scope, err := c.scope(p.Resource); err == nil && scope != sqlcond.True {
		out = wording{text: "resource in …"}
		if p.Resource.Kind == cedarx.ScopeEq {
			out.text = "resource == …"
		}
		if never, is := scope.(sqlcond.Outcome); is {
			out = known(never)
		}
	}
	for _, condition := range p.Conditions {
		part := c.words(condition.Body)
		if condition.Unless {
			part = not(part)
		}
		out = and(out, part)
	}
	return out
}

// words leaves out what does not look at the record.
func (c *compiler) words(e *cedarx.Expr) wording {
	if condition, err := c.pred(e); err == nil {
		if outcome, is := condition.(sqlcond.Outcome); is {
			return known(outcome)
		}
	}
	switch e.Op {
	case cedarx.And:
		return and(c.words(e.Args[0]), c.words(e.Args[1]))
	case cedarx.Or:
		return or(c.words(e.Args[0]), c.words(e.Args[1]))
	case cedarx.Not:
		return not(c.words(e.Args[0]))
	case cedarx.If:
		if test := c.words(e.Args[0]); test.text == "" && test.outcome != sqlcond.Failed {
			return c.words(e.Args[2-int(test.outcome)])
		}
		return wording{text: e.String(), loose: true}
	default:
		return wording{text: e.String()}
	}
}

func and(left, right wording) wording {
	never := func(w wording) bool { return w.text == "" && w.outcome == sqlcond.False }
	switch {
	case never(left) || left.text == "" && left.outcome == sqlcond.Failed:
		return left
	case left.text == "" || never(right):
		return right
	case right.text == "" && right.outcome == sqlcond.True:
		return left
	case right.text == "":
		return wording{left.text, right.outcome, left.loose}
	default:
		return wording{text: left.tight() + " && " + right.tight(), outcome: max(left.outcome, right.outcome)}
	}
}

func or(left, right wording) wording {
	switch {
	case left.text == "" && left.outcome != sqlcond.False:
		return left
	case left.text == "", right.text == "" && right.outcome == sqlcond.True:
		return right
	case right.text == "":
		return left
	default:
		return wording{text: left.text + " || " + right.text, loose: true}
	}
}

func not(w wording) wording {
	switch {
	case w.text != "" && strings.ContainsAny(w.text, " ("):
		return wording{text: "!(" + w.text + ")"}
	case w.text != "":
		return wording{text: "!" + w.text}
	case w.outcome == sqlcond.Failed:
		return w
	default:
		return known(sqlcond.True - w.outcome)
	}
}
