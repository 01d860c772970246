package integrity

import (
	"encoding/json"
	"strconv"
	"strings"
	"time"
)

// convert makes the typed value of a field out of what a source yields. Values
// that are no text stay as they are; check judges them.
func (p *plan) convert(value any, dates []string) (any, Code) {
	if n, ok := value.(json.Number); ok {
		value = string(n)
	}
	text, ok := value.(string)
	if !ok {
		return p.unify(value)
	}
	if p.Type == Text {
		return text, ""
	}
	if code := checkPlain(text); code != "" {
		return nil, code
	}
	text = strings.TrimSpace(text)
	switch p.Type {
	case Country:
		return strings.ToUpper(text), ""
	case Integer:
		n, err := strconv.ParseInt(text, 10, 64)
		return n, unless(err == nil, CodeInteger)
	case Decimal:
		d, ok := scaled(text, p.Scale)
		return d, unless(ok, CodeDecimal)
	case Boolean:
		return parseBool(text)
	case Date:
		return parseDate(text, dates)
	case Time:
		t, err := time.Parse(time.RFC3339Nano, text)
		return t, unless(err == nil, CodeTime)
	default:
		return text, ""
	}
}

// unify gives Go values that are right for the field the one form that
// [Accepted] promises.
func (p *plan) unify(value any) (any, Code) {
	switch p.Type {
	case Integer, Decimal:
		if code := p.checkNumber(value); code != "" {
			return nil, code
		}
		n, _ := asInteger(value)
		if p.Type == Integer {
			return n, ""
		}
		d, ok := scaled(strconv.FormatInt(n, 10), p.Scale)
		return d, unless(ok, CodeDecimal)
	case Date:
		if t, ok := value.(time.Time); ok {
			return t.Format(time.DateOnly), ""
		}
	default: // the value is what it should be, or the check says so
	}
	return value, ""
}

func (p *plan) checkNumber(value any) Code {
	if p.Type == Decimal {
		return p.checkDecimal(value)
	}
	return checkInteger(value)
}

func asInteger(value any) (int64, bool) {
	switch x := value.(type) {
	case int:
		return int64(x), true
	case int64:
		return x, true
	case int32:
		return int64(x), true
	case int16:
		return int64(x), true
	case int8:
		return int64(x), true
	case uint8:
		return int64(x), true
	case uint16:
		return int64(x), true
	case uint32:
		return int64(x), true
	case uint:
		return int64(x), uint64(x) <= 1<<63-1
	case uint64:
		return int64(x), x <= 1<<63-1
	case float64:
		return int64(x), x == float64(int64(x))
	}
	return 0, false
}

// scaled is the canonical decimal of s at a scale: no leading zeros, no -0,
// exactly scale digits after the point. Digits beyond the scale are refused
// unless they are zeros.
func scaled(s string, scale int) (string, bool) {
	body, negative := strings.CutPrefix(s, "-")
	whole, fraction, point := strings.Cut(body, ".")
	if whole == "" || !digits(whole) || !digits(fraction) || point && fraction == "" {
		return "", false
	}
	for len(fraction) > scale && fraction[len(fraction)-1] == '0' {
		fraction = fraction[:len(fraction)-1]
	}
	if len(fraction) > scale {
		return "", false
	}
	whole = strings.TrimLeft(whole, "0")
	if whole == "" {
		whole = "0"
	}
	fraction += strings.Repeat("0", scale-len(fraction))
	out := whole
	if scale > 0 {
		out += "." + fraction
	}
	if negative && strings.Trim(out, "0.") != "" {
		out = "-" + out
	}
	return out, true
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

// canonicalText is a text for values that are none, so that they compare.
func canonicalText(value any) string {
	switch x := value.(type) {
	case int64:
		return strconv.FormatInt(x, 10)
	case bool:
		return strconv.FormatBool(x)
	case time.Time:
		return x.UTC().Format(time.RFC3339Nano)
	}
	return ""
}
