package privacy_test

import (
	"archive/zip"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
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
	"github.com/crmguard/crmguard/privacy/bundle"
	"github.com/crmguard/crmguard/privacy/datastore"
)

func identity(t *testing.T) *age.X25519Identity {
	t.Helper()
	id, err := age.GenerateX25519Identity()
	require.NoError(t, err)
	return id
}

// export exports a person and decrypts the bundle.
func (s *system) export(person string) (*privacy.Exported, []byte) {
	s.t.Helper()
	id := identity(s.t)
	var out bytes.Buffer
	e, err := s.desk.Export(s.t.Context(), "main", person, id.Recipient().String(), &out)
	require.NoError(s.t, err)
	require.Equal(s.t, int64(out.Len()), e.Size)
	require.Equal(s.t, hexOf(out.Bytes()), e.SHA256)
	r, err := age.Decrypt(&out, id)
	require.NoError(s.t, err)
	data, err := io.ReadAll(r)
	require.NoError(s.t, err)
	return e, data
}

func hexOf(data []byte) string {
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:])
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
	s.cfg.Controller = bundle.Controller{Name: "Example Ltd"}
	s.reopen()
	e, data := s.export(ann)

	m, err := bundle.Verify(bytes.NewReader(data), int64(len(data)))
	require.NoError(t, err)
	require.Equal(t, e.Manifest, m)
	require.Equal(t, "Example Ltd", m.Controller.Name)
	rows, schemas := map[string]int{}, map[string]string{}
	for _, table := range m.Tables {
		rows[table.Name], schemas[table.Name] = table.Rows, table.Schema
	}
	require.Equal(t, map[string]int{"activities": 1, "contacts": 1, "invoices": 1, "notes": 1}, rows)
	require.Equal(t, "contact/3", schemas["contacts"])
	require.Contains(t, m.Omissions, bundle.Omission{Table: "contacts", Column: "email_idx", Rows: 1, Reason: "blind index"})

	var contact map[string]any
	require.NoError(t, json.Unmarshal([]byte(zipFile(t, data, "data/contacts.ndjson")), &contact))
	require.Equal(t, hostile, contact["email"], "opened")
	require.Equal(t, ann, contact["person"], "whose it is")
	require.Contains(t, contact, "created")
	require.NotContains(t, contact, "email_idx")
	require.Contains(t, zipFile(t, data, "data/activities.ndjson"), "met bob", "a joint text belongs to both")
	require.NotContains(t, string(data), bob, "the other person's id")
	require.NotContains(t, string(data), "bob@b.example")

	again, once := s.export(ann)
	require.True(t, bytes.Equal(data, once), "equal data, equal bytes")
	require.NotEqual(t, e.Name, again.Name)
	require.Equal(t, 2, s.count(`SELECT COUNT(*) FROM events WHERE action = 'privacy.export'`))
	require.Equal(t, 2, s.count(`SELECT COUNT(*) FROM events WHERE action = 'privacy.exported'`))
}

func TestAgeAndUnzipOpenTheExport(t *testing.T) {
	s := newSystem(t)
	ann := s.contact("ann@a.example")
	id := identity(t)
	dir := t.TempDir()
	key, sealed, plain := filepath.Join(dir, "key.txt"), filepath.Join(dir, "export.zip.age"), filepath.Join(dir, "export.zip")
	file, err := os.Create(sealed)
	require.NoError(t, err)
	e, err := s.desk.Export(t.Context(), "main", ann, id.Recipient().String(), file)
	require.NoError(t, err)
	require.NoError(t, file.Close())
	require.NoError(t, os.WriteFile(key, []byte(id.String()+"\n"), 0o600))
	out, err := exec.CommandContext(t.Context(), "age", "-d", "-i", key, "-o", plain, sealed).CombinedOutput()
	require.NoError(t, err, "%s", out)
	out, err = exec.CommandContext(t.Context(), "unzip", "-q", plain, "-d", filepath.Join(dir, "out")).CombinedOutput()
	require.NoError(t, err, "%s", out)
	data, err := os.ReadFile(filepath.Join(dir, "out", "manifest.json"))
	require.NoError(t, err)
	m, err := bundle.ParseManifest(data)
	require.NoError(t, err)
	require.Equal(t, e.Manifest, m)
	for _, f := range m.Files {
		data, err := os.ReadFile(filepath.Join(dir, "out", f.Name))
		require.NoError(t, err)
		require.Equal(t, f.SHA256, hexOf(data), f.Name)
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
	e, data := s.export(ann)
	require.NotContains(t, string(data), "secret of bob")
	require.Contains(t, string(data), "ann alone")
	require.Contains(t, e.Manifest.Omissions, bundle.Omission{Table: "activities", Column: "body", Rows: 1, Reason: "also concerns other persons"})
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
	_, data := s.export(ann)
	var line struct {
		N     string
		Bytes map[string]string
		Files []struct{ Name, Path string } `json:"_files"`
	}
	require.NoError(t, json.Unmarshal([]byte(zipFile(t, data, "data/attachments.ndjson")), &line))
	require.Equal(t, "1152921504606846976", line.N)
	require.Equal(t, "_w", line.Bytes["base64url"])
	require.Equal(t, "one", zipFile(t, data, line.Files[0].Path))
	require.Equal(t, "two", zipFile(t, data, line.Files[1].Path))
	require.True(t, strings.HasSuffix(line.Files[1].Path, ".pdf"))
	require.NotContains(t, line.Files[0].Path, "..")
}

func TestExportRefusals(t *testing.T) {
	s := newSystem(t)
	ann := s.contact("ann@a.example")
	id := identity(t)
	for _, recipient := range []string{"", "ann@a.example", id.String(), "age1xyz"} {
		_, err := s.desk.Export(t.Context(), "main", ann, recipient, io.Discard)
		require.ErrorIs(t, err, privacy.ErrRecipient)
	}
	_, err := s.desk.Export(t.Context(), "", ann, id.Recipient().String(), io.Discard)
	require.ErrorIs(t, err, privacy.ErrID)
	denied := errors.New("denied")
	s.cfg.Allow = func(_ context.Context, action, _ string) error {
		require.Equal(t, "privacy.export", action)
		return denied
	}
	s.reopen()
	_, err = s.desk.Export(t.Context(), "main", ann, id.Recipient().String(), io.Discard)
	require.ErrorIs(t, err, denied)
	s.cfg.Allow = nil
	s.reopen()
	require.NoError(t, s.keys.erase(t.Context(), "main", ann))
	_, err = s.desk.Export(t.Context(), "main", ann, id.Recipient().String(), io.Discard)
	require.ErrorIs(t, err, errErased, "what does not open is no empty field")

	opens := s.cfg.Open
	s.cfg.Open = func(ctx context.Context, tenant, person, table, column, row string, sealed []byte) (any, error) {
		value, err := opens(ctx, tenant, person, table, column, row, sealed)
		if errors.Is(err, errErased) {
			err = errors.Join(datastore.ErrShredded, err)
		}
		return value, err
	}
	s.reopen()
	e, data := s.export(ann)
	require.Contains(t, e.Manifest.Omissions, bundle.Omission{Table: "contacts", Column: "email", Rows: 1, Reason: "its key was destroyed with an erasure"})
	require.Contains(t, zipFile(t, data, "data/contacts.ndjson"), `"_withheld":{"email":"its key was destroyed with an erasure"`)
}
