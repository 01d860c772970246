package main

import (
	"bufio"
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
	data, declared, err := skipSeparatorLine(file)
	if err != nil {
		return layout{}, err
	}
	head := make([]byte, headSize)
	n, err := io.ReadFull(data, head)
	if err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
		return layout{}, err
	}
	head = bytes.TrimPrefix(head[:n], []byte("\ufeff"))
	candidates := []byte{',', ';', '\t', '|'}
	if declared != 0 {
		candidates = []byte{declared}
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
	line, _, _ := bytes.Cut(bytes.TrimLeft(head, "\r\n"), []byte("\n"))
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

// skipSeparatorLine takes Excel's first line "sep=;" off. An empty line stands
// in its place, so that lines keep their numbers.
func skipSeparatorLine(file io.Reader) (rest io.Reader, declared byte, err error) {
	in := bufio.NewReader(file)
	start, err := in.Peek(16)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, 0, err
	}
	line, _, found := bytes.Cut(start, []byte("\n"))
	if !found {
		return in, 0, nil
	}
	text := strings.Trim(strings.TrimRight(strings.TrimPrefix(string(line), "\ufeff"), "\r"), `"`)
	if len(text) != len("sep=;") || !strings.EqualFold(text[:4], "sep=") {
		return in, 0, nil
	}
	_, err = in.Discard(len(line))
	return in, text[4], err
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
