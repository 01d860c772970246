package wholedb

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"html"
	"net/url"
	"strings"
	"unicode/utf16"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"
)

// A spelling is one way in which a needle may stand somewhere. The letters A to Z
// are folded, as they are in what is searched.
type spelling struct{ form, text string }

// spellings lists the ways in which a text, or bytes, may stand somewhere. The
// first is the plain one.
func spellings(text string) []spelling {
	out := []spelling{{"plain", text}}
	add := func(form string, ways ...string) {
		for _, way := range ways {
			out = append(out, spelling{form, way})
		}
	}
	if utf8.ValidString(text) {
		lower := strings.ToLower(text)
		add("other case", lower, strings.ToUpper(text))
		for _, form := range []norm.Form{norm.NFC, norm.NFD, norm.NFKC} {
			add("other Unicode form", form.String(text), form.String(lower))
		}
		add("UTF-16", utf16Bytes(text, 1), utf16Bytes(text, 0))
		add("JSON", inJSON(text), asciiJSON(text), strings.ReplaceAll(inJSON(text), "/", `\/`))
		add("HTML", html.EscapeString(text))
		add("URL", url.QueryEscape(text), url.PathEscape(text))
		add("SHA-256", sha256Of(lower)...)
	}
	add("SHA-256", sha256Of(text)...)
	add("hexadecimal", hex.EncodeToString([]byte(text)))
	add("base64", base64Ways(text)...)
	seen, kept := map[string]bool{}, out[:0]
	for _, s := range out {
		s.text = string(fold([]byte(s.text)))
		if !seen[s.text] {
			seen[s.text] = true
			kept = append(kept, s)
		}
	}
	return kept
}

func sha256Of(text string) []string {
	sum := sha256.Sum256([]byte(text))
	return []string{string(sum[:]), hex.EncodeToString(sum[:])}
}

// utf16Bytes writes the units with the higher byte first (1) or last (0).
func utf16Bytes(text string, high int) string {
	var out strings.Builder
	for _, unit := range utf16.Encode([]rune(text)) {
		pair := [2]byte{byte(unit), byte(unit >> 8)}
		out.WriteByte(pair[high])
		out.WriteByte(pair[1-high])
	}
	return out.String()
}

func inJSON(text string) string {
	encoded, err := json.Marshal(text)
	if err != nil {
		return text
	}
	return strings.Trim(string(encoded), `"`)
}

// asciiJSON escapes all that is not ASCII, as many encoders do.
func asciiJSON(text string) string {
	var out strings.Builder
	for _, unit := range utf16.Encode([]rune(text)) {
		if unit < 0x20 || unit > 0x7e || unit == '"' || unit == '\\' {
			fmt.Fprintf(&out, `\u%04x`, unit)
		} else {
			out.WriteByte(byte(unit))
		}
	}
	return out.String()
}

// base64Ways are what a text adds to base64 where it stands at any place within
// what was encoded, in both alphabets.
func base64Ways(text string) []string {
	var out []string
	for before := range 3 {
		encoded := base64.RawStdEncoding.EncodeToString([]byte(strings.Repeat("x", before) + text))
		encoded = encoded[(before*8+5)/6:]
		if (before+len(text))%3 != 0 {
			encoded = encoded[:len(encoded)-1]
		}
		out = append(out, encoded, strings.NewReplacer("+", "-", "/", "_").Replace(encoded))
	}
	return out
}

// fold makes small letters of A to Z and leaves every other byte.
func fold(data []byte) []byte {
	out := make([]byte, len(data))
	for i, b := range data {
		if 'A' <= b && b <= 'Z' {
			b |= 0x20
		}
		out[i] = b
	}
	return out
}

// digits leaves the digits of numbers that are grouped by marks, and puts an x
// where another number begins.
func digits(data []byte) []byte {
	out := make([]byte, 0, len(data))
	for i := 0; i < len(data); i++ {
		switch b := data[i]; {
		case '0' <= b && b <= '9':
			out = append(out, b)
		case b == 0xc2 && i+1 < len(data) && data[i+1] == 0xa0: // a no-break space
			i++
		case strings.IndexByte(" -./()+", b) >= 0:
		case len(out) > 0 && out[len(out)-1] != 'x':
			out = append(out, 'x')
		}
	}
	return out
}
