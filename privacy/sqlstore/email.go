package sqlstore

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"unicode"

	"github.com/crmguard/crmguard/internal/sqldb"
	"github.com/crmguard/crmguard/privacy/datamap"
)

// known asks that a column holds one of the identities: e-mail addresses without
// regard to case, for so they are delivered; others exactly. Accents and blanks
// count in both.
func (s *Store) known(c *condition, f field, kind string, values []string) {
	if kind != datamap.Email || f.kind == binary {
		s.among(c, f, values)
		return
	}
	lower, folded := field{column: column{kind: textual, cast: "text"}, name: "LOWER(" + f.shown() + ")", on: f.on}, make([]any, len(values))
	switch {
	case f.mysql(): // of a character set that lacks some of the letters, too
		lower.name = "LOWER(CONVERT(" + f.shown() + " USING utf8mb4))"
	case f.on == sqldb.Postgres: // as no language has it: Turkish makes ı of I; and REPLACE refuses a column without regard to case
		lower.name = "LOWER(" + f.shown() + ` COLLATE "C")`
	}
	if f.narrow {
		lower.name = escapedText(lower.name)
	}
	forms := map[rune]rune{} // of the letters of these values, other than A to Z, which every database knows
	for i, v := range values {
		text := strings.Map(func(r rune) rune { return canonical(r, forms) }, v)
		if folded[i] = text; f.narrow {
			folded[i] = escape(text)
		}
	}
	for _, form := range slices.Sorted(maps.Keys(forms)) {
		if f.narrow {
			lower.name = fmt.Sprintf("REPLACE(%s, E'%s', E'%s')", lower.name, escape(escape(string(form))), escape(escape(string(forms[form]))))
			continue
		}
		lower.name = fmt.Sprintf("REPLACE(%s, '%c', '%c')", lower.name, form, forms[form]) // letters: no quotes
	}
	c.add(lower.bytes()+" IN ("+marks(lower.byteMark(), len(folded))+")", folded...)
}

// canonical is the letter that stands for all cases of one, and notes in forms the
// others: SQLite, and PostgreSQL under C, know no other letters than A to Z.
func canonical(r rune, forms map[rune]rune) rune {
	if r < unicode.MaxASCII {
		return unicode.ToLower(r)
	}
	to := unicode.ToLower(unicode.ToUpper(r))
	for form := unicode.SimpleFold(r); ; form = unicode.SimpleFold(form) {
		if form != to {
			forms[form] = to
		}
		if form == r {
			return to
		}
	}
}
