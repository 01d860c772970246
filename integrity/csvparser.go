package integrity

import (
	"bufio"
	"bytes"
	"errors"
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
	cells []cell
}

// physical is one line of the file. long says that its end was skipped.
type physical struct {
	data []byte // with its line end
	long bool
}

const maxLines = 1 << 16 // of one record

// parser splits a file into records as encoding/csv does, but knows how to go
// on after a broken one, and never holds more than one record.
type parser struct {
	in      *bufio.Reader
	options CSVOptions
	line    int        // number of the line read last
	again   []physical // lines of a broken record, to be read once more, the next one last
	buf     []byte     // the line read last

	// the record at hand
	first  int // its first line
	held   []physical
	size   int // bytes of its lines
	text   []byte
	ends   []int
	over   []bool
	quoted bool // inside a quoted cell
	cut    bool // the cell at hand is too large
	start  int  // of the cell at hand in text
}

func newParser(r io.Reader, options CSVOptions) *parser {
	return &parser{in: bufio.NewReaderSize(r, 64<<10), options: options}
}

// skipMark takes the byte-order mark off and refuses UTF-16.
func (p *parser) skipMark() error {
	mark, err := p.in.Peek(3)
	if err != nil && !errors.Is(err, io.EOF) {
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

// next returns the next record, a RowError for one that is lost, io.EOF at the
// end, or the SourceError of the reader.
func (p *parser) next() (record, error) {
	for {
		line, err := p.readLine()
		if err != nil {
			return record{}, err
		}
		if body, _ := splitEnd(line.data); len(body) == 0 && !line.long {
			continue // an empty line is no record
		}
		return p.record(line)
	}
}

// record parses the record that begins with line.
func (p *parser) record(line physical) (record, error) {
	p.first, p.size = p.line, 0
	p.held, p.text, p.ends, p.over = p.held[:0], p.text[:0], p.ends[:0], p.over[:0]
	p.quoted, p.cut, p.start = false, false, 0
	for {
		p.size += len(line.data)
		more, code := p.feed(line)
		if code == "" && more && (p.size > p.options.MaxRecord || len(p.held) >= maxLines) {
			code = CodeRecordTooLarge
		}
		if code != "" {
			return record{}, p.lost(line, code)
		}
		if !more {
			return p.finish(), nil
		}
		p.held = append(p.held, physical{data: bytes.Clone(line.data), long: line.long})
		next, err := p.readLine()
		if errors.Is(err, io.EOF) {
			return record{}, p.lostAtEnd()
		}
		if err != nil {
			return record{}, err
		}
		line = next
	}
}

// lost gives back the lines after the first of a broken record.
func (p *parser) lost(line physical, code Code) error {
	if len(p.held) > 0 {
		p.held = append(p.held, physical{data: bytes.Clone(line.data), long: line.long})
	}
	return p.rewind(code)
}

func (p *parser) lostAtEnd() error { return p.rewind(CodeQuoteOpen) }

func (p *parser) rewind(code Code) error {
	if len(p.held) > 1 {
		for _, line := range slices.Backward(p.held[1:]) {
			p.again = append(p.again, line)
		}
		p.line = p.first
	}
	p.held = nil
	return &RowError{Fault: Fault{Line: p.first, Code: code, Outcome: RowRejected}}
}

// feed parses one line. more says that the record goes on in the next one.
func (p *parser) feed(line physical) (more bool, code Code) {
	rest, newline := splitEnd(line.data)
	if line.long {
		return false, CodeRecordTooLarge
	}
	for {
		if !p.quoted && len(rest) > 0 && rest[0] == '"' {
			p.quoted, rest = true, rest[1:]
		}
		var done, open bool
		if p.quoted {
			rest, done, open, code = p.quotedCell(rest, newline)
		} else {
			rest, done, code = p.plainCell(rest)
		}
		if code != "" || done || open {
			return open, code
		}
	}
}

// plainCell takes a cell without quotes and what separates it from the next.
func (p *parser) plainCell(rest []byte) (after []byte, done bool, code Code) {
	body, after, found := bytes.Cut(rest, []byte{p.options.Comma})
	if bytes.IndexByte(body, '"') >= 0 {
		return nil, false, CodeQuote
	}
	p.add(body)
	p.endCell()
	return after, !found, ""
}

// quotedCell takes a cell, or the part of it on this line, after its opening
// quote.
func (p *parser) quotedCell(rest []byte, newline bool) (after []byte, done, open bool, code Code) {
	for {
		body, after, closed := bytes.Cut(rest, []byte{'"'})
		p.add(body)
		if !closed {
			if newline {
				p.add([]byte{'\n'})
			}
			return nil, false, true, ""
		}
		if len(after) > 0 && after[0] == '"' {
			p.add(after[:1])
			rest = after[1:]
			continue
		}
		p.quoted = false
		if len(after) > 0 && after[0] != p.options.Comma {
			return nil, false, false, CodeQuote
		}
		p.endCell()
		if len(after) == 0 {
			return nil, true, false, ""
		}
		return after[1:], false, false, ""
	}
}

func (p *parser) add(b []byte) {
	if p.cut || len(p.text)-p.start+len(b) > p.options.MaxField {
		p.cut, p.text = true, p.text[:p.start]
		return
	}
	p.text = append(p.text, b...)
}

func (p *parser) endCell() {
	p.ends, p.over = append(p.ends, len(p.text)), append(p.over, p.cut)
	p.start, p.cut = len(p.text), false
}

// finish makes the record of the cells at hand.
func (p *parser) finish() record {
	rec := record{line: p.first, cells: make([]cell, len(p.ends))}
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
	return rec
}

// readLine returns the next line, good until the next call. A line above the
// limit of a record is skipped and marked.
func (p *parser) readLine() (physical, error) {
	if n := len(p.again); n > 0 {
		line := p.again[n-1]
		p.again = p.again[:n-1]
		p.line++
		return line, nil
	}
	p.buf = p.buf[:0]
	long := false
	for {
		part, err := p.in.ReadSlice('\n')
		if len(p.buf)+len(part) > p.options.MaxRecord+2 {
			long = true
		} else if !long {
			p.buf = append(p.buf, part...)
		}
		switch {
		case err == nil:
		case errors.Is(err, bufio.ErrBufferFull):
			continue
		case errors.Is(err, io.EOF):
			if len(p.buf) == 0 && !long {
				return physical{}, io.EOF
			}
		default:
			return physical{}, &SourceError{Line: p.line + 1, Code: CodeRead, Err: err}
		}
		p.line++
		return physical{data: p.buf, long: long}, nil
	}
}

// splitEnd takes LF or CRLF off, and at the end of the file a lone CR.
func splitEnd(line []byte) (body []byte, newline bool) {
	body, newline = bytes.CutSuffix(line, []byte{'\n'})
	return bytes.TrimSuffix(body, []byte{'\r'}), newline
}
