package integrity_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/net/idna"

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
		"Cherokee":             "ᏣᎳᎩ.com",
		"Cherokee, small":      "ꮳꮃꭹ.com",
		"sharp s":              "straße.de",
		"final sigma":          "οδος.gr",
		"Greek, capitals":      "ΟΔΟΣ.gr",
		"Kelvin for K":         "\u212adn.com",
		"short beside long":    "r3---sn.bücher.example",
		"full A-label":         strings.Repeat("ü", 29) + "a.de",
	} {
		require.Empty(t, codeOf(t, integrity.Field{Type: integrity.Email}, "me@"+domain), why)
		require.Empty(t, codeOf(t, integrity.Field{Type: integrity.URL}, "https://"+domain+":8443/"), why)
	}
	for why, domain := range map[string]string{
		"numeric top level":        "x.\u0663",
		"numeric top level, Hindi": "x.१२",
		"numeric top level, coded": "x.xn--e4bc",
		"Greek question mark":      "x\u037ey.com", // in normal form a semicolon
		"Greek accent alone":       "x\u1fefy.com", // in normal form a backtick
		"capital of two meanings":  "STRAẞE.de",    // straße or strasse, as the software has it
		"Turkish capital":          "İzmir.com",    // a point above the small letter, or none
		"capital out of use":       "\u10a0\u10a1.ge",
		"letters not kept apart":   "ᾳδης.gr", // a browser maps them to αι
		"Cyrillic variant":         "\u1c80ода.com",
		"soft hyphen":              "bü\u00adcher.com",
		"long s":                   "ſtadt.com",
		"micro sign":               "µm.com",
		"hyphens, coded":           "xn--ab---3ra.com",
		"symbol, coded":            "xn--rr8h.com",
		"dot at the end":           "bücher.example.",
		"begins with a number":     "\u0663.com",
		"mixed directions":         "xא.com",
		"digit in a Hebrew domain": "1x.ישראל",
		"combining mark first":     "\u0300x.com",
		"no A-label":               "xn--a.com",
		"no A-label, upper case":   "XN--A.com",
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
		"https://" + strings.Repeat("a.", 126) + "de/",
	} {
		require.Contains(t, []integrity.Code{integrity.CodeURL, integrity.CodeControl}, codeOf(t, integrity.Field{Type: integrity.URL}, bad), bad)
	}
	for _, good := range []string{"http://example.com:1", "http://example.com:65535/", "http://[2001:db8::1]:443", "https://例子.example/路径?q=é", "https://a.example/😀", "https://" + strings.Repeat("a.", 125) + "com/"} {
		require.Empty(t, codeOf(t, integrity.Field{Type: integrity.URL}, good), good)
	}
}

// A label that passes as somebody typed it reaches a host that passes: the
// A-label that it is looked up by, the same in capitals, and what that stands
// for. The profile for looking up maps case and form itself.
func FuzzLabel(f *testing.F) {
	for _, seed := range []string{"münchen", "MÜNCHEN", "例子", "दिल्ली", "נשים", "ü-ä-ö", "ラブ", "a\u200db", "ก็", "ﬁ", "𐍈", "xn--a", "ab--ü", "İzmir", "ꮳꮃꭹ", "ΟΔΟΣ", "e\u0301", "x\u037ey", "ᾳ"} {
		f.Add(seed)
	}
	schema, lookup := emailSchema(f), idna.New(idna.MapForLookup(), idna.BidiRule(), idna.CheckHyphens(false))
	f.Fuzz(func(t *testing.T, label string) {
		if len(label) > 100 || strings.ContainsAny(label, ".:/@[]%\" ") || !isEmail(schema, "me@"+label+".example") {
			return
		}
		host, err := lookup.ToASCII(label)
		require.NoError(t, err, "%q", label)
		require.LessOrEqual(t, len(host), 63, "%q", label)
		for _, same := range []string{host, strings.ToUpper(host)} {
			require.True(t, isEmail(schema, "me@"+same+".example"), "%q as %q", label, same)
		}
		if strings.HasPrefix(host, "xn--") {
			meant, err := idna.Punycode.ToUnicode(host)
			require.NoError(t, err)
			require.True(t, isEmail(schema, "me@"+meant+".example"), "%q as %q", label, meant)
			again, err := lookup.ToASCII(meant)
			require.NoError(t, err)
			require.Equal(t, host, again, "%q", label)
		}
	})
}
