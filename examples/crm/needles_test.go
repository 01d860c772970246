package main

import (
	"bytes"
	"crypto/rand"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"net/url"
	"strings"
	"testing"
	"testing/iotest"
	"unicode/utf16"

	"github.com/stretchr/testify/require"
	"golang.org/x/text/unicode/norm"
)

// A search that cannot find proves nothing, so every form is planted in
// random bytes and must be found, at every alignment of base64.
func TestEveryFormIsFound(t *testing.T) {
	values := []string{"Åsa.Björkström@post.example", "+44 7700 900123", "欧阳晓雯客户资料", `a "quoted" & <b>old</b> one`, "MiXeD-Case-1"}
	for _, value := range values {
		n := newNeedles()
		n.addAllForms("v", value)
		for form, encode := range map[string]func(string) []byte{
			"as written": func(s string) []byte { return []byte(s) },
			"lower case": func(s string) []byte { return []byte(strings.ToLower(s)) },
			"NFD":        func(s string) []byte { return norm.NFD.Bytes([]byte(s)) },
			"hex":        func(s string) []byte { return []byte(hex.EncodeToString([]byte(s))) },
			"percent":    func(s string) []byte { return []byte(url.QueryEscape(s)) },
			"json": func(s string) []byte {
				b, err := json.Marshal(map[string]string{"k": s})
				require.NoError(t, err)
				return b
			},
			"utf16": func(s string) []byte {
				var out []byte
				for _, u := range utf16.Encode([]rune(s)) {
					out = append(out, byte(u), byte(u>>8))
				}
				return out
			},
			"base64 0": func(s string) []byte { return []byte(base64.StdEncoding.EncodeToString([]byte("xyz" + s + "tail"))) },
			"base64 1": func(s string) []byte { return []byte(base64.StdEncoding.EncodeToString([]byte("wxyz" + s + "tail"))) },
			"base64 2": func(s string) []byte { return []byte(base64.URLEncoding.EncodeToString([]byte("vwxyz" + s))) },
		} {
			found := 0
			n.scan(planted(t, encode(value)), func(needle) { found++ })
			require.NotZero(t, found, "%s of a value was not found", form)
		}
	}
	n := newNeedles()
	n.addAllForms("phone", "+44 7700 900-123")
	found := 0
	n.scan([]byte("call 447700900123 now"), func(needle) { found++ })
	require.NotZero(t, found, "digits of a telephone number were not found")
}

func planted(t *testing.T, value []byte) []byte {
	t.Helper()
	noise := make([]byte, 4096)
	_, err := rand.Read(noise)
	require.NoError(t, err)
	return append(append(noise[:1234:1234], value...), noise[1234:]...)
}

func TestNothingIsFoundWhereNothingIs(t *testing.T) {
	n := newNeedles()
	n.addAllForms("v", "someone@post.example")
	n.scan(planted(t, []byte("someone@post.exampl")), func(needle) { t.Error("found what is not there") })
}

func TestAStreamIsScannedAcrossItsSeams(t *testing.T) {
	n := newNeedles()
	n.add("v", []byte("needle-in-a-haystack"))
	for _, at := range []int{0, 1<<20 - 5, 1 << 20, 2<<20 - 19, 3 << 20} {
		data := make([]byte, 3<<20+100)
		copy(data[at:], "needle-in-a-haystack")
		found := 0
		require.NoError(t, n.scanReader(iotest.HalfReader(bytes.NewReader(data)), func(needle) { found++ }))
		require.NotZero(t, found, "at %d", at)
	}
}
