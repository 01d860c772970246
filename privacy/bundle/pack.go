package bundle

import (
	"archive/zip"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"maps"
	"slices"

	"github.com/crmguard/crmguard/internal/canon"
)

// packing is a bundle while it is written.
type packing struct {
	*gathering
	zip      *zip.Writer
	manifest *Manifest
}

// pack writes the ZIP: the page in front, each table, the attachments, and what
// all of it was at the end.
func (g *gathering) pack(ctx context.Context, w io.Writer) (*Manifest, error) {
	p := &packing{gathering: g, zip: zip.NewWriter(w), manifest: &Manifest{
		V: version, Tenant: g.config.Tenant, Made: canon.FormatTime(g.config.Made), Controller: g.config.Controller,
		Files: []File{}, Omissions: []Omission{}, Tables: []Table{},
	}}
	sheets := g.sorted()
	for _, s := range sheets {
		p.manifest.Omissions = append(p.manifest.Omissions, s.omissions()...)
		p.manifest.Tables = append(p.manifest.Tables, g.describe(s))
	}
	if err := p.file(ctx, File{Name: pageName}, func(w io.Writer) error { return p.page(ctx, w, sheets) }); err != nil {
		return nil, err
	}
	for i, s := range sheets {
		if err := p.table(ctx, s, p.manifest.Tables[i]); err != nil {
			return nil, err
		}
	}
	for _, path := range slices.Sorted(maps.Keys(g.attached)) {
		if err := p.file(ctx, File{Name: path}, func(w io.Writer) error { return p.copyPart(w, g.attached[path]) }); err != nil {
			return nil, err
		}
	}
	data, err := canon.Marshal(p.manifest)
	if err != nil {
		return nil, fmt.Errorf("%w: text of the map or of a reason is not UTF-8: %w", ErrConfig, err)
	}
	out, err := p.entry(manifestName)
	if err == nil {
		_, err = out.Write(data)
	}
	if err := errors.Join(err, p.zip.Close()); err != nil {
		return nil, fmt.Errorf("bundle: writing: %w", err)
	}
	return ParseManifest(data)
}

// table writes the files of a table.
func (p *packing) table(ctx context.Context, s *sheet, about Table) error {
	for _, f := range []struct {
		name string
		rows int
		fill func(io.Writer) error
	}{
		{"data/" + s.file + ".ndjson", len(s.rows), func(w io.Writer) error { return p.ndjson(ctx, w, s) }},
		{"data/" + s.file + ".csv", len(s.rows), func(w io.Writer) error { return p.csv(ctx, w, s) }},
		{"schema/" + s.file + ".json", 0, func(w io.Writer) error { return s.schemaTo(w, about) }},
	} {
		if err := p.file(ctx, File{Name: f.name, Table: s.table, Rows: f.rows}, f.fill); err != nil {
			return err
		}
	}
	return nil
}

// entry begins a file. Nothing is compressed: the bytes depend on no
// compressor's version.
func (p *packing) entry(name string) (io.Writer, error) {
	return p.zip.CreateHeader(&zip.FileHeader{Name: name, Method: zip.Store})
}

// file writes one file and puts it into the manifest.
func (p *packing) file(ctx context.Context, f File, fill func(io.Writer) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	out, err := p.entry(f.Name)
	if err != nil {
		return fmt.Errorf("bundle: writing: %w", err)
	}
	m := &measure{out: out, hash: sha256.New()}
	if err := fill(m); err != nil {
		return fmt.Errorf("bundle: writing: %w", err)
	}
	f.Bytes, f.SHA256 = m.bytes, hex.EncodeToString(m.hash.Sum(nil))
	p.manifest.Files = append(p.manifest.Files, f)
	return nil
}

// rows hands out the lines of a sheet, each good until the next.
func (p *packing) rows(ctx context.Context, s *sheet, use func(line []byte) error) error {
	for _, r := range s.rows {
		if err := ctx.Err(); err != nil {
			return err
		}
		line, err := p.spool.get(r.at)
		if err != nil {
			return err
		}
		if err := use(line); err != nil {
			return err
		}
	}
	return nil
}

func (p *packing) ndjson(ctx context.Context, w io.Writer, s *sheet) error {
	return p.rows(ctx, s, func(line []byte) error {
		_, err := w.Write(line)
		return err
	})
}

func (p *packing) copyPart(w io.Writer, at part) error {
	data, err := p.spool.get(at)
	if err != nil {
		return err
	}
	_, err = io.Copy(w, bytes.NewReader(data))
	return err
}

// measure counts and hashes what goes through it.
type measure struct {
	out   io.Writer
	hash  hash.Hash
	bytes int64
	lines int
}

func (m *measure) Write(data []byte) (int, error) {
	_, _ = m.hash.Write(data) // which never fails
	m.bytes += int64(len(data))
	m.lines += bytes.Count(data, []byte{'\n'})
	return m.out.Write(data)
}
