package main

import (
	"archive/zip"
	"bytes"
	"context"
	"database/sql"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"filippo.io/age"

	"github.com/crmguard/crmguard/encryption"
)

// sightings is what a hunt found: how often each needle, and where last.
type sightings struct {
	files, snapshots int
	count            map[string]int // by what was found
	where            map[string]string
	places           map[string]map[string]bool // by what was found: "live", "snapshot …", files
}

func (s *sightings) total() int {
	n := 0
	for _, count := range s.count {
		n += count
	}
	return n
}

// ghostNeedles is all that must not be found of who is forgotten: values that
// nothing else produces, in every form in which that is so, the planted
// canaries, free text about them alone, and the wrapped bytes of their keys.
func (c *crm) ghostNeedles(ctx context.Context) (*needles, error) {
	told, err := c.tellApart(ctx, []*person{c.gone})
	if err != nil {
		return nil, err
	}
	n := newNeedles()
	for i, canary := range c.canaries {
		n.addAllForms(canaryNames()[i], canary)
	}
	c.ownValues = told[0].labels
	for _, form := range told[0].forms {
		n.add(form.label, form.bytes)
	}
	for _, key := range c.wrapped {
		n.add("wrapped key", key)
		n.add("wrapped key, hex", []byte(hex.EncodeToString(key)))
		for offset := range 3 {
			for _, alphabet := range base64Alphabets() {
				encoded, _ := base64At(alphabet, key, offset)
				n.add("wrapped key, base64", encoded)
			}
		}
	}
	return n, nil
}

// canaryNames says where each canary was planted.
func canaryNames() []string {
	return []string{"canary in a custom field", "canary in a note", "canary in an attachment", "canary in the change history"}
}

// hunt searches everything below the folder of the run: raw files, what is
// inside containers, every value that a database gives, and every sealed value
// that any existing key opens.
func (c *crm) hunt(ctx context.Context) (*sightings, error) {
	h := &hunt{c: c, found: &sightings{count: map[string]int{}, where: map[string]string{}, places: map[string]map[string]bool{}}}
	if _, err := c.live.db.ExecContext(ctx, `PRAGMA wal_checkpoint(TRUNCATE)`); err != nil {
		return nil, err
	}
	if err := h.files(ctx, c.dir); err != nil {
		return nil, err
	}
	if err := h.sealed(ctx, c.live.db, c.live.dir, "live"); err != nil {
		return nil, err
	}
	for i, repo := range c.repos {
		for blob, err := range repo.Blobs(ctx) {
			if err != nil {
				return nil, err
			}
			h.bytes(blob.Data, fmt.Sprintf("a blob of store %c", 'a'+i))
		}
		snapshots, err := repo.Snapshots(ctx)
		if err != nil {
			return nil, err
		}
		for _, s := range snapshots {
			if err := h.snapshot(ctx, i, s.ID); err != nil {
				return nil, err
			}
			h.found.snapshots++
		}
	}
	return h.found, nil
}

type hunt struct {
	c     *crm
	found *sightings
}

func (h *hunt) note(where string) func(needle) {
	return func(n needle) {
		what, _, _ := strings.Cut(n.label, ",")
		h.found.count[what]++
		h.found.where[what] = where
		if h.found.places[what] == nil {
			h.found.places[what] = map[string]bool{}
		}
		place, _, _ := strings.Cut(where, ",")
		h.found.places[what][place] = true
	}
}

func (h *hunt) bytes(data []byte, where string) { h.c.ghosts.scan(data, h.note(where)) }

// files reads every file raw, and opens those that are containers.
func (h *hunt) files(ctx context.Context, dir string) error {
	return filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		where, err := filepath.Rel(dir, path)
		if err != nil {
			return err
		}
		file, err := os.Open(path)
		if err != nil {
			return err
		}
		defer file.Close()
		h.found.files++
		if err := h.c.ghosts.scanReader(file, h.note(where)); err != nil {
			return err
		}
		switch {
		case strings.HasSuffix(path, ".zip.age"):
			return h.export(path, where)
		case strings.HasSuffix(path, ".db"):
			return h.database(ctx, path, where)
		}
		return nil
	})
}

// export decrypts an export and searches each file of its ZIP.
func (h *hunt) export(path, where string) error {
	data, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	return eachExported(data, h.c.exportKey, func(name string, r io.Reader) error {
		return h.c.ghosts.scanReader(r, h.note(where+"!"+name))
	})
}

// eachExported opens the files of an export.
func eachExported(sealed []byte, key age.Identity, look func(name string, r io.Reader) error) error {
	plain, err := age.Decrypt(bytes.NewReader(sealed), key)
	if err != nil {
		return err
	}
	data, err := io.ReadAll(plain)
	if err != nil {
		return err
	}
	archive, err := zip.NewReader(bytes.NewReader(data), int64(len(data)))
	if err != nil {
		return err
	}
	for _, entry := range archive.File {
		r, err := entry.Open()
		if err != nil {
			return err
		}
		if err := errors.Join(look(entry.Name, r), r.Close()); err != nil {
			return err
		}
	}
	return nil
}

// exportText is all that an export says.
func exportText(sealed []byte, key age.Identity) (string, error) {
	var out strings.Builder
	err := eachExported(sealed, key, func(_ string, r io.Reader) error {
		data, err := io.ReadAll(r)
		out.Write(append(data, 0))
		return err
	})
	return out.String(), err
}

// database asks SQL for every value of every table: a long value may lie on
// several pages and escape the raw search.
func (h *hunt) database(ctx context.Context, path, where string) error {
	db, err := sql.Open("sqlite", "file:"+path+"?mode=ro")
	if err != nil {
		return err
	}
	defer db.Close()
	return h.everyValue(ctx, db, where)
}

func (h *hunt) everyValue(ctx context.Context, db *sql.DB, where string) error {
	tables, err := texts(ctx, db, `SELECT name FROM sqlite_master WHERE type = 'table'`)
	if err != nil {
		return err
	}
	for _, table := range tables {
		if err := h.everyCell(ctx, db, table, where+", "+table); err != nil {
			return err
		}
	}
	return nil
}

func (h *hunt) everyCell(ctx context.Context, db *sql.DB, table, where string) error {
	rows, err := db.QueryContext(ctx, `SELECT * FROM "`+table+`"`)
	if err != nil {
		return err
	}
	defer rows.Close()
	columns, err := rows.Columns()
	if err != nil {
		return err
	}
	cells := make([]sql.RawBytes, len(columns))
	into := make([]any, len(columns))
	for i := range cells {
		into[i] = &cells[i]
	}
	for rows.Next() {
		if err := rows.Scan(into...); err != nil {
			return err
		}
		for i, cell := range cells {
			h.bytes(cell, where+"."+columns[i])
		}
	}
	return rows.Err()
}

func texts(ctx context.Context, db *sql.DB, query string) ([]string, error) {
	rows, err := db.QueryContext(ctx, query)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var out []string
	for rows.Next() {
		var s string
		if err := rows.Scan(&s); err != nil {
			return nil, err
		}
		out = append(out, s)
	}
	return out, rows.Err()
}

// snapshot takes the files of a snapshot out of the repository, without the
// steps of a restore, as a thief would, and searches them like the live ones.
func (h *hunt) snapshot(ctx context.Context, store int, id string) error {
	where := fmt.Sprintf("snapshot %s of store %c", id[:8], 'a'+store)
	dir, err := os.MkdirTemp("", "crm-snapshot-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	files, err := h.c.repos[store].Files(ctx, id)
	if err != nil {
		return err
	}
	if err := os.CopyFS(dir, files); err != nil {
		return err
	}
	err = filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		file, err := os.Open(path)
		if err != nil {
			return err
		}
		defer file.Close()
		return h.c.ghosts.scanReader(file, h.note(where))
	})
	if err != nil {
		return err
	}
	db, err := openDatabase(filepath.Join(dir, "db", "crm.db"))
	if err != nil {
		return err
	}
	defer db.Close()
	if err := h.everyValue(ctx, db, where); err != nil {
		return err
	}
	return h.sealed(ctx, db, dir, where)
}

// sealed opens every sealed value of a database with the key of its owner, as
// long as there is one, and searches the plaintext.
func (h *hunt) sealed(ctx context.Context, db *sql.DB, dir, where string) error {
	if err := h.columns(ctx, db, h.c.contacts, "id", sealedFields(), where); err != nil {
		return err
	}
	if err := h.columns(ctx, db, h.c.deals, "person", []string{"subject"}, where); err != nil {
		return err
	}
	if err := h.columns(ctx, db, h.c.activities, "key_owner", []string{"body"}, where); err != nil {
		return err
	}
	if err := h.streams(ctx, db, dir, where); err != nil {
		return err
	}
	return h.openings(ctx, db, where)
}

// columns opens sealed columns, as far as a key exists.
func (h *hunt) columns(ctx context.Context, db *sql.DB, table *encryption.SealedTable, owner string, columns []string, where string) error {
	for page, err := range pages(ctx, db, table.Name(), owner, columns) {
		if err != nil {
			return err
		}
		var owners []string
		for _, r := range page {
			owners = append(owners, r.owner)
		}
		reader, err := table.Reader(ctx, tenant, owners...)
		if err != nil {
			return err
		}
		for _, r := range page {
			for i, cell := range r.cells {
				if cell == nil {
					continue
				}
				plain, err := reader.Row(r.owner, r.id).Open(ctx, columns[i], cell)
				if noKeyOpens(err) {
					continue
				}
				if err != nil {
					return fmt.Errorf("%s, %s.%s: %w", where, table.Name(), columns[i], err)
				}
				h.bytes(plain, where+", opened "+table.Name()+"."+columns[i])
			}
		}
	}
	return nil
}

// noKeyOpens says that the key of a value is gone for ever: its owner was
// erased, or its key version destroyed. Any other error stops the hunt.
func noKeyOpens(err error) bool {
	return errors.Is(err, encryption.ErrErased) || errors.Is(err, encryption.ErrDestroyed)
}

// streams opens the attachments that lie in dir.
func (h *hunt) streams(ctx context.Context, db *sql.DB, dir, where string) error {
	entries, err := os.ReadDir((attachment{}).path(dir))
	if err != nil {
		return err
	}
	for _, e := range entries {
		var person string
		err := db.QueryRowContext(ctx, `SELECT person FROM attachments WHERE file = ?`, e.Name()).Scan(&person)
		if err != nil {
			return fmt.Errorf("an attachment without a row in %s: %w", where, err)
		}
		sealed, err := os.ReadFile(attachment{id: e.Name()}.path(dir))
		if err != nil {
			return err
		}
		stream, err := h.c.attachments.OpenStream(ctx, bytes.NewReader(sealed), streamRef(person, e.Name()))
		if noKeyOpens(err) {
			continue
		}
		if err != nil {
			return err
		}
		h.bytes([]byte(stream.Name), where+", name of an attachment")
		if err := h.c.ghosts.scanReader(stream, h.note(where+", attachment")); err != nil {
			return err
		}
	}
	return nil
}
