package integrity

import (
	"encoding/hex"
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/crmguard/crmguard/internal/canon"
	"github.com/crmguard/crmguard/internal/frame"
	"github.com/crmguard/crmguard/internal/ids"
	"github.com/crmguard/crmguard/internal/value"
)

// Column is one stored column: what a seal covers and what reconcile compares.
// The type says what the database holds, so that the same row seals alike
// whether a driver returns true or 1, a date or a time.
type Column struct {
	// Name is the logical name, frozen once a row was sealed under it.
	Name string
	// Type is what the database holds. Email, Phone and the other types of
	// text are Text here, and so is everything that is to be sealed letter by
	// letter, such as a time that stands in a column of text.
	Type Type
	// Scale is the number of digits after the point of a Decimal.
	Scale int
}

// stored encodes a value for a seal; [Sealer.Seal] says which are taken.
func (c Column) stored(v any) (frame.Value, error) {
	plain, err := c.plain(v)
	if err != nil {
		return frame.Value{}, err
	}
	return c.value(plain)
}

// Canonical returns type ‖ LP(value), the canonical bytes of what a value
// means: two systems that keep it differently compare as equal. It takes what
// a seal takes (see [Sealer.Seal]) and, beyond it, other spellings of the same
// value: integers in decimal text or as floats without a fraction (JSON knows no
// others), decimals with more or fewer zeros, times as text
// with a zone, as RFC 3339, PostgreSQL and drivers of SQLite write them (finer
// than microseconds is cut), and sealed fields of either form
// give the same bytes. JSON compares as RFC 8785, by the exact values of its
// numbers: 1, 1.0 and 1E0 are one, 9007199254740993 and 9007199254740992 two.
//
// Anything else is an error that wraps [ErrRow] and does not show the value.
func (c Column) Canonical(v any) ([]byte, error) {
	plain, err := c.plain(v)
	if err != nil {
		return nil, err
	}
	encoded, err := c.value(c.meant(plain))
	if err != nil {
		return nil, err
	}
	return encoded.Append(nil), nil
}

// plain is what stands in the database: nil, int64, float64, bool, []byte,
// string or time.Time. Package value reads it; this maps what database/sql knows
// no column for.
func (c Column) plain(v any) (any, error) {
	switch x := v.(type) { // as a driver gives it
	case nil, string, int64, float64, bool, time.Time:
		return v, nil
	case []byte:
		if x != nil {
			return v, nil
		}
	}
	read, err := value.Of(v)
	if err != nil {
		return nil, c.refuse(v)
	}
	switch read.Kind() {
	case value.UUID: // stored as text
		return read.Text()
	case value.Duration: // stored as nanoseconds
		return read.Integer()
	case value.Number:
		return c.number(read)
	case value.JSON, value.List, value.Map:
		if raw, err := read.Bytes(); err == nil && c.Type == Bytes {
			return raw, nil
		}
		document, err := read.JSON()
		if err != nil || c.Type != JSON {
			return nil, c.refuse(v)
		}
		return string(document), nil
	case value.Unsigned:
		return nil, c.refuse(v)
	default:
		return read.Any(), nil
	}
}

// number is a json.Number that is written as no integer: database/sql stores it
// as the text that it is.
func (c Column) number(read value.Value) (any, error) {
	if n, err := read.Integer(); err == nil && c.Type == Integer {
		return n, nil
	}
	text, err := read.Digits()
	if err != nil {
		return nil, c.refuse(read.Any())
	}
	return text, nil
}

// meant puts the one spelling that a seal takes in place of others.
func (c Column) meant(v any) any {
	if at, isTime := v.(time.Time); isTime && c.Type == Time {
		return at.Truncate(time.Microsecond)
	}
	if c.Type == Integer {
		return wholeMeant(v)
	}
	text, isText := v.(string)
	if !isText {
		return v
	}
	switch c.Type {
	case Decimal:
		if d, ok := value.Scaled(text, c.Scale); ok {
			return d
		}
	case Time:
		if at, err := textOf(text).Time(nil); err == nil {
			return at.Truncate(time.Microsecond)
		}
	case Sealed:
		if raw, ok := openText(text); ok {
			return raw
		}
	default: // all other types have one spelling only
	}
	return v
}

// wholeMeant is the integer that a float without a fraction, or a text of one,
// stands for.
func wholeMeant(v any) any {
	switch v.(type) {
	case string, float64:
		read, err := value.Of(v)
		if err != nil {
			return v
		}
		if n, err := read.Integer(); err == nil {
			return n
		}
	}
	return v
}

// CheckColumns refuses columns without a name, of an unknown type or scale, and
// names that stand twice, with an error that wraps [ErrConfig].
func CheckColumns(columns ...Column) error {
	seen := map[string]bool{}
	for _, c := range columns {
		if err := ids.Check("column", c.Name); err != nil {
			return configErr("%w", err)
		}
		if seen[c.Name] {
			return configErr("column %q stands twice", c.Name)
		}
		seen[c.Name] = true
		if !c.Type.known() {
			return configErr("column %q: unknown type", c.Name)
		}
		if c.Scale < 0 || c.Scale > maxScale || c.Scale > 0 && c.Type != Decimal {
			return configErr("column %q: scale %d of type %s", c.Name, c.Scale, c.Type)
		}
	}
	return nil
}

// refuse names the column, what it holds and the Go type of what came instead.
func (c Column) refuse(v any) error {
	want := c.Type.String()
	switch c.Type {
	case Decimal:
		want = fmt.Sprintf("decimal with %d digits after the point", c.Scale)
	case Date:
		want = "date YYYY-MM-DD or a time at midnight"
	case Time:
		want = "time in whole microseconds (Truncate(time.Microsecond))"
	default:
	}
	hint := ""
	if _, isBytes := v.([]byte); isBytes {
		hint = " (bytes are text only where the database says so, see Reader)"
	}
	return &valueError{column: c.Name, what: fmt.Sprintf("column %q: a %T that is no %s%s", c.Name, v, want, hint)}
}

// valueError is about what stands in the row, not about how it was handed in.
// A row that was sealed had an encoding once: behind a seal it is tampering.
type valueError struct {
	column, what string
	err          error // the cause, where there is one
}

func (e *valueError) Error() string        { return ErrRow.Error() + ": " + e.what }
func (e *valueError) Is(target error) bool { return target == ErrRow }
func (e *valueError) Unwrap() error        { return e.err }

// tamperError is a row that holds what its layout rules out.
type tamperError struct{ column, what string }

func (e *tamperError) Error() string { return ErrTampered.Error() + ": " + e.what }
func (e *tamperError) Unwrap() error { return ErrTampered }

// value encodes a plain value as it stands.
func (c Column) value(plain any) (frame.Value, error) {
	if plain == nil {
		return frame.Value{Type: frame.Null}, nil
	}
	v, err := c.encode(plain)
	if err != nil {
		return frame.Value{}, c.refuse(plain)
	}
	return v, nil
}

// errClass says that a type does not take a Go type; refuse says which.
var errClass = errors.New("of another class")

func (c Column) encode(plain any) (frame.Value, error) {
	switch x := plain.(type) {
	case string:
		return c.ofText(x)
	case []byte:
		if c.Type == Bytes || c.Type == Sealed && isSealed(x) {
			return frame.Of(x)
		}
	case int64:
		return c.ofInteger(x)
	case float64:
		return c.ofFloat(x)
	case bool:
		if c.Type == Boolean {
			return frame.Of(x)
		}
	case time.Time:
		return c.ofTime(x)
	}
	return frame.Value{}, errClass
}

func (c Column) ofText(text string) (frame.Value, error) {
	switch {
	case c.Type.isText():
		return frame.Of(text)
	case c.Type == Decimal:
		if d, ok := value.Scaled(text, c.Scale); ok && d == text {
			return frame.OfDecimal(text)
		}
	case c.Type == Date:
		return frame.OfDate(text)
	case c.Type == JSON:
		return frame.OfJSON([]byte(text))
	case c.Type == Sealed:
		if _, ok := openText(text); ok {
			return frame.Of(text)
		}
	}
	return frame.Value{}, errClass
}

func (c Column) ofInteger(n int64) (frame.Value, error) {
	switch c.Type {
	case Integer:
		return frame.OfInt(frame.Integer, n), nil
	case Time:
		return frame.OfInt(frame.Time, n), nil
	case Boolean:
		if n == 0 || n == 1 {
			return frame.Of(n == 1)
		}
	case Decimal: // SQLite keeps 12.00 as 12
		return c.ofNumber(strconv.FormatInt(n, 10))
	case Float: // SQLite keeps 3.0 as 3, where the column is numeric
		if x := float64(n); x < 1<<63 && int64(x) == n {
			return frame.Of(x)
		}
	default:
	}
	return frame.Value{}, errClass
}

func (c Column) ofFloat(x float64) (frame.Value, error) {
	switch c.Type {
	case Float:
		return frame.Of(x)
	case Decimal: // SQLite keeps 12.50 as 12.5
		if !c.tells(x) {
			return frame.Value{}, errClass
		}
		return c.ofNumber(strconv.FormatFloat(x, 'f', -1, 64))
	default:
		return frame.Value{}, errClass
	}
}

// tells says whether a float stands for one decimal of the scale: floats around
// it lie closer together than decimals do.
func (c Column) tells(x float64) bool {
	x = math.Abs(x)
	return math.Nextafter(x, math.Inf(1))-x <= math.Pow10(-c.Scale)
}

// ofNumber is a decimal that the database keeps as a number.
func (c Column) ofNumber(text string) (frame.Value, error) {
	d, ok := value.Scaled(text, c.Scale)
	if !ok {
		return frame.Value{}, errClass
	}
	return frame.OfDecimal(d)
}

func (c Column) ofTime(at time.Time) (frame.Value, error) {
	hour, minute, second := at.Clock()
	switch {
	case c.Type == Time && at.Nanosecond()%1000 == 0:
		return frame.Of(at)
	case c.Type == Date && hour == 0 && minute == 0 && second == 0 && at.Nanosecond() == 0:
		return frame.OfDate(at.Format(time.DateOnly))
	}
	return frame.Value{}, errClass
}

// The binary form of a sealed field is 0x01, key version, IV, ciphertext and
// tag. The text form is cg1., the key version in 8 hex digits, a dot, and the
// binary form in base64url.
func isSealed(raw []byte) bool {
	const least = 1 + 4 + 12 + 16
	return len(raw) >= least && raw[0] == 1
}

func openText(text string) ([]byte, bool) {
	_, body, _ := strings.Cut(strings.TrimPrefix(text, "cg1."), ".")
	raw, err := canon.ParseBytes(body)
	if err != nil || !isSealed(raw) {
		return nil, false
	}
	return raw, text == "cg1."+hex.EncodeToString(raw[1:5])+"."+body
}
