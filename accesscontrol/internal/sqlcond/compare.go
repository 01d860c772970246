package sqlcond

import "time"

// Texts are equal where their bytes are, whatever the collation of the column:
// "t" is not "T", nor "t ". Each database is told so in a form that asks the
// column's index, too:
//
//	PostgreSQL  c = $1::text: text against text, and so are citext and domains
//	            of it; the collation of a column is deterministic, which is
//	            looked at once, or comparing bytes would leave every index out
//	SQLite      c = ? COLLATE BINARY
//	MySQL       c = ? AND CAST(c AS BINARY) = ?: what has the same bytes is
//	            equal under any collation, so the first half finds it

var operators = [...]string{Equal: " = ", Unequal: " <> ", Less: " < ", LessOrEqual: " <= ", Greater: " > ", GreaterOrEqual: " >= "}

// turned are the operators with the sides exchanged.
var turned = [...]Order{Equal: Equal, Unequal: Unequal, Less: Greater, LessOrEqual: GreaterOrEqual, Greater: Less, GreaterOrEqual: LessOrEqual}

func (c *Comparison) write(w *Writer) {
	switch {
	case c.Left.Column == nil:
		w.compare(c.Right.Column, turned[c.Op], c.Left.Known)
	case c.Right.Column == nil:
		w.compare(c.Left.Column, c.Op, c.Right.Known)
	default:
		w.columns(c.Left.Column, c.Op, c.Right.Column)
	}
}

// compare writes a column against a value.
func (w *Writer) compare(c *Column, op Order, v Value) {
	w.values++
	switch {
	case c.Storage == Instant:
		w.instant(c, op, v.Number)
	case c.Kind == Boolean:
		w.boolean(c)
		w.Raw(operators[op])
		w.place(c.typed(), c.arg(v))
	case c.byBytes() && w.dialect == MySQL && op == Equal:
		w.Raw("(")
		w.name(c)
		w.Raw(" = ")
		w.place("", v.Text)
		w.Raw(" AND ")
		w.bytes(c)
		w.Raw(" = ")
		w.place("", v.Text)
		w.Raw(")")
	default:
		w.bytes(c)
		w.Raw(operators[op])
		w.place(c.typed(), c.arg(v))
		if c.byBytes() && w.dialect == SQLite {
			w.Raw(" COLLATE BINARY")
		}
	}
}

// bytes writes a column as what is compared by its bytes, where it is a text
// and the other side does not say so.
func (w *Writer) bytes(c *Column) {
	switch {
	case w.dialect == MySQL && c.byBytes():
		w.Raw("CAST(")
		w.name(c)
		w.Raw(" AS BINARY)")
	case w.dialect == PostgreSQL && c.Storage == Label:
		w.name(c)
		w.Raw("::text") // a label that is none would fail as one
	default:
		w.name(c)
	}
}

// columns writes two columns of one kind and storage against each other. Two
// collations that differ could not be compared.
func (w *Writer) columns(left *Column, op Order, right *Column) {
	switch {
	case left.Kind == Boolean:
		w.boolean(left)
		w.Raw(operators[op])
		w.boolean(right)
	case !left.byBytes():
		w.name(left)
		w.Raw(operators[op])
		w.name(right)
	case w.dialect == PostgreSQL:
		w.name(left)
		w.Raw("::text" + operators[op])
		w.name(right)
		w.Raw(`::text COLLATE "C"`)
	default:
		w.bytes(left)
		w.Raw(operators[op])
		w.bytes(right)
		if w.dialect == SQLite {
			w.Raw(" COLLATE BINARY")
		}
	}
}

// instant compares a point in time, which is kept finer than the milliseconds
// that are compared: those of one millisecond are equal to it.
func (w *Writer) instant(c *Column, op Order, ms int64) {
	side := func(op Order, ms int64) {
		at := time.UnixMilli(ms).UTC()
		if at.Year() > 9999 { // behind the last one that a column may hold
			Truth(op == Less).write(w)
			return
		}
		w.name(c)
		w.Raw(operators[op])
		if w.dialect == MySQL {
			w.Raw("CAST(")
			w.place("", at.Format("2006-01-02 15:04:05.000"))
			w.Raw(" AS DATETIME(3))")
			return
		}
		w.place(c.typed(), at.Format("2006-01-02T15:04:05.000Z"))
	}
	switch op {
	case Equal, Unequal:
		ops, word := [2]Order{GreaterOrEqual, Less}, " AND "
		if op == Unequal {
			ops, word = [2]Order{Less, GreaterOrEqual}, " OR "
		}
		w.Raw("(")
		side(ops[0], ms)
		w.Raw(word)
		side(ops[1], ms+1)
		w.Raw(")")
	case Less, GreaterOrEqual:
		side(op, ms)
	case LessOrEqual:
		side(Less, ms+1)
	case Greater:
		side(GreaterOrEqual, ms+1)
	}
}
