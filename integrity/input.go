package integrity

import (
	"encoding/json"
	"strconv"
	"strings"
	"time"
	"unicode"

	"golang.org/x/text/width"

	"github.com/crmguard/crmguard/internal/value"
)

// read makes of the text of a file what a form would send for the field; other
// values stay as they are. Rules and conversion are then the same for both.
func (p *plan) read(v any, dates []string) (any, Code) {
	if n, ok := v.(json.Number); ok {
		v = string(n)
	}
	text, ok := v.(string)
	if !ok || p.Type == Text {
		return v, ""
	}
	if code := checkPlain(text); code != "" {
		return nil, code
	}
	text = strings.TrimFunc(text, invisible)
	switch p.Type {
	case Country:
		return strings.ToUpper(text), ""
	case Phone:
		return cleanPhone(text), ""
	case Integer:
		n, err := strconv.ParseInt(text, 10, 64)
		return n, unless(err == nil, CodeInteger)
	case Decimal:
		d, ok := value.Scaled(text, p.Scale)
		return d, unless(ok, CodeDecimal)
	case Boolean:
		return parseBool(text)
	case Date:
		return parseDate(text, dates)
	default:
		return text, ""
	}
}

// cleanPhone takes out of a number what address books and spreadsheets put
// into it: direction marks and other format characters, spaces and hyphens of
// other kinds, full-width forms, and the apostrophe that makes a cell text.
func cleanPhone(s string) string {
	if !isASCII(s) {
		s = strings.Map(func(r rune) rune {
			switch {
			case unicode.Is(unicode.Zs, r):
				return ' '
			case invisible(r):
				return -1
			case unicode.Is(unicode.Pd, r), r == '\u2212':
				return '-'
			case r == '\u2019':
				return '\''
			}
			return r
		}, width.Narrow.String(s))
	}
	return strings.TrimSpace(strings.TrimPrefix(s, "'"))
}

func parseBool(s string) (any, Code) {
	switch strings.ToLower(s) {
	case "true", "t", "yes", "y", "1", "是":
		return true, ""
	case "false", "f", "no", "n", "0", "否":
		return false, ""
	}
	return nil, CodeBoolean
}

func parseDate(s string, layouts []string) (any, Code) {
	for _, layout := range layouts {
		if t, err := time.Parse(layout, s); err == nil {
			return t.Format(time.DateOnly), ""
		}
	}
	return nil, CodeDate
}

// typed gives a value that passed the rules of its field the one Go type that
// [Type] promises to [Field.Check] and in [Accepted].
func (p *plan) typed(v any) any {
	switch p.Type {
	case Integer:
		return wholeOf(v)
	case Decimal:
		text, ok := v.(string)
		if n, number := v.(json.Number); number {
			text, ok = string(n), true
		}
		if !ok {
			text = strconv.FormatInt(wholeOf(v), 10)
		}
		d, _ := value.Scaled(text, p.Scale)
		return d
	case Date:
		if t, ok := v.(time.Time); ok {
			return t.Format(time.DateOnly)
		}
	case Time:
		if text, ok := v.(string); ok {
			t, _ := parseTime(text)
			return t
		}
	default: // text and bool are what they are
	}
	return v
}
