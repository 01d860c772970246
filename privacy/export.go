package privacy

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"strings"

	"filippo.io/age"
	"github.com/google/uuid"

	"github.com/crmguard/crmguard/internal/canon"
	"github.com/crmguard/crmguard/internal/value"
	"github.com/crmguard/crmguard/privacy/datamap"
	"github.com/crmguard/crmguard/privacy/datastore"
)

// ErrRecipient says that the recipient is no age X25519 recipient. A secret
// identity is refused too: the desk has no use for it.
var ErrRecipient = errors.New("privacy: recipient is no age X25519 recipient (age1…)")

// Bundle is one person's data, encrypted for its recipient.
type Bundle struct {
	Name     string   // file name without anything about the person: "export-<id>.zip.age"
	Data     []byte   // age file; inside a ZIP with NDJSON files, manifest.json and index.html
	SHA256   string   // hex, of Data
	Manifest Manifest // what is inside
}

// Export collects everything about the person and those merged into it, opens
// what is sealed, and encrypts the whole for the recipient. The person's data
// is held in memory once. Nothing is exported when one value does not open.
func (d *Desk) Export(ctx context.Context, tenant, person, recipient string) (*Bundle, error) {
	if err := errors.Join(validID("tenant", tenant), validPerson(person)); err != nil {
		return nil, err
	}
	to, err := age.ParseX25519Recipient(recipient)
	if err != nil {
		return nil, ErrRecipient
	}
	if err := d.allow(ctx, "privacy.export", person); err != nil {
		return nil, err
	}
	collected, err := d.collect(ctx, tenant, person)
	if err != nil {
		return nil, err
	}
	inner, manifest, err := pack(d.cfg.Map, collected, tenant, d.now())
	if err != nil {
		return nil, err
	}
	data, err := encrypt(inner, to)
	if err != nil {
		return nil, mute("encrypting the export", err)
	}
	id, err := uuid.NewV7()
	if err != nil {
		return nil, mute("drawing an id", err)
	}
	sum := sha256.Sum256(data)
	b := &Bundle{Name: "export-" + id.String() + ".zip.age", Data: data, SHA256: hex.EncodeToString(sum[:]), Manifest: manifest}
	if d.cfg.Note != nil {
		err := d.cfg.Note(ctx, tenant, "privacy.export", slog.String("id", id.String()), slog.String("digest", b.SHA256), slog.Int("count", len(manifest.Files)))
		if err != nil {
			return nil, mute("recording privacy.export", err)
		}
	}
	d.observe(ctx, "privacy.exported", float64(len(data)))
	return b, nil
}

func encrypt(data []byte, to age.Recipient) ([]byte, error) {
	var out bytes.Buffer
	w, err := age.Encrypt(&out, to)
	if err != nil {
		return nil, err
	}
	if _, err := w.Write(data); err != nil {
		return nil, err
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	return out.Bytes(), nil
}

// sheet is the exported rows of one table.
type sheet struct {
	table   string
	schema  string
	columns []string // in order of first appearance
	rows    []shownRow
	files   []namedFile
	left    map[string]withheld // column -> why, how many
}

type shownRow struct {
	key    string
	values map[string]any
}

type namedFile struct {
	path string
	data []byte
}

type withheld struct {
	reason string
	count  int
}

// collect reads all stores and opens what is sealed.
func (d *Desk) collect(ctx context.Context, tenant, person string) ([]*sheet, error) {
	persons, err := d.persons(ctx, tenant, person)
	if err != nil {
		return nil, err
	}
	sheets := map[string]*sheet{}
	for _, store := range d.cfg.Stores {
		for _, p := range persons {
			for record, err := range store.Export(ctx, datastore.Scope{Tenant: tenant, Person: p}) {
				if err != nil {
					return nil, &StoreError{store.Name(), "export", err}
				}
				if err := d.add(ctx, sheets, tenant, p, record); err != nil {
					return nil, &StoreError{store.Name(), "export", err}
				}
			}
		}
	}
	var list []*sheet
	for _, s := range sheets {
		slices.SortStableFunc(s.rows, func(a, b shownRow) int { return strings.Compare(a.key, b.key) })
		list = append(list, s)
	}
	slices.SortFunc(list, func(a, b *sheet) int { return strings.Compare(a.table, b.table) })
	return list, nil
}

func (d *Desk) add(ctx context.Context, sheets map[string]*sheet, tenant, person string, r datastore.Record) error {
	if !datamap.IsTableName(r.Table) {
		return errors.New("a table name that cannot be a file name")
	}
	s := sheets[r.Table]
	if s == nil {
		s = &sheet{table: r.Table, schema: r.Schema, left: map[string]withheld{}}
		if s.schema == "" {
			s.schema = r.Table + "/1"
		}
		sheets[r.Table] = s
	}
	row := shownRow{key: r.Key, values: map[string]any{}}
	for _, f := range r.Fields {
		if f.Withhold != "" {
			s.left[f.Name] = withheld{f.Withhold, s.left[f.Name].count + 1}
			continue
		}
		v, err := d.value(ctx, tenant, person, r, f)
		if err != nil {
			return err
		}
		row.values[f.Name] = v
		if !slices.Contains(s.columns, f.Name) {
			s.columns = append(s.columns, f.Name)
		}
	}
	for _, f := range r.Files {
		path := fmt.Sprintf("files/%s/%04d%s", r.Table, len(s.files)+1, extension(f.Name))
		s.files = append(s.files, namedFile{path, f.Data})
		row.values["_files"] = append(asList(row.values["_files"]), path)
	}
	s.rows = append(s.rows, row)
	return nil
}

func asList(v any) []any {
	list, _ := v.([]any)
	return list
}

// extension keeps a harmless file extension and nothing else of the name.
func extension(name string) string {
	i := strings.LastIndexByte(name, '.')
	if i < 0 || len(name)-i > 9 || len(name)-i < 2 {
		return ""
	}
	ext := strings.ToLower(name[i:])
	for _, c := range ext[1:] {
		if (c < 'a' || c > 'z') && (c < '0' || c > '9') {
			return ""
		}
	}
	return ext
}

// value opens a sealed field and makes it JSON.
func (d *Desk) value(ctx context.Context, tenant, person string, r datastore.Record, f datastore.Field) (any, error) {
	read, err := value.Scanned(f.Value)
	if err != nil && f.Sealed {
		return nil, value.In(r.Table+"."+f.Name, err)
	}
	if !f.Sealed || read.IsNull() {
		return jsonValue(f.Value, maxDepth)
	}
	if kind := read.Kind(); kind != value.Bytes && kind != value.Text || d.cfg.Open == nil {
		return nil, errors.New("a sealed column without sealed bytes, or no Open")
	}
	sealed, err := read.Bytes()
	if err != nil {
		return nil, err
	}
	owner := person
	if r.Owner != "" {
		owner = r.Owner
	}
	opened, err := d.cfg.Open(ctx, tenant, owner, r.Table, f.Name, r.Key, sealed)
	if err != nil {
		return nil, err
	}
	return jsonValue(opened, maxDepth)
}

// line is one NDJSON line: RFC 8785, so that equal data gives equal bytes.
func (r shownRow) line() ([]byte, error) {
	raw, err := json.Marshal(r.values)
	if err != nil {
		return nil, mute("encoding a row", err)
	}
	data, err := canon.Transform(raw)
	return append(data, '\n'), mute("encoding a row", err)
}

// OpenExport checks the inner ZIP of a bundle, after decryption: every file
// that the manifest names is there with its digest and line count, and no other.
func OpenExport(r io.ReaderAt, size int64) (*Manifest, error) { return checkZIP(r, size) }
