package main

import (
	"bytes"
	"context"
	_ "embed" // the bundled people
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/text/encoding/unicode"

	"github.com/crmguard/crmguard/integrity"
)

//go:embed testdata/people.csv
var bundledPeople []byte

// fewest is how many contacts the tour needs: one who is forgotten, and one
// who stays.
const fewest = 2

// source is the file of contacts. It is read twice: once to see whether it can
// be shown at all, before anything is written, and once to store it.
type source struct {
	name    string
	open    func() (io.ReadCloser, error) // from the beginning
	layout  layout
	shared  bool // one address stands for several people: it does not tell them apart
	survey  survey
	dropped int // rows with bytes that are not UTF-8
}

// unusableError says why a file of contacts cannot be shown, and what to do.
// Nothing was written when it is returned.
type unusableError struct {
	file, found, needed string
	cause               error
}

func (e *unusableError) Error() string {
	text := fmt.Sprintf("%s cannot be shown: %s; needed: %s", e.file, e.found, e.needed)
	if e.cause != nil {
		text += fmt.Sprintf(" (%v)", e.cause)
	}
	return text
}

func (e *unusableError) Unwrap() error { return e.cause }

const (
	needFile    = "a CSV file with a line of headings, one of them for e-mail addresses or names (such as Email, First Name, Name, 邮箱, 姓名, E-Mail, Vorname), and at least 2 contacts"
	needUTF8    = `a file in UTF-8, or in UTF-16 with its mark: in Excel "Save As", "CSV UTF-8 (Comma delimited)"; in LibreOffice "Save As", character set "Unicode (UTF-8)"`
	needPeople  = "at least 2 contacts with an e-mail address or a name: one is forgotten, one stays"
	needHeading = "a first line of headings, one of them for e-mail addresses or names (such as Email, First Name, Name, 邮箱, 姓名, E-Mail, Vorname); rename the headings of those columns if they are in other words"
)

// findSource opens the file that the settings name, and looks through it.
func findSource(ctx context.Context, path string) (*source, error) {
	s := &source{name: "people.csv (bundled, invented)", open: inMemory(bundledPeople)}
	if path != "" {
		s.name = filepath.Base(path)
		var err error
		if s.open, err = reopener(path); err != nil {
			return nil, &unusableError{s.name, "it cannot be read", needFile, err}
		}
	}
	file, err := s.text()
	if err != nil {
		return nil, &unusableError{s.name, "it cannot be read", needFile, err}
	}
	s.layout, err = detect(file.Reader)
	if err := errors.Join(err, file.Close()); err != nil {
		return nil, s.explained(err)
	}
	return s, s.look(ctx)
}

func inMemory(data []byte) func() (io.ReadCloser, error) {
	return func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(data)), nil }
}

// reopener opens a file as often as it is asked. What can be read only once,
// such as a pipe, is kept in memory.
func reopener(path string) (func() (io.ReadCloser, error), error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if info.IsDir() {
		return nil, errors.New("it is a folder")
	}
	open := func() (io.ReadCloser, error) { return os.Open(path) }
	if info.Mode().IsRegular() {
		return open, nil
	}
	file, err := open()
	if err != nil {
		return nil, err
	}
	data, err := io.ReadAll(file)
	return inMemory(data), errors.Join(err, file.Close())
}

type textFile struct {
	io.Reader
	io.Closer
}

// text opens the file as UTF-8. UTF-16 is known by its mark: spreadsheets call
// it "Unicode text".
func (s *source) text() (*textFile, error) {
	file, err := s.open()
	if err != nil {
		return nil, err
	}
	mark := make([]byte, 2)
	n, err := io.ReadFull(file, mark)
	if err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
		return nil, errors.Join(err, file.Close())
	}
	whole := io.MultiReader(bytes.NewReader(mark[:n]), file)
	if mark := string(mark[:n]); mark == "\xff\xfe" || mark == "\xfe\xff" {
		whole = unicode.UTF16(unicode.LittleEndian, unicode.ExpectBOM).NewDecoder().Reader(whole)
	}
	return &textFile{whole, file}, nil
}

// rows reads the file as its layout says. Some programs leave empty cells at
// the end of a row out.
func (s *source) rows(file io.Reader) (func(yield func(integrity.Row, error) bool), error) {
	data, _, err := skipSeparatorLine(file)
	return integrity.CSV(data, integrity.CSVOptions{Columns: s.layout.columns, Comma: s.layout.comma, ShortRows: true}), err
}

// options say how rows become contacts.
func (s *source) options() (integrity.ImportOptions, error) {
	rules, err := contactRules()
	o := integrity.ImportOptions{
		Schema: rules, Dates: []string{"2006-01-02", "1/2/2006", "2.1.2006", "2006/1/2", "2006年1月2日", "20060102"},
	}
	if !s.shared {
		o.Unique = []string{"email"}
	}
	return o, err
}

// survey is what the file holds.
type survey struct {
	integrity.Report
	emails, countries int
	names             map[string]bool // different ones, until there are two
}

// look reads the whole file once and stores nothing. Where one address stands
// for everybody it does not tell people apart, and their names must.
func (s *source) look(ctx context.Context) error {
	if err := s.count(ctx); err != nil {
		return err
	}
	if s.survey.Accepted < fewest && faults(s.survey.Report, integrity.CodeDuplicate) > 0 {
		s.shared = true
		if err := s.count(ctx); err != nil {
			return err
		}
		if len(s.survey.names) < fewest {
			return &unusableError{s.name, fmt.Sprintf("its %s are about one person, by e-mail address", count(s.survey.Read, "row")), needPeople, nil}
		}
	}
	switch found := s.survey.inWords(); {
	case s.dropped > 1 && 10*s.dropped > s.survey.Read:
		return &unusableError{s.name, fmt.Sprintf("%s of %s hold bytes that are not UTF-8", count(s.dropped, "row"), thousands(s.survey.Read)), needUTF8, nil}
	case s.survey.Accepted < fewest && s.dropped > 0:
		return &unusableError{s.name, found, needUTF8 + "; " + needPeople, nil}
	case s.survey.Accepted < fewest:
		return &unusableError{s.name, found, needPeople, nil}
	}
	return nil
}

// inWords says how many rows can be used, and why others cannot.
func (v *survey) inWords() string {
	words := []string{fmt.Sprintf("%s read, %s can be used", count(v.Read, "row"), thousands(v.Accepted))}
	for _, f := range v.Faults {
		if f.Outcome == integrity.RowRejected {
			words = append(words, fmt.Sprintf("%s: %s", count(f.Count, "row"), f.Code))
		}
	}
	return strings.Join(words, "; ")
}

func faults(r integrity.Report, code integrity.Code) int {
	n := 0
	for _, f := range r.Faults {
		if f.Code == code {
			n += f.Count
		}
	}
	return n
}

func (s *source) count(ctx context.Context) error {
	options, err := s.options()
	if err != nil {
		return err
	}
	file, err := s.text()
	if err != nil {
		return err
	}
	defer file.Close()
	rows, err := s.rows(file)
	if err != nil {
		return err
	}
	s.survey, s.dropped = survey{names: map[string]bool{}}, 0
	last := 0
	options.Fault = func(f integrity.Fault) error {
		if f.Code == integrity.CodeUTF8 && f.Line != last {
			s.dropped++
			last = f.Line
		}
		return nil
	}
	s.survey.Report, err = integrity.Import(ctx, rows, options, func(_ context.Context, batch []integrity.Accepted) error {
		for _, row := range batch {
			s.survey.add(row)
		}
		return nil
	})
	if err != nil {
		return s.explained(err)
	}
	return nil
}

func (v *survey) add(row integrity.Accepted) {
	if row.Values["email"] != nil {
		v.emails++
	}
	if row.Values["country"] != nil {
		v.countries++
	}
	if len(v.names) < fewest {
		name := make([]any, 0, len(nameFields()))
		for _, field := range nameFields() {
			name = append(name, row.Values[field], "\x00")
		}
		v.names[fmt.Sprint(name...)] = true
	}
}

// explained says what to do about a file that cannot be read as a whole.
func (s *source) explained(err error) error {
	if unusable, ok := errors.AsType[*unusableError](err); ok {
		unusable.file = s.name // the layout does not know it
		return err
	}
	broken, ok := errors.AsType[*integrity.SourceError](err)
	switch {
	case !ok:
		return err
	case broken.Code == integrity.CodeEmptyFile:
		return &unusableError{s.name, "it is empty", needFile, err}
	case broken.Code == integrity.CodeHeaderUnknown:
		return &unusableError{s.name, "no heading is one for e-mail addresses or names", needHeading, err}
	case broken.Code == integrity.CodeEncoding:
		return &unusableError{s.name, "its encoding is another one", needUTF8, err}
	case broken.Code == integrity.CodeQuoteOpen || broken.Code == integrity.CodeQuote:
		return &unusableError{s.name, fmt.Sprintf("a quote mark in line %d does not stand as it must", broken.Line), "quote marks around whole cells, and doubled inside them", err}
	case broken.Code == integrity.CodeHeaderInvalid:
		return &unusableError{s.name, "its headings cannot be read", needHeading, err}
	}
	return &unusableError{s.name, "it cannot be read to its end", needFile, err}
}
