package integrity

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// column is one column of a file.
type column struct {
	name    string
	dropped bool // name is the declared heading then
}

type header struct {
	columns []column
	places  map[string]int // of the columns that are not dropped, from 1
	notices []Fault        // headings that stand twice
}

// header reads the first record and maps its headings.
func (p *parser) header(columns Columns) (*header, error) {
	known, drop, err := columns.names()
	if err != nil {
		return nil, err
	}
	if err := p.skipMark(); err != nil {
		return nil, err
	}
	rec, more, err := p.next()
	if err == nil && p.separator(rec) {
		rec, more, err = p.next()
	}
	switch {
	case !more:
		return nil, &SourceError{Line: max(p.line-1, 1), Code: CodeEmptyFile}
	case err != nil:
		return nil, p.headerError(err)
	case rec.count > maxColumns:
		return nil, &SourceError{Line: rec.line, Code: CodeHeaderInvalid}
	}
	p.keep = 0
	if p.resume = p.options.ResumeAfterQuote; p.resume {
		p.keep = p.options.MaxRecord
	}
	h := &header{columns: make([]column, len(rec.cells)), places: map[string]int{}}
	if !h.assign(rec, known, drop) && len(known) > 0 {
		fault := &SourceError{Line: rec.line, Code: CodeHeaderUnknown}
		if len(rec.cells) == 1 {
			fault.Comma = p.otherComma([]byte(rec.cells[0].text))
		}
		return nil, fault
	}
	for i, cell := range rec.cells {
		if h.columns[i].dropped {
			continue
		}
		if cell.code != "" || checkHygiene(cell.text, true) != "" {
			return nil, &SourceError{Line: rec.line, Code: CodeHeaderInvalid}
		}
		h.places[h.columns[i].name] = i + 1
	}
	return h, nil
}

// separator reports whether rec is the line in which spreadsheets say what
// separates the cells, and believes it where the options do not say.
func (p *parser) separator(rec record) bool {
	if rec.count < 1 || rec.count > 2 || len(rec.cells[0].text) < 4 || !strings.EqualFold(rec.cells[0].text[:4], "sep=") {
		return false
	}
	named := rec.cells[0].text[4:]
	if rec.count == 2 { // the line says what the options say, or what is the default
		return named == "" && rec.cells[1] == cell{}
	}
	if len(named) != 1 || !isComma(named[0]) {
		return false
	}
	if p.options.Comma == 0 {
		p.comma = named[0]
	}
	return true
}

// headerError says why there is no header.
func (p *parser) headerError(err error) error {
	source, _ := errors.AsType[*SourceError](err)
	if source != nil && source.Code == CodeRead {
		return err
	}
	line := p.raw
	if source != nil { // it ended in the middle of a line
		rest, _ := p.window()
		line = slices.Concat(line, rest)
	}
	line, _, _ = bytes.Cut(line, []byte("\n"))
	return &SourceError{Line: p.first, Code: CodeHeaderInvalid, Comma: p.otherComma(line)}
}

// otherComma guesses what separates the headings of a line in one piece.
func (p *parser) otherComma(line []byte) byte {
	if bytes.IndexByte(line, p.comma) >= 0 {
		return 0
	}
	for _, c := range []byte{';', '\t', '|', ','} {
		if bytes.IndexByte(line, c) >= 0 {
			return c
		}
	}
	return 0
}

// assign gives each column its name and reports whether any heading is known.
func (h *header) assign(rec record, known, drop map[string]string) (any bool) {
	taken, seen := map[string]bool{}, map[string]bool{}
	for i, cell := range rec.cells {
		key := heading(cell.text)
		if field, ok := known[key]; ok {
			any = true
			if !taken[field] {
				h.columns[i].name, taken[field] = field, true
			}
		} else if name, ok := drop[key]; ok {
			h.columns[i] = column{name: name, dropped: true}
		}
		if key != "" && seen[key] && !h.columns[i].dropped {
			h.notices = append(h.notices, Fault{Line: rec.line, Column: i + 1, Code: CodeHeaderDuplicate, Outcome: ColumnRenamed})
		}
		seen[key] = true
	}
	for i, cell := range rec.cells {
		if h.columns[i].name != "" {
			continue
		}
		h.columns[i].name = freeName(strings.TrimSpace(cell.text), i, taken)
	}
	return any
}

// freeName is the heading, or the heading with a number where it is taken.
func freeName(name string, i int, taken map[string]bool) string {
	if name == "" {
		name = fmt.Sprintf("column %d", i+1)
	}
	free := name
	for n := 2; taken[free]; n++ {
		free = fmt.Sprintf("%s (%d)", name, n)
	}
	taken[free] = true
	return free
}

// row makes the row of a record that has no more cells than the header.
func (h *header) row(rec record) Row {
	row := Row{Line: rec.line, Values: make(map[string]any, len(rec.cells)), places: h.places}
	for i, cell := range rec.cells {
		column := h.columns[i]
		switch {
		case column.dropped:
			if cell.text != "" || cell.code != "" {
				row.Dropped = append(row.Dropped, column.name)
			}
		case cell.code != "":
			row.Faults = append(row.Faults, Fault{Line: rec.line, Column: i + 1, Field: column.name, Code: cell.code})
		case cell.text != "":
			row.Values[column.name] = cell.text
		}
	}
	return row
}
