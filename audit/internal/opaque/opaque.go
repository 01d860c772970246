// Package opaque says of an id whether it names somebody. What stands in the log in
// the clear stands there for ever, so an id must be one: not a name, not an address.
// Of these, what has a form of its own is found, however it is spelt. Words that are
// joined by dots have none (a login, a setting, a host), nor have digits alone; kinds
// of objects whose ids are persons' are declared instead.
package opaque

import (
	"strings"
	"unicode"
)

// Form says in which form an id says who somebody is, without showing it; "" is
// none.
func Form(id string) string {
	what := names(id)
	for range unspelt {
		plain := unspell(id)
		if what != "" || plain == id {
			break
		}
		if id, what = plain, names(plain); what != "" {
			what += ", spelt otherwise"
		}
	}
	return what
}

// names says in which form a text names somebody; "" is none.
func names(id string) string {
	switch {
	case strings.ContainsFunc(id, telling) || holdsAt(id):
		return "it holds white space, a character that is not seen, '@', '<' or '>'"
	case isPhone(id):
		return "it is a telephone number"
	case holdsIP(id):
		return "it holds an IP address"
	case joinedByPlus(id):
		return "it is a name, with '+' for white space"
	default:
		return ""
	}
}

// telling finds the characters that names and addresses have and ids do not,
// also in other widths, and those that cannot be seen.
func telling(r rune) bool {
	switch r {
	case '@', '<', '>', '\uff20', '\uff1c', '\uff1e', '\ufe6b', '\ufe64', '\ufe65':
		return true
	case '\u2800': // a letter that is blank
		return true
	}
	return unicode.IsSpace(r) || unicode.IsControl(r) ||
		unicode.In(r, unicode.Cf, unicode.Variation_Selector, unicode.Other_Default_Ignorable_Code_Point)
}
