package accesscontrol

import (
	"strconv"
	"strings"
	"time"

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
	text, shown := textOf(read)
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

// textOf is the text of a value, where it has one that every database has.
func textOf(read value.Value) (text string, is bool) {
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
	if text, is := textOf(read); is && dated(text) {
		return text[:4]
	}
	return maskedYear
}

// dated says whether a text is a date, or begins with one and a time. Which
// months have how many days is not looked at.
func dated(text string) bool {
	const form = "0000-00-00T0"
	if len(text) != len(time.DateOnly) && len(text) < len(form) {
		return false
	}
	for i := range min(len(text), len(form)) {
		c, fits := text[i], false
		switch form[i] {
		case '0':
			fits = '0' <= c && c <= '9'
		case 'T':
			fits = c == 'T' || c == ' '
		default:
			fits = c == '-'
		}
		if !fits {
			return false
		}
	}
	month, day := text[5:7], text[8:10]
	return text[0] != '0' && "01" <= month && month <= "12" && "01" <= day && day <= "31"
}
