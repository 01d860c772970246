// Package normalise holds the library's own rules that turn a value into what a
// blind index is computed from: two spellings that a rule makes one are found by
// each other.
//
// A rule is frozen with its name: what was indexed by it is searched by it for
// ever. No rule depends on the tables of Unicode that a compiler brings along:
// where it needs them, it leaves alone what Unicode 15.0 does not know, because
// what that knows never changes in what the rules ask for (normalisation, case
// folding, values of digits). A change of any kind is a new name.
package normalise

import (
	"strconv"
	"strings"
)

// The names of the rules.
const (
	Exact  = "exact/1"        // the bytes as they are
	Email1 = "email/1"        // blanks at the ends, NFC, A to Z
	Email2 = "email/2"        // whatever looks the same: see Rule
	Domain = "email-domain/1" // what stands behind the last @ of Email2
)

// The digits that a rule of the last ones may keep: one of them finds a tenth of
// the rows, and no telephone number has more than fifteen.
const (
	fewest = 2
	most   = 15
)

// LastDigits is the name of the rule that keeps the last n digits.
func LastDigits(n int) string { return "last" + strconv.Itoa(n) + "/1" }

// Rule returns the rule of that name, nil where there is none. All of them give
// the same when they are applied again, except that the last digits of what has
// been cut are that.
//
//   - exact/1: the bytes.
//   - email/1: without space, tab, CR and LF at the ends; NFC; A to Z become small;
//     NFC again, because a small letter may compose where the capital does not. A
//     value that is no UTF-8, or has a character that Unicode 15.0 does not know,
//     is treated so but for NFC.
//   - email/2: without control characters and what is invisible by Unicode's own
//     list (Default_Ignorable_Code_Point: zero-width blanks, joiners, soft
//     hyphens, marks of direction, a byte-order mark), anywhere; without white
//     space of any script at the ends; NFKC; full case folding; behind the last @
//     an ideographic full stop is a point, and points at the end go. All that
//     until nothing changes. A value as above is treated so but for NFKC and case,
//     of which only A to Z become small.
//   - email-domain/1: what stands behind the last @ of email/2; the whole of it,
//     without points at the end, where there is none, so that one may search by
//     the domain alone.
//   - last<n>/1, n from 2 to 15: the last n decimal digits of any script, as 0 to
//     9; nothing where there are fewer.
func Rule(name string) func(value string) string {
	switch name {
	case Exact:
		return func(value string) string { return value }
	case Email1:
		return email1
	case Email2:
		return email2
	case Domain:
		return domain
	}
	for n := fewest; n <= most; n++ {
		if name == LastDigits(n) {
			return func(value string) string { return lastDigits(value, n) }
		}
	}
	return nil
}

// Own says whether a name is one that the library keeps for its own rules, of
// today or of later: those without a point before the version.
func Own(name string) bool {
	family, _, _ := strings.Cut(name, "/")
	return !strings.Contains(family, ".")
}
