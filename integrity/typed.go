package integrity

import (
	"encoding/json"
	"reflect"
	"slices"
	"strings"
)

// Typed validates structs of one Go type by the rules of a schema: the same
// plan as for maps, with the same codes and paths.
type Typed[T any] struct {
	schema *Schema
	fields []typedField
}

type typedField struct {
	name  string
	index []int
}

// For matches the exported fields of the struct type T with the fields of a
// schema, by the name in the `json` tag or else the Go name. Both sides must
// match exactly; `json:"-"` leaves a field out. A mismatch is an error that
// wraps [ErrConfig]. Embedded structs count as their fields do; a nil pointer
// is a value that is not there.
func For[T any](s *Schema) (*Typed[T], error) {
	if s == nil {
		return nil, configErr("typed: no schema")
	}
	kind := reflect.TypeFor[T]()
	if kind.Kind() != reflect.Struct {
		return nil, configErr("typed: %s is no struct", kind)
	}
	t := &Typed[T]{schema: s}
	var names []string
	for _, f := range reflect.VisibleFields(kind) {
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		if f.Anonymous && name == "" && f.Type.Kind() == reflect.Struct || !f.IsExported() || name == "-" {
			continue
		}
		if throughPointer(kind, f.Index) {
			return nil, configErr("typed: field %s of %s is behind an embedded pointer", f.Name, kind)
		}
		if name == "" {
			name = f.Name
		}
		if _, known := s.index[name]; !known || slices.Contains(names, name) {
			return nil, configErr("typed: field %s of %s is %q, which schema %q does not have, or stands twice", f.Name, kind, name, s.name)
		}
		names = append(names, name)
		t.fields = append(t.fields, typedField{name: name, index: f.Index})
	}
	for _, name := range s.Fields() {
		if !slices.Contains(names, name) {
			return nil, configErr("typed: %s has no field for %q of schema %q", kind, name, s.name)
		}
	}
	return t, nil
}

func throughPointer(kind reflect.Type, index []int) bool {
	for i := 1; i < len(index); i++ {
		if kind.FieldByIndex(index[:i]).Type.Kind() == reflect.Pointer {
			return true
		}
	}
	return false
}

// Validate checks a struct. It makes a record of it first, so it allocates.
func (t *Typed[T]) Validate(v *T) Violations {
	record := make(map[string]any, len(t.fields))
	if v != nil {
		value := reflect.ValueOf(v).Elem()
		for _, f := range t.fields {
			if held, there := plain(value.FieldByIndex(f.index)); there {
				record[f.name] = held
			}
		}
	}
	return t.schema.Validate(record)
}

// plain follows pointers and gives named types of basic kinds their basic
// type.
func plain(v reflect.Value) (held any, there bool) {
	for v.Kind() == reflect.Pointer || v.Kind() == reflect.Interface {
		if v.IsNil() {
			return nil, false
		}
		v = v.Elem()
	}
	switch {
	case v.Type() == reflect.TypeFor[json.Number]():
		return v.Interface(), true
	case v.Kind() == reflect.String:
		return v.String(), true
	case v.Kind() == reflect.Bool:
		return v.Bool(), true
	case v.CanInt():
		return v.Int(), true
	case v.CanUint():
		return v.Uint(), true
	}
	return v.Interface(), true
}
