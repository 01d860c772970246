package value

import (
	"encoding/json"
	"math"
	"math/big"
	"strconv"
	"strings"
)

const (
	// maxExponent bounds what a number may grow to when its exponent is resolved.
	maxExponent = 400
	// maxExact is beyond the longest decimal of a binary64: 309 digits before
	// the point, 1074 behind it. Arithmetic on longer ones only costs.
	maxExact = 1400
)

// ofNumber reads a number of JSON: an integer where it is written as one of 63
// bits, otherwise the number as it is written.
func ofNumber(x json.Number) (Value, error) {
	text := string(x)
	if n, err := strconv.ParseInt(text, 10, 64); err == nil && strconv.FormatInt(n, 10) == text {
		return integer(n), nil
	}
	if _, ok := expand(text); !ok {
		return Value{}, &Error{Have: "a json.Number", Want: "a number", Err: ErrKind}
	}
	return Value{kind: Number, text: text}, nil
}

// Digits is a number or an integer in plain digits: an exponent is resolved, and
// the zeros of a fraction stay.
func (v Value) Digits() (string, error) {
	switch v.kind {
	case Integer:
		return strconv.FormatInt(int64(v.bits), 10), nil
	case Unsigned:
		return strconv.FormatUint(v.bits, 10), nil
	case Number:
		plain, _ := expand(v.text) // as it was read
		return plain, nil
	default:
		return "", v.not("a number", ErrKind)
	}
}

// integerText reads the one spelling of an integer, a fraction of zeros behind
// it allowed, and an exponent of JSON.
func integerText(text string) (int64, error) {
	plain, ok := expand(text)
	if !ok {
		return 0, ErrKind
	}
	whole, fraction, _ := strings.Cut(plain, ".")
	if strings.Trim(fraction, "0") != "" {
		return 0, ErrKind
	}
	n, err := strconv.ParseInt(whole, 10, 64)
	if err != nil {
		return 0, ErrRange
	}
	return n, nil
}

// floatText reads a number that a binary64 stands for: it is the shortest text
// of the float, which is what databases write, or what the float is exactly.
func floatText(text string) (float64, error) {
	plain, ok := expand(text)
	if !ok {
		return 0, ErrKind
	}
	x, err := strconv.ParseFloat(text, 64)
	if err != nil {
		return 0, ErrRange
	}
	shortest, _ := expand(strconv.FormatFloat(x, 'f', -1, 64))
	if bare(shortest) == bare(plain) {
		return x, nil
	}
	if len(bare(plain)) > maxExact {
		return 0, ErrRange
	}
	exact, _ := new(big.Rat).SetString(bare(plain))
	if exact == nil || exact.Cmp(new(big.Rat).SetFloat64(x)) != 0 {
		return 0, ErrRange
	}
	return x, nil
}

// bare is a number of expand without what does not change it: zeros at the
// end of its fraction, the sign of zero.
func bare(plain string) string {
	if strings.Contains(plain, ".") {
		plain = strings.TrimRight(strings.TrimRight(plain, "0"), ".")
	}
	if plain == "-0" {
		return "0"
	}
	return plain
}

// expand checks a number as JSON writes it and resolves its exponent: an
// optional minus, digits without leading zeros, a fraction.
func expand(text string) (string, bool) {
	mantissa, exponent := text, ""
	if i := strings.IndexAny(text, "eE"); i >= 0 {
		mantissa, exponent = text[:i], text[i+1:]
		if !digits(strings.TrimLeft(exponent, "+-")) || len(exponent) > 5 || exponent == "" {
			return "", false
		}
	}
	body, negative := strings.CutPrefix(mantissa, "-")
	whole, fraction, point := strings.Cut(body, ".")
	switch {
	case !digits(whole) || whole == "" || len(whole) > 1 && whole[0] == '0', !digits(fraction), point && fraction == "":
		return "", false
	case exponent == "":
		return text, true
	}
	shift, err := strconv.Atoi(exponent)
	if err != nil || shift > maxExponent || shift < -maxExponent {
		return "", false
	}
	return shifted(whole, fraction, shift, negative), true
}

// shifted moves the point of a number.
func shifted(whole, fraction string, shift int, negative bool) string {
	if shift >= 0 {
		fraction += strings.Repeat("0", max(0, shift-len(fraction)))
		whole, fraction = whole+fraction[:shift], fraction[shift:]
	} else {
		whole = strings.Repeat("0", max(0, -shift-len(whole))) + whole
		at := len(whole) + shift
		whole, fraction = whole[:at], whole[at:]+fraction
	}
	out := strings.TrimLeft(whole, "0")
	if out == "" {
		out = "0"
	}
	if fraction != "" {
		out += "." + fraction
	}
	if negative {
		out = "-" + out
	}
	return out
}

// Scaled is the canonical decimal of s at a scale: no leading zeros, no -0,
// exactly scale digits after the point. Digits beyond the scale are refused
// unless they are zeros.
func Scaled(s string, scale int) (string, bool) {
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

// significant counts the digits of a canonical decimal.
func significant(decimal string) int {
	decimal = strings.TrimLeft(strings.TrimPrefix(decimal, "-"), "0.")
	return len(decimal) - strings.Count(decimal, ".")
}

func digits(s string) bool {
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return false
		}
	}
	return true
}

// finite holds for floats that are numbers.
func finite(x float64) bool { return !math.IsNaN(x) && !math.IsInf(x, 0) }
