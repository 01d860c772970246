package sqlcond

import "slices"

// Eval is the outcome itself.
func (o Outcome) Eval(*Row) Outcome { return o }

// Eval compares the two sides; an absent one fails.
func (c *Comparison) Eval(row *Row) Outcome {
	left, right := c.Left.of(row), c.Right.of(row)
	if left.Kind == Absent || right.Kind == Absent {
		return Failed
	}
	switch c.Op {
	case Equal:
		return Truth(*left == *right)
	case Unequal:
		return Truth(*left != *right)
	case Less:
		return Truth(compare(*left, *right) < 0)
	case LessOrEqual:
		return Truth(compare(*left, *right) <= 0)
	case Greater:
		return Truth(compare(*left, *right) > 0)
	default:
		return Truth(compare(*left, *right) >= 0)
	}
}

// Eval looks the value up; an absent one fails.
func (a *Among) Eval(row *Row) Outcome {
	v := row.Values[a.Column.Slot]
	if v.Kind == Absent {
		return Failed
	}
	return Truth(a.holds(v))
}

func (a *Among) holds(v Value) bool {
	if a.texts != nil {
		_, is := a.texts[v.Text]
		return is
	}
	return slices.Contains(a.Values, v)
}

// Eval says whether the record has the attribute. It fails where nothing refers
// to the record.
func (p *Present) Eval(row *Row) Outcome {
	if via := p.Column.Via; via != nil && row.Values[via.From.Slot].Kind == Absent {
		return Failed
	}
	return Truth(row.Values[p.Column.Slot].Kind != Absent)
}

// Eval is the value of the attribute; an absent one fails.
func (h *Holds) Eval(row *Row) Outcome {
	v := &row.Values[h.Column.Slot]
	if v.Kind == Absent {
		return Failed
	}
	return Truth(v.Number == 1)
}

// Eval asks.
func (f *Foreign) Eval(row *Row) Outcome { return f.Ask(row) }

// Eval is Cedar's &&: the right side counts only where the left one holds.
func (b *both) Eval(row *Row) Outcome {
	if left := b.left.Eval(row); left != True {
		return left
	}
	return b.right.Eval(row)
}

// Eval is Cedar's ||: the right side counts only where the left one is false.
func (o *oneOf) Eval(row *Row) Outcome {
	if left := o.left.Eval(row); left != False {
		return left
	}
	return o.right.Eval(row)
}

// Eval turns true and false round; what failed has failed.
func (n *negation) Eval(row *Row) Outcome {
	switch n.inner.Eval(row) {
	case True:
		return False
	case False:
		return True
	default:
		return Failed
	}
}

// Eval takes one branch; a test that failed has failed.
func (c *choice) Eval(row *Row) Outcome {
	switch c.test.Eval(row) {
	case True:
		return c.yes.Eval(row)
	case False:
		return c.no.Eval(row)
	default:
		return Failed
	}
}
