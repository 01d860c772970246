package adoption

import (
	"regexp"
	"strings"
)

// SQLite keeps the statement that made a table as it was written, and says of CHECK
// and GENERATED no more than that. What stands in their parentheses is found there, and
// read by the database itself. What MariaDB and MySQL show is read by sqldb.

// clause is what stands in parentheses behind a keyword.
type clause struct {
	name string // of the CONSTRAINT; "" where it has none
	text string
}

// clauses finds what stands in parentheses behind a keyword, outside of quotes and
// comments.
func clauses(text, keyword string) (out []clause) {
	named := regexp.MustCompile(`(?i)\bconstraint\s+(?:"((?:[^"]|"")+)"|` + "`((?:[^`]|``)+)`" + `|\[([^\]]+)\]|([\w$]+))\s*$`)
	for i := 0; i < len(text); {
		if end := beyond(text, i); end > i {
			i = end
			continue
		}
		if !wordByte(text[i]) {
			i++
			continue
		}
		begin := i
		for i < len(text) && wordByte(text[i]) {
			i++
		}
		open := afterBlanks(text, i)
		if !strings.EqualFold(text[begin:i], keyword) || open >= len(text) || text[open] != '(' {
			continue
		}
		one := clause{text: text[open+1 : closing(text, open)]}
		if match := named.FindStringSubmatch(text[:begin]); match != nil {
			one.name = strings.ReplaceAll(match[1], `""`, `"`) + strings.ReplaceAll(match[2], "``", "`") + match[3] + match[4] // one of them
		}
		out = append(out, one)
		i = open + 1
	}
	return out
}

// afterBlanks is behind the blanks and comments that begin here, or here.
func afterBlanks(text string, i int) int {
	for {
		i += len(text[i:]) - len(strings.TrimLeft(text[i:], " \t\r\n\f"))
		if !strings.HasPrefix(text[i:], "--") && !strings.HasPrefix(text[i:], "/*") {
			return i
		}
		i = beyond(text, i)
	}
}

func wordByte(b byte) bool {
	return b == '_' || b == '$' || b >= '0' && b <= '9' || b >= 'a' && b <= 'z' || b >= 'A' && b <= 'Z' || b >= 0x80
}

// closing is where the parenthesis that opens here is closed, or the end.
func closing(text string, open int) int {
	depth := 0
	for i := open; i < len(text); {
		if end := beyond(text, i); end > i {
			i = end
			continue
		}
		switch text[i] {
		case '(':
			depth++
		case ')':
			if depth--; depth == 0 {
				return i
			}
		}
		i++
	}
	return len(text)
}

// beyond is behind the quotes or the comment that begin here, or here. A doubled
// quote is the end of one and the beginning of another.
func beyond(text string, i int) int {
	for open, end := range map[string]string{"'": "'", `"`: `"`, "`": "`", "[": "]", "--": "\n", "/*": "*/"} {
		if !strings.HasPrefix(text[i:], open) {
			continue
		}
		for at := i + len(open); at < len(text); at++ {
			if strings.HasPrefix(text[at:], end) {
				return at + len(end)
			}
		}
		return len(text)
	}
	return i
}
