package datamap

import (
	"slices"
	"strings"
	"unicode/utf8"
)

// Every is a step of [Column.Path]: each item of an array, or each member of an
// object, whatever its name.
const Every = "*"

// member checks an entry about a member of a JSON column.
func (v *validation) member(c Column) {
	t := v.t
	if why := wrongPointer(c.Path); why != "" {
		v.bad("column %s: Path %q is no JSON pointer (RFC 6901): %s", c.Name, c.Path, why)
	}
	if c.Sealed {
		v.bad("column %s: nobody looks into a sealed column: leave Path out", c.Where())
	}
	for _, e := range t.Ways() {
		if slices.Contains(e.Columns, c.Name) {
			v.bad("column %s: an edge cannot be a column of JSON", c.Where())
		}
	}
	special := append(slices.Clone(t.Key), t.Tenant, t.Merged, t.Created)
	if t.Keep != nil {
		special = append(special, t.Keep.From)
	}
	if slices.Contains(special, c.Name) {
		v.bad("column %s: Key, Tenant, Merged, Created and Keep.From are columns, not members of one", c.Where())
	}
}

// wrongPointer says what is wrong with a pointer, or "".
func wrongPointer(path string) string {
	switch {
	case !strings.HasPrefix(path, "/"):
		return "write a slash before each step, as in /address/street or /phones/*/number"
	case !utf8.ValidString(path) || strings.ContainsRune(path, 0):
		return "it is no text"
	}
	for token := range strings.SplitSeq(path[1:], "/") {
		if token == "-" {
			return "- is the place behind the end of an array, where nothing is"
		}
		for rest := token; ; {
			_, after, found := strings.Cut(rest, "~")
			if !found {
				break
			}
			if after == "" || after[0] != '0' && after[0] != '1' {
				return "write ~0 for ~ and ~1 for /"
			}
			rest = after
		}
	}
	return ""
}

// within reports whether a member at path may be one at outer or lie in it.
func within(path, outer string) bool {
	steps, outside := strings.Split(path, "/"), strings.Split(outer, "/")
	if len(outside) > len(steps) {
		return false
	}
	for i, step := range outside {
		if step != steps[i] && step != Every && steps[i] != Every {
			return false
		}
	}
	return true
}
