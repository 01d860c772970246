package accesscontrol

import (
	"slices"

	"github.com/crmguard/crmguard/accesscontrol/internal/cedarx"
)

// maxLength bounds the SQL of a policy that looks at other records, in
// comparisons. What is left of an || or a condition of an if may have failed
// there, so it is written twice, as what holds and as what does not; nested,
// the text would double with each level.
const maxLength = 500

// length is how many comparisons a policy takes where it is written as what
// holds, and where it is written as what does not; 0 where it looks at no other
// record, which is written once.
func length(p *cedarx.Policy) (holds, fails int) {
	whole := size{}
	for _, c := range slices.Backward(p.Conditions) {
		body := sizeOf(c.Body)
		if c.Unless {
			body = body.not()
		}
		whole = body.and(whole)
	}
	if !whole.joined {
		return 0, 0
	}
	return whole.holds, whole.fails
}

// size is the length of a condition in both forms.
type size struct {
	holds, fails int
	joined       bool
}

func sizeOf(e *cedarx.Expr) size {
	switch e.Op {
	case cedarx.And:
		parts := chain(e, e.Op)
		out := sizeOf(parts[len(parts)-1])
		for _, part := range slices.Backward(parts[:len(parts)-1]) {
			out = sizeOf(part).and(out)
		}
		return out
	case cedarx.Or:
		parts := chain(e, e.Op)
		out := sizeOf(parts[len(parts)-1]).not()
		for _, part := range slices.Backward(parts[:len(parts)-1]) {
			out = sizeOf(part).not().and(out)
		}
		return out.not()
	case cedarx.Not:
		return sizeOf(e.Args[0]).not()
	case cedarx.If:
		test, yes, no := sizeOf(e.Args[0]), sizeOf(e.Args[1]), sizeOf(e.Args[2])
		return size{
			capped(test.holds + yes.holds + test.fails + no.holds), capped(test.holds + yes.fails + test.fails + no.fails),
			test.joined || yes.joined || no.joined,
		}
	default:
		return size{1, 1, behindJoin(e)}
	}
}

// chain are the parts of a && b && c, or of a || b || c.
func chain(e *cedarx.Expr, op cedarx.Op) []*cedarx.Expr {
	if e.Op != op {
		return []*cedarx.Expr{e}
	}
	return append(chain(e.Args[0], op), chain(e.Args[1], op)...)
}

func (s size) not() size { return size{s.fails, s.holds, s.joined} }

// and is the size of an &&: it is false where the left side is, or holds and
// the right side is false. A left side that cannot fail need not be asked twice.
func (s size) and(right size) size {
	out := size{capped(s.holds + right.holds), s.fails + right.fails, s.joined || right.joined}
	if s.joined {
		out.fails += s.holds
	}
	out.fails = capped(out.fails)
	return out
}

func capped(n int) int { return min(n, 1<<20) }

// behindJoin says whether an expression looks at another record than resource.
func behindJoin(e *cedarx.Expr) bool {
	if readsAttribute(e) && e.UsesResource && e.Args[0].Op != cedarx.Variable {
		return true
	}
	return slices.ContainsFunc(e.Args, behindJoin)
}
