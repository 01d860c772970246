package privacy

import (
	"archive/zip"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/crmguard/crmguard/internal/canon"
	"github.com/crmguard/crmguard/privacy/datamap"
)

// ErrManifest is wrapped by every refusal of [ParseManifest] and [OpenExport].
var ErrManifest = errors.New("privacy: export does not match its manifest")

// maxExportFile bounds what OpenExport reads of one file.
const maxExportFile = 1 << 30

// Manifest describes an export: its files, and what was left out and why.
type Manifest struct {
	Files     []ManifestFile `json:"files"`
	Made      string         `json:"made"`
	Omissions []Omission     `json:"omissions"`
	Tenant    string         `json:"tenant"`
	V         int            `json:"v"`
}

// ManifestFile is one file of an export.
type ManifestFile struct {
	Count  int    `json:"count"` // lines of an NDJSON file; 0 for others
	Name   string `json:"name"`
	Schema string `json:"schema,omitempty"`
	SHA256 string `json:"sha256"`
}

// Omission is a column that was left out of rows of the export.
type Omission struct {
	Column string `json:"column"`
	Count  int    `json:"count"` // rows
	Reason string `json:"reason"`
	Table  string `json:"table"`
}

const (
	manifestName = "manifest.json"
	pageName     = "index.html"
)

// pack makes the inner ZIP. Equal data at an equal time gives equal bytes.
func pack(m *datamap.Map, sheets []*sheet, tenant string, made time.Time) ([]byte, Manifest, error) {
	manifest := Manifest{V: 1, Tenant: tenant, Made: stamp(made), Files: []ManifestFile{}, Omissions: []Omission{}}
	var out bytes.Buffer
	z := zip.NewWriter(&out)
	add := func(name, schema string, count int, data []byte) error {
		sum := sha256.Sum256(data)
		manifest.Files = append(manifest.Files, ManifestFile{Name: name, Schema: schema, Count: count, SHA256: hex.EncodeToString(sum[:])})
		return store(z, name, data)
	}
	for _, s := range sheets {
		var lines bytes.Buffer
		for _, r := range s.rows {
			line, err := r.line()
			if err != nil {
				return nil, Manifest{}, err
			}
			lines.Write(line)
		}
		if err := add("data/"+s.table+".ndjson", s.schema, len(s.rows), lines.Bytes()); err != nil {
			return nil, Manifest{}, mute("packing", err)
		}
		for _, f := range s.files {
			if err := add(f.path, "", 0, f.data); err != nil {
				return nil, Manifest{}, mute("packing", err)
			}
		}
		manifest.Omissions = append(manifest.Omissions, s.omissions()...)
	}
	page, err := renderPage(m, sheets, manifest)
	if err != nil {
		return nil, Manifest{}, mute("writing the page", err)
	}
	if err := add(pageName, "", 0, page); err != nil {
		return nil, Manifest{}, mute("packing", err)
	}
	data, err := canon.Marshal(manifest)
	if err != nil {
		return nil, Manifest{}, mute("encoding the manifest", err)
	}
	err = errors.Join(store(z, manifestName, data), z.Close())
	return out.Bytes(), manifest, mute("packing", err)
}

// store adds a file uncompressed: the bytes depend on no compressor's version.
func store(z *zip.Writer, name string, data []byte) error {
	w, err := z.CreateHeader(&zip.FileHeader{Name: name, Method: zip.Store})
	if err != nil {
		return err
	}
	_, err = w.Write(data)
	return err
}

func (s *sheet) omissions() []Omission {
	list := []Omission{}
	for column, w := range s.left {
		list = append(list, Omission{Table: s.table, Column: column, Reason: w.reason, Count: w.count})
	}
	slices.SortFunc(list, func(a, b Omission) int { return strings.Compare(a.Column, b.Column) })
	return list
}

// ParseManifest reads the manifest.json of an export.
func ParseManifest(data []byte) (*Manifest, error) {
	var m Manifest
	if err := canon.Unmarshal(data, &m); err != nil {
		return nil, fmt.Errorf("%w: not canonical JSON", ErrManifest)
	}
	if m.V != 1 {
		return nil, fmt.Errorf("%w: a version that this library does not know", ErrManifest)
	}
	names := map[string]bool{manifestName: true}
	for _, f := range m.Files {
		if names[f.Name] || f.Count < 0 || f.Name == "" {
			return nil, fmt.Errorf("%w: files listed twice or miscounted", ErrManifest)
		}
		names[f.Name] = true
	}
	return &m, nil
}

func checkZIP(r io.ReaderAt, size int64) (*Manifest, error) {
	z, err := zip.NewReader(r, size)
	if err != nil {
		return nil, fmt.Errorf("%w: no ZIP", ErrManifest)
	}
	files := map[string]*zip.File{}
	for _, f := range z.File {
		if files[f.Name] != nil {
			return nil, fmt.Errorf("%w: a file stands twice", ErrManifest)
		}
		files[f.Name] = f
	}
	data, err := readFile(files[manifestName])
	if err != nil {
		return nil, err
	}
	m, err := ParseManifest(data)
	if err != nil {
		return nil, err
	}
	if len(files) != len(m.Files)+1 {
		return nil, fmt.Errorf("%w: %d files, %d listed", ErrManifest, len(files)-1, len(m.Files))
	}
	for _, f := range m.Files {
		data, err := readFile(files[f.Name])
		if err != nil {
			return nil, err
		}
		sum := sha256.Sum256(data)
		if hex.EncodeToString(sum[:]) != f.SHA256 {
			return nil, fmt.Errorf("%w: digest of a file", ErrManifest)
		}
		if strings.HasSuffix(f.Name, ".ndjson") && bytes.Count(data, []byte{'\n'}) != f.Count {
			return nil, fmt.Errorf("%w: count of a file", ErrManifest)
		}
	}
	return m, nil
}

func readFile(f *zip.File) ([]byte, error) {
	if f == nil || f.UncompressedSize64 > maxExportFile {
		return nil, fmt.Errorf("%w: a file is missing or too large", ErrManifest)
	}
	r, err := f.Open()
	if err != nil {
		return nil, fmt.Errorf("%w: a file does not open", ErrManifest)
	}
	data, err := io.ReadAll(io.LimitReader(r, maxExportFile))
	if err := errors.Join(err, r.Close()); err != nil {
		return nil, fmt.Errorf("%w: a file does not read", ErrManifest)
	}
	return data, nil
}
