package integrity_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/text/unicode/norm"

	"github.com/crmguard/crmguard/integrity"
)

func TestDomainsAreThoseOfIDNA(t *testing.T) {
	for why, domain := range map[string]string{
		"A-label of 41 bytes":  "ราชวิศวทยาลัยยูโรปากรุงเทพ.th",
		"Thai":                 strings.Repeat("ราชวิทยาลัย", 3) + ".th",
		"Hindi":                "राष्ट्रीयराजमार्ग.in",
		"Persian with joiner":  "نامه\u200cای.com",
		"Sinhala with joiner":  "ශ්\u200dරී.com",
		"Catalan":              "col·lega.cat",
		"Japanese":             "カード・会社.jp",
		"Hebrew":               "דוגמה.ישראל",
		"upper case":           "BÜCHER.example",
		"decomposed":           "mu\u0308nchen.de",
		"A-label":              "xn--mnchen-3ya.de",
		"A-label, upper case":  "XN--MNCHEN-3YA.DE",
		"A-label of a domain":  "xn--fsqu00a.xn--0zwm56d",
		"hyphens, not A-label": "r3---sn.example",
		"digits of Hindi":      "१२३.com",
		"full A-label":         strings.Repeat("ü", 29) + "a.de",
	} {
		require.Empty(t, codeOf(t, integrity.Field{Type: integrity.Email}, "me@"+domain), why)
		require.Empty(t, codeOf(t, integrity.Field{Type: integrity.URL}, "https://"+domain+":8443/"), why)
	}
	for why, domain := range map[string]string{
		"numeric top level":        "x.\u0663",
		"numeric top level, Hindi": "x.१२",
		"begins with a number":     "\u0663.com",
		"mixed directions":         "xא.com",
		"digit in a Hebrew domain": "1x.ישראל",
		"combining mark first":     "\u0300x.com",
		"no A-label":               "xn--a.com",
		"no A-label either":        "xn--zz-zz.com",
		"empty A-label":            "xn--.com",
		"A-label of ASCII":         "xn--abc-.com",
		"A-label of upper case":    "xn--mnchen-psa.de",
		"A-label of a number":      "xn--9hb.com",
		"overflowing A-label":      "xn--99999999.com",
		"broken A-label":           "xn--ä.com",
		"filler":                   "x\u3164y.com",
		"zero width":               "x\u200by.com",
		"joiner without need":      "a\u200db.com",
		"middle dot without need":  "a·b.com",
		"full width":               "ＥＸＡＭＰＬＥ.com",
		"private use":              "\ue000.com",
		"emoji":                    "💌.com",
		"underscore":               "ü_x.com",
		"hyphens in place 3 and 4": "ab--ü.com",
		"begins with a hyphen":     "-ü.com",
		"A-label too long":         strings.Repeat("üä", 30) + ".com",
		"domain too long":          strings.Repeat(strings.Repeat("ü", 20)+"a.", 9) + "com",
		"ideographic dot":          "例子。公司",
	} {
		require.Equal(t, integrity.CodeEmail, codeOf(t, integrity.Field{Type: integrity.Email}, "me@"+domain), why)
		require.Equal(t, integrity.CodeURL, codeOf(t, integrity.Field{Type: integrity.URL}, "https://"+domain+"/"), why)
	}
	for why, local := range map[string]string{"private use": "\ue000", "filler": "a\u3164", "joiner without need": "a\u200db", "zero width": "a\u200b", "unassigned": "\u0378", "space": "a\u00a0b", "quoted private use": "\"\ue000\""} {
		require.Equal(t, integrity.CodeEmail, codeOf(t, integrity.Field{Type: integrity.Email}, local+"@x.com"), why)
	}
	for _, local := range []string{"用户", "josé", "jose\u0301", "пётр", "क्\u200dष", "💌", "\"é x\""} {
		require.Empty(t, codeOf(t, integrity.Field{Type: integrity.Email}, local+"@x.com"), local)
	}
}

func TestWebAddressesHoldNothingHidden(t *testing.T) {
	for _, bad := range []string{
		"http://example.com:65536", "http://example.com:99999/", "http://example.com:0", "http://example.com:-1/", "http://example.com:/", "http://example.com:+80/", "http://[::1]:0/", "http://[::1]x",
		"http://[fe80::1%25eth0]/", "http://a\u3164b.com", "https://a.example/\u202egpj.exe", "https://a.example/\u00a0x", "https://a.example/\u0085", "https://a.example/\u200b", "https://a.example/\U000e0041", "https://a.example/x\ny",
	} {
		require.Contains(t, []integrity.Code{integrity.CodeURL, integrity.CodeControl}, codeOf(t, integrity.Field{Type: integrity.URL}, bad), bad)
	}
	for _, good := range []string{"http://example.com:1", "http://example.com:65535/", "http://[2001:db8::1]:443", "https://例子.example/路径?q=é", "https://a.example/😀"} {
		require.Empty(t, codeOf(t, integrity.Field{Type: integrity.URL}, good), good)
	}
}

// libraryALabel is the A-label that the library of the Go project makes, as
// net/http sends it.
func libraryALabel(tb testing.TB, label string) string {
	tb.Helper()
	request, err := http.NewRequestWithContext(tb.Context(), http.MethodGet, "http://x.example/", http.NoBody)
	require.NoError(tb, err)
	request.Host = label + ".example"
	var sent strings.Builder
	require.NoError(tb, request.Write(&sent))
	_, host, _ := strings.Cut(sent.String(), "Host: ")
	host, _, _ = strings.Cut(host, "\r\n")
	return strings.TrimSuffix(host, ".example")
}

// A label that passes in Unicode has the length that the library gives it, and
// passes in ASCII too.
func FuzzLabel(f *testing.F) {
	for _, seed := range []string{"münchen", "例子", "दिल्ली", "נשים", "ü-ä-ö", "ラブ", "a\u200db", "ก็", "ﬁ", "𐍈", "xn--a", "ab--ü"} {
		f.Add(seed)
	}
	schema := emailSchema(f)
	f.Fuzz(func(t *testing.T, label string) {
		label = norm.NFC.String(strings.ToLower(norm.NFC.String(label))) // as the library wants it
		if len(label) > 100 || strings.ContainsAny(label, ".:/@[]%\" ") || !isEmail(schema, "me@"+label+".example") {
			return
		}
		a := libraryALabel(t, label)
		require.LessOrEqual(t, len(a), 63, "%q", label)
		if strings.HasPrefix(a, "xn--") {
			require.True(t, isEmail(schema, "me@"+a+".example"), "%q as %q", label, a)
		}
	})
}
