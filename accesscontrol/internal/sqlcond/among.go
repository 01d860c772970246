package sqlcond

import (
	"encoding/json"
	"strconv"
	"strings"
)

// maxList is the number of values up to which a list is one argument each. A
// longer one is a single argument: the text of the statement stays the same,
// and no database runs out of placeholders. MySQL takes lists of any length as
// they are: out of JSON_TABLE it reads them again for each row where they stand
// in an OR (19,000 ids beside 200,000 rows: three minutes, and 0.1 s as they
// are), and compared by bytes it asks no index for them.
const maxList = 50

func (a *Among) write(w *Writer) {
	w.values += len(a.Values)
	switch c := a.Column; {
	case c.Storage == Instant:
		w.Raw("(")
		for i, v := range a.Values {
			if i > 0 {
				w.Raw(" OR ")
			}
			w.instant(c, Equal, v.Number)
		}
		w.Raw(")")
	case len(a.Values) > maxList && w.dialect == PostgreSQL:
		w.bytes(c)
		w.Raw(" = ANY(")
		w.place("text::"+c.typed()+"[]", a.array())
		w.Raw(")")
	case len(a.Values) > maxList && w.dialect == SQLite:
		w.member(c)
		w.Raw(" IN (SELECT value FROM json_each(")
		w.place("", a.json())
		w.Raw("))")
	case w.dialect == MySQL && c.byBytes():
		w.Raw("(")
		w.name(c)
		a.list(w)
		w.Raw(" AND ")
		w.bytes(c)
		a.list(w)
		w.Raw(")")
	default:
		w.member(c)
		a.list(w)
	}
}

// member writes a column as the left side of IN, whose collation counts.
func (w *Writer) member(c *Column) {
	w.bytes(c)
	if c.byBytes() && w.dialect == SQLite {
		w.Raw(" COLLATE BINARY")
	}
}

func (a *Among) list(w *Writer) {
	w.Raw(" IN (")
	for i, v := range a.Values {
		if i > 0 {
			w.Raw(", ")
		}
		w.place(a.Column.typed(), a.Column.arg(v))
	}
	w.Raw(")")
}

// array is the literal of an array of PostgreSQL. In quotes only a quote and a
// backslash mean anything, and NULL is a text.
func (a *Among) array() string {
	var out strings.Builder
	escaped := strings.NewReplacer(`\`, `\\`, `"`, `\"`)
	for i, v := range a.Values {
		out.WriteByte("{,"[min(i, 1)])
		switch v := a.Column.arg(v).(type) {
		case int64:
			out.WriteString(strconv.FormatInt(v, 10))
		case string:
			out.WriteByte('"')
			_, _ = escaped.WriteString(&out, v)
			out.WriteByte('"')
		}
	}
	return out.String() + "}"
}

// json is an array of texts or of integers.
func (a *Among) json() string {
	values := make([]any, len(a.Values))
	for i, v := range a.Values {
		values[i] = a.Column.arg(v)
	}
	out, _ := json.Marshal(values) // of strings and integers, which cannot fail
	return string(out)
}
