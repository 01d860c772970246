package integrity

import (
	"cmp"
	"encoding/json"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/crmguard/crmguard/internal/value"
)

// check applies the rules of a field, all but its own Check, to a value that
// is there.
func (p *plan) check(v any) Code {
	switch {
	case p.Type.isText():
		text, ok := v.(string)
		if !ok {
			return CodeType
		}
		return p.checkText(text)
	case p.Type == Integer:
		return checkInteger(v)
	case p.Type == Decimal:
		return p.checkDecimal(v)
	case p.Type == Boolean:
		_, ok := v.(bool)
		return unless(ok, CodeBoolean)
	case p.Type == Date:
		return checkDate(v)
	default:
		return checkTime(v)
	}
}

func (p *plan) checkText(s string) Code {
	if !printable(s) {
		if code := cmp.Or(checkPlain(s), checkHygiene(s, p.FreeText)); code != "" {
			return code
		}
	}
	if p.MinLen > 0 || p.MaxLen > 0 {
		n := utf8.RuneCountInString(s)
		if n < p.MinLen {
			return CodeMinLength
		}
		if p.MaxLen > 0 && n > p.MaxLen {
			return CodeMaxLength
		}
	}
	if p.choices != nil {
		if _, ok := p.choices[s]; !ok {
			return CodeOneOf
		}
	}
	if p.pattern != nil && (len(s) > maxPatternText || !p.pattern.MatchString(s)) {
		return CodePattern
	}
	return checkForm(p.Type, s)
}

// checkPlain refuses what no field may hold.
func checkPlain(s string) Code {
	if strings.IndexByte(s, 0) >= 0 {
		return CodeNUL
	}
	if !utf8.ValidString(s) {
		return CodeUTF8
	}
	return ""
}

func checkForm(t Type, s string) Code {
	switch t {
	case Email:
		return unless(isEmail(s), CodeEmail)
	case Phone:
		return unless(isPhone(s), CodePhone)
	case URL:
		return unless(isURL(s), CodeURL)
	case Country:
		return unless(isCountry(s), CodeCountry)
	case Language:
		return unless(isLanguage(s), CodeLanguage)
	case Card:
		return unless(isCard(s), CodeCard)
	default:
		return ""
	}
}

func unless(ok bool, code Code) Code {
	if ok {
		return ""
	}
	return code
}

// checkInteger takes a number that is an integer, and no text of one: in a
// record that is the wrong type. A file has text alone; see read.
func checkInteger(v any) Code {
	read, err := value.Of(v)
	if err != nil {
		return CodeType
	}
	switch read.Kind() {
	case value.Integer, value.Unsigned, value.Float, value.Number:
		_, err := read.Integer()
		return unless(err == nil, CodeInteger)
	default:
		return CodeType
	}
}

func (p *plan) checkDecimal(v any) Code {
	switch x := v.(type) {
	case string:
		return unless(isDecimal(x, p.Scale), CodeDecimal)
	case json.Number:
		return unless(isDecimal(string(x), p.Scale), CodeDecimal)
	case float64, float32:
		return CodeType // money in floats has lost its cents already
	}
	return checkInteger(v)
}

// isDecimal accepts an optional minus, digits, and at most scale digits after
// a point.
func isDecimal(s string, scale int) bool {
	s = strings.TrimPrefix(s, "-")
	whole, fraction, point := strings.Cut(s, ".")
	if point && (fraction == "" || len(fraction) > scale) {
		return false
	}
	return whole != "" && len(whole) <= 40 && digits(whole) && digits(fraction)
}

func digits(s string) bool {
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return false
		}
	}
	return true
}

func checkDate(v any) Code {
	switch x := v.(type) {
	case time.Time:
		return unless(inYears(x), CodeDate)
	case string:
		t, err := time.Parse(time.DateOnly, x)
		return unless(err == nil && inYears(t), CodeDate)
	}
	return CodeType
}

func checkTime(v any) Code {
	switch x := v.(type) {
	case time.Time:
		return unless(inYears(x), CodeTime)
	case string:
		_, ok := parseTime(x)
		return unless(ok, CodeTime)
	}
	return CodeType
}

// parseTime reads RFC 3339 as it is written there. Package time is more
// lenient: an hour of one digit, a comma, an offset of a day. A leap second is
// a time that neither Go nor a database can hold.
func parseTime(s string) (time.Time, bool) {
	t, err := time.Parse(time.RFC3339Nano, s)
	if err != nil || s[13] != ':' || s[19] == ',' || !inYears(t) {
		return time.Time{}, false
	}
	return t, s[len(s)-1] == 'Z' || s[len(s)-5:len(s)-3] < "24"
}

// inYears holds for the years that a date is written with, which databases
// share: 1 to 9999.
func inYears(t time.Time) bool { return t.Year() >= 1 && t.Year() <= 9999 }
