package privacy_test

import (
	"archive/zip"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"html"
	"io"
	"iter"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"filippo.io/age"
	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/privacy"
	"github.com/crmguard/crmguard/privacy/datastore"
)

func identity(t *testing.T) *age.X25519Identity {
	t.Helper()
	id, err := age.GenerateX25519Identity()
	require.NoError(t, err)
	return id
}

func inner(t *testing.T, b *privacy.Bundle, id age.Identity) []byte {
	t.Helper()
	r, err := age.Decrypt(bytes.NewReader(b.Data), id)
	require.NoError(t, err)
	data, err := io.ReadAll(r)
	require.NoError(t, err)
	return data
}

func zipFile(t *testing.T, data []byte, name string) string {
	z, err := zip.NewReader(bytes.NewReader(data), int64(len(data)))
	require.NoError(t, err)
	f, err := z.Open(name)
	require.NoError(t, err)
	text, err := io.ReadAll(f)
	require.NoError(t, err)
	return string(text)
}

const hostile = `<script src="https://evil.example/x.js"></script><img src=x onerror=alert(1)>=HYPERLINK("x") 王小明`

func TestExport(t *testing.T) {
	s := newSystem(t)
	ann, bob := s.contact(hostile), s.contact("bob@b.example")
	s.activity("ann "+ann+" met bob", ann, bob)
	s.activity("bob alone", bob)
	s.invoice(ann, s.now)
	id := identity(t)
	b, err := s.desk.Export(t.Context(), "main", ann, id.Recipient().String())
	require.NoError(t, err)
	data := inner(t, b, id)

	m, err := privacy.OpenExport(bytes.NewReader(data), int64(len(data)))
	require.NoError(t, err)
	require.Equal(t, &b.Manifest, m)
	counts, schemas := map[string]int{}, map[string]string{}
	for _, f := range m.Files {
		counts[f.Name], schemas[f.Name] = f.Count, f.Schema
	}
	require.Equal(t, map[string]int{"data/activities.ndjson": 1, "data/contacts.ndjson": 1, "data/invoices.ndjson": 1, "data/notes.ndjson": 1, "index.html": 0}, counts)
	require.Equal(t, "contact/3", schemas["data/contacts.ndjson"])
	require.Equal(t, []privacy.Omission{{Table: "contacts", Column: "email_idx", Count: 1, Reason: "blind index"}}, m.Omissions)

	var contact map[string]any
	require.NoError(t, json.Unmarshal([]byte(zipFile(t, data, "data/contacts.ndjson")), &contact))
	require.Equal(t, hostile, contact["email"], "opened")
	require.NotContains(t, contact, "email_idx")
	require.Contains(t, zipFile(t, data, "data/activities.ndjson"), "met bob", "a joint text belongs to both")
	require.NotContains(t, string(data), bob, "the other person's id")
	require.NotContains(t, string(data), "bob@b.example")

	page := zipFile(t, data, "index.html")
	require.NotContains(t, page, "<script")
	require.NotContains(t, page, "<img")
	require.Contains(t, page, "&lt;script")
	require.Contains(t, page, "王小明")
	require.Contains(t, page, "default-src &#39;none&#39;")
	require.Contains(t, page, `lang="zh"`)
	for _, load := range []string{"src=\"", "href=", "url(", "@import"} {
		require.NotContains(t, page, load, "nothing is loaded")
	}

	_, style, _ := strings.Cut(page, "<style>")
	style, _, _ = strings.Cut(style, "</style>")
	sum := sha256.Sum256([]byte(style))
	require.Contains(t, html.UnescapeString(page), "style-src 'sha256-"+base64.StdEncoding.EncodeToString(sum[:])+"'", "the policy allows this very style")

	again, err := s.desk.Export(t.Context(), "main", ann, id.Recipient().String())
	require.NoError(t, err)
	require.True(t, bytes.Equal(data, inner(t, again, id)), "equal data, equal bytes")
	require.NotEqual(t, b.Name, again.Name)
	require.Equal(t, 2, s.count(`SELECT COUNT(*) FROM events WHERE action = 'privacy.export'`))
}

func TestAgeAndUnzipOpenTheExport(t *testing.T) {
	s := newSystem(t)
	ann := s.contact("ann@a.example")
	id := identity(t)
	b, err := s.desk.Export(t.Context(), "main", ann, id.Recipient().String())
	require.NoError(t, err)
	dir := t.TempDir()
	key, sealed, plain := filepath.Join(dir, "key.txt"), filepath.Join(dir, b.Name), filepath.Join(dir, "export.zip")
	require.NoError(t, os.WriteFile(key, []byte(id.String()+"\n"), 0o600))
	require.NoError(t, os.WriteFile(sealed, b.Data, 0o600))
	out, err := exec.CommandContext(t.Context(), "age", "-d", "-i", key, "-o", plain, sealed).CombinedOutput()
	require.NoError(t, err, "%s", out)
	out, err = exec.CommandContext(t.Context(), "unzip", "-q", plain, "-d", filepath.Join(dir, "out")).CombinedOutput()
	require.NoError(t, err, "%s", out)
	data, err := os.ReadFile(filepath.Join(dir, "out", "manifest.json"))
	require.NoError(t, err)
	m, err := privacy.ParseManifest(data)
	require.NoError(t, err)
	for _, f := range m.Files {
		data, err := os.ReadFile(filepath.Join(dir, "out", f.Name))
		require.NoError(t, err)
		if strings.HasSuffix(f.Name, ".ndjson") {
			require.Equal(t, f.Count, bytes.Count(data, []byte("\n")))
		}
	}
}

// Text about several persons that is not declared joint is left out.
func TestOtherPersonsAreLeftOut(t *testing.T) {
	s := newSystem(t)
	ann, bob := s.contact("ann@a.example"), s.contact("bob@b.example")
	s.activity("secret of bob", ann, bob)
	s.activity("ann alone", ann)
	m := dataMap()
	m.Tables[5].Columns[0].Everyone = false
	s.openWith(m)
	id := identity(t)
	b, err := s.desk.Export(t.Context(), "main", ann, id.Recipient().String())
	require.NoError(t, err)
	data := inner(t, b, id)
	require.NotContains(t, string(data), "secret of bob")
	require.Contains(t, string(data), "ann alone")
	require.Contains(t, b.Manifest.Omissions, privacy.Omission{Table: "activities", Column: "body", Count: 1, Reason: "also concerns other persons"})
}

func TestExportOfFiles(t *testing.T) {
	s := newSystem(t)
	ann := s.contact("ann@a.example")
	s.cfg.Stores = append(s.cfg.Stores, datastore.Func{
		Name: "attachments", Class: datastore.Deleted, Erase: s.keys.erase,
		Export: func(context.Context, string, string) iter.Seq2[datastore.Record, error] {
			return func(yield func(datastore.Record, error) bool) {
				yield(datastore.Record{Table: "attachments", Key: "1", Fields: []datastore.Field{
					{Name: "n", Value: int64(1) << 60}, {Name: "bytes", Value: []byte{0xff}}, {Name: "text", Value: "\xff"}, {Name: "t", Value: s.now}, {Name: "list", Value: []string{"a"}},
				}, Files: []datastore.File{
					{Name: "../../etc/passwd", Data: []byte("one")}, {Name: "cv.PDF", Data: []byte("two")}, {Name: "x.<script>", Data: nil},
				}}, nil)
			}
		},
	}.Store())
	s.reopen()
	id := identity(t)
	b, err := s.desk.Export(t.Context(), "main", ann, id.Recipient().String())
	require.NoError(t, err)
	data := inner(t, b, id)
	require.Equal(t, "one", zipFile(t, data, "files/attachments/0001"))
	require.Equal(t, "two", zipFile(t, data, "files/attachments/0002.pdf"))
	line := zipFile(t, data, "data/attachments.ndjson")
	require.Contains(t, line, `"n":"1152921504606846976"`)
	require.Contains(t, line, `"bytes":{"base64url":"_w"}`)
	require.Contains(t, line, `"files/attachments/0003"`)
}

func TestExportRefusals(t *testing.T) {
	s := newSystem(t)
	ann := s.contact("ann@a.example")
	id := identity(t)
	for _, recipient := range []string{"", "ann@a.example", id.String(), "age1xyz"} {
		_, err := s.desk.Export(t.Context(), "main", ann, recipient)
		require.ErrorIs(t, err, privacy.ErrRecipient)
	}
	_, err := s.desk.Export(t.Context(), "", ann, id.Recipient().String())
	require.ErrorIs(t, err, privacy.ErrID)
	denied := errors.New("denied")
	s.cfg.Allow = func(_ context.Context, action, _ string) error {
		require.Equal(t, "privacy.export", action)
		return denied
	}
	s.reopen()
	_, err = s.desk.Export(t.Context(), "main", ann, id.Recipient().String())
	require.ErrorIs(t, err, denied)
	s.cfg.Allow = nil
	s.reopen()
	require.NoError(t, s.keys.erase(t.Context(), "main", ann))
	_, err = s.desk.Export(t.Context(), "main", ann, id.Recipient().String())
	require.ErrorIs(t, err, errErased, "what does not open is no empty field")
}

func TestAnExportThatWasTouched(t *testing.T) {
	s := newSystem(t)
	ann := s.contact("ann@a.example")
	id := identity(t)
	b, err := s.desk.Export(t.Context(), "main", ann, id.Recipient().String())
	require.NoError(t, err)
	data := inner(t, b, id)
	rewrite := func(change func(name string, data []byte) (string, []byte)) []byte {
		z, err := zip.NewReader(bytes.NewReader(data), int64(len(data)))
		require.NoError(t, err)
		var out bytes.Buffer
		w := zip.NewWriter(&out)
		for _, f := range z.File {
			name, text := change(f.Name, []byte(zipFile(t, data, f.Name)))
			if name == "" {
				continue
			}
			part, err := w.Create(name)
			require.NoError(t, err)
			_, err = part.Write(text)
			require.NoError(t, err)
		}
		require.NoError(t, w.Close())
		return out.Bytes()
	}
	for name, change := range map[string]func(string, []byte) (string, []byte){
		"changed": func(n string, d []byte) (string, []byte) {
			if n == "index.html" {
				d = append(d, ' ')
			}
			return n, d
		},
		"dropped": func(n string, d []byte) (string, []byte) { return strings.TrimPrefix(n, "index.html"), d },
		"renamed": func(n string, d []byte) (string, []byte) { return strings.Replace(n, "notes", "noten", 1), d },
		"twice":   func(_ string, d []byte) (string, []byte) { return "manifest.json", d },
		"recounted": func(n string, d []byte) (string, []byte) {
			return n, bytes.Replace(d, []byte(`"count":1`), []byte(`"count":2`), 1)
		},
	} {
		touched := rewrite(change)
		_, err := privacy.OpenExport(bytes.NewReader(touched), int64(len(touched)))
		require.ErrorIs(t, err, privacy.ErrManifest, name)
	}
	same := rewrite(func(n string, d []byte) (string, []byte) { return n, d })
	_, err = privacy.OpenExport(bytes.NewReader(same), int64(len(same)))
	require.NoError(t, err)
}

func TestFrozenExport(t *testing.T) {
	sealed, err := os.ReadFile("testdata/export.zip.age")
	require.NoError(t, err)
	text, err := os.ReadFile("testdata/export.identity.txt")
	require.NoError(t, err)
	id, err := age.ParseX25519Identity(strings.TrimSpace(string(text)))
	require.NoError(t, err)
	data := inner(t, &privacy.Bundle{Data: sealed}, id)
	m, err := privacy.OpenExport(bytes.NewReader(data), int64(len(data)))
	require.NoError(t, err)
	require.Equal(t, "2026-11-22T12:00:00.000000Z", m.Made)
	require.Contains(t, zipFile(t, data, "data/contacts.ndjson"), `"email":"ann@a.example"`)
}
