package sqldb

import "strings"

// A token is a stretch of SQL text that is either code or something that code
// is never inside of: a string, a quoted name, a comment.
type token struct {
	text string
	code bool
}

// tokens cuts SQL text so that placeholders and the ends of statements can be
// found where they are meant. What is not closed reaches to the end of the
// text, where the database will refuse it.
func (d Dialect) tokens(text string) []token {
	var out []token
	start := 0 // of the code not yet given out
	for i := 0; i < len(text); {
		end := d.opaque(text, i)
		if end == i {
			i++
			continue
		}
		if start < i {
			out = append(out, token{text[start:i], true})
		}
		out = append(out, token{text[i:end], false})
		i, start = end, end
	}
	if start < len(text) {
		out = append(out, token{text[start:], true})
	}
	return out
}

// opaque returns where the string, quoted name or comment that begins at i
// ends, or i.
func (d Dialect) opaque(text string, i int) int {
	rest := text[i:]
	switch {
	case strings.HasPrefix(rest, "--"), d.mysql() && rest[0] == '#':
		return i + lineEnd(rest)
	case strings.HasPrefix(rest, "/*"):
		return i + d.commentEnd(rest)
	case rest[0] == '\'':
		return i + quoteEnd(rest, d.mysql() || d.Kind == Postgres && escapes(text, i))
	case rest[0] == '"':
		return i + quoteEnd(rest, d.mysql())
	case rest[0] == '`' && d.Kind != Postgres:
		return i + quoteEnd(rest, false)
	case rest[0] == '[' && d.Kind == SQLite:
		return i + endAfter(rest, 1, "]")
	case rest[0] == '$' && d.Kind == Postgres && (i == 0 || !isNamePart(text[i-1])):
		return i + dollarEnd(rest)
	}
	return i
}

func lineEnd(s string) int {
	if i := strings.IndexByte(s, '\n'); i >= 0 {
		return i
	}
	return len(s)
}

func endAfter(s string, from int, end string) int {
	if i := strings.Index(s[from:], end); i >= 0 {
		return from + i + len(end)
	}
	return len(s)
}

// commentEnd knows that PostgreSQL's comments nest.
func (d Dialect) commentEnd(s string) int {
	if d.Kind != Postgres {
		return endAfter(s, 2, "*/")
	}
	depth := 0
	for i := 0; i < len(s); {
		switch {
		case strings.HasPrefix(s[i:], "/*"):
			depth++
			i += 2
		case strings.HasPrefix(s[i:], "*/"):
			depth--
			i += 2
			if depth == 0 {
				return i
			}
		default:
			i++
		}
	}
	return len(s)
}

// quoteEnd finds the closing quote. A doubled quote is one inside; a backslash
// escapes where the database says so.
func quoteEnd(s string, backslash bool) int {
	quote := s[0]
	for i := 1; i < len(s); i++ {
		switch {
		case backslash && s[i] == '\\':
			i++
		case s[i] != quote:
		case i+1 < len(s) && s[i+1] == quote:
			i++
		default:
			return i + 1
		}
	}
	return len(s)
}

// escapes says that PostgreSQL's string at i is written E'…'.
func escapes(text string, i int) bool {
	return i > 0 && (text[i-1] == 'E' || text[i-1] == 'e') && (i == 1 || !isNamePart(text[i-2]))
}

// dollarEnd is the end of $tag$…$tag$, or 0 where the dollar begins something
// else.
func dollarEnd(s string) int {
	for i := 1; i < len(s); i++ {
		switch {
		case s[i] == '$':
			return endAfter(s, i+1, s[:i+1])
		case !isNamePart(s[i]), i == 1 && s[i] >= '0' && s[i] <= '9':
			return 0
		}
	}
	return 0
}

func isNamePart(c byte) bool {
	return c == '_' || c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= 0x80
}

// Bind writes the placeholders of a statement, each a ?, as the database wants
// them. A ? in a string, a quoted name or a comment stays what it is. The
// operators of PostgreSQL that have one are written with two, as in its JDBC
// driver: ??, ??|, ??&, @??.
func (d Dialect) Bind(query string) string {
	if d.Kind != Postgres {
		return query
	}
	var out strings.Builder
	out.Grow(len(query) + 16)
	n := 0
	for _, t := range d.tokens(query) {
		for i := 0; i < len(t.text); i++ {
			switch c := t.text[i]; {
			case c != '?' || !t.code:
				out.WriteByte(c)
			case strings.HasPrefix(t.text[i:], "??"):
				out.WriteByte(c)
				i++
			default:
				n++
				out.WriteString(Mark(n))
			}
		}
	}
	return out.String()
}

// statements cuts the text of a migration at the semicolons of its code. What
// holds nothing but comments and blanks is left out.
func (d Dialect) statements(text string) []string {
	var out []string
	var one strings.Builder
	code := false
	end := func() {
		if code {
			out = append(out, strings.TrimSpace(one.String()))
		}
		one.Reset()
		code = false
	}
	for _, t := range d.tokens(text) {
		if !t.code {
			one.WriteString(t.text)
			continue
		}
		for i, part := range strings.Split(t.text, ";") {
			if i > 0 {
				end()
			}
			one.WriteString(part)
			code = code || strings.TrimSpace(part) != ""
		}
	}
	end()
	return out
}
