package opaque

import (
	"html"
	"net/netip"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// The forms in which ids name somebody, and the spellings in which they come: a
// request's id may be a piece of an address line or of a form.

// unspelt is how often an id may be escaped over and over.
const unspelt = 4

// unspell takes one layer of another spelling from a text: escapes of URLs and of
// HTML, letters of other widths, digits of other scripts.
func unspell(id string) string {
	out := id
	if strings.Contains(out, "%") {
		out = unescapePercent(out)
	}
	if strings.Contains(out, "&") {
		out = html.UnescapeString(out)
	}
	if strings.ContainsFunc(out, func(r rune) bool { return r >= utf8.RuneSelf }) {
		out = strings.Map(narrow, out)
	}
	return out
}

// unescapePercent reads %XX, and leaves a '%' that escapes nothing.
func unescapePercent(id string) string {
	var b strings.Builder
	for i := 0; i < len(id); i++ {
		if id[i] == '%' && i+2 < len(id) {
			if c, err := url.PathUnescape(id[i : i+3]); err == nil {
				b.WriteString(c)
				i += 2
				continue
			}
		}
		b.WriteByte(id[i])
	}
	return b.String()
}

// narrow is the ASCII character that a wide, small or raised one stands for, and
// the digit of any script.
func narrow(r rune) rune {
	switch {
	case r >= '\uff01' && r <= '\uff5e':
		return r - '\uff01' + '!'
	case r == '\ufe62' || r == '\u207a':
		return '+'
	case r >= utf8.RuneSelf && unicode.IsDigit(r):
		return digitOf(r)
	default:
		return r
	}
}

// digitOf reads a digit: each script has its ten in a row.
func digitOf(r rune) rune {
	for _, in := range unicode.Nd.R16 {
		if rune(in.Lo) <= r && r <= rune(in.Hi) {
			return '0' + (r-rune(in.Lo))%10
		}
	}
	for _, in := range unicode.Nd.R32 {
		if rune(in.Lo) <= r && r <= rune(in.Hi) {
			return '0' + (r-rune(in.Lo))%10
		}
	}
	return r
}

var written = regexp.MustCompile(`(?i)[(\[{]at[)\]}]`)

// holdsAt finds an '@' that is written out.
func holdsAt(id string) bool {
	return strings.ContainsAny(id, "([{") && written.MatchString(id)
}

var (
	// After any scheme, with a '+' or an area in parentheses.
	phone = regexp.MustCompile(`^(?:[A-Za-z][A-Za-z0-9.-]*:/*)?(?:\+[0-9()]|\([0-9])[0-9()._/-]*(?:[;,?].*)?$`)
	// In another text, with a '+' that joins nothing, as in a version or a time zone.
	phoneIn = regexp.MustCompile(`(?:^|[^\p{L}\p{N}])\+[0-9()][0-9()._-]*`)
	// After a scheme of telephones, in any way.
	called = regexp.MustCompile(`^(?i:tel|sms|smsto|mms|callto|fax|phone|mobile|whatsapp|facetime|facetime-audio|sip|sips):/*[0-9+()][0-9()._/-]*(?:[;,?].*)?$`)
)

// isPhone finds a telephone number: six digits at least, and eight in another text,
// where base64 has fewer.
func isPhone(id string) bool {
	if !strings.ContainsAny(id, "+(:") {
		return false
	}
	for _, run := range phoneIn.FindAllString(id, -1) {
		if digitsIn(run) >= 8 {
			return true
		}
	}
	if !phone.MatchString(id) && !called.MatchString(id) {
		return false
	}
	number, _, _ := strings.Cut(id, ";")
	return digitsIn(number) >= 6
}

func digitsIn(text string) (n int) {
	for _, r := range text {
		if r >= '0' && r <= '9' {
			n++
		}
	}
	return n
}

var name = regexp.MustCompile(`^\p{Lu}\p{Ll}+(?:\+\p{Lu}\p{Ll}+)+$`)

// joinedByPlus finds a name as forms send it.
func joinedByPlus(id string) bool { return strings.Contains(id, "+") && name.MatchString(id) }

// holdsIP finds an IP address that stands apart from letters, with a port or a
// word before or behind it or none.
func holdsIP(id string) bool {
	if !strings.ContainsAny(id, ".:") {
		return false
	}
	return cutOut(id, isIPv4Rune, isIPv4) || cutOut(id, isIPv6Rune, isIPv6)
}

// cutOut asks about each run of characters of a kind that no letter touches.
func cutOut(id string, of func(r rune) bool, is func(run string) bool) bool {
	for i := 0; i < len(id); {
		begin := i
		for i < len(id) && of(rune(id[i])) {
			i++
		}
		if i == begin {
			i++
			continue
		}
		first, last := begin, i
		for first < last && (id[first] == '.' || id[first] == ':' && !strings.HasPrefix(id[first:last], "::")) {
			first++
		}
		for last > first && (id[last-1] == '.' || id[last-1] == ':' && !strings.HasSuffix(id[first:last], "::")) {
			last--
		}
		before, _ := utf8.DecodeLastRuneInString(id[:first])
		behind, _ := utf8.DecodeRuneInString(id[last:])
		if !unicode.IsLetter(before) && !unicode.IsLetter(behind) && is(id[first:last]) {
			return true
		}
	}
	return false
}

func isIPv4Rune(r rune) bool { return r >= '0' && r <= '9' || r == '.' }

func isIPv6Rune(r rune) bool {
	return isIPv4Rune(r) || r == ':' || r >= 'a' && r <= 'f' || r >= 'A' && r <= 'F'
}

// isIPv4 takes zeros in front, as logs pad them.
func isIPv4(run string) bool {
	n := 0
	for part := range strings.SplitSeq(run, ".") {
		v, err := strconv.ParseUint(part, 10, 16)
		if err != nil || v > 255 || len(part) > 3 {
			return false
		}
		n++
	}
	return n == 4
}

func isIPv6(run string) bool {
	if strings.Count(run, ":") < 2 {
		return false
	}
	_, err := netip.ParseAddr(run)
	return err == nil
}
