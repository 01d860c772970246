package value_test

import (
	"database/sql"
	"database/sql/driver"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"math/big"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/crmguard/crmguard/internal/value"
)

const secret = "canary@example.org"

// Go types as applications have them.
type (
	status  string
	level   int16
	flag    bool
	blob    []byte
	letter  byte
	id      [16]byte
	byValue struct{ p *string } // its Value dereferences, or hands on a nil pointer
	careful struct{ p *string }
	pointed struct{ p *string } // a valuer by pointer only
	polite  struct{}            // answers for nil
	failing struct{}
	forever struct{}
	chain   struct{ inner any }
	loop    *loop
)

func (v byValue) Value() (driver.Value, error)  { return *v.p, nil }
func (v careful) Value() (driver.Value, error)  { return v.p, nil }
func (v *pointed) Value() (driver.Value, error) { return *v.p, nil }
func (*polite) Value() (driver.Value, error)    { return "default", nil }
func (failing) Value() (driver.Value, error)    { return nil, errors.New("no " + secret) }
func (v forever) Value() (driver.Value, error)  { return v, nil }
func (v chain) Value() (driver.Value, error)    { return v.inner, nil }

func rat(s string) *big.Rat {
	r, _ := new(big.Rat).SetString(s)
	return r
}

// Whatever NULL is spelled with in Go, it is NULL.
func TestNullHasManySpellings(t *testing.T) {
	var nothing any
	var nilText *string
	for _, v := range []any{
		nil, []byte(nil), sql.RawBytes(nil), blob(nil), json.RawMessage(nil), new([]byte(nil)),
		nilText, &nilText, new(&nilText), &nothing, (*int64)(nil), (*time.Time)(nil), (*sql.NullString)(nil), (*uuid.UUID)(nil),
		sql.NullString{String: "left over"},
		sql.NullInt64{Int64: 7},
		sql.NullInt32{},
		sql.NullInt16{},
		sql.NullByte{},
		sql.NullFloat64{},
		sql.NullBool{Bool: true},
		sql.NullTime{},
		sql.Null[string]{V: "left over"},
		sql.Null[[16]byte]{},
		sql.Null[*string]{Valid: true},
		&sql.NullString{}, &sql.Null[int]{},
		uuid.NullUUID{},
		(*byValue)(nil), (*careful)(nil),
		careful{},
		&careful{}, (*pointed)(nil),
		chain{},
		chain{[]byte(nil)},
		chain{chain{nilText}},
		chain{&sql.NullString{}},
	} {
		got, err := value.Of(v)
		require.NoError(t, err, "%T", v)
		require.True(t, got.IsNull(), "%T", v)
		require.Nil(t, got.Any(), "%T", v)
		plain, err := value.Resolve(v)
		require.NoError(t, err, "%T", v)
		again, err := value.Of(plain)
		require.NoError(t, err, "%T", v)
		require.True(t, again.IsNull(), "%T", v)
		_, err = got.Text()
		require.ErrorIs(t, err, value.ErrNull, "%T", v)
	}
	for _, v := range []any{
		"", status(""), new(""),
		sql.NullString{Valid: true},
		[]byte{},
		sql.RawBytes{},
		blob{},
		json.RawMessage("null"), 0, false,
		time.Time{},
		[]string(nil),
		[]any{},
		map[string]any(nil),
		[16]byte{},
		uuid.Nil, (*polite)(nil),
		chain{""},
	} {
		got, err := value.Of(v)
		require.NoError(t, err, "%T", v)
		require.False(t, got.IsNull(), "%T is empty, which is not NULL", v)
	}
}

// Nil bytes are what one driver gives for an empty blob, and NULL is nil.
func TestWhatAScanPutIntoAnAny(t *testing.T) {
	got, err := value.Scanned([]byte(nil))
	require.NoError(t, err)
	require.Equal(t, value.Bytes, got.Kind())
	got, err = value.Scanned(nil)
	require.NoError(t, err)
	require.True(t, got.IsNull())
	got, err = value.Scanned("x")
	require.NoError(t, err)
	require.Equal(t, "x", got.Any())
}

func TestEveryGoTypeHasOneKind(t *testing.T) {
	at := time.Date(2026, 2, 3, 4, 5, 6, 7000, time.FixedZone("", 3600))
	one := uuid.MustParse("0195d2c0-0000-7000-8000-00000000000a")
	for _, c := range []struct {
		in   any
		kind value.Kind
		want any
	}{
		{"x", value.Text, "x"},
		{status("x"), value.Text, "x"},
		{new(status("x")), value.Text, "x"},
		{new(new("x")), value.Text, "x"},
		{sql.NullString{String: "x", Valid: true}, value.Text, "x"},
		{&sql.NullString{String: "x", Valid: true}, value.Text, "x"},
		{sql.Null[status]{V: "x", Valid: true}, value.Text, "x"},
		{chain{chain{new("x")}}, value.Text, "x"},
		{(*polite)(nil), value.Text, "default"},
		{one, value.Text, one.String()},
		{uuid.NullUUID{UUID: one, Valid: true}, value.Text, one.String()},
		{5, value.Integer, int64(5)},
		{int8(-5), value.Integer, int64(-5)},
		{level(-5), value.Integer, int64(-5)},
		{new(int64(5)), value.Integer, int64(5)},
		{uint8(200), value.Integer, int64(200)},
		{uint64(math.MaxInt64), value.Integer, int64(math.MaxInt64)},
		{uint64(math.MaxInt64 + 1), value.Unsigned, uint64(math.MaxInt64 + 1)},
		{uint(math.MaxUint64), value.Unsigned, uint64(math.MaxUint64)},
		{sql.NullInt64{Int64: 5, Valid: true}, value.Integer, int64(5)},
		{sql.NullInt16{Int16: 5, Valid: true}, value.Integer, int64(5)},
		{sql.Null[uint64]{V: math.MaxUint64, Valid: true}, value.Unsigned, uint64(math.MaxUint64)},
		{json.Number("5"), value.Integer, int64(5)},
		{json.Number("5.0"), value.Number, json.Number("5.0")},
		{json.Number("9223372036854775808"), value.Number, json.Number("9223372036854775808")},
		{sql.Null[json.Number]{V: "1.5", Valid: true}, value.Number, json.Number("1.5")},
		{true, value.Boolean, true},
		{flag(false), value.Boolean, false},
		{sql.NullBool{Bool: true, Valid: true}, value.Boolean, true},
		{[]byte("x"), value.Bytes, []byte("x")},
		{sql.RawBytes("x"), value.Bytes, []byte("x")},
		{blob("x"), value.Bytes, []byte("x")},
		{[]letter{1, 2}, value.Bytes, []byte{1, 2}},
		{[2]byte{1, 2}, value.Bytes, []byte{1, 2}},
		{[16]byte{1}, value.UUID, [16]byte{1}},
		{id{1}, value.UUID, [16]byte{1}},
		{[16]letter{1}, value.UUID, [16]byte{1}},
		{sql.Null[[16]byte]{V: [16]byte{1}, Valid: true}, value.UUID, [16]byte{1}},
		{1.5, value.Float, 1.5},
		{float32(1.5), value.Float, 1.5},
		{sql.NullFloat64{Float64: 1.5, Valid: true}, value.Float, 1.5},
		{at, value.Time, at},
		{&at, value.Time, at},
		{sql.NullTime{Time: at, Valid: true}, value.Time, at},
		{sql.Null[time.Time]{V: at, Valid: true}, value.Time, at},
		{time.Minute, value.Duration, time.Minute},
		{json.RawMessage(`{}`), value.JSON, json.RawMessage(`{}`)},
		{new(json.RawMessage(`{}`)), value.JSON, json.RawMessage(`{}`)},
		{[]string{"a"}, value.List, []string{"a"}},
		{&[]string{"a"}, value.List, []string{"a"}},
		{[]status{"a"}, value.List, []status{"a"}},
		{[2]int{1, 2}, value.List, [2]int{1, 2}},
		{map[string]any{"a": 1}, value.Map, map[string]any{"a": 1}},
		{map[status]int{"a": 1}, value.Map, map[status]int{"a": 1}},
	} {
		got, err := value.Of(c.in)
		require.NoError(t, err, "%T", c.in)
		require.Equal(t, c.kind, got.Kind(), "%T", c.in)
		require.Equal(t, c.want, got.Any(), "%T", c.in)
		again, err := value.Of(got.Any())
		require.NoError(t, err, "%T", c.in)
		require.Equal(t, c.kind, again.Kind(), "what Any gives reads the same: %T", c.in)
	}
}

func TestWhatHoldsNoValueIsAnErrorAndNeverAPanic(t *testing.T) {
	var round loop
	round = &round
	for _, c := range []struct {
		in   any
		want error
	}{
		{byValue{}, value.ErrValuer},
		{&byValue{}, value.ErrValuer},
		{&pointed{}, value.ErrValuer},
		{failing{}, value.ErrValuer},
		{&failing{}, value.ErrValuer},
		{forever{}, value.ErrValuer},
		{round, value.ErrValuer},
		{chain{struct{ s string }{secret}}, value.ErrType},
		{struct{ s string }{secret}, value.ErrType},
		{map[int]string{1: secret}, value.ErrType},
		{make(chan string), value.ErrType},
		{func() {}, value.ErrType},
		{complex(1, 1), value.ErrType},
		{json.Number(secret), value.ErrKind},
		{json.Number(""), value.ErrKind},
		{json.Number("0x10"), value.ErrKind},
		{json.Number("1e999999"), value.ErrKind},
		{json.Number("NaN"), value.ErrKind},
		{json.Number("1_000"), value.ErrKind},
	} {
		_, err := value.Of(c.in)
		require.ErrorIs(t, err, c.want, "%T", c.in)
		require.NotContains(t, err.Error(), secret)
		named := value.In("stage", err)
		var typed *value.Error
		require.ErrorAs(t, named, &typed)
		require.Equal(t, "stage", typed.Field)
		require.ErrorIs(t, named, c.want)
		require.Contains(t, named.Error(), `"stage"`)
	}
	require.NoError(t, value.In("stage", nil))
	other := errors.New("another")
	require.Equal(t, other, value.In("stage", other))
}

// conversions of one value, by what is asked for; what is not listed must be
// an error.
type conversions map[string]any

// asked holds all conversions of the package.
func asked(v value.Value) map[string]func() (any, error) {
	return map[string]func() (any, error){
		"text":      func() (any, error) { return v.Text() },
		"id":        func() (any, error) { return v.ID() },
		"integer":   func() (any, error) { return v.Integer() },
		"boolean":   func() (any, error) { return v.Boolean() },
		"bytes":     func() (any, error) { b, err := v.Bytes(); return string(b), err },
		"float":     func() (any, error) { return v.Float() },
		"decimal":   func() (any, error) { return v.Decimal(2) },
		"digits":    func() (any, error) { return v.Digits() },
		"duration":  func() (any, error) { return v.Duration() },
		"time":      func() (any, error) { at, err := v.Time(nil); return at.UTC().Format(time.RFC3339Nano), err },
		"localtime": func() (any, error) { at, err := v.Time(time.UTC); return at.UTC().Format(time.RFC3339Nano), err },
		"date":      func() (any, error) { return v.Date() },
		"json":      func() (any, error) { b, err := v.JSON(); return string(b), err },
		"list":      func() (any, error) { return items(v) },
		"map":       func() (any, error) { return v.Fields() },
	}
}

func items(v value.Value) ([]any, error) {
	n, err := v.Len()
	out := []any{}
	for i := range n {
		out = append(out, v.Item(i))
	}
	return out, err
}

func TestConversionsAreExactOrAnError(t *testing.T) {
	noon, midnight := "2026-01-02T12:00:00Z", "2026-01-02T00:00:00Z"
	parse := func(s string) time.Time {
		at, err := time.Parse(time.RFC3339, s)
		require.NoError(t, err)
		return at
	}
	for _, c := range []struct {
		in   any
		want conversions
	}{
		{nil, conversions{}},
		{"", conversions{"text": "", "bytes": ""}},
		{"x", conversions{"text": "x", "id": "x", "bytes": "x"}},
		{"\xff", conversions{"bytes": "\xff"}},
		{[]byte("\xff"), conversions{"bytes": "\xff"}},
		{[]byte{}, conversions{"text": "", "bytes": ""}},
		{"a\x00", conversions{"text": "a\x00", "id": "a\x00", "bytes": "a\x00"}},
		{"3", conversions{"text": "3", "id": "3", "bytes": "3", "integer": int64(3), "float": 3.0, "decimal": "3.00", "json": "3"}},
		{[]byte("3"), conversions{"text": "3", "id": "3", "bytes": "3", "integer": int64(3), "float": 3.0, "decimal": "3.00", "json": "3"}},
		{"-3.00", conversions{"text": "-3.00", "id": "-3.00", "bytes": "-3.00", "integer": int64(-3), "float": -3.0, "decimal": "-3.00", "json": "-3.00"}},
		{"03", conversions{"text": "03", "id": "03", "bytes": "03", "decimal": "3.00"}},
		{"+3", conversions{"text": "+3", "id": "+3", "bytes": "+3"}},
		{" 3", conversions{"text": " 3", "id": " 3", "bytes": " 3", "json": " 3"}},
		{"3.1", conversions{"text": "3.1", "id": "3.1", "bytes": "3.1", "float": 3.1, "decimal": "3.10", "json": "3.1"}},
		{"9223372036854775808", conversions{"text": "9223372036854775808", "id": "9223372036854775808", "bytes": "9223372036854775808", "float": 9223372036854775808.0, "decimal": "9223372036854775808.00", "json": "9223372036854775808"}},
		{"9007199254740993", conversions{"text": "9007199254740993", "id": "9007199254740993", "bytes": "9007199254740993", "integer": int64(9007199254740993), "decimal": "9007199254740993.00", "json": "9007199254740993"}},
		{"1", conversions{"text": "1", "id": "1", "bytes": "1", "integer": int64(1), "boolean": true, "float": 1.0, "decimal": "1.00", "json": "1"}},
		{"true", conversions{"text": "true", "id": "true", "bytes": "true", "boolean": true, "json": "true"}},
		{"t", conversions{"text": "t", "id": "t", "bytes": "t"}},
		{"NaN", conversions{"text": "NaN", "id": "NaN", "bytes": "NaN"}},
		{3, conversions{"digits": "3", "json": "3", "id": "3", "integer": int64(3), "float": 3.0, "decimal": "3.00"}},
		{1, conversions{"digits": "1", "json": "1", "id": "1", "integer": int64(1), "boolean": true, "float": 1.0, "decimal": "1.00"}},
		{int64(math.MaxInt64), conversions{"digits": "9223372036854775807", "json": "9223372036854775807", "id": "9223372036854775807", "integer": int64(math.MaxInt64), "decimal": "9223372036854775807.00"}},
		{int64(math.MinInt64), conversions{"digits": "-9223372036854775808", "json": "-9223372036854775808", "id": "-9223372036854775808", "integer": int64(math.MinInt64), "float": -9223372036854775808.0, "decimal": "-9223372036854775808.00"}},
		{uint64(math.MaxUint64), conversions{"digits": "18446744073709551615", "json": "18446744073709551615", "id": "18446744073709551615", "decimal": "18446744073709551615.00"}},
		{true, conversions{"json": "true", "boolean": true}},
		{[]byte{1}, conversions{"text": "\x01", "id": "\x01", "bytes": "\x01", "boolean": true}},
		{[]byte{0}, conversions{"text": "\x00", "id": "\x00", "bytes": "\x00", "boolean": false}},
		{3.0, conversions{"json": "3", "integer": int64(3), "float": 3.0, "decimal": "3.00"}},
		{math.Copysign(0, -1), conversions{"json": "-0", "integer": int64(0), "float": math.Copysign(0, -1), "decimal": "0.00"}},
		{12.5, conversions{"json": "12.5", "float": 12.5, "decimal": "12.50"}},
		{12.345, conversions{"json": "12.345", "float": 12.345}},
		{math.NaN(), conversions{"float": "NaN"}},
		{math.Inf(1), conversions{"float": math.Inf(1)}},
		{float64(1<<53 - 1), conversions{"json": "9.007199254740991e+15", "integer": int64(1<<53 - 1), "float": float64(1<<53 - 1)}},
		{float64(1 << 53), conversions{"json": "9.007199254740992e+15", "float": float64(1 << 53)}},
		{9999999999999.99, conversions{"json": "9.99999999999999e+12", "float": 9999999999999.99, "decimal": "9999999999999.99"}},
		{19999999999999.99, conversions{"json": "1.999999999999999e+13", "float": 19999999999999.99}},
		{json.Number("1.50"), conversions{"digits": "1.50", "json": "1.50", "float": 1.5, "decimal": "1.50"}},
		{json.Number("3e0"), conversions{"digits": "3", "json": "3e0", "integer": int64(3), "float": 3.0, "decimal": "3.00"}},
		{json.Number("1.25e2"), conversions{"digits": "125", "json": "1.25e2", "integer": int64(125), "float": 125.0, "decimal": "125.00"}},
		{json.Number("-125E-2"), conversions{"digits": "-1.25", "json": "-125E-2", "float": -1.25, "decimal": "-1.25"}},
		{json.Number("0.1000000000000000055"), conversions{"digits": "0.1000000000000000055", "json": "0.1000000000000000055"}},
		{json.Number("-0"), conversions{"digits": "-0", "json": "-0", "integer": int64(0), "float": math.Copysign(0, -1), "decimal": "0.00"}},
		{[16]byte{0xab}, conversions{"text": "ab000000-0000-0000-0000-000000000000", "id": "ab000000-0000-0000-0000-000000000000", "bytes": "\xab" + strings.Repeat("\x00", 15)}},
		{time.Second, conversions{"integer": int64(1_000_000_000), "duration": time.Second}},
		{parse(noon), conversions{"time": noon, "localtime": noon}},
		{parse(midnight), conversions{"time": midnight, "localtime": midnight, "date": "2026-01-02"}},
		{parse("2026-01-02T00:00:00+02:00"), conversions{"time": "2026-01-01T22:00:00Z", "localtime": "2026-01-01T22:00:00Z", "date": "2026-01-02"}},
		{noon, conversions{"text": noon, "id": noon, "bytes": noon, "time": noon, "localtime": noon}},
		{[]byte(midnight), conversions{"text": midnight, "id": midnight, "bytes": midnight, "time": midnight, "localtime": midnight, "date": "2026-01-02"}},
		{json.RawMessage(`{"a":1}`), conversions{"bytes": `{"a":1}`, "json": `{"a":1}`}},
		{json.RawMessage(`{`), conversions{"bytes": `{`}},
		{[]string{"a"}, conversions{"list": []any{"a"}, "json": `["a"]`}},
		{[]status(nil), conversions{"list": []any{}, "json": `[]`}},
		{[]string{"\xff"}, conversions{"list": []any{"\xff"}}},
		{[2]int{1, 2}, conversions{"list": []any{1, 2}, "json": `[1,2]`}},
		{[]any{nil, uint64(math.MaxUint64), json.Number("1.50"), true, []any{}, 0.5, new("<"), parse(noon), json.RawMessage("[ ]")}, conversions{"list": "any", "json": `[null,18446744073709551615,1.50,true,[],0.5,"\u003c","2026-01-02T12:00:00Z",[ ]]`}},
		{[]any{[]byte("x")}, conversions{"list": "any"}},
		{[]any{math.NaN()}, conversions{"list": "any"}},
		{map[string]any{"b": 1, "a": [16]byte{}}, conversions{"map": map[string]any{"b": 1, "a": [16]byte{}}, "json": `{"a":"00000000-0000-0000-0000-000000000000","b":1}`}},
		{map[status]int{"a": 1}, conversions{"map": map[string]any{"a": 1}, "json": `{"a":1}`}},
		{map[string]any{"\xff": 1}, conversions{"map": map[string]any{"\xff": 1}}},
	} {
		v, err := value.Of(c.in)
		require.NoError(t, err)
		for name, ask := range asked(v) {
			got, err := ask()
			want, taken := c.want[name]
			if !taken {
				var typed *value.Error
				require.ErrorAs(t, err, &typed, "%T %v as %s", c.in, c.in, name)
				continue
			}
			require.NoError(t, err, "%T %v as %s", c.in, c.in, name)
			if x, isFloat := got.(float64); isFloat && math.IsNaN(x) {
				got = "NaN"
			}
			if name != "list" || want != "any" {
				require.Equal(t, want, got, "%T %v as %s", c.in, c.in, name)
			}
		}
	}
}

// The longest decimal that a float is exactly, and one of a digit more.
func TestTheExactDecimalOfAFloatIsThatFloat(t *testing.T) {
	least := math.SmallestNonzeroFloat64
	exact := strconv.FormatFloat(least, 'f', 1074, 64)
	for text, good := range map[string]bool{exact: true, exact + "000": true, exact + "1": false, "0." + strings.Repeat("1", 2000): false} {
		v, err := value.Of(text)
		require.NoError(t, err)
		x, err := v.Float()
		require.Equal(t, good, err == nil)
		if good {
			require.Equal(t, math.Float64bits(least), math.Float64bits(x))
		}
	}
}

func TestTextOfTimes(t *testing.T) {
	want := time.Date(2026, 1, 2, 3, 4, 5, 600_000_000, time.UTC)
	for text, zone := range map[string]bool{
		"2026-01-02T03:04:05.6Z": true, "2026-01-02T05:04:05.6+02:00": true, "2026-01-02 03:04:05.6+00": true, "2026-01-02 08:34:05.6+05:30": true,
		"2026-01-02 03:04:05.6 +0000 UTC": true, "2026-01-02 04:04:05.6 +0100 CET m=+0.003": true, "2026-01-02 03:04:05.600000": false, "2026-01-02T03:04:05.6": false,
	} {
		v, err := value.Of([]byte(text))
		require.NoError(t, err)
		at, err := v.Time(time.UTC)
		require.NoError(t, err, text)
		require.True(t, at.Equal(want), text)
		_, err = v.Time(nil)
		require.Equal(t, zone, err == nil, "%s: without a zone nobody can tell which time it is", text)
	}
	for _, text := range []string{
		"", "0000-00-00", "0000-00-00 00:00:00", "0000-01-01", "infinity", "2026-02-30", "2026-01-02T3:04:05Z", "2026-01-02 03:04:05,6", "2026-01-02T03:04:05+24:00",
		"2026-01-02T03:04:60Z", "12026-01-02", "2026-1-2", "1767323045", "2026-01-02 03:04:05 BC",
	} {
		v, err := value.Of(text)
		require.NoError(t, err)
		_, err = v.Time(time.UTC)
		require.ErrorIs(t, err, value.ErrKind, text)
		_, err = v.Date()
		require.Error(t, err, text)
	}
	v, err := value.Of(time.Date(10000, 1, 1, 0, 0, 0, 0, time.UTC))
	require.NoError(t, err)
	_, err = v.Date()
	require.ErrorIs(t, err, value.ErrRange)
}

func TestListsHaveAnEnd(t *testing.T) {
	var deep any = "x"
	for range 40 {
		deep = []any{deep}
	}
	v, err := value.Of(deep)
	require.NoError(t, err)
	_, err = v.JSON()
	require.ErrorIs(t, err, value.ErrRange)
	around := []any{nil}
	around[0] = around
	v, err = value.Of(around)
	require.NoError(t, err)
	_, err = v.JSON()
	require.ErrorIs(t, err, value.ErrRange)
}

func TestNoErrorShowsTheValue(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		mark := rapid.StringMatching(`[a-z]{12}`).Draw(t, "mark")
		for _, in := range []any{mark, []byte(mark), status(mark), []string{mark}, map[string]any{mark: mark}, json.RawMessage(mark), json.Number(mark), chain{errors.New(mark)}} {
			v, err := value.Of(in)
			if err != nil {
				require.NotContains(t, err.Error(), mark)
				continue
			}
			for name, ask := range asked(v) {
				if _, err := ask(); err != nil {
					require.NotContains(t, err.Error(), mark, name)
				}
			}
		}
	})
}

// Numbers mean what Go's own parsers say, in whatever form they come.
func TestNumbersAgreeWithAnotherReader(t *testing.T) {
	text := rapid.StringMatching(`-?(0|[1-9][0-9]{0,20})(\.[0-9]{1,6})?([eE][+-]?[0-9]{1,2})?`)
	rapid.Check(t, func(t *rapid.T) {
		in := text.Draw(t, "number")
		exact := rat(in)
		for _, in := range []any{in, []byte(in), json.Number(in), sql.NullString{String: in, Valid: true}} {
			v, err := value.Of(in)
			require.NoError(t, err)
			if n, err := v.Integer(); err == nil {
				require.Zero(t, exact.Cmp(rat(fmt.Sprint(n))), "%v", in)
			} else if exact.IsInt() && exact.Num().IsInt64() {
				t.Fatalf("%v is an integer: %v", in, err)
			}
			if x, err := v.Float(); err == nil {
				nearest, _ := exact.Float64()
				require.Equal(t, nearest, x, "%v", in) //nolint:testifylint // exactly
			}
			if d, err := v.Decimal(4); err == nil {
				require.Zero(t, exact.Cmp(rat(d)), "%v", in)
			}
		}
	})
}
