package bundle

import (
	"context"
	"crypto/sha256"
	_ "embed" // the page's template and style
	"encoding/base64"
	"errors"
	"fmt"
	"html/template"
	"io"
	"iter"
	"unicode/utf8"
)

//go:embed page.html
var pageText string

//go:embed page.css
var pageStyle string

// The page is for reading, and a browser has bounds: what is beyond them is in
// the files beside it, and the page says so.
const (
	maxShownRows = 1000
	maxShownCell = 4000 // bytes
)

var errEnough = errors.New("enough rows")

// pageSheet is one table of the page.
type pageSheet struct {
	Table
	File      string
	Heads     []pageHead
	Lines     iter.Seq[[]string]
	Omissions []Omission
	More      int // rows that the page does not show
}

// pageHead is what stands over a column: of a column that holds JSON it may
// know several things.
type pageHead struct {
	Name    string
	Columns []Column
}

// bilingual is a text of the page.
type bilingual struct{ English, Chinese string }

// page writes the self-contained page, English and Chinese. It loads nothing and
// runs nothing: its content security policy allows its own style only.
func (p *packing) page(ctx context.Context, w io.Writer, sheets []*sheet) error {
	page, err := template.New("page").Funcs(template.FuncMap{
		"say": func(english, chinese string) bilingual { return bilingual{english, chinese} },
	}).Parse(pageText)
	if err != nil {
		return err
	}
	var failed error
	sum := sha256.Sum256([]byte(pageStyle))
	data := struct {
		Style    template.CSS
		Policy   string
		Manifest *Manifest
		Sheets   []pageSheet
	}{
		Style:    template.CSS(pageStyle), //nolint:gosec // embedded text of ours
		Policy:   fmt.Sprintf("default-src 'none'; style-src 'sha256-%s'; base-uri 'none'; form-action 'none'", base64.StdEncoding.EncodeToString(sum[:])),
		Manifest: p.manifest,
	}
	for i, s := range sheets {
		data.Sheets = append(data.Sheets, p.pageSheet(ctx, s, p.manifest.Tables[i], &failed))
	}
	return errors.Join(page.Execute(w, data), failed)
}

func (p *packing) pageSheet(ctx context.Context, s *sheet, about Table, failed *error) pageSheet {
	out := pageSheet{Table: about, File: s.file, Omissions: s.omissions(), More: max(0, len(s.rows)-maxShownRows)}
	for _, c := range s.columns {
		head := pageHead{Name: c.name}
		for _, d := range about.Columns {
			if d.Name == c.name {
				head.Columns = append(head.Columns, d)
			}
		}
		out.Heads = append(out.Heads, head)
	}
	out.Lines = func(yield func([]string) bool) {
		shown := 0
		err := p.rows(ctx, s, func(line []byte) error {
			if shown++; shown > maxShownRows {
				return errEnough
			}
			cells, err := s.cells(line)
			if err != nil {
				return err
			}
			texts := make([]string, len(cells))
			for i, c := range cells {
				texts[i] = short(c.show)
			}
			if !yield(texts) {
				return errEnough
			}
			return nil
		})
		if !errors.Is(err, errEnough) {
			*failed = errors.Join(*failed, err)
		}
	}
	return out
}

// short cuts a long text off where a character ends.
func short(text string) string {
	if len(text) <= maxShownCell {
		return text
	}
	end := maxShownCell
	for end > 0 && !utf8.RuneStart(text[end]) {
		end--
	}
	return text[:end] + " […]"
}
