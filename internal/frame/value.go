package frame

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"regexp"
	"time"

	"github.com/crmguard/crmguard/internal/canon"
	"github.com/crmguard/crmguard/internal/value"
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

// Of encodes a Go value, read by the rules of package value: NULL in every
// spelling is null, a UUID is text in lower case, a duration the integer of its
// nanoseconds, a json.Number an integer or the decimal that it is, a
// json.RawMessage, a list and a map are JSON. Of a time what is finer than
// microseconds is cut. Go types that hold no value, invalid UTF-8, integers
// beyond 63 bits, times beyond 64 bits of microseconds, NaN and infinities are
// refused with an error that wraps [ErrValue] and never contains the value.
func Of(v any) (Value, error) {
	if typed, isValue := v.(Value); isValue {
		return typed, nil
	}
	read, err := value.Of(v)
	if err != nil {
		return Value{}, fmt.Errorf("%w: %w", ErrValue, err)
	}
	return ofRead(read)
}

func ofRead(read value.Value) (Value, error) {
	switch read.Kind() {
	case value.Null:
		return Value{Type: Null}, nil
	case value.Text, value.UUID:
		text, err := read.Text()
		return encoded(Text, []byte(text), err)
	case value.Bytes:
		raw, err := read.Bytes()
		return encoded(Bytes, raw, err)
	case value.Boolean:
		yes, err := read.Boolean()
		if yes {
			return encoded(Boolean, []byte{1}, err)
		}
		return encoded(Boolean, []byte{0}, err)
	case value.Integer, value.Unsigned, value.Duration:
		n, err := read.Integer()
		return encoded(Integer, binary.BigEndian.AppendUint64(nil, uint64(n)), err)
	case value.Float:
		x, _ := read.Float()
		return ofFloat(x)
	case value.Time:
		at, _ := read.Any().(time.Time) // the zero time too
		return ofTime(at)
	case value.Number:
		text, err := read.Digits()
		if err != nil {
			return encoded(Decimal, nil, err)
		}
		return OfDecimal(text)
	default: // JSON, a list, a map
		document, err := read.JSON()
		if err != nil {
			return encoded(JSON, nil, err)
		}
		return OfJSON(document)
	}
}

func encoded(t Type, data []byte, err error) (Value, error) {
	if err != nil {
		return Value{}, fmt.Errorf("%w: %w", ErrValue, err)
	}
	return Value{Type: t, Data: data}, nil
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
