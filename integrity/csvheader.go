package integrity

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
)

// column is one column of a file.
type column struct {
	name    string
	dropped bool // name is the declared heading then
}

type header struct {
	columns []column
	notices []Fault // headings that stand twice
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
	rec, err := p.next()
	if errors.Is(err, io.EOF) {
		return nil, &SourceError{Line: max(p.line, 1), Code: CodeEmptyFile}
	}
	if broken, lost := errors.AsType[*RowError](err); lost {
		return nil, &SourceError{Line: broken.Fault.Line, Code: CodeHeaderInvalid, Comma: p.otherComma(p.buf)}
	}
	if err != nil {
		return nil, err
	}
	h := &header{columns: make([]column, len(rec.cells))}
	if len(rec.cells) > maxColumns {
		return nil, &SourceError{Line: rec.line, Code: CodeHeaderInvalid}
	}
	if !h.assign(rec, known, drop) && len(known) > 0 {
		fault := &SourceError{Line: rec.line, Code: CodeHeaderUnknown}
		if len(rec.cells) == 1 {
			fault.Comma = p.otherComma([]byte(rec.cells[0].text))
		}
		return nil, fault
	}
	for i, cell := range rec.cells {
		if cell.code != "" && !h.columns[i].dropped {
			return nil, &SourceError{Line: rec.line, Code: CodeHeaderInvalid}
		}
	}
	return h, nil
}

// otherComma guesses what separates the headings of a line in one piece.
func (p *parser) otherComma(line []byte) byte {
	if bytes.IndexByte(line, p.options.Comma) >= 0 {
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

// row makes the row of a record that has as many cells as the header.
func (h *header) row(rec record) Row {
	row := Row{Line: rec.line, Values: make(map[string]any, len(rec.cells))}
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
