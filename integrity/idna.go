package integrity

import (
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/net/idna"
	"golang.org/x/text/secure/precis"
	"golang.org/x/text/unicode/norm"
)

// The strict profile of IDNA 2008 judges names of hosts, but lets symbols pass
// and does not ask where a middle dot stands. The classes of RFC 8264 rest on
// the same properties and do. Hyphens are looked at here: the profiles refuse
// r3---sn.example, which is in common use.
var (
	registered  = idna.New(idna.ValidateForRegistration(), idna.CheckHyphens(false))
	lookedUp    = idna.New(idna.MapForLookup(), idna.BidiRule(), idna.CheckHyphens(false))
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
	if !isASCII(s) || strings.Contains(strings.ToLower(s), prefix) {
		ascii, ok := inASCII(s)
		if !ok {
			return false
		}
		var err error
		if s, err = registered.ToUnicode(ascii); err != nil {
			return false
		}
	} else if len(s) > maxDomain {
		return false
	}
	labels, last := 0, ""
	for rest, more := s, true; more; labels++ {
		last, rest, more = strings.Cut(rest, ".")
		if !isLabel(last) {
			return false
		}
	}
	return labels >= 2 && strings.ContainsFunc(last, func(r rune) bool { return !unicode.IsDigit(r) })
}

// inASCII writes a name in A-labels. It takes no name that software looks up as
// another one than its small letters are registered as, such as one with full
// width, an ideographic dot, a soft hyphen or one of the capitals ẞ and İ.
func inASCII(s string) (ascii string, ok bool) {
	ascii, err := registered.ToASCII(smallLetters(s))
	if err != nil {
		return "", false
	}
	mapped, err := lookedUp.ToASCII(s)
	return ascii, err == nil && mapped == ascii
}

// isLabel checks a label of ASCII, and of others what the profile left open.
func isLabel(s string) bool {
	if s == "" || s[0] == '-' || s[len(s)-1] == '-' {
		return false
	}
	if isASCII(s) {
		return len(s) <= maxLabel && !strings.ContainsFunc(s, func(r rune) bool { return !isHostByte(byte(r)) })
	}
	if runes := []rune(s); len(runes) > 3 && runes[2] == '-' && runes[3] == '-' {
		return false
	}
	_, err := hostLetters.String(s)
	return err == nil
}

// smallLetters is the form in which a name is registered: small letters, in
// normal form C. Cherokee is registered in its capitals, the older letters.
func smallLetters(s string) string {
	return norm.NFC.String(strings.Map(func(r rune) rune {
		if unicode.Is(unicode.Cherokee, r) {
			return unicode.ToUpper(r)
		}
		return unicode.ToLower(r)
	}, s))
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
