package sqlcond

// Mask is a way to show less of a column, in fixed words.
type Mask uint8

// The masks; package accesscontrol says what each of them shows.
const (
	MaskAll Mask = iota
	MaskEmail
	MaskYear
	MaskLast4
)

// Absent writes that a column is NULL.
func (w *Writer) Absent(c *Column) {
	w.name(c)
	w.Raw(" IS NULL")
}

// Column writes a column as it is.
func (w *Writer) Column(c *Column) { w.name(c) }

// Text writes a column as a text, beside which a mask may stand in one CASE.
// Without being told, MariaDB makes a UUID of the mask, which is NULL.
func (w *Writer) Text(c *Column) {
	switch {
	case w.dialect == PostgreSQL:
		w.spelled(c)
	case c.Kind == Boolean:
		w.boolean(c)
	case w.dialect == MySQL:
		w.Raw("CONCAT(")
		w.name(c)
		w.Raw(")")
	default:
		w.name(c)
	}
}

// spelled writes a column of PostgreSQL as text. That of a date is as DateStyle
// says, but in JSON it is ISO 8601's.
func (w *Writer) spelled(c *Column) {
	if c.Storage == Day {
		w.Raw("(to_json(")
		w.name(c)
		w.Raw(") #>> '{}')")
		return
	}
	w.name(c)
	w.Raw("::text")
}

// As names what was written.
func (w *Writer) As(name string) {
	w.Raw(" AS ")
	w.quote(name)
}

// Mask writes a column that is not NULL under a mask. Of MaskAll it is the bare
// literal, which PostgreSQL takes for whatever stands beside it.
func (w *Writer) Mask(c *Column, m Mask) {
	switch {
	case m == MaskAll:
		w.Raw("'***'")
	case m == MaskYear && c.Storage == Instant && w.dialect != SQLite:
		w.yearOfInstant(c)
	case m == MaskYear:
		if w.dialect == PostgreSQL { // what nobody compares may be a date, too
			day := *c
			day.Storage, c = Day, &day
		}
		w.Raw("CASE WHEN ")
		w.whole(c)
		w.dated(c)
		w.Raw(" THEN ")
		w.call("substr(", c, ", 1, 4)")
		w.Raw(" ELSE '****' END")
	case m == MaskLast4:
		w.Raw("CASE WHEN ")
		w.whole(c)
		w.call(word(w, "char_length(", "length("), c, ") >= 8 THEN ")
		w.concat(func() { w.Raw("'***'") }, func() { w.call(word(w, "right(", "substr("), c, word(w, ", 4)", ", -4)")) })
		w.Raw(" ELSE '***' END")
	case m == MaskEmail:
		w.email(c)
	}
}

// word is what SQLite calls otherwise.
func word(w *Writer, usual, sqlite string) string {
	if w.dialect == SQLite {
		return sqlite
	}
	return usual
}

func (w *Writer) call(function string, c *Column, rest string) {
	w.Raw(function)
	w.trimmed(c)
	w.Raw(rest)
}

// trimmed writes the characters of a column without the blanks around them,
// compared by code points whatever the collation: one that is not
// deterministic has no substrings on PostgreSQL, and MySQL's may take a wide @
// for an @.
func (w *Writer) trimmed(c *Column) {
	switch w.dialect {
	case PostgreSQL:
		w.Raw("btrim(")
		w.spelled(c)
		w.Raw(` COLLATE "C")`)
	case MySQL:
		w.Raw("TRIM(CONVERT(")
		w.name(c)
		w.Raw(" USING utf8mb4) COLLATE utf8mb4_bin)")
	default:
		w.Raw("trim(")
		w.name(c)
		w.Raw(")")
	}
}

// whole writes what must hold of a text that shows something: it holds no NUL,
// which ends a text of SQLite for some functions, and is UTF-8.
func (w *Writer) whole(c *Column) {
	switch w.dialect {
	case SQLite:
		w.Raw("instr(")
		w.name(c)
		w.Raw(", char(0)) = 0 AND ")
	case MySQL:
		w.Raw("INSTR(CAST(")
		w.name(c)
		w.Raw(" AS BINARY), CHAR(0)) = 0 AND CAST(CONVERT(")
		w.name(c)
		w.Raw(" USING utf8mb4) AS BINARY) = CAST(")
		w.name(c)
		w.Raw(" AS BINARY) AND ")
	case PostgreSQL: // has no other texts
	}
}

func (w *Writer) concat(parts ...func()) {
	between := " || "
	if w.dialect == MySQL { // where || is OR
		w.Raw("CONCAT(")
		between = ", "
	}
	for i, part := range parts {
		if i > 0 {
			w.Raw(between)
		}
		part()
	}
	if w.dialect == MySQL {
		w.Raw(")")
	}
}

// email is one @ behind the first character, and none behind that.
func (w *Writer) email(c *Column) {
	instr := "instr("
	if w.dialect == PostgreSQL {
		instr = "strpos("
	}
	domain := func() {
		w.call("substr(", c, ", ")
		w.call(instr, c, ", '@')")
	}
	w.Raw("CASE WHEN ")
	w.whole(c)
	w.call(instr, c, ", '@') > 1 AND ")
	w.Raw(instr)
	domain()
	w.Raw(" + 1), '@') = 0 THEN ")
	w.concat(
		func() { w.call("substr(", c, ", 1, 1)") },
		func() { w.Raw("'***'") },
		func() { domain(); w.Raw(")") },
	)
	w.Raw(" ELSE '***' END")
}

// dated is a date as ISO 8601 writes it, alone or before a time, and not one
// without a month, as MySQL has them. The end of a regular expression may be
// before a line break, so the length says it.
func (w *Writer) dated(c *Column) {
	matches, day, before := " ~ ", "'^[1-9][0-9]{3}-[0-9]{2}-[0-9]{2}'", "'^[1-9][0-9]{3}-[0-9]{2}-[0-9]{2}[T ][0-9]'"
	switch w.dialect {
	case SQLite:
		matches, day, before = " GLOB ", "'[1-9][0-9][0-9][0-9]-[0-9][0-9]-[0-9][0-9]'", "'[1-9][0-9][0-9][0-9]-[0-9][0-9]-[0-9][0-9][T ][0-9]*'"
	case MySQL:
		matches = " REGEXP "
	case PostgreSQL:
	}
	w.call("("+word(w, "char_length(", "length("), c, ") = 10 AND ")
	w.call("", c, matches+day+" OR ")
	w.call("", c, matches+before+") AND ")
	w.call("substr(", c, ", 6, 2) BETWEEN '01' AND '12' AND ")
	w.call("substr(", c, ", 9, 2) BETWEEN '01' AND '31'")
}

func (w *Writer) yearOfInstant(c *Column) {
	year := func() {
		if w.dialect == MySQL {
			w.Raw("YEAR(")
			w.name(c)
			w.Raw(")")
			return
		}
		w.Raw("extract(year FROM ")
		w.name(c)
		w.Raw(" AT TIME ZONE 'UTC')")
	}
	w.Raw("CASE WHEN ")
	year()
	w.Raw(" BETWEEN 1000 AND 9999 THEN ")
	if w.dialect == MySQL {
		w.Raw("CAST(")
		year()
		w.Raw(" AS CHAR)")
	} else {
		year()
		w.Raw("::integer::text")
	}
	w.Raw(" ELSE '****' END")
}
