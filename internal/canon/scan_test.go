package canon_test

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/crmguard/crmguard/internal/canon"
)

func scan(in []byte) error {
	s := canon.Scan(string(in))
	s.Skip()
	return s.End()
}

// One pass and two passes are of one opinion about every document.
func sameVerdict(t require.TestingT, in []byte) {
	two, one := canon.Check(in), scan(in)
	if (two == nil) != (one == nil) {
		require.Fail(t, "verdicts differ", "%q: Check says %v, Scanner says %v", in, two, one)
	}
	if one != nil {
		require.ErrorIs(t, one, canon.ErrCanonical)
	}
}

func documents() []string {
	return []string{
		``, ` `, `{}`, `[]`, `"x"`, `0`, `-0`, `-1`, `01`, `1.0`, `1e3`, `9007199254740991`, `-9007199254740991`, `9007199254740992`, `99999999999999999999999999`,
		`true`, `false`, `null`, `tru`, `truefalse`, `{}{}`, "{}\n", `{"a":1,}`, `{,}`, `[1,]`, `[,1]`, `[1 ,2]`, `{"a":1,"a":1}`, `{"b":1,"a":1}`, `{"a":1,"b":[true,false,""]}`,
		`{"a":null}`, `{"é":1}`, `{"\u00e9":1}`, `{"\"":1,"\\":2}`, `{"\n":1}`, `{"":1}`, `{"a"}`, `{"a":}`, `{1:2}`,
		`"\n"`, `"\u000a"`, `"\u0001"`, `"\u001F"`, `"\u001f"`, `"\/"`, `"/"`, `"\u003c"`, `"\ud83d\ude00"`, `"😀"`, `"\ud800"`, "\"\x01\"", "\"\x7f\"", "\"\xff\"", "\"\xc0\x80\"", "\"\xed\xa0\x80\"",
		`"\u2028"`, "\"\u2028\"", `"\q"`, `"\`, `"\"`, `"a\\"`, `"`, `"\u12"`, `{"a":"b`, "\ufeff{}",
		strings.Repeat("[", 16) + strings.Repeat("]", 16), strings.Repeat("[", 17) + strings.Repeat("]", 17), strings.Repeat(`{"a":`, 16) + "1" + strings.Repeat("}", 16),
		strings.Repeat(`{"a":`, 17) + "1" + strings.Repeat("}", 17), strings.Repeat("[", 20000),
	}
}

func TestTheScannerIsOfTheOpinionOfCheck(t *testing.T) {
	for _, in := range documents() {
		sameVerdict(t, []byte(in))
	}
}

func FuzzScanner(f *testing.F) {
	for _, in := range documents() {
		f.Add([]byte(in))
	}
	f.Fuzz(func(t *testing.T, in []byte) { sameVerdict(t, in) })
}

// A sound document with one byte of it changed, put in or taken out is judged
// alike: random bytes seldom come as near.
func TestOneByteOfADocumentMoreOrLess(t *testing.T) {
	sound := []byte(`{"a":[-12,0,"x\n\u0001é",{}],"b":{"c":true,"d":[]},"z":9007199254740991}`)
	require.NoError(t, scan(sound))
	for i := range sound {
		sameVerdict(t, append(bytes.Clone(sound[:i]), sound[i+1:]...))
		for c := range 256 {
			changed := bytes.Clone(sound)
			changed[i] = byte(c)
			sameVerdict(t, changed)
			sameVerdict(t, append(append(bytes.Clone(sound[:i]), byte(c)), sound[i:]...))
		}
	}
}

func TestTheScannerHandsOutWhatTheDocumentSays(t *testing.T) {
	s := canon.Scan(`{"a":[1,-2],"b":"x\ny","c":{"d":"é"},"e":[[true]]}`)
	var numbers []int64
	text, inner := "", ""
	s.Object(func(name string) {
		switch name {
		case "a":
			s.Array(func() { numbers = append(numbers, s.Int()) })
		case "b":
			text = s.Text()
		case "c":
			s.Object(func(string) { inner = s.Text() })
		default:
			s.Skip()
		}
	})
	require.NoError(t, s.End())
	require.Equal(t, []int64{1, -2}, numbers)
	require.Equal(t, "x\ny", text)
	require.Equal(t, "é", inner)
}

func TestWhatIsOfAnotherKindThanAskedForEndsTheReading(t *testing.T) {
	for _, in := range []string{`1`, `"x"`, `{}`, `[]`, `true`} {
		for kind, read := range map[string]func(s *canon.Scanner){
			"{": func(s *canon.Scanner) { s.Object(func(string) { s.Skip() }) },
			"[": func(s *canon.Scanner) { s.Array(s.Skip) },
			`"`: func(s *canon.Scanner) { s.Text() },
			"1": func(s *canon.Scanner) { s.Int() },
		} {
			s := canon.Scan(in)
			read(&s)
			if kind == in[:1] {
				require.NoError(t, s.End(), in)
				continue
			}
			require.ErrorIs(t, s.End(), canon.ErrCanonical, "%s read as %s", in, kind)
			require.Empty(t, s.Text(), "nothing is handed out behind an error")
		}
	}
}

func TestATimeIsReadInItsOneSpelling(t *testing.T) {
	for in, sound := range map[string]bool{
		`"2026-11-27T04:00:00.000001Z"`: true, `"2026-11-27T04:00:00,000001Z"`: false, `"2026-11-27T04:00:00Z"`: false, `""`: false, `1`: false,
	} {
		s := canon.Scan(in)
		at := s.Time()
		if !sound {
			require.ErrorIs(t, s.End(), canon.ErrCanonical, in)
			continue
		}
		require.NoError(t, s.End())
		require.Equal(t, time.Date(2026, 11, 27, 4, 0, 0, 1000, time.UTC), at)
	}
}

func TestErrorsOfTheScannerNeverQuoteTheData(t *testing.T) {
	for _, in := range []string{`{"a":"secret`, `{"secret@x":1,"secret@x":2}`, `{"a":secret}`, `"\ud800secret"`, `{"secreté":1}`} {
		err := scan([]byte(in))
		require.Error(t, err)
		require.NotContains(t, err.Error(), "secret")
	}
}

// What is appended part by part is what Marshal writes in one piece.
func TestAppendedPartsAreThoseOfMarshal(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		text := rapid.OneOf(rapid.String(), rapid.StringMatching("[\\x00-\\x7f\u2028é😀]*")).Draw(t, "text")
		n := rapid.Int64Range(-1<<53, 1<<53).Draw(t, "n")
		at := time.UnixMicro(rapid.Int64Range(-70_000_000_000_000_000, 270_000_000_000_000_000).Draw(t, "at"))

		want, wrong := canon.Marshal(text)
		got, err := canon.AppendText(nil, text)
		require.Equal(t, wrong == nil, err == nil)
		if err == nil {
			require.Equal(t, string(want), string(got))
		}
		want, wrong = canon.Marshal(n)
		got, err = canon.AppendInt(nil, n)
		require.Equal(t, wrong == nil, err == nil, "%d: %v, %v", n, wrong, err)
		if err == nil {
			require.Equal(t, string(want), string(got))
		}
		got, err = canon.AppendTime(nil, at)
		written := canon.FormatTime(at)
		_, unreadable := canon.ParseTime(written)
		require.Equal(t, unreadable == nil, err == nil, written)
		if err == nil {
			require.Equal(t, `"`+written+`"`, string(got))
		}
	})
	for year, sound := range map[int]bool{-1: false, 0: true, 9999: true, 10000: false} {
		_, err := canon.AppendTime(nil, time.Date(year, 6, 1, 0, 0, 0, 0, time.UTC))
		require.Equal(t, sound, err == nil, year)
	}
	_, err := canon.AppendText(nil, "\xff")
	require.ErrorIs(t, err, canon.ErrCanonical)
}

func TestIsBytesReadsWhatParseBytesReads(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(0, 64).Draw(t, "n")
		text := canon.FormatBytes(rapid.SliceOfN(rapid.Byte(), n, n).Draw(t, "bytes"))
		require.True(t, canon.IsBytes(text, n))
		changed := []byte(text)
		if len(changed) > 0 {
			changed[rapid.IntRange(0, len(changed)-1).Draw(t, "place")] = rapid.Byte().Draw(t, "byte")
		}
		data, err := canon.ParseBytes(string(changed))
		require.Equal(t, err == nil && len(data) == n, canon.IsBytes(string(changed), n), "%q", changed)
	})
	for n := range 65 { // a line end among the characters is skipped by the decoder
		text := canon.FormatBytes(make([]byte, n))
		for _, end := range []string{"\n", "\r"} {
			require.False(t, canon.IsBytes(text+end, n+1), "%d bytes", n)
			require.False(t, canon.IsBytes(text+end, n))
		}
	}
	require.False(t, canon.IsBytes("", 1))
	require.False(t, canon.IsBytes("AA", -1))
	require.False(t, canon.IsBytes(canon.FormatBytes(make([]byte, 65)), 65))
}
