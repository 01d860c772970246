package integrity

import (
	"bytes"
	"database/sql/driver"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"math"
	"strconv"
	"time"

	"github.com/crmguard/crmguard/internal/frame"
)

// Column is one stored column: what a seal covers and what reconcile compares.
// The type says what the stored value means, so that the same row seals and
// compares alike whether a driver returns true or 1, text or bytes, a date or
// a time.
type Column struct {
	// Name is the logical name, frozen once a row was sealed under it.
	Name string
	// Type is what the column holds. Email, Phone and the other types of text
	// are Text here.
	Type Type
	// Scale is the number of digits after the point of a Decimal.
	Scale int
}

// Canonical returns type ‖ LP(value), the canonical bytes of a stored value.
// Accepted are, besides nil (NULL) and any [driver.Valuer]:
//
//   - text types: string, []byte with UTF-8
//   - Integer: Go integers, decimal text
//   - Decimal: decimal text, Go integers; at most Scale digits after the point
//   - Boolean: bool, integers 0 and 1
//   - Date: YYYY-MM-DD, time.Time
//   - Time: time.Time, int64 microseconds since 1970, RFC 3339; finer than
//     microseconds is cut
//   - Bytes: []byte
//   - JSON: string or []byte with a JSON document
//   - Float: float64, float32
//   - Sealed: []byte in binary form, or text in the form cg1.…; both give the
//     same bytes
//
// Anything else is an error that wraps [ErrRow] and does not show the value.
func (c Column) Canonical(value any) ([]byte, error) {
	v, err := c.value(value)
	if err != nil {
		return nil, err
	}
	return v.Append(nil), nil
}

func (c Column) value(value any) (frame.Value, error) {
	if valuer, ok := value.(driver.Valuer); ok {
		plain, err := valuer.Value()
		if err != nil {
			return frame.Value{}, c.refuse()
		}
		value = plain
	}
	if value == nil {
		return frame.Value{Type: frame.Null}, nil
	}
	v, ok := c.encode(value)
	if !ok {
		return frame.Value{}, c.refuse()
	}
	return v, nil
}

func (c Column) refuse() error {
	return &valueError{fmt.Sprintf("column %q: value is not a %s", c.Name, c.Type)}
}

// valueError is about what stands in the row, not about how it was handed in.
// A row that was sealed had an encoding once: behind a seal it is tampering.
type valueError struct{ what string }

func (e *valueError) Error() string { return ErrRow.Error() + ": " + e.what }
func (e *valueError) Unwrap() error { return ErrRow }

func (c Column) encode(value any) (frame.Value, bool) {
	if raw, ok := value.([]byte); ok && raw == nil {
		return frame.Value{Type: frame.Null}, true
	}
	switch {
	case c.Type.isText():
		text, ok := asText(value)
		return framed(text, ok)
	case c.Type == Integer:
		n, ok := asStoredInteger(value)
		return frame.OfInt(frame.Integer, n), ok
	case c.Type == Decimal:
		return c.decimal(value)
	case c.Type == Boolean:
		return boolean(value)
	case c.Type == Date:
		return date(value)
	case c.Type == Time:
		return point(value)
	}
	return blob(c.Type, value)
}

func framed(value any, ok bool) (frame.Value, bool) {
	if !ok {
		return frame.Value{}, false
	}
	v, err := frame.Of(value)
	return v, err == nil
}

func asText(value any) (string, bool) {
	switch x := value.(type) {
	case string:
		return x, true
	case []byte:
		return string(x), true
	}
	return "", false
}

func asStoredInteger(value any) (int64, bool) {
	if _, float := value.(float64); float {
		return 0, false
	}
	if n, ok := asInteger(value); ok {
		return n, true
	}
	text, ok := asText(value)
	if !ok {
		return 0, false
	}
	n, err := strconv.ParseInt(text, 10, 64)
	return n, err == nil && strconv.FormatInt(n, 10) == text
}

func (c Column) decimal(value any) (frame.Value, bool) {
	text, ok := asText(value)
	if !ok {
		n, whole := asStoredInteger(value)
		text, ok = strconv.FormatInt(n, 10), whole
	}
	if !ok {
		return frame.Value{}, false
	}
	canonical, ok := scaled(text, c.Scale)
	if !ok {
		return frame.Value{}, false
	}
	v, err := frame.OfDecimal(canonical)
	return v, err == nil
}

func boolean(value any) (frame.Value, bool) {
	if b, ok := value.(bool); ok {
		return framed(b, true)
	}
	n, ok := asStoredInteger(value)
	return must(frame.Of(n == 1)), ok && (n == 0 || n == 1)
}

// must drops the error of an encoding that cannot fail.
func must(v frame.Value, _ error) frame.Value { return v }

func date(value any) (frame.Value, bool) {
	text, ok := asText(value)
	if t, isTime := value.(time.Time); isTime {
		text, ok = t.Format(time.DateOnly), true
	}
	if !ok {
		return frame.Value{}, false
	}
	v, err := frame.OfDate(text)
	return v, err == nil
}

func point(value any) (frame.Value, bool) {
	switch x := value.(type) {
	case time.Time:
		return framed(x, true)
	case string, []byte:
		text, _ := asText(x)
		t, err := time.Parse(time.RFC3339Nano, text)
		return framed(t, err == nil)
	}
	n, ok := asStoredInteger(value)
	return frame.OfInt(frame.Time, n), ok
}

func blob(t Type, value any) (frame.Value, bool) {
	switch t {
	case Bytes:
		raw, ok := value.([]byte)
		return frame.Value{Type: frame.Bytes, Data: raw}, ok
	case JSON:
		text, ok := asText(value)
		if !ok {
			return frame.Value{}, false
		}
		v, err := frame.OfJSON([]byte(text))
		return v, err == nil
	case Float:
		switch x := value.(type) {
		case float64:
			return framed(x, !math.IsNaN(x))
		case float32:
			return framed(float64(x), true)
		}
	case Sealed:
		raw, ok := sealedBytes(value)
		return frame.Value{Type: frame.Bytes, Data: raw}, ok
	default: // all other types have their own encoders
	}
	return frame.Value{}, false
}

// sealedBytes is the binary form of a sealed field: 0x01, generation, IV,
// ciphertext and tag. The text form is cg1., the generation in 8 hex digits, a
// dot, and the binary form in base64url.
func sealedBytes(value any) ([]byte, bool) {
	const head, least = len("cg1.01234567."), 1 + 4 + 12 + 16
	text, isString := value.(string)
	raw, isBytes := value.([]byte)
	if isBytes && !bytes.HasPrefix(raw, []byte("cg1.")) {
		return raw, len(raw) >= least && raw[0] == 1
	}
	if isBytes {
		text, isString = string(raw), true
	}
	if !isString || len(text) < head || text[:4] != "cg1." || text[head-1] != '.' {
		return nil, false
	}
	raw, err := base64.RawURLEncoding.Strict().DecodeString(text[head:])
	if err != nil || len(raw) < least || raw[0] != 1 || hex.EncodeToString(raw[1:5]) != text[4:head-1] {
		return nil, false
	}
	return raw, true
}
