package bundle_test

import (
	"archive/zip"
	"bytes"
	"encoding/json"
	"flag"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/privacy/bundle"
	"github.com/crmguard/crmguard/privacy/datastore"
)

var update = flag.Bool("update", false, "write the sample in testdata anew; never for a released format")

// rewrite makes another ZIP of a bundle, compressed; a file whose name becomes
// empty is left out, and more stand there besides, empty or once more.
func rewrite(t testing.TB, data []byte, change func(name string, data []byte) (string, []byte), more ...string) []byte {
	t.Helper()
	z, err := zip.NewReader(bytes.NewReader(data), int64(len(data)))
	require.NoError(t, err)
	var out bytes.Buffer
	w := zip.NewWriter(&out)
	for _, f := range z.File {
		name, text := change(f.Name, []byte(file(t, data, f.Name)))
		if name == "" {
			continue
		}
		part, err := w.Create(name)
		require.NoError(t, err)
		_, err = part.Write(text)
		require.NoError(t, err)
	}
	for _, name := range more {
		part, err := w.Create(name)
		require.NoError(t, err)
		if f, err := z.Open(name); err == nil && !strings.HasSuffix(name, "/") {
			_, err = io.Copy(part, f)
			require.NoError(t, err)
		}
	}
	require.NoError(t, w.Close())
	return out.Bytes()
}

func TestABundleThatWasTouched(t *testing.T) {
	r := contact("1", "ann@a.example")
	r.Files = []datastore.File{{Name: "x.txt", Data: []byte("one")}}
	data, _ := write(t, config(), r)
	inManifest := func(old, text string) func(string, []byte) (string, []byte) {
		return func(n string, d []byte) (string, []byte) {
			if n == "manifest.json" {
				changed := bytes.Replace(d, []byte(old), []byte(text), 1)
				require.NotEqual(t, d, changed, old)
				d = changed
			}
			return n, d
		}
	}
	for name, change := range map[string]func(string, []byte) (string, []byte){
		"changed": func(n string, d []byte) (string, []byte) {
			if n == "index.html" {
				d[len(d)-2] ^= 1
			}
			return n, d
		},
		"longer": func(n string, d []byte) (string, []byte) {
			if n == "index.html" {
				d = append(d, ' ')
			}
			return n, d
		},
		"dropped": func(n string, d []byte) (string, []byte) { return strings.TrimPrefix(n, "index.html"), d },
		"renamed": func(n string, d []byte) (string, []byte) {
			return strings.Replace(n, "contacts.csv", "contact.csv", 1), d
		},
		"twice":              func(_ string, d []byte) (string, []byte) { return "manifest.json", d },
		"no manifest":        func(n string, d []byte) (string, []byte) { return strings.TrimPrefix(n, "manifest.json"), d },
		"not canonical":      inManifest(`{"controller"`, `{ "controller"`),
		"of another version": inManifest(`"v":1}`, `"v":2}`),
		"recounted":          inManifest(`"name":"data/contacts.ndjson","rows":1`, `"name":"data/contacts.ndjson","rows":2`),
		"resized":            inManifest(`"bytes":3,`, `"bytes":4,`),
		"negative":           inManifest(`"bytes":3,`, `"bytes":-3,`),
		"listed twice":       inManifest(`data/contacts.csv`, `data/contacts.ndjson`),
		"outside":            inManifest(`data/contacts.csv`, `../contacts.csv`),
		"outside on Windows": inManifest(`data/contacts.csv`, `..\\contacts.csv`),
		"absolute":           inManifest(`data/contacts.csv`, `/data/contacts.csv`),
		"one more listed":    inManifest(`"files":[`, `"files":[{"bytes":0,"name":"a","sha256":"e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"},`),
	} {
		touched := rewrite(t, data, change)
		_, err := bundle.Verify(bytes.NewReader(touched), int64(len(touched)))
		require.ErrorIs(t, err, bundle.ErrManifest, name)
	}
	same := func(n string, d []byte) (string, []byte) { return n, d }
	compressed := rewrite(t, data, same)
	_, err := bundle.Verify(bytes.NewReader(compressed), int64(len(compressed)))
	require.NoError(t, err, "compressed by somebody, and the same")
	for _, more := range []string{"more.txt", "manifest.json", "index.html", "files/"} {
		longer := rewrite(t, data, same, more)
		_, err := bundle.Verify(bytes.NewReader(longer), int64(len(longer)))
		require.ErrorIs(t, err, bundle.ErrManifest, more)
	}
	_, err = bundle.Verify(strings.NewReader("no ZIP"), 6)
	require.ErrorIs(t, err, bundle.ErrManifest)
	for at := range data { // one bit of each byte that a file has
		data[at] ^= 1
		if _, err := bundle.Verify(bytes.NewReader(data), int64(len(data))); err == nil {
			require.False(t, inAFile(data, at), "byte %d of %d", at, len(data))
		}
		data[at] ^= 1
	}
}

// What a manifest says is refused without its files, too.
func TestManifestsThatCannotBe(t *testing.T) {
	data, _ := write(t, config(), sampleRecords()...)
	manifest := file(t, data, "manifest.json")
	_, err := bundle.ParseManifest([]byte(manifest))
	require.NoError(t, err)
	for _, change := range [][2]string{
		{`{"controller"`, `{ "controller"`},
		{`"v":1}`, `"v":2}`},
		{`"bytes":5,`, `"bytes":-5,`},
		{`"rows":2`, `"rows":-2`},
		{`data/contacts.csv`, `data/contacts.ndjson`},
		{`data/contacts.csv`, `DATA/contacts.ndjson`},
		{`data/contacts.csv`, `manifest.json`},
		{`data/contacts.csv`, `Manifest.json`},
		{`data/contacts.csv`, `../contacts.csv`},
		{`data/contacts.csv`, `/contacts.csv`},
		{`data/contacts.csv`, ``},
		{`data/contacts.csv`, `..\\contacts.csv`},
		{`data/contacts.csv`, `c:contacts.csv`},
	} {
		changed := strings.Replace(manifest, change[0], change[1], 1)
		require.NotEqual(t, manifest, changed, change[0])
		_, err := bundle.ParseManifest([]byte(changed))
		require.ErrorIs(t, err, bundle.ErrManifest, change[1])
	}
}

// inAFile reports whether a byte is content of a file, as opposed to what
// describes files to a ZIP reader (times, flags).
func inAFile(data []byte, at int) bool {
	z, err := zip.NewReader(bytes.NewReader(data), int64(len(data)))
	if err != nil {
		return true
	}
	for _, f := range z.File {
		from, err := f.DataOffset()
		if err != nil || int64(at) >= from && int64(at) < from+int64(f.CompressedSize64) {
			return true
		}
	}
	return false
}

// sampleRecords are in the frozen sample.
func sampleRecords() []datastore.Record {
	ann := contact("1", "ann@a.example")
	ann.Files = []datastore.File{{Name: "cv.pdf", Data: []byte("%PDF-")}}
	return []datastore.Record{
		ann,
		record("invoices", "7", fields{{Name: "person", Value: "1"}, {Name: "bill_name", Value: "王小明"}, {Name: "note", Value: "=1+1"}}),
		record("invoices", "8", fields{{Name: "person", Value: "1"}, {Name: "bill_name"}, {Name: "note", Withhold: "also concerns other persons"}}),
	}
}

func TestFrozenBundle(t *testing.T) {
	data, m := write(t, config(), sampleRecords()...)
	if *update {
		require.NoError(t, os.WriteFile("testdata/bundle.zip", data, 0o644))
	}
	frozen, err := os.ReadFile("testdata/bundle.zip")
	require.NoError(t, err)
	read, err := bundle.Verify(bytes.NewReader(frozen), int64(len(frozen)))
	require.NoError(t, err)
	require.Equal(t, m, read)
	require.True(t, bytes.Equal(data, frozen), "what is written today is what was frozen")
	out, err := exec.CommandContext(t.Context(), "python3", "testdata/bundle.py", filepath.Join("testdata", "bundle.zip")).CombinedOutput()
	require.NoError(t, err, "%s", out)
	require.Equal(t, "3 11\n", string(out), "rows and cells of the page")
}

// FuzzVerify: no bytes are a bundle that is not what its manifest says.
func FuzzVerify(f *testing.F) {
	data, _ := write(f, config(), sampleRecords()...)
	f.Add(data, []byte(file(f, data, "manifest.json")))
	f.Add([]byte("PK"), []byte(`{"v":1}`))
	f.Fuzz(func(t *testing.T, data, manifest []byte) {
		if read, err := bundle.Verify(bytes.NewReader(data), int64(len(data))); err == nil {
			require.NotNil(t, read)
		}
		read, err := bundle.ParseManifest(manifest)
		if err != nil {
			require.ErrorIs(t, err, bundle.ErrManifest)
			return
		}
		for _, f := range read.Files {
			require.NotContains(t, f.Name, "..\\")
			require.False(t, strings.HasPrefix(f.Name, "/") || strings.HasPrefix(f.Name, "../"))
		}
	})
}

// FuzzText: any text comes back from NDJSON, and no cell is a formula.
func FuzzText(f *testing.F) {
	for _, v := range hostile() {
		if text, ok := v.(string); ok && len(text) < 100 {
			f.Add(text)
		}
	}
	f.Fuzz(func(t *testing.T, text string) {
		data, _ := write(t, config(), record("notes", "1", fields{{Name: "n", Value: 1}, {Name: "x", Value: text}}))
		var row struct{ X any }
		require.NoError(t, json.Unmarshal([]byte(file(t, data, "data/notes.ndjson")), &row))
		if strings.ToValidUTF8(text, "") == text {
			require.Equal(t, text, row.X)
		}
		_, cell, _ := strings.Cut(file(t, data, "data/notes.csv"), "\n1,\"")
		require.False(t, strings.HasPrefix(cell, "=") || strings.HasPrefix(cell, "@") || strings.HasPrefix(cell, "\t"))
		page := file(t, data, "index.html")
		require.Equal(t, 2, strings.Count(page, "<td"), "a text makes no cell")
		require.NotContains(t, page, "<script")
	})
}
