package sqlstore

import (
	"slices"
	"strings"
)

// A pool is what edges of one source ask for: values, and by their names whose
// they are.
type pool struct {
	values []given
	whose  map[string][]int
}

// A given value is a text, or what stands in columns of a row, which only the row
// holds.
type given struct {
	text   string
	row    *located
	scope  int
	orphan bool // the row is gone
}

// parts are the value column by column.
func (v given) parts(columns []string) []keyPart {
	if v.row == nil {
		return []keyPart{{v.text, v.text}}
	}
	parts, _, _ := v.row.tuple(columns) // whoever gives it has read it
	return parts
}

// give hands a value to the edges of a source. name is one for each value.
func (f *finding) give(source, name string, v given) {
	p := f.pools[source]
	if p == nil {
		p = &pool{whose: map[string][]int{}}
		f.pools[source] = p
	}
	p.give(name, v)
}

func (p *pool) give(name string, v given) {
	if !slices.Contains(p.whose[name], v.scope) {
		p.whose[name] = append(p.whose[name], v.scope)
		p.values = append(p.values, v)
	}
}

// textsOf is one name for each value of several columns.
func textsOf(parts []keyPart) string {
	if len(parts) == 1 {
		return parts[0].text
	}
	texts := make([]string, len(parts))
	for i, p := range parts {
		texts[i] = p.text
	}
	return strings.Join(texts, "\x00")
}

// ids are values that are texts.
func ids(values []given) []string {
	texts := make([]string, len(values))
	for i, v := range values {
		texts[i] = v.text
	}
	return texts
}

// first are values of one column.
func first(values []given, columns []string) []keyPart {
	parts := make([]keyPart, len(values))
	for i, v := range values {
		parts[i] = v.parts(columns)[0]
	}
	return parts
}
