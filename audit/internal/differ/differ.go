// Package differ finds what changed between two states of a Go struct: which
// fields it has by the names of their columns, whether a value of each can be
// recorded, and which of them differ. It promises that each field stands in one
// list of its shape, and that what is equal as a value is no change, however it is
// spelt. It knows neither a trail nor a database: it looks at types once and at
// values each time.
package differ

import (
	"reflect"

	"github.com/crmguard/crmguard/audit/auditlog"
	"github.com/crmguard/crmguard/internal/value"
)

// Shape is what a caller says of the fields of a struct, by their names: those
// that are shown, hidden and left out, and who holds the id of whose value it is.
type Shape struct {
	Kind             string
	Show, Hide, Skip []string
	Who              map[string]string
}

// Forms say what may stand in a log in the clear.
type Forms struct {
	Kind func(kind string) bool
	Path func(name string) bool
}

// Compare tells of each field that differs between two structs, or pointers to
// them, in the order of the fields. A nil pointer is a row that does not exist, and
// person whose value it is where a field leads to nobody else.
func Compare(fields []Field, person string, before, after reflect.Value, tell func(path, who string, was, is any)) {
	old, now := structOf(before), structOf(after)
	if !old.IsValid() && !now.IsValid() {
		return
	}
	for i := range fields {
		fields[i].changes(person, old, now, tell)
	}
}

// structOf follows pointers to the struct, and is the zero Value where one is nil.
func structOf(v reflect.Value) reflect.Value {
	for v.Kind() == reflect.Pointer {
		v = v.Elem()
	}
	return v
}

// changes tells how one field changed.
func (f *Field) changes(person string, old, now reflect.Value, tell func(path, who string, was, is any)) {
	before, after := f.side(old), f.side(now)
	who := person
	if f.who != nil {
		// A row that does not exist names nobody.
		was, is := f.owner(person, old, now), f.owner(person, now, old)
		if was != is && !before.nothing() && !after.nothing() {
			tell(f.name, was, before.any(), auditlog.Absent{})
			tell(f.name, is, auditlog.Absent{}, after.any())
			return
		}
		who = is
		if after.nothing() {
			who = was
		}
	}
	if !before.equals(after) {
		tell(f.name, who, before.any(), after.any())
	}
}

// owner is the person whose value a field holds, by the row, or by the other one
// where the row does not exist.
func (f *Field) owner(person string, row, other reflect.Value) string {
	if !row.IsValid() {
		row = other
	}
	held, isThere := followIndex(row, f.who)
	if !isThere {
		return person
	}
	v, err := value.Of(held.Interface())
	if err != nil {
		return person
	}
	switch id, err := v.ID(); {
	case err == nil && id == "0" && v.Kind() != value.Text:
		return person // the zero of a key that nobody has set
	case err == nil:
		return id
	}
	if raw, err := v.Bytes(); err == nil && len(raw) > 0 {
		return string(raw) // not UTF-8: Record says so, and files it under nobody else
	}
	return person
}
