package integrity_test

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/integrity"
)

func codeOf(tb testing.TB, f integrity.Field, value any) integrity.Code {
	tb.Helper()
	f.Name = "x"
	schema, err := integrity.NewSchema("s", f)
	require.NoError(tb, err)
	got := schema.Validate(map[string]any{"x": value})
	if len(got) == 0 {
		return ""
	}
	require.Len(tb, got, 1)
	return got[0].Code
}

func TestWhatCannotBeSeenIsNotThere(t *testing.T) {
	for _, empty := range []string{
		"", " ", " \t\r\n", "\u0085", "\u00a0", "\u2003\u3000", "\u2028", "\u200b", "\u200c\u200d", "\u200e\u200f", "\u2060", "\ufeff", "\u00ad", "\u061c",
		"\u3164", "\u115f\u1160", "\uffa0", "\u034f", "\u17b4", "\u180e", "\ufe0f", "\U000e0100", "\u2800", "\U0001d159", "\u2064", " \u200b\u3164 ",
	} {
		for _, kind := range []integrity.Type{integrity.Text, integrity.Email, integrity.Phone} {
			require.Equal(t, integrity.CodeRequired, codeOf(t, integrity.Field{Type: kind, Required: true}, empty), "%q", empty)
			require.Empty(t, codeOf(t, integrity.Field{Type: kind}, empty), "%q", empty)
		}
	}
	require.Equal(t, integrity.CodeRequired, codeOf(t, integrity.Field{Required: true, FreeText: true}, "\u2066\n\u2069"))
	require.Equal(t, integrity.CodeRequired, codeOf(t, integrity.Field{Type: integrity.Date, Required: true}, time.Time{}))
	require.Equal(t, integrity.CodeRequired, codeOf(t, integrity.Field{Type: integrity.Time, Required: true}, time.Time{}))
	for _, there := range []string{"\u0301", "\u0600", "\u06dd", "\U00013430", ".", "\ufffd", "가", "\u1100"} {
		require.Empty(t, codeOf(t, integrity.Field{Required: true}, there), "%q", there)
	}
}

// A name is written by somebody else than those who will see it.
func TestOneLineOfTextHoldsNothingThatActs(t *testing.T) {
	always := []string{
		"\x00", "\x01", "\x07", "\x08", "\x0b", "\x0c", "\x1b[2J", "\x7f", "\u0080", "\u0085", "\u009b31m", "\u202d", "\u202e", "\u206a", "\u206f", "\ufff9", "\ufffb",
		"\U000e0001", "\U000e0041", "\ufdd0", "\ufffe", "\U0010ffff",
	}
	inOneLine := []string{"\t", "\n", "\r\n", "\u2028", "\u2029", "\u202a", "\u202b", "\u202c", "\u2066", "\u2067", "\u2068", "\u2069"}
	refused := []integrity.Code{integrity.CodeControl, integrity.CodeNUL}
	for i, bad := range append(always, inOneLine...) {
		for _, text := range []string{"Ann" + bad, bad + "Ann", "An" + bad + "n", "李" + bad + "娜"} {
			require.Contains(t, refused, codeOf(t, integrity.Field{}, text), "%q", text)
			free := codeOf(t, integrity.Field{FreeText: true}, text)
			require.Equal(t, i < len(always), free != "", "%q", text)
			var rows []integrity.Accepted
			_, err := integrity.Import(t.Context(), rowsOf(map[string]any{"email": "a@b.example", "first_name": text, "last_name": "x", "unknown": text}), integrity.ImportOptions{Schema: contactSchema(t)}, collect(&rows))
			require.NoError(t, err)
			require.NotContains(t, rows[0].Values, "first_name", "%q", text)
			require.Equal(t, i >= len(always), len(rows[0].Custom) == 1, "an unknown column is free text: %q", text)
		}
	}
	require.Equal(t, integrity.CodeControl, codeOf(t, integrity.Field{}, "🏴"+strings.Repeat("\U000e0041", 8)), "a flag hides no text")
	require.Equal(t, integrity.CodeControl, codeOf(t, integrity.Field{}, "🏴x\U000e0041"))
	require.Equal(t, integrity.CodeControl, codeOf(t, integrity.Field{}, "\u202e"), "an override alone is not nothing")
	require.Equal(t, integrity.CodeControl, codeOf(t, integrity.Field{}, "Ann\r\nBcc: evil@attacker.example"))
	_, err := integrity.NewSchema("s", integrity.Field{Name: "x", Type: integrity.Email, FreeText: true})
	require.ErrorIs(t, err, integrity.ErrConfig)
}

func TestWhatPeopleWritePasses(t *testing.T) {
	for language, text := range map[string]string{
		"English":           "Ann O’Brien – “the boss”…",
		"French":            "Chloé d\u2019Été\u00a0: 5\u202f%",
		"decomposed":        "Jose\u0301",
		"Vietnamese":        "Nguyễn Thị Ánh",
		"Chinese":           "欧阳娜娜　女士（上海）",
		"Japanese":          "渡邉\U000e0100 さくら",
		"Korean":            "김민수",
		"Old Korean":        "\u1112\u119e\u11ab\u115f\u1161",
		"Hebrew":            "דָּנִיאֵל כהן",
		"Hebrew with Latin": "חברת C++\u200e בע״מ",
		"Arabic":            "محمّد عبد الله \u061c(٣)",
		"Persian":           "می\u200cخواهم علی\u200cرضا",
		"Hindi":             "क्\u200dष रा\u200cम",
		"Sinhala":           "ශ්\u200dරී ලංකා",
		"Thai":              "สมชาย\u200bใจดี",
		"Khmer":             "ភ្នំពេញ\u200bកម្ពុជា",
		"Mongolian":         "ᠮᠣᠩᠭᠣᠯ\u180e",
		"Tibetan":           "བཀྲ་ཤིས",
		"soft hyphen":       "Donau\u00addampf",
		"family":            "👩\u200d👩\u200d👧\u200d👦 👍🏽 ❤\ufe0f",
		"keycap and flag":   "1\ufe0f\u20e3 🇨🇭",
		"flag of Scotland":  "🏴\U000e0067\U000e0062\U000e0073\U000e0063\U000e0074\U000e007f Edinburgh",
		"mathematics":       "f\u2061(x)\u2062y",
		"private use":       "\ue000",
	} {
		require.Empty(t, codeOf(t, integrity.Field{Required: true}, text), language)
		require.Empty(t, codeOf(t, integrity.Field{Required: true, FreeText: true}, text+"\n\t\u2067"+text+"\u2069\r\n"), language)
	}
}

func TestUnknownColumnsAreNamedByTheirPlace(t *testing.T) {
	run := importFile(t, "email,z,first_name,a,m\na@b.example,\x1b,A,\u202e,\x07\n")
	require.NoError(t, run.err)
	require.Equal(t, "line,field,code,outcome\n2,column 2,control,field_dropped\n2,column 4,control,field_dropped\n2,column 5,control,field_dropped\n", run.rejects)
	require.Empty(t, run.rows[0].Custom)
}

func TestSchemasOfStrangersAreHeldToTheSameHygiene(t *testing.T) {
	for name, f := range map[string]integrity.Field{
		"name with an override": {Name: "a\u202e"},
		"name of nothing":       {Name: "\u200b"},
		"name over lines":       {Name: "a\nb"},
		"label with ESC":        {Name: "a", Label: map[string]string{"en": "\x1b[2J"}},
		"label of nothing":      {Name: "a", Label: map[string]string{"en": "\u3164"}},
		"choice of nothing":     {Name: "a", OneOf: []string{"x", " "}},
		"choice over lines":     {Name: "a", OneOf: []string{"x\ny"}},
		"choice not UTF-8":      {Name: "a", OneOf: []string{"\xff"}},
	} {
		_, err := integrity.NewSchema("s", f)
		require.ErrorIs(t, err, integrity.ErrConfig, name)
	}
}

// Two spellings that look alike are one value of a unique field.
func TestInvisibleCharactersMakeNoOtherValue(t *testing.T) {
	schema, err := integrity.NewSchema("s", integrity.Field{Name: "code"})
	require.NoError(t, err)
	report, err := integrity.Import(t.Context(), rowsOf(
		map[string]any{"code": "AB-1"}, map[string]any{"code": "ab\u200b-1"}, map[string]any{"code": "\u00a0AB-1\ufeff"}, map[string]any{"code": "A\u00adB-\u20601"}, map[string]any{"code": "AB -1"},
	), integrity.ImportOptions{Schema: schema, Unique: []string{"code"}, ReportOnly: true}, nil)
	require.NoError(t, err)
	require.Equal(t, 2, report.Accepted)
	require.Equal(t, 3, report.Rejected)
}

// A pattern is held to whole texts, whatever it closes, opens or switches.
func TestAPatternCannotLeaveItsAnchors(t *testing.T) {
	for _, bad := range []string{
		"x)|(?:y", ")", "x)(", "a)|(b", "(?:a", `a\`, "[a", "(?P<n>a)|b)", "x)|(?#y", "*a", "(?z)a", `\Qa\E)|(?:b`, "a{1001}", "(a{100}){100}",
		`(?:[^a]{0,100}){0,9}b|(?:[^b]{0,100}){0,9}c|.{1000}`, strings.Repeat("(", 400) + strings.Repeat(")", 401), strings.Repeat("a", 1001), "\xff",
	} {
		_, err := integrity.NewSchema("s", integrity.Field{Name: "x", Pattern: bad})
		require.ErrorIs(t, err, integrity.ErrConfig, bad)
		require.NotContains(t, err.Error(), `\A`, "the error speaks of what was written")
	}
	for pattern, tc := range map[string]struct{ good, bad []string }{
		"x|y":             {[]string{"x", "y"}, []string{"xy", "xANYTHING", "ANYy", "x\ny"}},
		"(?i)ab|(?-i)c":   {[]string{"AB", "c"}, []string{"C", "abc"}},
		`\Qa|b`:           {[]string{"a|b"}, []string{"a", "b", `a|b)\z`}},
		`\Qa\E|b`:         {[]string{"a", "b"}, []string{"ab"}},
		"(?m)^a$":         {[]string{"a"}, []string{"b"}},
		"a|^b|c$":         {[]string{"a", "b", "c"}, []string{"ab", "bc"}},
		"(?s).":           {[]string{"x"}, []string{"xx"}},
		"[A-Z]{2}\\d{3}":  {[]string{"AB123"}, []string{"AB1234", "xAB123"}},
		"(?U)a+":          {[]string{"aaa"}, []string{"aab"}},
		"a?":              {[]string{"a"}, []string{"aa", "b"}},
		"\\p{Han}+|[äöü]": {[]string{"李娜", "ä"}, []string{"李a"}},
	} {
		for _, s := range tc.good {
			require.Empty(t, codeOf(t, integrity.Field{Pattern: pattern, FreeText: true}, s), "%s %q", pattern, s)
		}
		for _, s := range tc.bad {
			require.Equal(t, integrity.CodePattern, codeOf(t, integrity.Field{Pattern: pattern, FreeText: true}, s), "%s %q", pattern, s)
		}
	}
	require.Empty(t, codeOf(t, integrity.Field{Pattern: "x*"}, strings.Repeat("x", 10_000)))
	require.Equal(t, integrity.CodePattern, codeOf(t, integrity.Field{Pattern: "x*"}, strings.Repeat("x", 10_001)), "no text above the limit is matched")
}
