package bundle

import (
	"context"
	"encoding/json"
	"io"
	"strings"
	"unicode"
	"unicode/utf8"
)

// byteOrderMark makes spreadsheets read UTF-8; Python calls it utf-8-sig.
const byteOrderMark = "\ufeff"

// csv writes a sheet for spreadsheets: RFC 4180 with line feeds, texts in
// quotation marks, and empty without them what is NULL or not there.
func (p *packing) csv(ctx context.Context, w io.Writer, s *sheet) error {
	line := []byte(byteOrderMark)
	for i, c := range s.columns {
		line = appendText(separate(line, i), c.name)
	}
	if _, err := w.Write(append(line, '\n')); err != nil {
		return err
	}
	return p.rows(ctx, s, func(data []byte) error {
		cells, err := s.cells(data)
		if err != nil {
			return err
		}
		line = line[:0]
		for i, c := range cells {
			line = separate(line, i)
			if c.text || len(cells) == 1 && c.show == "" { // a line of nothing would be no row
				line = appendText(line, c.show)
			} else {
				line = append(line, c.show...)
			}
		}
		_, err = w.Write(append(line, '\n'))
		return err
	})
}

func separate(line []byte, i int) []byte {
	if i == 0 {
		return line
	}
	return append(line, ',')
}

// appendText appends a text in quotation marks that no spreadsheet takes for a
// formula.
func appendText(line []byte, text string) []byte {
	line = append(line, '"')
	if isFormula(text) {
		line = append(line, '\'')
	}
	line = append(line, strings.ReplaceAll(text, `"`, `""`)...)
	return append(line, '"')
}

// isFormula reports whether a spreadsheet may compute a text instead of showing
// it: blanks and invisible characters in front may be dropped by an import. A sign
// with nothing but digits, blanks, brackets and points behind it is a number or a
// telephone number, and stays as it is.
func isFormula(text string) bool {
	text = strings.TrimLeftFunc(text, func(r rune) bool {
		return unicode.In(r, unicode.Zs, unicode.Cf, unicode.Other_Default_Ignorable_Code_Point, unicode.Variation_Selector)
	})
	first, size := utf8.DecodeRuneInString(text)
	switch first {
	case '=', '@', '\t', '\r', '\n', '＝', '＋', '－', '＠', '﹦', '﹢', '﹣', '﹫', '⁼', '⁺', '⁻', '−':
		return true
	case '+', '-':
		rest := text[size:]
		return !strings.ContainsAny(rest, "0123456789") || strings.Trim(rest, "0123456789 ().") != ""
	}
	return false
}

// cell is one value as people read it.
type cell struct {
	show string
	text bool // no number, truth or NULL
}

// cells are the values of a line in the order of the sheet's columns.
func (s *sheet) cells(line []byte) ([]cell, error) {
	var members map[string]json.RawMessage
	if err := json.Unmarshal(line, &members); err != nil {
		return nil, err
	}
	var withheld map[string]string
	if raw, some := members[withheldMember]; some {
		if err := json.Unmarshal(raw, &withheld); err != nil {
			return nil, err
		}
	}
	list := make([]cell, len(s.columns))
	for i, c := range s.columns {
		raw, there := members[c.name]
		reason, left := withheld[c.name]
		switch {
		case left:
			list[i] = cell{"[withheld: " + visible(reason) + "]", true}
		case there:
			list[i] = newCell(raw)
		}
	}
	return list, nil
}

func newCell(raw json.RawMessage) cell {
	switch typeOf(raw) {
	case "null":
		return cell{}
	case "string":
		var text string
		if json.Unmarshal(raw, &text) == nil {
			return cell{visible(text), true}
		}
	case "number", "boolean":
		return cell{string(raw), false}
	}
	return cell{visible(string(raw)), true}
}

// visible puts their pictures in the place of control characters, which end or
// garble a cell in one program or the other. NDJSON has them as they are.
func visible(text string) string {
	return strings.Map(func(c rune) rune {
		switch {
		case c == '\t' || c == '\n' || c == '\r':
			return c
		case c < 0x20:
			return 0x2400 + c
		case c == 0x7f:
			return 0x2421
		}
		return c
	}, text)
}
