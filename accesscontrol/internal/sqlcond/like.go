package sqlcond

import "strings"

// Like is a text column that begins with the first of Parts, ends with the last
// one, and has the others between them, in order, none over another. There are
// two at least. Texts are compared by their bytes.
//
//	PostgreSQL  c::text LIKE $1::text ESCAPE '!'
//	MySQL       CAST(c AS BINARY) LIKE ? ESCAPE '!'
//	SQLite      c GLOB ?, which ends at a NUL: where a text holds one, NULL
type Like struct {
	Column *Column
	Parts  []string
}

// Eval matches the text; an absent one fails.
func (l *Like) Eval(row *Row) Outcome {
	v := row.Values[l.Column.Slot]
	if v.Kind == Absent {
		return Failed
	}
	last := len(l.Parts) - 1
	rest, begins := strings.CutPrefix(v.Text, l.Parts[0])
	rest, ends := strings.CutSuffix(rest, l.Parts[last])
	if !begins || !ends {
		return False
	}
	for _, part := range l.Parts[1:last] {
		var found bool
		if _, rest, found = strings.Cut(rest, part); !found {
			return False
		}
	}
	return True
}

func (l *Like) write(w *Writer) {
	w.values++
	switch c := l.Column; w.dialect {
	case SQLite:
		w.Raw("CASE WHEN instr(")
		w.name(c)
		w.Raw(", char(0)) = 0 THEN ")
		w.name(c)
		w.Raw(" GLOB ")
		w.place("", l.pattern("*", "*", "[*]", "?", "[?]", "[", "[[]"))
		w.Raw(" END")
	case PostgreSQL:
		w.name(c)
		w.Raw("::text LIKE ")
		w.place("text", l.pattern("%", "!", "!!", "%", "!%", "_", "!_"))
		w.Raw(" ESCAPE '!'")
	default:
		w.bytes(c)
		w.Raw(" LIKE ")
		w.place("", l.pattern("%", "!", "!!", "%", "!%", "_", "!_"))
		w.Raw(" ESCAPE '!'")
	}
}

// pattern writes any between the parts, whose own characters are replaced where
// they would mean something.
func (l *Like) pattern(any string, replaced ...string) string {
	escaped := strings.NewReplacer(replaced...)
	out := make([]string, len(l.Parts))
	for i, part := range l.Parts {
		out[i] = escaped.Replace(part)
	}
	return strings.Join(out, any)
}
