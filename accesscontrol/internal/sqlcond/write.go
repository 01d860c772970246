package sqlcond

import "strings"

// Writer renders conditions. Nothing but names of columns, placeholders and
// fixed words ever goes into the text; values are arguments.
type Writer struct {
	text    strings.Builder
	args    []any
	alias   string
	dialect Dialect
	marks   bool // ? instead of $1
	next    int
	values  int

	table, tenant string           // of the records
	aliases       map[*Join]string // of the joins that are open
	inner         int              // aliases given so far
	levels        []scope
}

// Raw writes fixed words.
func (w *Writer) Raw(s string) { w.text.WriteString(s) }

// Result is the text with its arguments. Whoever counts placeholders counts a ?
// in an alias too, and every argument would stand in the place of another: such
// an alias selects nothing.
func (w *Writer) Result() (sql string, args []any) {
	if w.marks && strings.Contains(w.alias, "?") {
		return "(1 = 0)", nil
	}
	return w.text.String(), w.args
}

// Values counts the values that columns were compared with, each once.
func (w *Writer) Values() int { return w.values }

// Write writes a condition as what is TRUE where it holds.
func (w *Writer) Write(c Cond) { w.holds(c) }

// name writes a column. Inside of a subquery, one of the record's without its
// table would be taken for one of the table that stands there.
func (w *Writer) name(column *Column) {
	w.notes(column)
	of := w.alias
	switch {
	case column.Via != nil:
		of = w.aliases[column.Via]
		if of == "" { // a condition that does not tell its columns
			of = "crmguard_0" // which no table is called: the database refuses the statement
		}
	case of == "" && len(w.aliases) > 0:
		of = w.table
	}
	if of != "" {
		w.quote(of)
		w.Raw(".")
	}
	w.quote(column.Name)
}

func (w *Writer) quote(name string) {
	// SQLite takes a misspelt "name" for a string, but never a misspelt
	// `name`; MySQL takes only `name` unless told otherwise.
	mark := "`"
	if w.dialect == PostgreSQL {
		mark = `"`
	}
	w.Raw(mark + strings.ReplaceAll(name, mark, mark+mark) + mark)
}

func (o Outcome) write(w *Writer) {
	switch {
	case o == True, o == False:
		w.Raw(w.truth(o == True))
	case w.dialect == PostgreSQL:
		w.Raw("NULL::boolean")
	default:
		w.Raw("NULL")
	}
}

// truth is the word for a truth value. SQLite takes TRUE for a column where any
// table of the statement has one that is called so.
func (w *Writer) truth(yes bool) string {
	words := [2]string{"FALSE", "TRUE"}
	if w.dialect == SQLite {
		words = [2]string{"0", "1"}
	}
	if yes {
		return words[1]
	}
	return words[0]
}

func (p *Present) write(w *Writer) {
	w.name(p.Column)
	w.Raw(" IS NOT NULL")
}

func (h *Holds) write(w *Writer) { w.boolean(h.Column) }

// boolean writes a column as a truth value. Where booleans are integers,
// anything but 0 and 1 becomes NULL, which denies, as it does in a check.
func (w *Writer) boolean(c *Column) {
	switch {
	case w.dialect != PostgreSQL:
		w.Raw("CASE ")
		w.name(c)
		w.Raw(" WHEN 1 THEN 1 WHEN 0 THEN 0 END")
	case c.Storage == Whole:
		w.Raw("CASE ")
		w.name(c)
		w.Raw(" WHEN 1 THEN TRUE WHEN 0 THEN FALSE END")
	default:
		w.name(c)
	}
}

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
	w.Raw(" WHEN " + w.truth(true) + " THEN ")
	c.yes.write(w)
	w.Raw(" WHEN " + w.truth(false) + " THEN ")
	c.no.write(w)
	w.Raw(" END")
}

// Join writes the conditions joined by a word, each followed by test, which is
// nothing, " IS TRUE" or " IS FALSE". Many are written as a tree of halves:
// SQLite parses at most 1,000 levels, and a plain row is a level each.
func (w *Writer) Join(conds []Cond, word, test string) {
	if word == " OR " && len(conds) > plain && w.dialect != MySQL { // which had not done 300 within two minutes
		conds = gathered(conds)
	}
	w.row(conds, word, test)
}

const plain = 64

func (w *Writer) row(conds []Cond, word, test string) {
	if len(conds) > plain {
		half := len(conds) / 2
		w.Raw("(")
		w.row(conds[:half], word, test)
		w.Raw(")" + word + "(")
		w.row(conds[half:], word, test)
		w.Raw(")")
		return
	}
	for i, c := range conds {
		if i > 0 {
			w.Raw(word)
		}
		is := test
		if is == " IS FALSE" && joined(c) { // what is not TRUE may have failed
			c, is = Not(c), " IS TRUE"
		}
		if is == "" {
			w.holds(c)
			continue
		}
		w.enclosed(c)
		w.Raw(" IS " + w.truth(is == " IS TRUE"))
	}
}

// enclosed writes a condition in one pair of parentheses.
func (w *Writer) enclosed(c Cond) {
	switch c.(type) {
	case *both, *oneOf: // have them
		w.holds(c)
	default:
		w.Raw("(")
		w.holds(c)
		w.Raw(")")
	}
}
