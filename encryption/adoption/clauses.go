package adoption

import (
	"regexp"
	"strings"
)

// SQLite keeps the statement that made a table and says of CHECK and GENERATED no
// more than that; MariaDB shows CHECKs to who may read a table only in the statement
// that would make it. What stands in their parentheses is found there, and read by the
// database itself.

// clause is what stands in parentheses behind a keyword.
type clause struct {
	name string // of the CONSTRAINT; "" where it has none
	text string
}

// clauses finds what stands in parentheses behind a keyword, outside of quotes and
// comments.
func clauses(text, keyword string) (out []clause) {
	return clausesIn(text, keyword, "")
}

// clausesIn is clauses of a database in whose texts a character takes the meaning from
// the next one; "" is none.
func clausesIn(text, keyword, escape string) (out []clause) {
	named := regexp.MustCompile(`(?i)\bconstraint\s+(?:` + quotedName + `|\[([^\]]+)\]|([\w$]+))\s*$`)
	for i := 0; i < len(text); {
		if end := beyond(text, i, escape); end > i {
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
		open := i + len(text[i:]) - len(strings.TrimLeft(text[i:], " \t\r\n"))
		if !strings.EqualFold(text[begin:i], keyword) || open >= len(text) || text[open] != '(' {
			continue
		}
		one := clause{text: text[open+1 : closing(text, open, escape)]}
		if match := named.FindStringSubmatch(text[:begin]); match != nil {
			one.name = unquoted(match[1], match[2]) + match[3] + match[4] // one of them
		}
		out = append(out, one)
		i = open + 1
	}
	return out
}

func wordByte(b byte) bool {
	return b == '_' || b == '$' || b >= '0' && b <= '9' || b >= 'a' && b <= 'z' || b >= 'A' && b <= 'Z' || b >= 0x80
}

// closing is where the parenthesis that opens here is closed, or the end.
func closing(text string, open int, escape string) int {
	depth := 0
	for i := open; i < len(text); {
		if end := beyond(text, i, escape); end > i {
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
func beyond(text string, i int, escape string) int {
	for open, end := range map[string]string{"'": "'", `"`: `"`, "`": "`", "[": "]", "--": "\n", "/*": "*/"} {
		if !strings.HasPrefix(text[i:], open) {
			continue
		}
		for at := i + len(open); at < len(text); at++ {
			if escape != "" && open == "'" && strings.HasPrefix(text[at:], escape) {
				at++
			} else if strings.HasPrefix(text[at:], end) {
				return at + len(end)
			}
		}
		return len(text)
	}
	return i
}
