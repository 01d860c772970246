package value

import (
	"encoding/hex"
	"math"
	"strconv"
	"time"
	"unicode/utf8"
)

// The names of what is asked for, in errors.
const (
	wantText    = "text"
	wantInteger = "an integer"
	wantBoolean = "a boolean"
	wantBytes   = "bytes"
	wantFloat   = "a float"
	wantDecimal = "a decimal"
	wantTime    = "a time"
	wantDate    = "a date"
	wantJSON    = "JSON"
	wantID      = "an id"
	wantList    = "a list"
	wantMap     = "a map"
)

// not is the error of a value that is not what was asked for.
func (v Value) not(want string, err error) error {
	if v.kind == Null {
		err = ErrNull
	}
	return &Error{Have: v.kind.String(), Want: want, Err: err}
}

// spelled is text, or bytes that may be text: MySQL's driver leaves text as
// bytes, and lib/pq what it does not know, such as numeric and uuid.
func (v Value) spelled() (string, bool) {
	switch v.kind {
	case Text:
		return v.text, true
	case Bytes:
		return string(v.bytes()), true
	default:
		return "", false
	}
}

// Text is the text, valid UTF-8: also of bytes, and of a UUID (lower case, with
// hyphens). A number is no text.
func (v Value) Text() (string, error) {
	text := v.text
	switch v.kind {
	case Text:
	case Bytes:
		text = string(v.bytes())
	case UUID:
		return uuidText(v.held), nil
	default:
		return "", v.not(wantText, ErrKind)
	}
	if !utf8.ValidString(text) {
		return "", v.not(wantText, ErrText)
	}
	return text, nil
}

func uuidText(held any) string {
	id, _ := held.([16]byte)
	var out [36]byte
	hex.Encode(out[:8], id[:4])
	hex.Encode(out[9:13], id[4:6])
	hex.Encode(out[14:18], id[6:8])
	hex.Encode(out[19:23], id[8:10])
	hex.Encode(out[24:], id[10:])
	out[8], out[13], out[18], out[23] = '-', '-', '-', '-'
	return string(out[:])
}

// ID is the text of an opaque id: text as it is, integers in decimal, a UUID
// in lower case. It is never empty.
func (v Value) ID() (string, error) {
	switch v.kind {
	case Integer:
		return strconv.FormatInt(int64(v.bits), 10), nil
	case Unsigned:
		return strconv.FormatUint(v.bits, 10), nil
	case Text, Bytes, UUID:
		text, err := v.Text()
		switch {
		case err != nil:
			return "", v.not(wantID, ErrText)
		case text == "":
			return "", v.not(wantID, ErrRange)
		}
		return text, nil
	default:
		return "", v.not(wantID, ErrKind)
	}
}

// Integer is the integer of 63 bits and a sign: also of a float without a
// fraction (below 2^53, where floats stand for one integer each), of a number,
// and of the text of one. Text has the one spelling of an integer, or a
// fraction of zeros behind it: "3", "3.00", not "03". A duration is its
// nanoseconds, as database/sql stores it.
func (v Value) Integer() (int64, error) {
	text := v.text
	switch v.kind {
	case Integer, Duration:
		return int64(v.bits), nil
	case Unsigned:
		return 0, v.not(wantInteger, ErrRange)
	case Float:
		x := math.Float64frombits(v.bits)
		switch {
		case x != math.Trunc(x) || math.IsInf(x, 0): // NaN is not itself
			return 0, v.not(wantInteger, ErrKind)
		case math.Abs(x) >= 1<<53:
			return 0, v.not(wantInteger, ErrRange)
		}
		return int64(x), nil
	case Text, Number:
	case Bytes:
		text = string(v.bytes())
	default:
		return 0, v.not(wantInteger, ErrKind)
	}
	n, err := integerText(text)
	if err != nil {
		return 0, v.not(wantInteger, err)
	}
	return n, nil
}

// Boolean is the truth: also of the integers 0 and 1, as SQLite and MySQL keep
// it, of one byte 0 or 1 (BIT), and of the texts 0, 1, true and false.
func (v Value) Boolean() (bool, error) {
	switch v.kind {
	case Boolean:
		return v.bits == 1, nil
	case Integer:
		if v.bits <= 1 {
			return v.bits == 1, nil
		}
		return false, v.not(wantBoolean, ErrRange)
	case Bytes:
		if raw := v.bytes(); len(raw) == 1 && raw[0] <= 1 {
			return raw[0] == 1, nil
		}
	default:
	}
	switch text, _ := v.spelled(); text {
	case "1", "true":
		return true, nil
	case "0", "false":
		return false, nil
	}
	return false, v.not(wantBoolean, ErrKind)
}

// Bytes are the bytes: also of text, of a UUID and of JSON. The caller must not
// change them.
func (v Value) Bytes() ([]byte, error) {
	switch v.kind {
	case Bytes, JSON:
		return v.bytes(), nil
	case Text:
		return []byte(v.text), nil
	case UUID:
		id, _ := v.held.([16]byte)
		return id[:], nil
	default:
		return nil, v.not(wantBytes, ErrKind)
	}
}

// Float is the binary64: also of an integer that it holds exactly, and of the
// text of a number that it stands for. It may be NaN or infinite where a float
// came as such.
func (v Value) Float() (float64, error) {
	switch v.kind {
	case Float:
		return math.Float64frombits(v.bits), nil
	case Integer:
		n := int64(v.bits)
		if x := float64(n); x < 1<<63 && int64(x) == n {
			return x, nil
		}
		return 0, v.not(wantFloat, ErrRange)
	case Text, Bytes, Number:
		text, _ := v.spelled()
		if v.kind == Number {
			text = v.text
		}
		x, err := floatText(text)
		if err != nil {
			return 0, v.not(wantFloat, err)
		}
		return x, nil
	default:
		return 0, v.not(wantFloat, ErrKind)
	}
}

// Decimal is the canonical decimal at a scale: exactly scale digits after the
// point, no leading zeros, no -0. It is that of numbers and of their text,
// whatever zeros stand around it. Of a float only where it can stand for one
// decimal of that scale alone, which is up to 15 digits.
func (v Value) Decimal(scale int) (string, error) {
	var text string
	switch v.kind {
	case Integer, Unsigned, Number:
		text, _ = v.Digits()
	case Float:
		text = strconv.FormatFloat(math.Float64frombits(v.bits), 'f', -1, 64)
	case Text, Bytes:
		text, _ = v.spelled()
	default:
		return "", v.not(wantDecimal, ErrKind)
	}
	out, ok := Scaled(text, scale)
	switch {
	case !ok:
		return "", v.not(wantDecimal, ErrKind)
	case v.kind == Float && significant(out) > 15:
		return "", v.not(wantDecimal, ErrRange)
	}
	return out, nil
}

// Duration is the duration: of nothing else.
func (v Value) Duration() (time.Duration, error) {
	if v.kind != Duration {
		return 0, v.not("a duration", ErrKind)
	}
	return time.Duration(v.bits), nil
}
