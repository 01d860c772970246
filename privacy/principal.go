package privacy

import (
	"strings"
	"unicode"

	"golang.org/x/text/cases"
	"golang.org/x/text/unicode/norm"
)

// validPrincipal refuses the spellings that look like another principal.
func validPrincipal(by string) error {
	if err := validID("principal", by); err != nil {
		return err
	}
	hidden := func(r rune) bool {
		return r != ' ' && unicode.In(r, unicode.Cc, unicode.Cf, unicode.Z,
			unicode.Other_Default_Ignorable_Code_Point, unicode.Variation_Selector)
	}
	if strings.TrimSpace(by) != by || strings.ContainsFunc(by, hidden) {
		return ErrPrincipal
	}
	return nil
}

// samePrincipal reports whether two names are read as one: "Ann" is "ann", and so
// are both spellings of "é", wide letters, a ligature and its letters, one blank and
// two.
func samePrincipal(a, b string) bool { return strings.EqualFold(plainly(a), plainly(b)) }

func plainly(by string) string {
	by = norm.NFKC.String(strings.Join(strings.Fields(by), " "))
	return norm.NFKC.String(cases.Fold().String(by))
}
