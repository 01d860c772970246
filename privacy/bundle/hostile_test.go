package bundle_test

import (
	"encoding/json"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/privacy/bundle"
	"github.com/crmguard/crmguard/privacy/datastore"
)

// hostile are values that somebody has typed into a form.
func hostile() []any {
	values := []any{
		nil, "",
		[]byte{},
		0, -5, -5.25, 1e300, true, false, int64(math.MaxInt64), uint64(math.MaxUint64), math.NaN(), math.Inf(1),
		json.Number("1e400"), json.Number("-1e99999"), json.RawMessage(`{"n": 1e400, "<b>": "\u003c/script>"}`), json.RawMessage(`{"a":1,"a":2}`), json.RawMessage(`[`), json.RawMessage(strings.Repeat("[", 5000) + strings.Repeat("]", 5000)),
		time.Date(0, 1, 1, 0, 0, 0, 0, time.UTC), time.Date(9999, 12, 31, 23, 59, 59, 999999999, time.UTC), time.Date(-44, 3, 15, 0, 0, 0, 0, time.UTC), time.Date(12026, 1, 1, 0, 0, 0, 0, time.UTC),
		time.Time{},
		"\xff\xfe", []byte("\x00\x01"), "a\x00b", "\x7f\x1b[31m", "\u202egnp.exe", "\u2028", "</td></table><h1>", "{{.Manifest}}", "${7*7}", `<a href="javascript:alert(1)">`,
		`<script src="https://evil.example/x.js"></script><img src=x onerror=alert(1)>`, "<style>*{background:url(//evil.example)}</style>", "--><script>alert(1)</script>", `" onmouseover="alert(1)`, "]]>", "<!--",
		"=cmd|' /C calc'!A0", "+cmd|' /C calc'!A0", "-2+3+cmd|' /C calc'!A0", "@SUM(1+1)*cmd|' /C calc'!A0", "\t=1", "\r=1", "\n=1", "＝1+1", "＋1", "－1", "＠x", `=HYPERLINK("https://evil.example")`, "+", "-", "+1-800-555-0100", "'=1", `"=1"`, `a","=1`, "a\n=1,2", "a\r\nb\rc",
		"+49 (0)30 901820", "+491701234567", "王小明", strings.Repeat("x", 16<<20),
		" =1+1", "\u200b=1", "\u00a0@x", "\ufeff\t=1", "﹦1", "−1",
	}
	return values
}

// bundleOfHostile has each value as a text of a row, and in names and reasons.
func bundleOfHostile(t *testing.T) ([]byte, *bundle.Manifest) {
	t.Helper()
	c := config()
	var records []datastore.Record
	for i, v := range hostile() {
		name, reason := "<script>=1", "plain"
		if text, ok := v.(string); ok && len(text) < 100 && utf8.ValidString(text) && text != "" {
			reason = text
		}
		r := record("notes", string(rune('0'+i)), fields{{Name: name, Value: v}, {Name: "n", Value: i}, {Name: "=other", Withhold: reason}})
		r.Files = []datastore.File{{Name: "../" + reason, Data: []byte(reason)}}
		records = append(records, r)
	}
	c.Controller.Name = hostile()[33].(string)
	return write(t, c, records...)
}

func TestHostileValuesAreShownAndDoNothing(t *testing.T) {
	data, m := bundleOfHostile(t)
	path := filepath.Join(t.TempDir(), "bundle.zip")
	require.NoError(t, os.WriteFile(path, data, 0o600))
	out, err := exec.CommandContext(t.Context(), "python3", "testdata/bundle.py", path).CombinedOutput()
	require.NoError(t, err, "%s", out)
	require.Equal(t, len(hostile()), m.Tables[0].Rows)

	rows := lines(file(t, data, "data/notes.ndjson"))
	shown := map[string]bool{}
	for _, line := range rows {
		var row map[string]json.RawMessage
		require.NoError(t, json.Unmarshal([]byte(line), &row))
		shown[string(row["<script>=1"])] = true
	}
	for _, want := range []string{
		"null", `""`, "-5.25", "1e+300", `"9223372036854775807"`, `"18446744073709551615"`, `"NaN"`, `"+Inf"`, `"1` + strings.Repeat("0", 400) + `"`, `"-1e99999"`,
		`{"<b>":"</script>","n":1e+400}`, `"{\"a\":1,\"a\":2}"`, `"["`, `"` + strings.Repeat("[", 5000) + strings.Repeat("]", 5000) + `"`,
		`"0000-01-01T00:00:00.000000Z"`, `"9999-12-31T23:59:59.999999999Z"`, `"-0044-03-15T00:00:00Z"`, `"+12026-01-01T00:00:00Z"`, `"0001-01-01T00:00:00.000000Z"`,
		`{"base64url":"__4"}`, `"\u0000\u0001"`, `"a\u0000b"`, `"＝1+1"`, `"王小明"`, `"` + strings.Repeat("x", 16<<20) + `"`,
	} {
		require.True(t, shown[want], "%.60s", want)
	}
	require.Contains(t, file(t, data, "data/notes.csv"), "\"a\u2400b\"")
	page := file(t, data, "index.html")
	for _, runs := range []string{"<script", "<img", "javascript:alert(1)\"", "<style>*", "<h1></h1>"} {
		require.NotContains(t, page, runs)
	}
	require.Contains(t, page, "&lt;script src=&#34;https://evil.example/x.js&#34;&gt;")
	require.Contains(t, page, `<td dir="auto">`+"\u202egnp.exe</td>", "a text that turns its direction turns its own cell alone")
}

func TestUnzipOpensABundle(t *testing.T) {
	data, m := bundleOfHostile(t)
	dir := t.TempDir()
	path := filepath.Join(dir, "bundle.zip")
	require.NoError(t, os.WriteFile(path, data, 0o600))
	out, err := exec.CommandContext(t.Context(), "unzip", "-q", path, "-d", filepath.Join(dir, "out")).CombinedOutput()
	require.NoError(t, err, "%s", out)
	for _, f := range m.Files {
		got, err := os.ReadFile(filepath.Join(dir, "out", f.Name))
		require.NoError(t, err)
		require.Len(t, got, int(f.Bytes))
	}
}
