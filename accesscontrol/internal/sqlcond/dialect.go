package sqlcond

import (
	"strconv"
	"time"
)

// Dialect is the language of a database.
type Dialect uint8

// The dialects. MySQL is MariaDB's, too.
const (
	PostgreSQL Dialect = iota
	SQLite
	MySQL
)

// Postgres writes placeholders $first, $first+1 and so on, and "names".
func Postgres(alias string, first int) *Writer {
	return &Writer{alias: alias, dialect: PostgreSQL, next: first}
}

// New writes placeholders ? in any dialect.
func New(dialect Dialect, alias string) *Writer {
	return &Writer{alias: alias, dialect: dialect, marks: true}
}

// Storage is how a column holds its values where it is not the plain way of
// their kind.
type Storage uint8

// The ways.
const (
	Plain   Storage = iota
	Whole           // integers: a text is the decimal form of one, a boolean is 0 or 1
	UUID            // 128 bits, whose text is in lower case with hyphens
	Label           // one of the labels of an enumeration
	Instant         // a point in time; its integer is milliseconds since 1970
	Day             // a date, a text in SQLite; its integer is that of its midnight
)

// place writes the next placeholder. PostgreSQL is told the type: it would take
// that of the column otherwise, and fail on what does not fit into it, or
// compare a text as the column's type does.
func (w *Writer) place(typ string, arg any) {
	w.args = append(w.args, arg)
	if w.marks {
		w.Raw("?")
	} else {
		w.Raw("$" + strconv.Itoa(w.next))
		w.next++
	}
	if w.dialect == PostgreSQL {
		w.Raw("::" + typ)
	}
}

// typed is the type of PostgreSQL that a column's values are compared in.
func (c *Column) typed() string {
	switch {
	case c.Storage == UUID:
		return "uuid"
	case c.Storage == Instant:
		return "timestamptz"
	case c.Storage == Day:
		return "date"
	case c.Kind == Boolean:
		return "boolean"
	case c.Kind == Integer, c.Storage == Whole:
		return "bigint"
	default:
		return "text"
	}
}

// byBytes says whether the values are texts whose comparison is left to the
// collation unless it is said that bytes count.
func (c *Column) byBytes() bool {
	return c.Kind == Text && (c.Storage == Plain || c.Storage == Label)
}

// arg is a value as an argument.
func (c *Column) arg(v Value) any {
	switch {
	case v.Kind == Text && c.Storage == Whole:
		n, err := strconv.ParseInt(v.Text, 10, 64)
		if err != nil { // whoever built the condition has left such ids out
			return nil
		}
		return n
	case c.Storage == Day:
		return time.UnixMilli(v.Number).UTC().Format(time.DateOnly)
	case v.Kind == Text:
		return v.Text
	case v.Kind == Boolean:
		return v.Number == 1
	default:
		return v.Number
	}
}
