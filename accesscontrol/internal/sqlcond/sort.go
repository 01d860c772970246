package sqlcond

import (
	"strings"
	"time"

	"github.com/crmguard/crmguard/internal/canon"
)

// Sort is a column of an order. NULL is smaller than any value, and texts are
// ordered by their bytes, on every database:
//
//	PostgreSQL  c::text COLLATE "C" NULLS FIRST, or LAST where it descends
//	SQLite      c COLLATE BINARY
//	MySQL       LEFT(CAST(c AS BINARY), 1000): it sorts by no more than 1,024
//	            bytes (max_sort_length), so no more are compared
type Sort struct {
	Column *Column
	Desc   bool
	// Nullable says that the column may be NULL.
	Nullable bool
}

// OrderBy writes what stands behind ORDER BY.
func (w *Writer) OrderBy(sorts []Sort) {
	for i, s := range sorts {
		if i > 0 {
			w.Raw(", ")
		}
		w.sorted(s.Column)
		if s.Desc {
			w.Raw(" DESC")
		}
		if s.Nullable && w.dialect == PostgreSQL {
			w.Raw(map[bool]string{false: " NULLS FIRST", true: " NULLS LAST"}[s.Desc])
		}
	}
}

// Behind writes the condition of the rows that stand behind one with these
// values. Those of an [Instant] are microseconds here.
func (w *Writer) Behind(sorts []Sort, at []Value) {
	if len(sorts) == 1 {
		w.beyond(sorts[0], at[0], false)
		return
	}
	// The first half is a range of an index.
	w.Raw("(")
	w.beyond(sorts[0], at[0], true)
	w.Raw(" AND (")
	w.beyond(sorts[0], at[0], false)
	w.Raw(" OR ")
	w.Behind(sorts[1:], at[1:])
	w.Raw("))")
}

// beyond compares one column; same includes the value itself.
func (w *Writer) beyond(s Sort, v Value, same bool) {
	switch {
	case v.Kind == Absent && s.Desc == same:
		w.name(s.Column)
		w.Raw(map[bool]string{true: " IS NULL", false: " IS NOT NULL"}[same])
		return
	case v.Kind == Absent:
		w.Raw(map[bool]string{true: "(1 = 1)", false: "(1 = 0)"}[same])
		return
	}
	op := map[bool]Order{false: Greater, true: Less}[s.Desc]
	if same {
		op = map[bool]Order{false: GreaterOrEqual, true: LessOrEqual}[s.Desc]
	}
	w.Raw("(")
	w.sorted(s.Column)
	w.Raw(operators[op])
	w.position(s.Column, v)
	if s.Desc && s.Nullable {
		w.Raw(" OR ")
		w.name(s.Column)
		w.Raw(" IS NULL")
	}
	w.Raw(")")
}

// sorted writes a column as what an order compares.
func (w *Writer) sorted(c *Column) {
	switch {
	case c.Kind == Boolean:
		w.boolean(c)
	case c.Storage == UUID && w.dialect == MySQL: // MariaDB orders them by their last part first
		w.Raw("CAST(CAST(")
		w.name(c)
		w.Raw(" AS CHAR) AS BINARY)")
	case !c.byBytes():
		w.name(c)
	case w.dialect == PostgreSQL:
		w.name(c)
		w.Raw(`::text COLLATE "C"`)
	case w.dialect == SQLite:
		w.name(c)
		w.Raw(" COLLATE BINARY")
	default:
		w.Raw("LEFT(")
		w.bytes(c)
		w.Raw(", 1000)")
	}
}

// position writes a value of such a column.
func (w *Writer) position(c *Column, v Value) {
	switch {
	case c.Storage == Instant && w.dialect == MySQL:
		w.Raw("CAST(")
		w.place("", time.UnixMicro(v.Number).UTC().Format("2006-01-02 15:04:05.000000"))
		w.Raw(" AS DATETIME(6))")
	case c.Storage == Instant:
		w.place(c.typed(), canon.FormatTime(time.UnixMicro(v.Number)))
	case c.byBytes() && w.dialect == MySQL:
		w.Raw("LEFT(CAST(")
		w.place("", v.Text)
		w.Raw(" AS BINARY), 1000)")
	case c.byBytes() && w.dialect == PostgreSQL: // whose texts hold no NUL: nothing stands between
		text, _, _ := strings.Cut(v.Text, "\x00")
		w.place("text", text)
	default:
		w.place(c.typed(), c.arg(v))
	}
}
