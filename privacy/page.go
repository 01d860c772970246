package privacy

import (
	"bytes"
	"crypto/sha256"
	_ "embed" // the page's template and style
	"encoding/base64"
	"encoding/json"
	"fmt"
	"html/template"

	"github.com/crmguard/crmguard/privacy/datamap"
)

//go:embed page.html
var pageText string

//go:embed page.css
var pageStyle string

// pageSheet is one table of the page.
type pageSheet struct {
	Name      string
	Columns   []pageColumn
	Rows      [][]string
	Omissions []Omission
}

type pageColumn struct {
	Name, Category, Purpose, Basis string
}

// renderPage makes the self-contained page of an export, English and Chinese.
// It loads nothing: its content security policy allows its own style only.
func renderPage(m *datamap.Map, sheets []*sheet, manifest Manifest) ([]byte, error) {
	page, err := template.New("page").Parse(pageText)
	if err != nil {
		return nil, err
	}
	sum := sha256.Sum256([]byte(pageStyle))
	data := struct {
		Style    template.CSS
		Policy   string
		Manifest Manifest
		Sheets   []pageSheet
	}{
		Style:    template.CSS(pageStyle), //nolint:gosec // embedded text of ours
		Policy:   fmt.Sprintf("default-src 'none'; style-src 'sha256-%s'; base-uri 'none'; form-action 'none'", base64.StdEncoding.EncodeToString(sum[:])),
		Manifest: manifest,
	}
	for _, s := range sheets {
		data.Sheets = append(data.Sheets, s.page(m))
	}
	var out bytes.Buffer
	err = page.Execute(&out, data)
	return out.Bytes(), err
}

func (s *sheet) page(m *datamap.Map) pageSheet {
	p := pageSheet{Name: s.table, Omissions: s.omissions()}
	table, _ := m.Table(s.table)
	for _, name := range s.columns {
		c, _ := table.Column(name)
		p.Columns = append(p.Columns, pageColumn{name, c.Category, c.Purpose, c.Basis})
	}
	for _, r := range s.rows {
		var cells []string
		for _, name := range s.columns {
			cells = append(cells, cell(r.values[name]))
		}
		p.Rows = append(p.Rows, cells)
	}
	return p
}

// cell shows a value as text; the template escapes it.
func cell(v any) string {
	switch x := v.(type) {
	case nil:
		return ""
	case string:
		return x
	}
	data, err := json.Marshal(v)
	if err != nil {
		return ""
	}
	return string(data)
}
