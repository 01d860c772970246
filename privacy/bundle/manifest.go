package bundle

import (
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"github.com/crmguard/crmguard/internal/canon"
	"github.com/crmguard/crmguard/privacy/datamap"
)

// ErrManifest is wrapped by every refusal of [ParseManifest] and [Verify].
var ErrManifest = errors.New("bundle: content does not match its manifest")

const (
	version      = 1
	manifestName = "manifest.json"
	pageName     = "index.html"
)

// Manifest describes a bundle: its files, what was left out and why, and what
// Article 15 GDPR asks for about each column.
type Manifest struct {
	Controller Controller `json:"controller"`
	Files      []File     `json:"files"`
	Made       string     `json:"made"` // RFC 3339
	Omissions  []Omission `json:"omissions"`
	Tables     []Table    `json:"tables"`
	Tenant     string     `json:"tenant"`
	V          int        `json:"v"`
}

// File is one file of a bundle, besides the manifest.
type File struct {
	Bytes  int64  `json:"bytes"`
	Name   string `json:"name"`
	Rows   int    `json:"rows,omitempty"` // of a table's NDJSON and CSV
	SHA256 string `json:"sha256"`
	Table  string `json:"table,omitempty"`
}

// Omission is a column that was left out of rows of a table.
type Omission struct {
	Column string `json:"column"`
	Reason string `json:"reason"`
	Rows   int    `json:"rows"`
	Table  string `json:"table"`
}

// Table is a table with rows of the person.
type Table struct {
	Columns    []Column   `json:"columns"`              // those with a value in one row at least
	Name       string     `json:"name"`                 // as the store calls it
	Recipients []string   `json:"recipients,omitempty"` // who gets its data
	Retention  *Retention `json:"retention,omitempty"`  // of the columns that are Retained
	Rows       int        `json:"rows"`
	Schema     string     `json:"schema"`           // id
	Source     string     `json:"source,omitempty"` // where the data came from
}

// Column is what the data map says of a column, or of a member of a column that
// holds JSON.
type Column struct {
	Basis    string `json:"basis,omitempty"`    // legal basis
	Category string `json:"category,omitempty"` // kind of personal data
	Name     string `json:"name"`               // as the store calls it
	Path     string `json:"path,omitempty"`     // RFC 6901, of a member
	Purpose  string `json:"purpose,omitempty"`  // what it is used for
	Retained bool   `json:"retained,omitempty"` // stays after an erasure, as the table's Retention says
}

// Retention is the obligation that keeps data after an erasure was asked for.
// Everything else goes with the erasure.
type Retention struct {
	Because string `json:"because"` // name of the obligation
	From    string `json:"from"`    // column with the date where the years begin
	Years   int    `json:"years"`   // calendar years
}

// describe is what is known of a table.
func (g *gathering) describe(s *sheet) Table {
	out := Table{Name: s.table, Schema: s.schema, Rows: len(s.rows), Columns: []Column{}}
	t, _ := g.mapped(s.table)
	out.Source, out.Recipients = t.Source, t.Recipients
	for _, c := range s.columns {
		known := false
		for _, m := range t.Columns {
			if m.Name != c.name {
				continue
			}
			known = true
			retained := t.Keep != nil && m.Erase == datamap.Retain && m.Category != ""
			if retained {
				out.Retention = &Retention{t.Keep.Because, t.Keep.From, t.Keep.Years}
			}
			out.Columns = append(out.Columns, Column{
				Name: m.Name, Path: m.Path, Category: m.Category, Purpose: m.Purpose, Basis: m.Basis, Retained: retained,
			})
		}
		if !known {
			out.Columns = append(out.Columns, Column{Name: c.name})
		}
	}
	return out
}

// ParseManifest reads the manifest.json of a bundle.
func ParseManifest(data []byte) (*Manifest, error) {
	var m Manifest
	if err := canon.Unmarshal(data, &m); err != nil {
		return nil, fmt.Errorf("%w: not canonical JSON", ErrManifest)
	}
	if m.V != version {
		return nil, fmt.Errorf("%w: a version that this library does not know", ErrManifest)
	}
	names := []string{manifestName}
	for _, f := range m.Files {
		if f.Rows < 0 || f.Bytes < 0 || !filepath.IsLocal(f.Name) || strings.ContainsAny(f.Name, `\:`) {
			return nil, fmt.Errorf("%w: a file that is miscounted, or would lie outside", ErrManifest)
		}
		names = append(names, strings.ToLower(f.Name))
	}
	slices.Sort(names)
	if len(slices.Compact(names)) != len(m.Files)+1 {
		return nil, fmt.Errorf("%w: a file listed twice", ErrManifest)
	}
	return &m, nil
}
