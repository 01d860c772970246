package sqldb

import (
	"context"
	"fmt"
	"strings"
)

// A Part is one of the parts that the statement has which would make a table, as
// MariaDB and MySQL show it (SHOW CREATE TABLE): to who may read the table it tells
// more than their catalogue does.
type Part struct {
	Text string   // the whole, without the comma behind it: what ALTER TABLE takes behind ADD or MODIFY
	Kind PartKind // of what
	Name string   // of the column or the constraint, without quotes; "" where it has none
	In   string   // what stands in its parentheses: the condition of a CHECK, also of a column's own, the columns of a key
	Bare string   // of a column: Text without its CHECK
	Rest string   // what stands behind the last parentheses: the rules of a foreign key
	Idle bool     // a CHECK that is NOT ENFORCED
}

// A PartKind says what a part of a table is.
type PartKind string

// The parts that are told apart. What is none of these has no kind: other indexes,
// periods.
const (
	ColumnPart     PartKind = "column"
	CheckPart      PartKind = "CHECK"
	ForeignKeyPart PartKind = "FOREIGN KEY"
	PrimaryKeyPart PartKind = "PRIMARY KEY"
)

// Parts asks MariaDB or MySQL for the parts of a table, whose name is quoted. They are
// written for sessions like the one that asks: what is shown has a backslash before
// quotes in texts also where the session's sql_mode does not know it.
func (d Dialect) Parts(ctx context.Context, q Querier, table string) ([]Part, error) {
	var name, text string
	if err := One(ctx, q, []any{&name, &text}, `SHOW CREATE TABLE `+table); err != nil {
		return nil, fmt.Errorf("sqldb: parts of a table: %w", Safe(err))
	}
	plain := false
	if err := One(ctx, q, []any{&plain}, `SELECT FIND_IN_SET('NO_BACKSLASH_ESCAPES', @@sql_mode) > 0`); err != nil {
		return nil, fmt.Errorf("sqldb: parts of a table: %w", Safe(err))
	}
	parts := partsOf(text)
	for i, p := range parts {
		if plain {
			parts[i].Text, parts[i].In, parts[i].Bare = unescaped(p.Text), unescaped(p.In), unescaped(p.Bare)
		}
	}
	return parts, nil
}

// unescaped writes the texts in SQL without backslashes that mean something.
func unescaped(text string) string {
	var out strings.Builder
	for i := 0; i < len(text); {
		end := max(i+1, shownEnd(text, i))
		one := text[i:end]
		if one[0] == '\'' {
			one = strings.NewReplacer(`\\`, `\`, `\'`, `''`, `\n`, "\n", `\r`, "\r", `\0`, "\x00", `\Z`, "\x1a").Replace(one)
		}
		out.WriteString(one)
		i = end
	}
	return out.String()
}

// partsOf cuts the statement at the commas that are in no parentheses but the table's.
func partsOf(text string) (out []Part) {
	open := 0
	for open < len(text) && text[open] != '(' {
		open = max(open+1, shownEnd(text, open))
	}
	depth, begin := 0, open+1
	for i := open; i < len(text); {
		if end := shownEnd(text, i); end > i {
			i = end
			continue
		}
		switch text[i] {
		case '(':
			depth++
		case ')':
			if depth--; depth == 0 {
				return append(out, partOf(strings.TrimSpace(text[begin:i])))
			}
		case ',':
			if depth == 1 {
				out, begin = append(out, partOf(strings.TrimSpace(text[begin:i]))), i+1
			}
		}
		i++
	}
	return out
}

// shownEnd is behind the text, the quoted name or the comment that begins here, or
// here. What is shown has texts in single quotes under every sql_mode, with a backslash
// before what a quote would end, names in either of two quotes, and of comments only
// those for newer versions: -- are two signs.
func shownEnd(text string, i int) int {
	switch rest := text[i:]; {
	case rest[0] == '\'':
		return i + quoteEnd(rest, true)
	case rest[0] == '`' || rest[0] == '"':
		return i + quoteEnd(rest, false)
	case strings.HasPrefix(rest, "/*"):
		return i + endAfter(rest, 2, "*/")
	}
	return i
}

// partOf reads one part.
func partOf(text string) Part {
	p := Part{Text: text}
	word, quoted, at := shownWord(text, 0)
	if quoted {
		p.Kind, p.Name = ColumnPart, word
		p.checked(at)
		return p
	}
	// A name without quotes is no word that means something.
	switch word {
	case "PRIMARY":
		p.Kind = PrimaryKeyPart
	case "CONSTRAINT":
		p.Name, _, at = shownWord(text, at)
		word, _, at = shownWord(text, at)
		fallthrough
	case "CHECK", "FOREIGN":
		p.Kind = map[string]PartKind{"CHECK": CheckPart, "FOREIGN": ForeignKeyPart, "PRIMARY": PrimaryKeyPart}[word]
	case "UNIQUE", "KEY", "INDEX", "FULLTEXT", "SPATIAL", "VECTOR", "PERIOD":
		return p
	default:
		p.Kind, p.Name = ColumnPart, word
		p.checked(at)
		return p
	}
	var end int
	p.In, end = shownIn(text, at)
	if p.Rest = text[end:]; p.Kind == ForeignKeyPart {
		_, end = shownIn(text, end)
		p.Rest = text[end:]
	}
	p.Idle = p.Kind == CheckPart && strings.Contains(p.Rest, "NOT ENFORCED")
	return p
}

// checked finds the CHECK of a column behind its name.
func (p *Part) checked(at int) {
	for depth := 0; at < len(p.Text); {
		if end := shownEnd(p.Text, at); end > at {
			at = end
			continue
		}
		switch c := p.Text[at]; {
		case c == '(':
			depth++
		case c == ')':
			depth--
		case depth == 0 && isNamePart(c):
			word, _, end := shownWord(p.Text, at)
			if word != "CHECK" {
				at = end
				continue
			}
			p.In, end = shownIn(p.Text, end)
			p.Bare, p.Rest = strings.TrimSpace(p.Text[:at])+p.Text[end:], p.Text[end:]
			return
		}
		at++
	}
	p.Bare = p.Text
}

// shownWord is the next word or name, whether it is quoted, and what is behind it.
func shownWord(text string, at int) (word string, quoted bool, end int) {
	for at < len(text) && (text[at] == ' ' || text[at] == '\n') {
		at++
	}
	if at < len(text) && (text[at] == '`' || text[at] == '"') {
		quote := text[at : at+1]
		end = at + quoteEnd(text[at:], false)
		return strings.ReplaceAll(strings.TrimSuffix(text[at+1:end], quote), quote+quote, quote), true, end
	}
	for end = at; end < len(text) && (isNamePart(text[end]) || text[end] == '$'); end++ {
	}
	return text[at:end], false, end
}

// shownIn is what stands in the next parentheses, and what is behind them.
func shownIn(text string, at int) (in string, end int) {
	open := at
	for open < len(text) && text[open] != '(' {
		open = max(open+1, shownEnd(text, open))
	}
	depth := 0
	for i := open; i < len(text); {
		if end := shownEnd(text, i); end > i {
			i = end
			continue
		}
		switch text[i] {
		case '(':
			depth++
		case ')':
			if depth--; depth == 0 {
				return text[open+1 : i], i + 1
			}
		}
		i++
	}
	return "", len(text)
}
