package frame

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"regexp"
	"time"
	"unicode/utf8"

	"github.com/crmguard/crmguard/internal/canon"
)

// Type is the type byte of a [Value]. The numbers are part of the format.
type Type byte

// The types of a value.
const (
	Absent  Type = 0  // the field does not exist; no bytes
	Null    Type = 1  // SQL NULL, JSON null; no bytes
	Text    Type = 2  // UTF-8
	Integer Type = 3  // 8 bytes, two's complement, big-endian
	Boolean Type = 4  // one byte, 0 or 1
	Bytes   Type = 5  // as they are
	Time    Type = 6  // microseconds since 1970 UTC, 8 bytes
	JSON    Type = 7  // RFC 8785, with all digits of its numbers
	Decimal Type = 8  // ASCII at the declared scale, no leading zeros, no -0
	Float   Type = 9  // IEEE-754 binary64, neither NaN nor infinite, -0 as 0
	Date    Type = 10 // YYYY-MM-DD
)

// ErrValue is wrapped by every error about a value that has no encoding.
var ErrValue = errors.New("value has no canonical encoding")

// Value is one typed value in its canonical bytes.
type Value struct {
	Type Type
	Data []byte
}

// Append appends type ‖ LP(data) to dst.
func (v Value) Append(dst []byte) []byte {
	return Append(append(dst, byte(v.Type)), v.Data)
}

// Of encodes a Go value: nil (null), string, signed and unsigned integers,
// bool, []byte, time.Time (finer than microseconds is cut) and float64. Other
// types, invalid UTF-8, integers beyond 63 bits, times beyond 64 bits of
// microseconds, NaN and infinities are refused with an error that wraps
// [ErrValue] and never contains the value.
func Of(v any) (Value, error) {
	switch x := v.(type) {
	case nil:
		return Value{Type: Null}, nil
	case Value:
		return x, nil
	case string:
		if !utf8.ValidString(x) {
			return Value{}, fmt.Errorf("%w: text is not valid UTF-8", ErrValue)
		}
		return Value{Type: Text, Data: []byte(x)}, nil
	case []byte:
		if x == nil {
			return Value{Type: Null}, nil
		}
		return Value{Type: Bytes, Data: x}, nil
	case bool:
		if x {
			return Value{Type: Boolean, Data: []byte{1}}, nil
		}
		return Value{Type: Boolean, Data: []byte{0}}, nil
	case time.Time:
		return ofTime(x)
	case float64:
		return ofFloat(x)
	case float32:
		return ofFloat(float64(x))
	}
	return ofInteger(v)
}

func ofInteger(v any) (Value, error) {
	switch x := v.(type) {
	case int:
		return OfInt(Integer, int64(x)), nil
	case int64:
		return OfInt(Integer, x), nil
	case int32:
		return OfInt(Integer, int64(x)), nil
	case int16:
		return OfInt(Integer, int64(x)), nil
	case int8:
		return OfInt(Integer, int64(x)), nil
	case uint8:
		return OfInt(Integer, int64(x)), nil
	case uint16:
		return OfInt(Integer, int64(x)), nil
	case uint32:
		return OfInt(Integer, int64(x)), nil
	case uint:
		return ofUnsigned(uint64(x))
	case uint64:
		return ofUnsigned(x)
	}
	return Value{}, fmt.Errorf("%w: Go type %T", ErrValue, v)
}

func ofUnsigned(x uint64) (Value, error) {
	if x > math.MaxInt64 {
		return Value{}, fmt.Errorf("%w: integer beyond 63 bits", ErrValue)
	}
	return OfInt(Integer, int64(x)), nil
}

// ofTime refuses what UnixMicro would turn into another time.
func ofTime(x time.Time) (Value, error) {
	micro := x.UnixMicro()
	if !time.UnixMicro(micro).Equal(x.Truncate(time.Microsecond)) {
		return Value{}, fmt.Errorf("%w: time beyond 64 bits of microseconds", ErrValue)
	}
	return OfInt(Time, micro), nil
}

// ofFloat makes one value of 0 and -0: SQL knows no difference, and SQLite
// hands the one back for the other.
func ofFloat(x float64) (Value, error) {
	if math.IsNaN(x) || math.IsInf(x, 0) {
		return Value{}, fmt.Errorf("%w: NaN or infinity", ErrValue)
	}
	if x == 0 {
		x = 0 // not -0
	}
	return Value{Type: Float, Data: binary.BigEndian.AppendUint64(nil, math.Float64bits(x))}, nil
}

// OfInt encodes an 8-byte value: an [Integer], or a [Time] in microseconds.
func OfInt(t Type, x int64) Value {
	return Value{Type: t, Data: binary.BigEndian.AppendUint64(nil, uint64(x))}
}

// OfJSON encodes a JSON document as its RFC 8785 bytes, with all digits of its
// numbers. -0 is refused.
func OfJSON(document []byte) (Value, error) {
	data, err := canon.Typed(document)
	if err != nil {
		return Value{}, fmt.Errorf("%w: %w", ErrValue, err)
	}
	return Value{Type: JSON, Data: data}, nil
}

var decimal = regexp.MustCompile(`^(0|-?[1-9][0-9]*|-?(0|[1-9][0-9]*)\.[0-9]+)$`)

// OfDecimal encodes a decimal number that is already at its declared scale.
func OfDecimal(s string) (Value, error) {
	if !decimal.MatchString(s) || negativeZero(s) {
		return Value{}, fmt.Errorf("%w: not a canonical decimal", ErrValue)
	}
	return Value{Type: Decimal, Data: []byte(s)}, nil
}

func negativeZero(s string) bool {
	if s[0] != '-' {
		return false
	}
	for _, c := range s[1:] {
		if c != '0' && c != '.' {
			return false
		}
	}
	return true
}

// OfDate encodes a calendar date written YYYY-MM-DD.
func OfDate(s string) (Value, error) {
	if _, err := time.Parse(time.DateOnly, s); err != nil {
		return Value{}, fmt.Errorf("%w: not a date YYYY-MM-DD", ErrValue)
	}
	return Value{Type: Date, Data: []byte(s)}, nil
}
