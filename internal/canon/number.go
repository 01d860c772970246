package canon

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/go-json-experiment/json/jsontext"
)

// canonicalNumbers rewrites the numbers of a document that is canonical but
// for them.
func canonicalNumbers(document []byte, minusZero bool) ([]byte, error) {
	dec := jsontext.NewDecoder(bytes.NewReader(document))
	out, done := make([]byte, 0, len(document)), 0
	for {
		tok, err := dec.ReadToken()
		if errors.Is(err, io.EOF) {
			return append(out, document[done:]...), nil
		}
		if err != nil {
			return nil, fmt.Errorf("%w: %w", ErrCanonical, scrub(err))
		}
		if tok.Kind() != '0' {
			continue
		}
		raw, end := tok.String(), int(dec.InputOffset())
		text, err := canonicalNumber(raw)
		if err != nil {
			return nil, err
		}
		if text == "-0" && !minusZero {
			return nil, fmt.Errorf("%w: the number -0", ErrCanonical)
		}
		out = append(append(out, document[done:end-len(raw)]...), text...)
		done = end
	}
}

// canonicalNumber is the notation of RFC 8785 (that of ECMAScript) over the
// digits as they stand. RFC 8785 itself writes the nearest float64, so that
// two numbers become one: 9007199254740993 and 9007199254740992.
func canonicalNumber(raw string) (string, error) {
	mantissa, exponent, _ := strings.Cut(strings.ToLower(raw), "e")
	mantissa, negative := strings.CutPrefix(mantissa, "-")
	whole, fraction, _ := strings.Cut(mantissa, ".")
	digits := strings.TrimLeft(whole+fraction, "0")
	point := int64(len(digits) - len(fraction)) // digits before the point; below 0: zeros after it
	digits = strings.TrimRight(digits, "0")
	sign := ""
	if negative {
		sign = "-"
	}
	if digits == "" {
		return sign + "0", nil
	}
	if exponent != "" {
		e, err := strconv.ParseInt(exponent, 10, 40)
		if point += e; err != nil || point != int64(int32(point)) {
			return "", fmt.Errorf("%w: a number with an exponent beyond 32 bits", ErrCanonical)
		}
	}
	return sign + notation(digits, point), nil
}

// notation is Number::toString of ECMAScript, steps 6 to 10: k digits, n of
// them before the point.
func notation(digits string, n int64) string {
	k := int64(len(digits))
	switch {
	case k <= n && n <= 21:
		return digits + strings.Repeat("0", int(n-k))
	case 0 < n && n <= 21:
		return digits[:n] + "." + digits[n:]
	case -6 < n && n <= 0:
		return "0." + strings.Repeat("0", int(-n)) + digits
	}
	head := digits[:1]
	if k > 1 {
		head += "." + digits[1:]
	}
	if n > 0 {
		return head + "e+" + strconv.FormatInt(n-1, 10)
	}
	return head + "e" + strconv.FormatInt(n-1, 10)
}
