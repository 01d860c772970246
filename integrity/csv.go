package integrity

import (
	"errors"
	"io"
	"iter"
	"strconv"
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
}

// CSVOptions says how to read a CSV file. The zero value reads RFC 4180.
type CSVOptions struct {
	// Columns is the mapping of headings to fields, often [KnownHeaders].
	Columns Columns
	// Comma is the byte between cells; 0 means ','.
	Comma byte
	// MaxField is the largest cell in bytes; 0 means 1 MiB. A larger one is
	// left out, and the row goes on without it.
	MaxField int
	// MaxRecord is the largest record in bytes; 0 means 16 MiB. It bounds the
	// memory that a quote which is never closed can take, together with a
	// limit of 65,536 lines a record.
	MaxRecord int
}

const (
	defaultMaxField  = 1 << 20
	defaultMaxRecord = 16 << 20
	maxColumns       = 4096
)

func (o CSVOptions) check() (CSVOptions, error) {
	if o.Comma == 0 {
		o.Comma = ','
	}
	if o.MaxField == 0 {
		o.MaxField = defaultMaxField
	}
	if o.MaxRecord == 0 {
		o.MaxRecord = max(defaultMaxRecord, o.MaxField)
	}
	switch {
	case o.Comma == '"' || o.Comma == '\r' || o.Comma == '\n' || o.Comma >= 0x80:
		return o, configErr("csv: comma is a quote, a line end or not ASCII")
	case o.MaxField < 1 || o.MaxRecord < o.MaxField:
		return o, configErr("csv: limits of %d bytes a field, %d a record", o.MaxField, o.MaxRecord)
	}
	return o, nil
}

// CSV reads rows from r, which needs a header line. The sequence can be used
// once. It yields
//
//   - a [Row] for each record, without the cells that cannot be read (NUL, not
//     UTF-8, too large), which its Faults name;
//   - a [*RowError] for each record that is lost (columns missing or too many,
//     broken quotes), and for a heading that stands twice; reading goes on with
//     the next line;
//   - a [*SourceError] as the last error when the file as a whole cannot be
//     read: empty, not UTF-8, no known heading, reader failed. An io error
//     keeps its cause.
//
// A byte-order mark, LF and CRLF line ends, quotes over several lines and
// empty lines are taken as they come. After a broken quote reading resumes at
// the line that follows the beginning of the broken record, so that a quote
// which is never closed costs one row and not the rest of the file; lines that
// were inside that record are then read as rows of their own.
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
		rec, err := p.next()
		if errors.Is(err, io.EOF) {
			return
		}
		if err != nil {
			_, lost := errors.AsType[*RowError](err)
			if !yield(Row{}, err) || !lost {
				return
			}
			continue
		}
		if have, want := len(rec.cells), len(head.columns); have != want {
			if !yield(Row{}, &RowError{Fault: columnFault(rec.line, have, want)}) {
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
