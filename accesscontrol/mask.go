package accesscontrol

import (
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/crmguard/crmguard/accesscontrol/internal/cedarx"
	"github.com/crmguard/crmguard/accesscontrol/internal/sqlcond"
	"github.com/crmguard/crmguard/internal/value"
)

// Mask is what is shown of a field to whoever may know that it is there, and
// not read it. [Mask.Apply] and the SQL of [Columns] give the same text for the
// same value. The empty one shows nothing: the field is hidden.
//
// Blanks at either end of a text do not count, characters are code points of
// Unicode, and a text that holds NUL or is not UTF-8 shows nothing of itself.
type Mask string

// The masks.
const (
	// MaskEmail is the first character and the domain: a***@example.com. A text
	// that is not one @ with something before it is ***.
	MaskEmail Mask = "email"
	// MaskYear is the year, 1000 to 9999, of a time, in UTC, or of a text that
	// begins with a date as ISO 8601 writes it, 1987-05-03 or 1987-05-03 10:00.
	// Anything else is ****.
	MaskYear Mask = "year"
	// MaskLast4 is the last four characters, of eight or more: ***1234.
	// Anything else is ***.
	MaskLast4 Mask = "last4"
	// MaskAll says that there is a value: ***.
	MaskAll Mask = "all"
)

// What is shown where nothing of a value is.
const (
	masked     = "***"
	maskedYear = "****"
)

// Apply is a value under the mask: a string, or nil for NULL, whatever that is
// spelled with. A value that cannot be read is *** or ****, and no error.
func (m Mask) Apply(v any) any {
	read, err := value.Of(v)
	if err == nil && read.IsNull() {
		return nil
	}
	if m == MaskYear {
		return yearOf(read)
	}
	text, shown := maskable(read)
	switch {
	case !shown: // an error leaves the zero value, which is none
	case m == MaskEmail:
		if at := strings.IndexByte(text, '@'); at > 0 && strings.Count(text, "@") == 1 {
			return firstRunes(text, 1) + masked + text[at:]
		}
	case m == MaskLast4:
		if all := []rune(text); len(all) >= 8 {
			return masked + string(all[len(all)-4:])
		}
	}
	return masked
}

// maskable is the text of a value, where it has one that every database has.
func maskable(read value.Value) (text string, is bool) {
	switch read.Kind() {
	case value.Text, value.Bytes, value.UUID:
		s, err := read.Text()
		return strings.Trim(s, " "), err == nil && !strings.ContainsRune(s, 0)
	case value.Integer, value.Unsigned:
		s, err := read.ID()
		return s, err == nil
	default:
		return "", false
	}
}

func firstRunes(text string, n int) string {
	for i := range text {
		if n--; n < 0 {
			return text[:i]
		}
	}
	return text
}

func yearOf(read value.Value) string {
	if at, isTime := read.Any().(time.Time); isTime {
		if year := at.UTC().Year(); year >= 1000 && year <= 9999 {
			return strconv.Itoa(year)
		}
		return maskedYear
	}
	if text, is := maskable(read); is && dated(text) {
		return text[:4]
	}
	return maskedYear
}

// dated says whether a text is a date, or begins with one and a time.
func dated(text string) bool {
	const form = "1000-00-00T0"
	if len(text) != len(time.DateOnly) && len(text) < len(form) {
		return false
	}
	for i := range min(len(text), len(form)) {
		switch c := text[i]; {
		case form[i] == '-' && c == '-', form[i] == 'T' && (c == 'T' || c == ' '):
		case form[i] <= '1' && form[i] <= c && c <= '9' && form[i] != '-':
		default:
			return false
		}
	}
	return true
}

// sqlMasks are the masks as SQL writes them.
var sqlMasks = map[Mask]sqlcond.Mask{MaskEmail: sqlcond.MaskEmail, MaskYear: sqlcond.MaskYear, MaskLast4: sqlcond.MaskLast4, MaskAll: sqlcond.MaskAll}

// masks looks at the masks of a table, when its groups are known.
func (b *binder) masks(t *table) {
	for _, source := range t.Columns {
		c := t.columns[source.Attr]
		if c.mask == "" {
			continue
		}
		_, known := sqlMasks[c.mask]
		switch {
		case !known:
			b.problem("table %s: the mask of %s is no %q: it is MaskEmail, MaskYear, MaskLast4 or MaskAll", t.Resource, c.attr, string(c.mask))
		case len(t.fields[c.attr]) == 0:
			b.problem("table %s: attribute %s has a mask and stands in no group: whoever reads the record would read it", t.Resource, c.attr)
		case !c.suits():
			b.problem("table %s: attribute %s has a type of which the mask %s shows nothing: use MaskAll", t.Resource, c.attr, string(c.mask))
		}
	}
	for _, g := range t.Groups {
		if g.Masked != "" && !slices.ContainsFunc(g.Fields, func(f string) bool { return t.columns[f].mask != "" }) {
			b.problem("table %s: group %s names the action %s for masks, and none of its columns has one", t.Resource, g.Name, g.Masked)
		}
	}
}

// suits says whether a mask may show something of the column's values.
func (col *column) suits() bool {
	switch kind := col.typ.Kind; {
	case col.mask == MaskAll, kind == 0, kind == cedarx.String:
		return true
	case col.mask == MaskLast4:
		return kind == cedarx.Long
	case col.mask == MaskYear:
		return col.Storage == sqlcond.Instant
	default:
		return false
	}
}
