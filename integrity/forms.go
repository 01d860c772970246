package integrity

import (
	"net/netip"
	"strconv"
	"strings"
	"unicode/utf8"

	"golang.org/x/text/language"
)

// isPhone accepts 3 to 15 digits (ITU E.164), an optional leading plus and
// the marks people write between them.
func isPhone(s string) bool {
	n, open := 0, 0
	for i := range len(s) {
		switch c := s[i]; {
		case c >= '0' && c <= '9':
			n++
		case c == '+' && i == 0:
		case c == '(':
			open++
		case c == ')' && open > 0:
			open--
		case c == ' ' || c == '-' || c == '.' || c == '/':
		default:
			return false
		}
	}
	return n >= 3 && n <= 15 && open == 0
}

// isCard accepts 12 to 19 digits, single spaces or hyphens between them, and
// a Luhn check digit.
func isCard(s string) bool {
	n, sum := 0, 0
	separated := true
	for i := len(s) - 1; i >= 0; i-- {
		c := s[i]
		if c == ' ' || c == '-' {
			if separated {
				return false
			}
			separated = true
			continue
		}
		if c < '0' || c > '9' {
			return false
		}
		d := int(c - '0')
		if n%2 == 1 {
			if d *= 2; d > 9 {
				d -= 9
			}
		}
		sum += d
		separated = false
		n++
	}
	return n >= 12 && n <= 19 && !separated && sum%10 == 0
}

// isURL accepts http and https with a host, without user name or password, and
// without spaces, controls or anything that cannot be seen.
func isURL(s string) bool {
	rest, ok := cutFold(s, "https://")
	if !ok {
		if rest, ok = cutFold(s, "http://"); !ok {
			return false
		}
	}
	if strings.ContainsFunc(rest, notInURL) {
		return false
	}
	host := rest
	if i := strings.IndexAny(rest, "/?#"); i >= 0 {
		host = rest[:i]
	}
	return isHost(host)
}

// notInURL holds for what would end or hide a part of an address; the joiners
// are letters of Persian and of the languages of India.
func notInURL(r rune) bool {
	if r < utf8.RuneSelf {
		return r <= ' ' || r == 0x7f || r == '\\' || r == '"' || r == '<' || r == '>'
	}
	return forbidden(r, false) || invisible(r) && r != '\u200c' && r != '\u200d'
}

func cutFold(s, prefix string) (string, bool) {
	if len(s) < len(prefix) || !strings.EqualFold(s[:len(prefix)], prefix) {
		return s, false
	}
	return s[len(prefix):], true
}

func isHost(host string) bool {
	if strings.HasPrefix(host, "[") {
		end := strings.IndexByte(host, ']')
		if end < 0 {
			return false
		}
		ip, err := netip.ParseAddr(host[1:end])
		return err == nil && ip.Is6() && ip.Zone() == "" && isPort(host[end+1:])
	}
	name, port := host, ""
	if i := strings.IndexByte(host, ':'); i >= 0 {
		name, port = host[:i], host[i:]
	}
	if !isPort(port) {
		return false
	}
	if isDomain(name) || strings.EqualFold(name, "localhost") {
		return true
	}
	ip, err := netip.ParseAddr(name)
	return err == nil && ip.Is4()
}

// isPort accepts nothing, or a colon and 1 to 65535.
func isPort(s string) bool {
	if s == "" {
		return true
	}
	n, err := strconv.ParseUint(s[1:], 10, 16)
	return s[0] == ':' && err == nil && n > 0
}

var (
	countries = isoCountries()
	bases     = isoLanguages()
)

// notAssigned are codes that the region tables hold beyond ISO 3166-1:
// withdrawn and exceptionally reserved ones.
const notAssigned = "AC AN CP CQ CS DG EA EZ FQ IC NT PC SU TA UN YU"

// isoCountries is the set of assigned ISO 3166 alpha-2 codes, and XK, which
// stands for Kosovo everywhere though it is only user-assigned.
func isoCountries() (set [26 * 26]bool) {
	for i := range set {
		code := string([]byte{byte('A' + i/26), byte('A' + i%26)})
		region, err := language.ParseRegion(code)
		set[i] = err == nil && region.IsCountry() && region.String() == code && region.Canonicalize() == region && !strings.Contains(notAssigned, code)
	}
	return set
}

// isoLanguages is the set of two-letter base languages.
func isoLanguages() (set [26 * 26]bool) {
	for i := range set {
		base, err := language.ParseBase(string([]byte{byte('a' + i/26), byte('a' + i%26)}))
		set[i] = err == nil && base.ISO3() != ""
	}
	return set
}

func isCountry(s string) bool {
	if len(s) != 2 || s[0] < 'A' || s[0] > 'Z' || s[1] < 'A' || s[1] > 'Z' {
		return false
	}
	return countries[int(s[0]-'A')*26+int(s[1]-'A')]
}

// isLanguage accepts a BCP 47 tag whose parts are registered. The common forms
// de and de-CH are looked up without an allocation.
func isLanguage(s string) bool {
	if len(s) > 64 || strings.IndexByte(s, '_') >= 0 {
		return false
	}
	if (len(s) == 2 || len(s) == 5 && s[2] == '-' && isCountry(s[3:])) && s[0] >= 'a' && s[0] <= 'z' && s[1] >= 'a' && s[1] <= 'z' {
		return bases[int(s[0]-'a')*26+int(s[1]-'a')]
	}
	_, err := language.Parse(s)
	return err == nil
}
