package integrity

import (
	"net/netip"
	"strings"
	"unicode"
	"unicode/utf8"
)

const (
	maxLocal   = 64
	maxAddress = 254
)

// isEmail reports whether s is a mailbox as RFC 5321 writes it, extended by
// RFC 6531 to characters beyond ASCII: local part, "@", domain or address
// literal. Quoted local parts pass, because they are deliverable; comments,
// folding white space, display names and the obsolete forms of message headers
// do not. A domain without a dot and a numeric top-level domain do not either:
// nothing on the internet delivers to them.
func isEmail(s string) bool {
	at := strings.LastIndexByte(s, '@')
	if at < 1 || at > maxLocal || len(s) > maxAddress {
		return false
	}
	local, domain := s[:at], s[at+1:]
	if !isASCII(local) {
		if _, err := mailLetters.String(local); err != nil {
			return false
		}
	}
	if local[0] == '"' {
		if !isQuoted(local) {
			return false
		}
	} else if !isDotAtom(local) {
		return false
	}
	if strings.HasPrefix(domain, "[") {
		return isLiteral(domain)
	}
	return isDomain(domain)
}

// isDotAtom checks atoms separated by single dots.
func isDotAtom(s string) bool {
	dot := true // a dot may not stand here
	for _, r := range s {
		switch {
		case r == '.':
			if dot {
				return false
			}
			dot = true
			continue
		case !isAtomRune(r):
			return false
		}
		dot = false
	}
	return !dot
}

func isAtomRune(r rune) bool {
	if r < utf8.RuneSelf {
		return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.IndexByte("!#$%&'*+-/=?^_`{|}~", byte(r)) >= 0
	}
	return isWide(r)
}

// isWide accepts characters beyond ASCII that are no spaces; mailLetters has
// judged the rest.
func isWide(r rune) bool { return r != utf8.RuneError && !unicode.IsSpace(r) }

// isQuoted checks a quoted string of RFC 5321: printable ASCII or characters
// beyond it, with backslash pairs.
func isQuoted(s string) bool {
	if len(s) < 2 || s[len(s)-1] != '"' {
		return false
	}
	escaped := false
	for _, r := range s[1 : len(s)-1] {
		switch {
		case r < 0x20 || r == 0x7f || r >= utf8.RuneSelf && !isWide(r):
			return false
		case escaped:
			if r >= utf8.RuneSelf {
				return false
			}
			escaped = false
		case r == '\\':
			escaped = true
		case r == '"':
			return false
		}
	}
	return !escaped
}

// isLiteral checks [192.0.2.1] and [IPv6:2001:db8::1].
func isLiteral(s string) bool {
	if len(s) < 3 || s[len(s)-1] != ']' {
		return false
	}
	s = s[1 : len(s)-1]
	if len(s) > 5 && strings.EqualFold(s[:5], "IPv6:") {
		ip, err := netip.ParseAddr(s[5:])
		return err == nil && ip.Is6() && ip.Zone() == ""
	}
	ip, err := netip.ParseAddr(s)
	return err == nil && ip.Is4()
}
