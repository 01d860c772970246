package integrity

import (
	"bufio"
	"bytes"
	"io"
	"slices"
)

// cell is one cell of a record; code says why text is not there.
type cell struct {
	text string
	code Code
}

type record struct {
	line  int
	cells []cell // the first maxColumns of them
	count int    // how many there were
}

// place is where in a record the parser stands.
type place int

const (
	atStart    place = iota // of a cell
	inPlain                 // in a cell without quotes
	inQuotes                // between the quotes of a cell
	atQuote                 // behind a quote mark between them: the closing one, or half of a doubled one
	inLeftover              // of a line whose quotes are broken, where reading shall go on
)

// parser splits a file into records by the grammar of the package comment. It
// is a machine that takes one byte after another and stores only what the
// limits allow, so that a record above them is passed over to its true end,
// and never holds more than one record.
type parser struct {
	options CSVOptions
	in      *bufio.Reader
	again   []byte // read once more, before in
	comma   byte
	resume  bool // go on after broken quotes
	keep    int  // bytes of a record to keep in raw
	line    int  // the line at hand, from 1
	lineEnd byte // '\n', '\r', or 0 before the first one decides

	// the record at hand
	first   int // its first line
	opened  int // the line of the quote mark that opened the cell at hand
	at      place
	returns int // carriage returns whose meaning the next byte decides
	size    int
	count   int
	text    []byte
	ends    []int
	over    []bool
	start   int    // of the cell at hand in text
	cut     bool   // the cell at hand is too large
	lost    Code   // why the record cannot be taken
	raw     []byte // its bytes, nil when there are more than keep
}

func newParser(r io.Reader, options CSVOptions) *parser {
	p := &parser{options: options, in: bufio.NewReaderSize(r, 64<<10), comma: options.Comma, line: 1, keep: 4 << 10}
	if p.comma == 0 {
		p.comma = ','
	}
	return p
}

// skipMark takes the byte-order mark off and refuses UTF-16.
func (p *parser) skipMark() error {
	mark, err := p.in.Peek(3)
	if err != nil && err != io.EOF {
		return &SourceError{Line: 1, Code: CodeRead, Err: err}
	}
	switch {
	case bytes.HasPrefix(mark, []byte("\xef\xbb\xbf")):
		_, err = p.in.Discard(3)
		return err
	case bytes.HasPrefix(mark, []byte("\xff\xfe")), bytes.HasPrefix(mark, []byte("\xfe\xff")):
		return &SourceError{Line: 1, Code: CodeEncoding}
	}
	return nil
}

// next returns the next record, a RowError for one that is set aside, or the
// SourceError that ends the file. more is false at the end.
func (p *parser) next() (rec record, more bool, err error) {
	p.begin()
	for {
		window, err := p.window()
		if err != nil {
			return record{}, true, &SourceError{Line: p.line, Code: CodeRead, Err: err}
		}
		if len(window) == 0 {
			return p.last()
		}
		n, done, broken := p.feed(window)
		p.consume(window[:n])
		switch {
		case broken:
			if err := p.broken(CodeQuote, p.line); err != nil {
				return record{}, true, err
			}
		case done && p.empty():
			p.begin() // an empty line is no record
		case done:
			rec, err := p.finish()
			return rec, true, err
		}
	}
}

func (p *parser) begin() {
	p.first, p.at, p.returns, p.size, p.count = p.line, atStart, 0, 0, 0
	p.start, p.cut, p.lost = 0, false, ""
	p.text, p.ends, p.over, p.raw = p.text[:0], p.ends[:0], p.over[:0], p.raw[:0]
	if p.raw == nil {
		p.raw = []byte{}
	}
}

func (p *parser) empty() bool { return p.count == 0 && p.at == atStart && p.lost == "" }

// window is what can be parsed without reading more, nothing at the end of the
// file. Only io.EOF itself is the end: an error that wraps it is a failure.
func (p *parser) window() ([]byte, error) {
	if len(p.again) > 0 {
		return p.again, nil
	}
	if _, err := p.in.Peek(1); err == io.EOF {
		return nil, nil
	} else if err != nil {
		return nil, err
	}
	return p.in.Peek(p.in.Buffered())
}

func (p *parser) consume(b []byte) {
	if p.size += len(b); p.size > p.options.MaxRecord {
		p.lose(CodeRecordTooLarge)
	}
	if len(p.raw)+len(b) > p.keep {
		p.raw = nil
	} else if p.raw != nil {
		p.raw = append(p.raw, b...)
	}
	if len(p.again) > 0 {
		p.again = p.again[len(b):]
		return
	}
	_, _ = p.in.Discard(len(b)) // they are there
}

// feed takes bytes until the record is done, broken or needs more.
func (p *parser) feed(b []byte) (n int, done, broken bool) {
	for n < len(b) && !done && !broken {
		took := 0
		switch p.at {
		case inQuotes:
			took = p.quoted(b[n:])
		case inLeftover:
			took, done = p.leftover(b[n:])
		default:
			took, done, broken = p.plain(b[n:])
		}
		n += took
	}
	return n, done, broken
}

// plain takes a byte, or a run of them, outside of quotes.
func (p *parser) plain(b []byte) (n int, done, broken bool) {
	switch c := b[0]; {
	case c == '\r' && p.lineEnd != '\r':
		p.returns++
	case c == '\r', c == '\n' && p.lineEnd != '\r':
		p.endLine(c, 1)
		return 1, true, false
	case p.returns > 0 && p.lineEnd == 0: // no line feed follows the first line end of the file
		p.endLine('\r', p.returns)
		return 0, true, false
	case p.at == inPlain && c == '"', p.at == atQuote && c != '"' && c != p.comma:
		return 0, false, true
	case p.returns > 0:
		p.lose(CodeLineEnd)
		p.at, p.returns = inPlain, 0
		return 0, false, false
	case c == '\n':
		p.lose(CodeLineEnd)
		p.at = inPlain
	case c == p.comma:
		p.endCell()
		p.at = atStart
	case c == '"' && p.at == atQuote:
		p.add(b[:1])
		p.at = inQuotes
	case c == '"':
		p.at, p.opened = inQuotes, p.line
	default:
		p.at = inPlain
		n = p.run(b)
		p.add(b[:n])
		return n, false, false
	}
	return 1, false, false
}

// run is the length of what needs no decision outside of quotes.
func (p *parser) run(b []byte) int {
	for i, c := range b {
		if c == p.comma || c == '"' || c == '\r' || c == '\n' {
			return i
		}
	}
	return len(b)
}

// endLine ends the record with a line end, which stood n times.
func (p *parser) endLine(kind byte, n int) {
	p.lineEnd = kind
	p.line += n
	if p.at != atStart || p.count > 0 {
		p.endCell()
	}
}

// quoted takes a byte, or a run of them, between quotes. A line end of two
// bytes becomes one line feed, as in encoding/csv.
func (p *parser) quoted(b []byte) int {
	if p.returns > 0 && b[0] != '\n' {
		p.add([]byte("\r"))
	}
	p.returns = 0
	if b[0] == p.lineEnd || b[0] == '\n' && p.lineEnd == 0 {
		p.line++
	}
	switch b[0] {
	case '"':
		p.at = atQuote
	case '\r':
		p.returns = 1
	case '\n':
		p.add(b[:1])
	default:
		n := bytes.IndexAny(b, "\"\r\n")
		if n < 0 {
			n = len(b)
		}
		p.add(b[:n])
		return n
	}
	return 1
}

// leftover passes over the rest of a line.
func (p *parser) leftover(b []byte) (n int, done bool) {
	end := bytes.IndexByte(b, p.lineEnd)
	if end < 0 {
		return len(b), false
	}
	p.line++
	return end + 1, true
}

// broken says what becomes of a record whose quotes are broken at line: the
// end of the file, because what follows may be the inside of a cell, or, where
// reading shall go on, the loss of its first line.
func (p *parser) broken(code Code, line int) error {
	if !p.resume || p.raw == nil {
		return &SourceError{Line: line, Code: code}
	}
	p.lost = code
	end := bytes.IndexByte(p.raw, p.lineEnd)
	if end < 0 {
		p.at = inLeftover
		return nil
	}
	p.again = slices.Concat(p.raw[end+1:], p.again)
	p.line = p.first + 1
	return p.rowError()
}

// last is the record that the end of the file ends.
func (p *parser) last() (rec record, more bool, err error) {
	if p.at == inQuotes {
		if err := p.broken(CodeQuoteOpen, p.opened); err != nil {
			return record{}, true, err
		}
	}
	if p.empty() {
		return record{}, false, nil
	}
	if p.lost == "" {
		p.endCell()
	}
	rec, err = p.finish()
	return rec, true, err
}

// lose sets the record aside; nothing more of it is stored.
func (p *parser) lose(code Code) {
	if p.lost == "" {
		p.lost, p.text, p.ends, p.over, p.start = code, nil, nil, nil, 0
	}
}

func (p *parser) rowError() error {
	return &RowError{Fault: Fault{Line: p.first, Code: p.lost, Outcome: RowRejected}}
}

func (p *parser) add(b []byte) {
	switch {
	case p.lost != "" || p.cut || p.count >= maxColumns:
	case len(p.text)-p.start+len(b) > p.options.MaxField:
		p.cut, p.text = true, p.text[:p.start]
	default:
		p.text = append(p.text, b...)
	}
}

func (p *parser) endCell() {
	if p.count++; p.lost == "" && p.count <= maxColumns {
		p.ends, p.over = append(p.ends, len(p.text)), append(p.over, p.cut)
	}
	p.start, p.cut = len(p.text), false
}

// finish makes the record of the cells at hand.
func (p *parser) finish() (record, error) {
	if p.lost != "" {
		return record{}, p.rowError()
	}
	rec := record{line: p.first, count: p.count, cells: make([]cell, len(p.ends))}
	all, start := string(p.text), 0
	for i, end := range p.ends {
		text := all[start:end]
		start = end
		if p.over[i] {
			rec.cells[i].code = CodeFieldTooLarge
		} else if code := checkPlain(text); code != "" {
			rec.cells[i].code = code
		} else {
			rec.cells[i].text = text
		}
	}
	return rec, nil
}
