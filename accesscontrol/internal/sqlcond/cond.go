package sqlcond

import (
	"slices"
)

// Outcome is what a condition is of a record. It is a condition itself: one
// whose outcome is known.
type Outcome uint8

// The outcomes.
const (
	False Outcome = iota
	True
	Failed // an error in Cedar, NULL in SQL
)

// Truth is True or False.
func Truth(is bool) Outcome {
	if is {
		return True
	}
	return False
}

// Cond is a condition about one record.
type Cond interface {
	// Eval says what it is of a row.
	Eval(row *Row) Outcome
	write(w *Writer)
}

// Term is a side of a comparison: a column, or a value where Column is nil.
type Term struct {
	Column *Column
	Known  Value
}

func (t *Term) of(row *Row) Value {
	if t.Column == nil {
		return t.Known
	}
	return row.Values[t.Column.Slot]
}

// Order is an operator of a comparison.
type Order uint8

// The operators.
const (
	Equal Order = iota
	Unequal
	Less
	LessOrEqual
	Greater
	GreaterOrEqual
)

// Comparison is Left Op Right. Both sides have the same kind.
type Comparison struct {
	Op          Order
	Left, Right Term
}

// Among is Column IN (Values): values of the column's kind, none of them twice.
type Among struct {
	Column *Column
	Values []Value
	// texts finds a text among many.
	texts map[string]struct{}
}

// NewAmong sorts the values, so that the SQL is the same for the same set. No
// value at all is False.
func NewAmong(column *Column, values []Value) Cond {
	values = slices.Clone(values)
	slices.SortFunc(values, compare)
	values = slices.CompactFunc(values, func(a, b Value) bool { return compare(a, b) == 0 })
	if len(values) == 0 {
		return False
	}
	out := &Among{Column: column, Values: values}
	const few = 8 // up to here, looking at each is faster
	if column.Kind == Text && len(values) > few {
		out.texts = make(map[string]struct{}, len(values))
		for _, v := range values {
			out.texts[v.Text] = struct{}{}
		}
	}
	return out
}

// Present is Column IS NOT NULL.
type Present struct{ Column *Column }

// Holds is a column of booleans as a condition.
type Holds struct{ Column *Column }

// Foreign is a part that only Ask can answer. It has no SQL.
type Foreign struct {
	Ask func(row *Row) Outcome
}

type (
	both     struct{ left, right Cond }
	oneOf    struct{ left, right Cond }
	negation struct{ inner Cond }
	choice   struct{ test, yes, no Cond }
)

// mayFail says whether an error of Cedar's can stand in a condition. The record's
// own columns never bring one in: the validator lets an optional attribute be
// read only where it is present. A record that is referred to may not be there.
func mayFail(c Cond) bool {
	switch c := c.(type) {
	case *Present:
		return len(c.from()) > 0
	case leaf:
		return joined(c)
	case Outcome:
		return c == Failed
	case *both:
		return mayFail(c.left) || mayFail(c.right)
	case *oneOf:
		return mayFail(c.left) || mayFail(c.right)
	case *negation:
		return mayFail(c.inner)
	case *choice:
		return mayFail(c.test) || mayFail(c.yes) || mayFail(c.no)
	default:
		return false
	}
}

// And is &&. It folds what is known, as [Or], [Not] and [If] do, in Cedar's
// order of evaluation: an error on the left is an error of the whole, an error on the right only where
// the left does not decide. SQL has no such order, NULL OR TRUE is TRUE, so a
// left side that may fail is written as CASE.
func And(left, right Cond) Cond {
	switch left {
	case True:
		return right
	case False, Failed:
		return left
	}
	switch {
	case right == True:
		return left
	case mayFail(left):
		if c, is := left.(*choice); is && c.no == False { // a chain stays one of single parts
			return &choice{c.test, And(c.yes, right), False}
		}
		return &choice{left, right, False}
	}
	return &both{left, right}
}

// Or is ||.
func Or(left, right Cond) Cond {
	switch left {
	case False:
		return right
	case True, Failed:
		return left
	}
	switch {
	case right == False:
		return left
	case mayFail(left):
		if c, is := left.(*choice); is && c.yes == True {
			return &choice{c.test, True, Or(c.no, right)}
		}
		return &choice{left, True, right}
	}
	return &oneOf{left, right}
}

// Not is !.
func Not(inner Cond) Cond {
	switch inner {
	case True:
		return False
	case False:
		return True
	case Failed:
		return Failed
	}
	if twice, is := inner.(*negation); is {
		return twice.inner
	}
	return &negation{inner}
}

// If is if … then … else …; a branch that cannot be reached may be nil.
func If(test, yes, no Cond) Cond {
	switch test {
	case True:
		return yes
	case False:
		return no
	case Failed:
		return Failed
	}
	return &choice{test, yes, no}
}
