package accesscontrol

import (
	"strconv"
	"strings"

	"github.com/crmguard/crmguard/accesscontrol/internal/cedarx"
)

// pred is a condition in SQL. It is true, false or NULL, and NULL stands
// exactly where Cedar would answer an error.
type pred interface{ write(w *sqlWriter) }

// sqlWriter renders preds. Nothing but names of the binding, placeholders and
// fixed words ever goes into the text.
type sqlWriter struct {
	text     strings.Builder
	args     []any
	alias    string
	postgres bool
	next     int
}

func (w *sqlWriter) raw(s string) { w.text.WriteString(s) }

func (w *sqlWriter) name(column string) {
	if w.alias != "" {
		w.quote(w.alias)
		w.raw(".")
	}
	w.quote(column)
}

func (w *sqlWriter) quote(name string) {
	// SQLite takes a misspelt "name" for a string, but never a misspelt
	// `name`; MySQL takes only `name` unless told otherwise.
	mark := either(w.postgres, `"`, "`")
	w.raw(mark + strings.ReplaceAll(name, mark, mark+mark) + mark)
}

func (w *sqlWriter) bind(value any) {
	w.args = append(w.args, value)
	if !w.postgres {
		w.raw("?")
		return
	}
	w.raw("$" + strconv.Itoa(w.next))
	w.next++
}

// constant is a known outcome.
type constant uint8

const (
	constFalse constant = iota
	constTrue
	constNull // an error in Cedar's terms
)

func truth(is bool) constant {
	if is {
		return constTrue
	}
	return constFalse
}

func (c constant) write(w *sqlWriter) {
	switch c {
	case constTrue:
		w.raw("TRUE")
	case constFalse:
		w.raw("FALSE")
	default:
		w.raw(either(w.postgres, "NULL::boolean", "NULL"))
	}
}

// open is a part that depends on principal or context while these are not
// known: it stands only in compilations that are never rendered.
type open struct{}

func (open) write(w *sqlWriter) { w.raw("NULL") }

// term is a side of a comparison: a column or a bind value.
type term struct {
	column *column
	bound  any
}

func (v term) write(w *sqlWriter) {
	switch {
	case v.column == nil:
		w.bind(v.bound)
	case v.column.typ.Kind == cedarx.Bool && !w.postgres:
		// Booleans are integers here. Anything but 0 and 1 becomes NULL, which
		// denies, as it does in a check.
		w.raw("CASE ")
		w.name(v.column.name)
		w.raw(" WHEN 1 THEN 1 WHEN 0 THEN 0 END")
	default:
		w.name(v.column.name)
	}
}

// boolean is a column that is itself a condition.
type boolean struct{ term }

// comparison is left op right.
type comparison struct {
	op          string
	left, right term
}

func (c comparison) write(w *sqlWriter) {
	c.left.write(w)
	w.raw(" " + c.op + " ")
	c.right.write(w)
}

// among is column IN (values); an empty list is written as constFalse.
type among struct {
	column *column
	values []any
}

func (a among) write(w *sqlWriter) {
	w.name(a.column.name)
	w.raw(" IN (")
	for i, v := range a.values {
		if i > 0 {
			w.raw(", ")
		}
		w.bind(v)
	}
	w.raw(")")
}

// present is column IS NOT NULL.
type present struct{ column *column }

func (p present) write(w *sqlWriter) {
	w.name(p.column.name)
	w.raw(" IS NOT NULL")
}

// both, oneOf, negation and choice are && || ! and if.
type both struct{ left, right pred }

func (b both) write(w *sqlWriter) { writeJoined(w, b.left, " AND ", b.right) }

type oneOf struct{ left, right pred }

func (o oneOf) write(w *sqlWriter) { writeJoined(w, o.left, " OR ", o.right) }

func writeJoined(w *sqlWriter, left pred, word string, right pred) {
	w.raw("(")
	left.write(w)
	w.raw(word)
	right.write(w)
	w.raw(")")
}

type negation struct{ inner pred }

func (n negation) write(w *sqlWriter) {
	w.raw("NOT (")
	n.inner.write(w)
	w.raw(")")
}

type choice struct{ test, yes, no pred }

// The form CASE x WHEN … writes the test once, so that nested ones do not
// double the text; a NULL test is equal to neither and gives NULL.
func (c choice) write(w *sqlWriter) {
	w.raw("CASE (")
	c.test.write(w)
	w.raw(") WHEN TRUE THEN ")
	c.yes.write(w)
	w.raw(" WHEN FALSE THEN ")
	c.no.write(w)
	w.raw(" END")
}

// mayFail says whether an error of Cedar's can stand in a condition. Columns
// never bring one in: the validator lets an optional attribute be read only
// where it is present.
func mayFail(p pred) bool {
	switch p := p.(type) {
	case constant:
		return p == constNull
	case both:
		return mayFail(p.left) || mayFail(p.right)
	case oneOf:
		return mayFail(p.left) || mayFail(p.right)
	case negation:
		return mayFail(p.inner)
	case choice:
		return mayFail(p.test) || mayFail(p.yes) || mayFail(p.no)
	default:
		return false
	}
}

// and, or, not and ifThenElse fold what is known, in Cedar's order of
// evaluation: an error on the left is an error of the whole, an error on the
// right only where the left does not decide. SQL has no such order, NULL OR
// TRUE is TRUE, so a left side that may fail is written as CASE.
func and(left, right pred) pred {
	switch left {
	case constTrue:
		return right
	case constFalse, constNull:
		return left
	}
	switch {
	case right == constTrue:
		return left
	case mayFail(left):
		return choice{left, right, constFalse}
	}
	return both{left, right}
}

func or(left, right pred) pred {
	switch left {
	case constFalse:
		return right
	case constTrue, constNull:
		return left
	}
	switch {
	case right == constFalse:
		return left
	case mayFail(left):
		return choice{left, constTrue, right}
	}
	return oneOf{left, right}
}

func not(inner pred) pred {
	switch inner {
	case constTrue:
		return constFalse
	case constFalse:
		return constTrue
	case constNull:
		return constNull
	}
	return negation{inner}
}

func ifThenElse(test, yes, no pred) pred {
	switch test {
	case constTrue:
		return yes
	case constFalse:
		return no
	case constNull:
		return constNull
	}
	return choice{test, yes, no}
}
