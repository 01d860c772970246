package main

import (
	"bytes"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/crmguard/crmguard/integrity"
)

// layout is how a file is written: what separates its cells, and which
// headings mean which field.
type layout struct {
	comma   byte
	columns integrity.Columns
	fields  []string // of its columns, the known ones
}

// headSize is how much of a file is looked at to find its headings.
const headSize = 1 << 20

// nameFields are the fields that say what a person is called.
func nameFields() []string { return []string{"full_name", "first_name", "last_name"} }

// detect finds the separator and the meaning of the headings: of the usual
// separators, the one that makes the most headings known. A first line that
// says "sep=;", as Excel writes it, decides.
func detect(file io.Reader) (layout, error) {
	head := make([]byte, headSize)
	n, err := io.ReadFull(file, head)
	if err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
		return layout{}, err
	}
	head = bytes.TrimPrefix(head[:n], []byte("\ufeff"))
	for _, lineEnd := range []string{"\r\n", "\r"} {
		head = bytes.ReplaceAll(head, []byte(lineEnd), []byte("\n"))
	}
	head = bytes.TrimLeft(head, "\n")
	candidates := []byte{',', ';', '\t', '|'}
	if comma, rest := declared(head); comma != 0 {
		candidates, head = []byte{comma}, rest
	}
	var best layout
	for _, comma := range candidates {
		headings := firstRecord(head, comma)
		if columns, fields := meaning(headings); best.comma == 0 || len(fields) > len(best.fields) {
			best = layout{comma: comma, columns: columns, fields: fields}
		}
	}
	return best, best.check(head)
}

// check refuses a file without a column that can tell people apart.
func (l *layout) check(head []byte) error {
	line, _, _ := bytes.Cut(head, []byte("\n"))
	switch {
	case len(bytes.TrimSpace(head)) == 0:
		return &unusableError{found: "it is empty", needed: needFile, cause: &integrity.SourceError{Line: 1, Code: integrity.CodeEmptyFile}}
	case !utf8.Valid(line) || bytes.IndexByte(line, 0) >= 0:
		return &unusableError{found: "its headings are not UTF-8", needed: needUTF8, cause: &integrity.SourceError{Line: 1, Code: integrity.CodeHeaderInvalid}}
	case len(l.fields) == 0:
		return &unusableError{found: "no heading is known", needed: needHeading, cause: &integrity.SourceError{Line: 1, Code: integrity.CodeHeaderUnknown}}
	case !slices.ContainsFunc(append(nameFields(), "email"), func(name string) bool { return slices.Contains(l.fields, name) }):
		return &unusableError{found: fmt.Sprintf("of its headings %s are known, none for e-mail addresses or names", strings.Join(l.fields, ", ")), needed: needHeading}
	}
	return nil
}

// declared is the separator that a first line "sep=;" names, and what follows
// the line. Whoever reads the rows passes over it too.
func declared(head []byte) (comma byte, rest []byte) {
	line, rest, _ := bytes.Cut(head, []byte("\n"))
	text := strings.Trim(string(line), `"`)
	if len(text) != len("sep=;") || !strings.EqualFold(text[:4], "sep=") {
		return 0, head
	}
	return text[4], rest
}

// firstRecord reads the headings, be they quoted, over several lines or none.
func firstRecord(head []byte, comma byte) []string {
	r := csv.NewReader(bytes.NewReader(head))
	r.Comma, r.LazyQuotes, r.FieldsPerRecord = rune(comma), true, -1
	headings, err := r.Read()
	if err != nil {
		return nil
	}
	return headings
}

// meaning says what each heading stands for. A bare "Name" is the family name
// beside a column of first names ("Name;Vorname"), the first name beside one
// of family names, and the whole name where it stands alone.
func meaning(headings []string) (integrity.Columns, []string) {
	known := func(field string) (integrity.Columns, []string) {
		columns := integrity.KnownHeaders()
		columns.Known[field] = append(columns.Known[field], "Name", "名字")
		return columns, recognised(headings, columns)
	}
	columns, fields := known("full_name")
	first, last := slices.Contains(fields, "first_name"), slices.Contains(fields, "last_name")
	if slices.Contains(fields, "full_name") && first != last {
		field := "last_name"
		if last {
			field = "first_name"
		}
		if other, with := known(field); slices.Contains(with, field) {
			return other, with
		}
	}
	return columns, fields
}

// recognised asks the reader itself which fields it sees in these headings.
func recognised(headings []string, columns integrity.Columns) []string {
	if len(headings) == 0 {
		return nil
	}
	var file strings.Builder
	w := csv.NewWriter(&file)
	cells := slices.Repeat([]string{"x"}, len(headings))
	if err := errors.Join(w.Write(headings), w.Write(cells)); err != nil {
		return nil
	}
	w.Flush()
	var fields []string
	for row, err := range integrity.CSV(strings.NewReader(file.String()), integrity.CSVOptions{Columns: columns}) {
		if err != nil {
			continue // a heading that stands twice, or none that is known
		}
		for name := range row.Values {
			if _, known := columns.Known[name]; known {
				fields = append(fields, name)
			}
		}
	}
	slices.Sort(fields)
	return fields
}
