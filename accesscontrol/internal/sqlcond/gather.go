package sqlcond

import (
	"fmt"
	"slices"
)

// gathering are conditions that cannot hold without the same rows of other
// tables, of which one holds: the rows are looked for once. It is made while SQL
// is written, where thousands of policies look at one table, and a subquery for
// each would cost a database a minute to plan.
type gathering struct {
	joins []*Join
	conds []Cond
}

// gathered puts together what looks for the same rows, in the place of the first
// of them.
func gathered(conds []Cond) (out []Cond) {
	known := map[string]*gathering{}
	for _, c := range conds {
		needed := needs(c)
		key := fmt.Sprint(needed) // the addresses
		switch group := known[key]; {
		case len(needed) == 0:
			out = append(out, c)
		case group == nil:
			known[key] = &gathering{needed, []Cond{c}}
			out = append(out, known[key])
		default:
			group.conds = append(group.conds, c)
		}
	}
	return out
}

// Eval is that of a permit: one that holds is enough.
func (g *gathering) Eval(row *Row) Outcome {
	return Truth(slices.ContainsFunc(g.conds, func(c Cond) bool { return c.Eval(row) == True }))
}

func (g *gathering) write(w *Writer) {
	alone := !slices.ContainsFunc(g.conds, func(c Cond) bool { return !reads(c, g.joins) })
	w.within(g.joins, alone, func() {
		w.Raw("(")
		w.row(g.conds, " OR ", "")
		w.Raw(")")
	})
}
