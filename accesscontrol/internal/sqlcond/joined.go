package sqlcond

import "slices"

// A condition about a record that another one refers to is written in one of
// two ways: as what is TRUE exactly where it holds, and as what is TRUE exactly
// where it does not. Where the other record is not there it has failed, and
// neither is. Written so, a permit and what is left of a forbid are plain
// EXISTS, which databases turn into joins; a NOT or a CASE around one they
// would ask row by row.

// leaf is a condition about columns themselves.
type leaf interface {
	Cond
	columns() []*Column
}

func (c *Comparison) columns() []*Column { return []*Column{c.Left.Column, c.Right.Column} }
func (a *Among) columns() []*Column      { return []*Column{a.Column} }
func (p *Present) columns() []*Column    { return []*Column{p.Column} }
func (h *Holds) columns() []*Column      { return []*Column{h.Column} }
func (l *Like) columns() []*Column       { return []*Column{l.Column} }

// joins are those that lead to the columns of a leaf, each behind the one that
// it starts at.
func joins(l leaf) (out []*Join) {
	for _, c := range l.columns() {
		for _, j := range c.chain() {
			if !slices.Contains(out, j) {
				out = append(out, j)
			}
		}
	}
	return out
}

// joined says whether a condition looks beyond the record.
func joined(c Cond) bool {
	switch c := c.(type) {
	case leaf:
		return len(joins(c)) > 0
	case *both:
		return joined(c.left) || joined(c.right)
	case *oneOf:
		return joined(c.left) || joined(c.right)
	case *negation:
		return joined(c.inner)
	case *choice:
		return joined(c.test) || joined(c.yes) || joined(c.no)
	default:
		return false
	}
}

// holds writes what is TRUE exactly where a condition holds.
func (w *Writer) holds(c Cond) {
	if !joined(c) {
		c.write(w)
		return
	}
	switch c := c.(type) {
	case leaf:
		w.within(joins(c), reads(c, joins(c)), func() { c.write(w) })
	case *negation:
		w.fails(c.inner)
	case *both:
		w.and(c.left, c.right)
	case *oneOf:
		w.pair(func() { w.holds(c.left) }, " OR ", func() { w.holds(c.right) })
	case *choice:
		if c.no == False {
			w.and(c.test, c.yes)
			return
		}
		w.branches(c, True, w.holds)
	}
}

// fails writes what is TRUE exactly where a condition is false.
func (w *Writer) fails(c Cond) {
	if o, known := c.(Outcome); known {
		Truth(o == False).write(w)
		return
	}
	if !joined(c) {
		Not(c).write(w)
		return
	}
	switch c := c.(type) {
	case *Present:
		w.absent(c)
	case leaf:
		w.within(joins(c), false, func() {
			w.Raw("NOT ")
			w.enclosed(c)
		})
	case *negation:
		w.holds(c.inner)
	case *both:
		w.pair(func() { w.fails(c.left) }, " OR ", func() { w.fails(c.right) })
	case *oneOf:
		w.pair(func() { w.fails(c.left) }, " AND ", func() { w.fails(c.right) })
	case *choice:
		w.branches(c, False, w.fails)
	}
}

// absent writes where a record is referred to that has not the attribute, or is
// not there itself. That something is referred to, the validator has seen to.
func (w *Writer) absent(p *Present) {
	via := p.Column.Via
	w.within(via.From.chain(), false, func() {
		w.Raw("NOT (")
		w.exists([]*Join{via}, func() { p.write(w) })
		w.Raw(")")
	})
}

// and writes two conditions that hold. What both look for is looked for once.
func (w *Writer) and(left, right Cond) {
	needed := needs(right)
	shared := slices.DeleteFunc(needs(left), func(j *Join) bool { return !slices.Contains(needed, j) })
	w.within(shared, reads(left, shared) && reads(right, shared), func() {
		w.pair(func() { w.holds(left) }, " AND ", func() { w.holds(right) })
	})
}

// reads says whether a condition looks at nothing but rows of the joins.
func reads(c Cond, joins []*Join) bool {
	switch c := c.(type) {
	case leaf:
		return !slices.ContainsFunc(c.columns(), func(column *Column) bool { return column != nil && !slices.Contains(joins, column.Via) })
	case *both:
		return reads(c.left, joins) && reads(c.right, joins)
	case *oneOf:
		return reads(c.left, joins) && reads(c.right, joins)
	case *negation:
		return reads(c.inner, joins)
	case *choice:
		return reads(c.test, joins) && reads(c.yes, joins) && reads(c.no, joins)
	case Outcome:
		return true
	default:
		return false
	}
}

// needs are the joins without whose rows a condition cannot hold.
func needs(c Cond) []*Join {
	switch c := c.(type) {
	case leaf:
		return joins(c)
	case *both:
		return union(needs(c.left), needs(c.right))
	case *choice:
		if c.no == False {
			return union(needs(c.test), needs(c.yes))
		}
	case *negation:
		switch inner := c.inner.(type) {
		case *Present: // does not hold either where it fails
			return inner.from()
		case leaf:
			return joins(inner)
		}
	}
	return nil
}

// from are the joins that lead to the record whose attribute it is, that one
// left out.
func (p *Present) from() []*Join {
	if p.Column.Via == nil {
		return nil
	}
	return p.Column.Via.From.chain()
}

func union(a, b []*Join) []*Join {
	for _, j := range b {
		if !slices.Contains(a, j) {
			a = append(a, j)
		}
	}
	return a
}

// branches writes where a choice has an outcome, of which each branch is
// written by write.
func (w *Writer) branches(c *choice, outcome Outcome, write func(Cond)) {
	var parts []func()
	for _, branch := range []struct {
		test func(Cond)
		then Cond
	}{{w.holds, c.yes}, {w.fails, c.no}} {
		switch branch.then.(type) {
		case Outcome:
			if branch.then == outcome {
				parts = append(parts, func() { branch.test(c.test) })
			}
		default:
			parts = append(parts, func() {
				w.pair(func() { branch.test(c.test) }, " AND ", func() { write(branch.then) })
			})
		}
	}
	switch len(parts) {
	case 0:
		False.write(w)
	case 1:
		parts[0]()
	default:
		w.pair(parts[0], " OR ", parts[1])
	}
}

func (w *Writer) pair(left func(), word string, right func()) {
	w.Raw("(")
	left()
	w.Raw(word)
	right()
	w.Raw(")")
}
