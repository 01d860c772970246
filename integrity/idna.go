package integrity

import (
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/secure/bidirule"
	"golang.org/x/text/secure/precis"
	"golang.org/x/text/unicode/bidi"
	"golang.org/x/text/unicode/norm"
)

// The classes of RFC 8264 stand for the tables of IDNA 2008, which rest on the
// same properties: letters, marks and digits in names of hosts, joiners where
// a script needs them; and nothing invisible, unassigned or private elsewhere.
var (
	hostLetters = precis.NewIdentifier()
	mailLetters = precis.NewFreeform()
)

const (
	maxDomain = 253 // bytes, with A-labels
	maxLabel  = 63
	prefix    = "xn--" // of A-labels
)

// isDomain checks at least two labels, the last one not a number. Labels
// beyond ASCII are judged as IDNA 2008 has them, in any case and normal form.
func isDomain(s string) bool {
	if len(s) > 4*maxDomain {
		return false
	}
	rtl := !isASCII(s) && bidirule.DirectionString(s) == bidi.RightToLeft
	labels, size, last := 0, -1, ""
	for rest, more := s, true; more; labels++ {
		last, rest, more = strings.Cut(rest, ".")
		n := labelSize(last)
		if n < 1 || n > maxLabel || rtl && !bidirule.ValidString(last) {
			return false
		}
		size += n + 1
	}
	return labels >= 2 && size <= maxDomain && strings.ContainsFunc(last, func(r rune) bool { return !unicode.IsDigit(r) })
}

// labelSize is the number of bytes of a label in the DNS, 0 for none.
func labelSize(s string) int {
	if s == "" || len(s) > 4*maxLabel || s[0] == '-' || s[len(s)-1] == '-' {
		return 0
	}
	ascii := true
	for i := range len(s) {
		if s[i] < utf8.RuneSelf && !isHostByte(s[i]) {
			return 0
		}
		ascii = ascii && s[i] < utf8.RuneSelf
	}
	if ascii {
		if len(s) > 4 && strings.EqualFold(s[:4], prefix) && !isALabel(strings.ToLower(s[4:])) {
			return 0
		}
		return len(s)
	}
	u := norm.NFC.String(strings.ToLower(norm.NFC.String(s)))
	if !isULabel(u) {
		return 0
	}
	return len(prefix) + len(punycode(u))
}

func isALabel(code string) bool {
	u, ok := unpunycode(code)
	return ok && punycode(u) == code && !isASCII(u) && norm.NFC.IsNormalString(u) && strings.ToLower(u) == u && isULabel(u)
}

// isULabel checks a label beyond ASCII (RFC 5891, 4.2.3).
func isULabel(s string) bool {
	runes := []rune(s)
	if unicode.IsMark(runes[0]) || len(runes) > 3 && runes[2] == '-' && runes[3] == '-' {
		return false
	}
	_, err := hostLetters.String(s)
	return err == nil && (bidirule.DirectionString(s) == bidi.LeftToRight || bidirule.ValidString(s))
}

func isHostByte(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '-'
}

func isASCII(s string) bool {
	for i := range len(s) {
		if s[i] >= utf8.RuneSelf {
			return false
		}
	}
	return true
}
