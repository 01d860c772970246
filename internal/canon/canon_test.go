package canon_test

import (
	"strings"
	"testing"

	"github.com/gowebpki/jcs"
	"github.com/stretchr/testify/require"

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
