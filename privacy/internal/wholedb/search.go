package wholedb

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/crmguard/crmguard/internal/testdb"
)

// least is how long a needle is at least: what is shorter is found by chance.
const least = 8

// A Needle is what a search looks for.
type Needle struct {
	Name  string // where it was put, "contacts.email", for what a failing test says
	Text  string // or bytes
	Phone bool   // its digits count, from the last nine on
}

// A Where is a place in which a needle was found.
type Where struct {
	Needle Needle
	Form   string // how it was spelt there
	Table  string // as DB.Rows names it
	Column string
	Row    string // the first cell of the row, cut
	File   string // base name of the file of SQLite, in place of Table to Row
}

// String names the needle and the place, and no value.
func (w Where) String() string {
	at := w.File
	if at == "" {
		at = fmt.Sprintf("%s.%s of row %s", w.Table, w.Column, w.Row)
	}
	return fmt.Sprintf("%s (%s) in %s", w.Needle.Name, w.Form, at)
}

// Search finds the needles in every cell of every table and, on SQLite, in the
// bytes of the files, where each needle is told of once a file. A needle is told
// of once a cell, in the first spelling that is found. One that is shorter than
// 8 bytes ends the test.
func (d DB) Search(tb testing.TB, needles []Needle) []Where {
	tb.Helper()
	m := newMatcher(tb, needles)
	var found []Where
	d.Rows(tb, func(r Row) {
		for _, c := range r.Cells {
			m.match(c.Bytes, func(n Needle, form string) {
				first := r.Cells[0].Bytes
				found = append(found, Where{Needle: n, Form: form, Table: r.Table, Column: c.Column, Row: string(first[:min(len(first), 40)])})
			})
		}
	})
	for _, path := range d.files(tb) {
		data, err := fs.ReadFile(os.DirFS(filepath.Dir(path)), filepath.Base(path))
		if err != nil {
			tb.Fatalf("wholedb: %v", err)
		}
		m.match(data, func(n Needle, form string) {
			found = append(found, Where{Needle: n, Form: form, File: filepath.Base(path)})
		})
	}
	return found
}

// Lost are the needles that were not found where their names say, in a table and a
// column.
func Lost(found []Where, needles []Needle) []Needle {
	there := map[Needle]bool{}
	for _, w := range found {
		if w.Table+"."+w.Column == w.Needle.Name {
			there[w.Needle] = true
		}
	}
	return slices.DeleteFunc(slices.Clone(needles), func(n Needle) bool { return there[n] })
}

// files are the database and its log on SQLite, and none on a server.
func (d DB) files(tb testing.TB) []string {
	tb.Helper()
	if d.Name != testdb.SQLite {
		return nil
	}
	var path string
	if err := d.SQL.QueryRowContext(tb.Context(), `SELECT file FROM pragma_database_list WHERE name = 'main'`).Scan(&path); err != nil {
		tb.Fatalf("wholedb: %v", err)
	}
	var out []string
	for _, name := range []string{path, path + "-wal", path + "-journal"} {
		if _, err := os.Stat(name); err == nil {
			out = append(out, name)
		}
	}
	return out
}

// A matcher finds many needles in one pass: by their first 8 bytes.
type matcher struct {
	needles []Needle
	begin   [1 << 16]bool // the first two of them
	at      map[uint64][]candidate
	digits  *matcher // of what is left when only digits are; nil without phone numbers
}

type candidate struct {
	needle int
	spelling
}

func newMatcher(tb testing.TB, needles []Needle) *matcher {
	tb.Helper()
	m := &matcher{needles: needles, at: map[uint64][]candidate{}}
	for i, n := range needles {
		if len(n.Text) < least {
			tb.Fatalf("wholedb: needle %s has %d bytes; what is shorter than %d is found by chance", n.Name, len(n.Text), least)
		}
		for _, s := range spellings(n.Text) {
			m.add(i, s)
		}
		if !n.Phone {
			continue
		}
		number := bytes.Trim(digits([]byte(n.Text)), "x")
		if len(number) < 9 {
			tb.Fatalf("wholedb: needle %s has %d digits; a phone number has 9 at least", n.Name, len(number))
		}
		if m.digits == nil {
			m.digits = &matcher{needles: needles, at: map[uint64][]candidate{}}
		}
		m.digits.add(i, spelling{"digits", string(number[len(number)-9:])})
	}
	return m
}

func (m *matcher) add(needle int, s spelling) {
	m.begin[binary.BigEndian.Uint16([]byte(s.text))] = true
	key := binary.BigEndian.Uint64([]byte(s.text))
	m.at[key] = append(m.at[key], candidate{needle, s})
}

// match calls f once for each needle that stands in data.
func (m *matcher) match(data []byte, f func(n Needle, form string)) {
	seen := map[int]bool{}
	m.scan(fold(data), seen, f)
	if m.digits != nil {
		m.digits.scan(digits(data), seen, f)
	}
}

func (m *matcher) scan(data []byte, seen map[int]bool, f func(n Needle, form string)) {
	for i := 0; i+least <= len(data); i++ {
		if !m.begin[binary.BigEndian.Uint16(data[i:])] {
			continue
		}
		for _, c := range m.at[binary.BigEndian.Uint64(data[i:])] {
			if !seen[c.needle] && bytes.HasPrefix(data[i:], []byte(c.text)) {
				seen[c.needle] = true
				f(m.needles[c.needle], c.form)
			}
		}
	}
}
