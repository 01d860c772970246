package gormfield

import (
	"regexp"
	"slices"
	"strings"
)

// words hands on the words of SQL, folded: names, keywords and numbers, whatever
// quotes stand around them. What stands in literals and comments counts, too:
// to know them apart would be to know the dialect.
func words(sql string, yield func(word []byte) bool) {
	var buf [128]byte
	word := buf[:0]
	for i := 0; i <= len(sql); i++ {
		var c byte
		if i < len(sql) {
			c = sql[i]
		}
		switch {
		case c >= 'A' && c <= 'Z':
			word = append(word, c+'a'-'A')
			continue
		case c >= 'a' && c <= 'z', c >= '0' && c <= '9', c == '_', c == '$', c >= 0x80:
			word = append(word, c)
			continue
		}
		if len(word) > 0 && !yield(word) {
			return
		}
		word = word[:0]
	}
}

// tablesIn are the sealed tables that SQL names.
func (p *Plugin) tablesIn(sql string) []*sealedTable {
	var out []*sealedTable
	words(sql, func(word []byte) bool {
		if t := p.tables[string(word)]; t != nil && !contains(out, t) {
			out = append(out, t)
		}
		return true
	})
	return out
}

func contains(tables []*sealedTable, t *sealedTable) bool {
	return slices.Contains(tables, t)
}

// mention is the first sealed column that SQL names.
func mention(sql string, tables []*sealedTable) (t *sealedTable, column string) {
	words(sql, func(word []byte) bool {
		for _, each := range tables {
			if each.columns[string(word)] != nil {
				t, column = each, string(word)
				return false
			}
		}
		return true
	})
	return t, column
}

// hasWord reports whether SQL holds one of the words.
func hasWord(sql string, wanted ...string) bool {
	found := false
	words(sql, func(word []byte) bool {
		for _, w := range wanted {
			found = found || w == string(word)
		}
		return !found
	})
	return found
}

func firstWord(sql string) string {
	first := ""
	words(sql, func(word []byte) bool {
		first = string(word)
		return false
	})
	return first
}

const name = "[\"`\\[]?([A-Za-z_\\x{80}-\\x{10FFFF}][A-Za-z0-9_$\\x{80}-\\x{10FFFF}]*)[\"`\\]]?"

// plainItem is an entry of a select list that hands on a column as it is.
var plainItem = regexp.MustCompile(`^\s*(?:` + name + `\s*\.\s*)?(?:` + name + `|(\*))(?:\s+(?:[aA][sS]\s+)?` + name + `)?\s*$`)

// nullTest asks whether a column is NULL, as a condition by itself.
var nullTest = regexp.MustCompile(`(?i)(^|\(|\b(?:and|or|not|where)\b)\s*(?:` + name + `\s*\.\s*)?` + name + `\s+is\s+(?:not\s+)?null\b`)

// checkList looks at a select list or RETURNING: sealed columns of the table
// that is read stand there as they are, under their own names, so that what
// comes back is known by its name.
func checkList(list string, r *record, tables []*sealedTable) error {
	primary := r.primary
	for _, item := range splitItems(list) {
		m := plainItem.FindStringSubmatch(item)
		if m == nil {
			if t, column := mention(item, tables); t != nil {
				return t.fail(column, "in an expression", ErrSearch)
			}
			continue
		}
		qualifier, column, alias := bare(m[1]), bare(m[2]), bare(m[4])
		if m[3] != "" {
			for _, t := range tables {
				if t != primary && (qualifier == "" || primary == nil || qualifier != primary.name) {
					return t.fail("", "a * over a join: name the columns, or use Joins or Preload with the name of the relation", ErrRaw)
				}
			}
			continue
		}
		for _, t := range tables {
			switch {
			case t.columns[column] == nil:
			case strings.Contains(alias, "__") && bare(alias[strings.LastIndex(alias, "__")+2:]) == column: // of a relation
			case alias != "" && alias != column:
				return t.fail(column, "under another name", ErrRaw)
			case primary == nil && qualifier != "" && qualifier == r.base: // a plain column of the table itself
			case t != primary && (qualifier == "" || qualifier == t.name || primary == nil):
				return t.fail(column, "of a table that was joined: use Joins or Preload with the name of the relation", ErrRaw)
			}
		}
	}
	return nil
}

// splitItems splits at commas outside of parentheses.
func splitItems(list string) []string {
	var out []string
	depth, from := 0, 0
	for i := range len(list) {
		switch list[i] {
		case '(':
			depth++
		case ')':
			depth--
		case ',':
			if depth == 0 {
				out = append(out, list[from:i])
				from = i + 1
			}
		}
	}
	return append(out, list[from:])
}

// selectList splits a SELECT into what it lists and the rest; ok is false where
// it does not begin with SELECT.
func selectList(sql string) (list, rest string, ok bool) {
	head := strings.TrimSpace(sql)
	if len(head) < 7 || !strings.EqualFold(head[:6], "select") {
		return "", "", false
	}
	head = head[6:]
	if trimmed := strings.TrimSpace(head); len(trimmed) > 8 && strings.EqualFold(trimmed[:8], "distinct") {
		return "", head, true // every row holds other bytes: a sealed column is nothing to be distinct by
	}
	depth := 0
	for i := range len(head) {
		switch head[i] {
		case '(':
			depth++
		case ')':
			depth--
		case 'f', 'F':
			if depth == 0 && i+5 < len(head) && strings.EqualFold(head[i:i+4], "from") && isSpace(head[i+4]) && i > 0 && (isSpace(head[i-1]) || head[i-1] == '"' || head[i-1] == '`' || head[i-1] == '*') {
				return head[:i], head[i:], true
			}
		}
	}
	return head, "", true
}

func isSpace(c byte) bool { return c == ' ' || c == '\t' || c == '\n' || c == '\r' }
