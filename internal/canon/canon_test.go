package canon_test

import (
	"math"
	"math/big"
	"strconv"
	"strings"
	"testing"

	"github.com/gowebpki/jcs"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/crmguard/crmguard/internal/canon"
)

func TestMarshalAgreesWithAnotherImplementation(t *testing.T) {
	in := map[string]any{
		"z": "Grüße <&> \u2028 \u0001\b\t\n\f\r\"\\ 客户", "a": 9007199254740991, "b": []any{true, false, "", -1, 0},
		"c": map[string]any{"y": "1", "x": map[string]any{}},
	}
	ours, err := canon.Marshal(in)
	require.NoError(t, err)
	theirs, err := jcs.Transform(ours)
	require.NoError(t, err)
	require.Equal(t, string(theirs), string(ours))
	require.NoError(t, canon.Check(ours))
	require.Contains(t, string(ours), "<&> \u2028")
}

func TestCheckRefusesEverythingOutsideTheProfile(t *testing.T) {
	for name, in := range map[string]string{
		"float": `{"a":1.5}`, "exponent": `{"a":1e3}`, "beyond 2^53-1": `{"a":9007199254740992}`, "minus zero": `{"a":-0}`,
		"null": `{"a":null}`, "duplicate": `{"a":1,"a":1}`, "unsorted": `{"b":1,"a":1}`, "space": `{"a": 1}`,
		"name not ASCII": `{"é":1}`, "escaped slash": `{"a":"\/"}`, "lone surrogate": `{"a":"\ud800"}`, "invalid UTF-8": "{\"a\":\"\xff\"}",
		"two values": `{}{}`, "empty": ``, "html escaped": `{"a":"\u003c"}`, "long integer": `{"a":99999999999999999999999}`,
		"deep": strings.Repeat("[", 17) + strings.Repeat("]", 17), "cut": `{"a":`, "trailing newline": "{}\n",
	} {
		t.Run(name, func(t *testing.T) {
			require.ErrorIs(t, canon.Check([]byte(in)), canon.ErrCanonical)
		})
	}
	require.NoError(t, canon.Check([]byte(strings.Repeat("[", 16)+strings.Repeat("]", 16))))
	require.NoError(t, canon.Check([]byte(`{"a":-9007199254740991,"b":0}`)))
}

func TestUnmarshalKeepsUnknownMembersOutOfTheWay(t *testing.T) {
	var got struct {
		V int `json:"v"`
	}
	require.NoError(t, canon.Unmarshal([]byte(`{"new":"x","v":1}`), &got))
	require.Equal(t, 1, got.V)
	require.ErrorIs(t, canon.Unmarshal([]byte(`{"v":"text"}`), &got), canon.ErrCanonical)
}

func TestErrorsNeverQuoteTheData(t *testing.T) {
	for _, in := range []string{`{"a":"secret`, `{"secret@x":1,"secret@x":2}`, `{"a":secret}`} {
		err := canon.Check([]byte(in))
		require.Error(t, err)
		require.NotContains(t, err.Error(), "secret")
	}
}

func TestNumbersKeepAllTheirDigits(t *testing.T) {
	for in, want := range map[string]string{
		"9007199254740993": "9007199254740993", "-9007199254740993": "-9007199254740993", "18446744073709551616": "18446744073709551616",
		"12345678901234567.89": "12345678901234567.89", "333333333.33333329": "333333333.33333329",
		"0.1000000000000000055511151231257827": "0.1000000000000000055511151231257827",
		"1":                                    "1", "1.0": "1", "1.00": "1", "1E0": "1", "10e-1": "1", "0.01E+2": "1", "1e2": "100", "1E+2": "100", "100.00": "100", "1.50": "1.5",
		"0": "0", "0.0": "0", "0e5": "0", "0e99999999999": "0", "-0": "-0", "-0.0": "-0", "-0e1": "-0",
		"1e400": "1e+400", "1" + strings.Repeat("0", 400): "1e+400", "1e-400": "1e-400", "0." + strings.Repeat("0", 399) + "1": "1e-400",
		"1e20": "100000000000000000000", "1e21": "1e+21", "123e19": "1.23e+21", "1e-6": "0.000001", "1e-7": "1e-7", "12e-8": "1.2e-7", "-1.5e-9": "-1.5e-9",
		"1e2147483646": "1e+2147483646", "0.01e2147483648": "1e+2147483646", "1e-2147483649": "1e-2147483649",
	} {
		got, err := canon.Transform([]byte(`{"b":[` + in + `],"a":` + in + `}`))
		require.NoError(t, err, in)
		require.Equal(t, `{"a":`+want+`,"b":[`+want+`]}`, string(got), in)
		again, err := canon.Transform(got)
		require.NoError(t, err)
		require.Equal(t, string(got), string(again), "the canonical form is that of itself")
		typed, err := canon.Typed([]byte(in))
		if want == "-0" {
			require.ErrorIs(t, err, canon.ErrCanonical, in)
			continue
		}
		require.NoError(t, err, in)
		require.Equal(t, want, string(typed), in)
	}
	for _, in := range []string{"1e2147483647", "1e-2147483650", "1e99999999999999999999", "01", "1.", "+1", "NaN", "0x1"} {
		_, err := canon.Transform([]byte(in))
		require.ErrorIs(t, err, canon.ErrCanonical, in)
	}
}

// Two texts are one number in our form exactly when they are one to math/big,
// and a number that a float64 holds looks as RFC 8785 says.
func TestNumbersAgreeWithOtherImplementations(t *testing.T) {
	digits := rapid.StringMatching(`-?(0|[1-9][0-9]{0,25})(\.[0-9]{1,25})?([eE][+-]?[0-9]{1,2})?`)
	rapid.Check(t, func(t *rapid.T) {
		a, b := digits.Draw(t, "a"), digits.Draw(t, "b")
		if rapid.Bool().Draw(t, "respelt") {
			b = respelt(t, a)
		}
		x, err := canon.Transform([]byte(a))
		require.NoError(t, err)
		y, err := canon.Transform([]byte(b))
		require.NoError(t, err)
		p, _ := new(big.Rat).SetString(a)
		q, _ := new(big.Rat).SetString(b)
		if p.Sign() != 0 { // math/big knows no -0
			require.Equal(t, p.Cmp(q) == 0, string(x) == string(y), "%s %s", a, b)
		}

		f := math.Float64frombits(rapid.Uint64().Draw(t, "float"))
		if math.IsNaN(f) || math.IsInf(f, 0) || f == 0 {
			return
		}
		text := "[" + strconv.FormatFloat(f, 'e', -1, 64) + "]"
		ours, err := canon.Transform([]byte(text))
		require.NoError(t, err)
		theirs, err := jcs.Transform([]byte(text))
		require.NoError(t, err)
		require.Equal(t, string(theirs), string(ours))
	})
}

// respelt moves the point of a number without changing it.
func respelt(t *rapid.T, number string) string {
	mantissa, exponent, _ := strings.Cut(strings.ToLower(number), "e")
	if !strings.Contains(mantissa, ".") {
		mantissa += "."
	}
	mantissa = strings.TrimSuffix(mantissa+"0", ".")
	shift := rapid.IntRange(0, 3).Draw(t, "shift")
	whole, fraction, _ := strings.Cut(mantissa, ".")
	fraction += "000"
	e, _ := strconv.Atoi(exponent)
	moved := strings.TrimLeft(strings.TrimPrefix(whole, "-")+fraction[:shift], "0")
	if moved == "" {
		moved = "0"
	}
	if strings.HasPrefix(whole, "-") {
		moved = "-" + moved
	}
	return moved + "." + fraction[shift:] + "0e" + strconv.Itoa(e-shift)
}

func FuzzCheck(f *testing.F) {
	f.Add([]byte(`{"a":1,"b":["x",true]}`))
	f.Fuzz(func(t *testing.T, in []byte) {
		if canon.Check(in) != nil {
			return
		}
		again, err := jcs.Transform(in)
		if in[0] != '{' && in[0] != '[' {
			return // the other implementation takes only objects and arrays
		}
		require.NoError(t, err)
		require.Equal(t, string(in), string(again))
	})
}

// What is canonical once is canonical for good, and says what the document says.
func FuzzTransform(f *testing.F) {
	for _, seed := range []string{`{"n":[1.50,1E2,-0,1e400,9007199254740993],"a":"\u00fc"}`, `0.000000e-7`, `-12345678901234567890.5E+3`, `1e2147483647`} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		once, err := canon.Transform(in)
		if err != nil {
			require.ErrorIs(t, err, canon.ErrCanonical)
			return
		}
		twice, err := canon.Transform(once)
		require.NoError(t, err)
		require.Equal(t, string(once), string(twice))
		if typed, err := canon.Typed(in); err == nil {
			require.Equal(t, string(once), string(typed))
		}
	})
}
