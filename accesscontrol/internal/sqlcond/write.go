package sqlcond

import (
	"strconv"
	"strings"
)

// Writer renders conditions. Nothing but names of columns, placeholders and
// fixed words ever goes into the text; values are arguments.
type Writer struct {
	text     strings.Builder
	args     []any
	alias    string
	postgres bool
	next     int
}

// Postgres writes placeholders $first, $first+1 and so on, and "names".
func Postgres(alias string, first int) *Writer {
	return &Writer{alias: alias, postgres: true, next: first}
}

// Marks writes placeholders ? and `names`, for SQLite, MySQL and MariaDB.
func Marks(alias string) *Writer { return &Writer{alias: alias} }

// Raw writes fixed words.
func (w *Writer) Raw(s string) { w.text.WriteString(s) }

// Result is the text with its arguments.
func (w *Writer) Result() (sql string, args []any) { return w.text.String(), w.args }

// Write writes a condition as a value that is TRUE, FALSE or NULL.
func (w *Writer) Write(c Cond) { c.write(w) }

func (w *Writer) name(column string) {
	if w.alias != "" {
		w.quote(w.alias)
		w.Raw(".")
	}
	w.quote(column)
}

func (w *Writer) quote(name string) {
	// SQLite takes a misspelt "name" for a string, but never a misspelt
	// `name`; MySQL takes only `name` unless told otherwise.
	mark := "`"
	if w.postgres {
		mark = `"`
	}
	w.Raw(mark + strings.ReplaceAll(name, mark, mark+mark) + mark)
}

// bind writes a value as what a column holds.
func (w *Writer) bind(v Value, integer bool) {
	var arg any
	switch {
	case v.Kind == Text && integer:
		n, err := strconv.ParseInt(v.Text, 10, 64)
		if err != nil { // whoever built the condition has left such ids out
			w.Raw("NULL")
			return
		}
		arg = n
	case v.Kind == Text:
		arg = v.Text
	case v.Kind == Boolean:
		arg = v.Number == 1
	default:
		arg = v.Number
	}
	w.args = append(w.args, arg)
	if !w.postgres {
		w.Raw("?")
		return
	}
	w.Raw("$" + strconv.Itoa(w.next))
	w.next++
}

func (o Outcome) write(w *Writer) {
	switch {
	case o == True:
		w.Raw("TRUE")
	case o == False:
		w.Raw("FALSE")
	case w.postgres:
		w.Raw("NULL::boolean")
	default:
		w.Raw("NULL")
	}
}

func (c *Column) write(w *Writer) {
	if c.Kind == Boolean && !w.postgres {
		// Booleans are integers here. Anything but 0 and 1 becomes NULL, which
		// denies, as it does in a check.
		w.Raw("CASE ")
		w.name(c.Name)
		w.Raw(" WHEN 1 THEN 1 WHEN 0 THEN 0 END")
		return
	}
	w.name(c.Name)
}

var operators = [...]string{Equal: " = ", Unequal: " <> ", Less: " < ", LessOrEqual: " <= ", Greater: " > ", GreaterOrEqual: " >= "}

func (c *Comparison) write(w *Writer) {
	integer := c.Left.Column != nil && c.Left.Column.Integer || c.Right.Column != nil && c.Right.Column.Integer
	c.Left.write(w, integer)
	w.Raw(operators[c.Op])
	c.Right.write(w, integer)
}

func (t *Term) write(w *Writer, integer bool) {
	if t.Column != nil {
		t.Column.write(w)
		return
	}
	w.bind(t.Known, integer)
}

func (a *Among) write(w *Writer) {
	w.name(a.Column.Name)
	w.Raw(" IN (")
	for i, v := range a.Values {
		if i > 0 {
			w.Raw(", ")
		}
		w.bind(v, a.Column.Integer)
	}
	w.Raw(")")
}

func (p *Present) write(w *Writer) {
	w.name(p.Column.Name)
	w.Raw(" IS NOT NULL")
}

func (h *Holds) write(w *Writer) { h.Column.write(w) }

// A part without SQL denies: it is NULL. Nothing that has one is ever written.
func (f *Foreign) write(w *Writer) { Failed.write(w) }

func (b *both) write(w *Writer) { w.joined(b.left, " AND ", b.right) }

func (o *oneOf) write(w *Writer) { w.joined(o.left, " OR ", o.right) }

func (w *Writer) joined(left Cond, word string, right Cond) {
	w.Raw("(")
	left.write(w)
	w.Raw(word)
	right.write(w)
	w.Raw(")")
}

func (n *negation) write(w *Writer) {
	w.Raw("NOT ")
	w.enclosed(n.inner)
}

// The form CASE x WHEN … writes the test once, so that nested ones do not
// double the text; a NULL test is equal to neither and gives NULL.
func (c *choice) write(w *Writer) {
	w.Raw("CASE ")
	w.enclosed(c.test)
	w.Raw(" WHEN TRUE THEN ")
	c.yes.write(w)
	w.Raw(" WHEN FALSE THEN ")
	c.no.write(w)
	w.Raw(" END")
}

// Join writes the conditions joined by a word, each followed by test, which is
// nothing, " IS TRUE" or " IS FALSE". Many are written as a tree of halves:
// SQLite parses at most 1,000 levels, and a plain row is a level each.
func (w *Writer) Join(conds []Cond, word, test string) {
	const plain = 64
	if len(conds) > plain {
		half := len(conds) / 2
		w.Raw("(")
		w.Join(conds[:half], word, test)
		w.Raw(")" + word + "(")
		w.Join(conds[half:], word, test)
		w.Raw(")")
		return
	}
	for i, c := range conds {
		if i > 0 {
			w.Raw(word)
		}
		if test == "" {
			c.write(w)
			continue
		}
		w.enclosed(c)
		w.Raw(test)
	}
}

// enclosed writes a condition in one pair of parentheses.
func (w *Writer) enclosed(c Cond) {
	switch c.(type) {
	case *both, *oneOf: // have them
		c.write(w)
	default:
		w.Raw("(")
		c.write(w)
		w.Raw(")")
	}
}
