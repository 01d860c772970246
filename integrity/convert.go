package integrity

import (
	"strconv"
	"strings"
	"time"
)

// wholeOf is a whole number that has passed the rules of its field, so that it
// fits.
func wholeOf(value any) int64 {
	switch x := value.(type) {
	case int:
		return int64(x)
	case int64:
		return x
	case int32:
		return int64(x)
	case int16:
		return int64(x)
	case int8:
		return int64(x)
	case uint8:
		return int64(x)
	case uint16:
		return int64(x)
	case uint32:
		return int64(x)
	case uint:
		return int64(x)
	case uint64:
		return int64(x)
	case float64:
		return int64(x)
	}
	return 0
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
