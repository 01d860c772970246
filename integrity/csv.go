package integrity

import (
	"errors"
	"io"
	"iter"
	"strconv"
	"unicode/utf8"
)

// Row is one row of a source.
type Row struct {
	// Line is where the row begins in its source, from 1; 0 where the source
	// has no lines.
	Line int
	// Values are the cells by field or column name. CSV yields strings.
	// Blank cells may be left out.
	Values map[string]any
	// Faults are cells that could not be read; their values are not in Values.
	Faults []Fault
	// Dropped names the declared columns whose value was left out.
	Dropped []string

	places map[string]int // columns of the values by name, from 1
}

// CSVOptions says how to read a CSV file. The zero value reads the grammar of
// the package comment.
type CSVOptions struct {
	// Columns is the mapping of headings to fields, often [KnownHeaders].
	Columns Columns
	// Comma is the byte between cells; 0 means the one that a first line "sep=;"
	// names, and else ','.
	Comma byte
	// MaxField is the largest cell in bytes; 0 means 1 MiB. A larger one is
	// left out, and the row goes on without it.
	MaxField int
	// MaxRecord is the largest record in bytes, quotes and line end included; 0
	// means 16 MiB. A larger one is passed over to its end and lost as one row.
	MaxRecord int
	// ShortRows accepts records with fewer cells than the header has: those
	// that lack are blank. Spreadsheets leave trailing blanks out; a file that
	// was cut off does so too, so it is not the default.
	ShortRows bool
	// ResumeAfterQuote goes on after a broken quote with the line after the one
	// in which the broken record begins, so that the quote costs one row and
	// not the rest of the file. Lines that were inside a cell of that record
	// are then read as rows: whoever could write a note into the source can
	// plant rows. Set it only for a file whose every cell is trusted. A broken
	// record above MaxRecord ends the file all the same.
	ResumeAfterQuote bool
}

const (
	defaultMaxField  = 1 << 20
	defaultMaxRecord = 16 << 20
	maxColumns       = 4096
)

func (o CSVOptions) check() (CSVOptions, error) {
	if o.MaxField == 0 {
		o.MaxField = defaultMaxField
	}
	if o.MaxRecord == 0 {
		o.MaxRecord = max(defaultMaxRecord, o.MaxField)
	}
	switch {
	case o.Comma != 0 && !isComma(o.Comma):
		return o, configErr("csv: comma is a quote, a line end or not ASCII")
	case o.MaxField < 1 || o.MaxRecord < o.MaxField:
		return o, configErr("csv: limits of %d bytes a field, %d a record", o.MaxField, o.MaxRecord)
	}
	return o, nil
}

func isComma(c byte) bool { return c != 0 && c != '"' && c != '\r' && c != '\n' && c < utf8.RuneSelf }

// CSV reads rows from r, which needs a header line, by the grammar of the
// package comment. The sequence can be used once. It yields
//
//   - a [Row] for each record, without the cells that cannot be read (NUL, not
//     UTF-8, too large), which its Faults name;
//   - a [*RowError] for each record that is lost (columns missing or too many,
//     too large, a line end of the other kind), and for a heading that stands
//     twice; reading goes on with the next record;
//   - a [*SourceError] as the last error when the file cannot be read, or no
//     further: empty, not UTF-8, no known heading, broken quotes, reader failed.
//     An io error keeps its cause. The rows before it are good.
//
// No row is ever made of the inside of a cell: after a quote that is not where
// the grammar has it nobody can say which line begins a record, so that the
// file ends there with the line in the error, unless
// [CSVOptions.ResumeAfterQuote] asks to go on.
func CSV(r io.Reader, options CSVOptions) iter.Seq2[Row, error] {
	return func(yield func(Row, error) bool) {
		o, err := options.check()
		if err != nil {
			yield(Row{}, err)
			return
		}
		if r == nil {
			yield(Row{}, configErr("csv: no reader"))
			return
		}
		p := newParser(r, o)
		head, err := p.header(o.Columns)
		if err != nil {
			yield(Row{}, err)
			return
		}
		for _, notice := range head.notices {
			if !yield(Row{}, &RowError{Fault: notice}) {
				return
			}
		}
		p.rows(head, yield)
	}
}

func (p *parser) rows(head *header, yield func(Row, error) bool) {
	for {
		rec, more, err := p.next()
		if !more {
			return
		}
		if want := len(head.columns); err == nil && (rec.count > want || rec.count < want && !p.options.ShortRows) {
			err = &RowError{Fault: columnFault(rec.line, rec.count, want)}
		}
		if err != nil {
			_, lost := errors.AsType[*RowError](err)
			if !yield(Row{}, err) || !lost {
				return
			}
			continue
		}
		if !yield(head.row(rec), nil) {
			return
		}
	}
}

func columnFault(line, have, want int) Fault {
	code := CodeTooFewColumns
	if have > want {
		code = CodeTooManyColumns
	}
	return Fault{Line: line, Code: code, Outcome: RowRejected, Params: []Param{{"have", strconv.Itoa(have)}, {"want", strconv.Itoa(want)}}}
}
