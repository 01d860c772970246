package audit

import (
	"strings"
	"unicode"

	"github.com/crmguard/crmguard/internal/ids"
)

// What stands in the log in the clear stands there for ever, so an id must be
// one: not a name, not an address. Of these, what has a form of its own is
// refused. Words that are joined by dots have none (a login, a setting, a host),
// nor have digits alone; kinds of objects whose ids are persons' are declared
// instead (Config.PersonKinds).

// checkOpaque refuses an id that says who somebody is. The error does not show
// it.
func checkOpaque(field, id string) error {
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
	if what == "" {
		return nil
	}
	return invalid("%s is an opaque id, never a name or an address: it stays in the log for ever; %s", field, what)
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

// checkTenant is the rule for the tenant of whatever enters the log.
func checkTenant(field, tenant string) error {
	if err := ids.Check(field, tenant); err != nil {
		return invalid("%w", err)
	}
	return checkOpaque(field, tenant)
}

// checkRequest is the rule for the id of a request, which may be missing.
func checkRequest(field, id string) error {
	if id == "" {
		return nil
	}
	if err := ids.Check(field, id); err != nil {
		return invalid("%w", err)
	}
	return checkOpaque(field, id)
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
