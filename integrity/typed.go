package integrity

import (
	"database/sql/driver"
	"encoding/json"
	"reflect"
	"slices"
	"strings"
	"time"
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
// wraps [ErrConfig], and so is a field of a Go type that the [Type] never
// takes, such as a float64 for a Decimal. Embedded structs count as their
// fields do; a nil pointer is a value that is not there, and a type with a
// driver.Valuer, such as sql.NullString, is the value that it gives.
func For[T any](s *Schema) (*Typed[T], error) {
	if s.empty() {
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
		i, known := s.index[name]
		if !known || slices.Contains(names, name) {
			return nil, configErr("typed: field %s of %s is %q, which schema %q does not have, or stands twice", f.Name, kind, name, s.name)
		}
		if !s.fields[i].Type.takes(f.Type) {
			return nil, configErr("typed: field %s of %s has the Go type %s, which type %s never takes", f.Name, kind, f.Type, s.fields[i].Type)
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

// takes reports whether values of a Go type can be right for a type.
func (t Type) takes(kind reflect.Type) bool {
	for kind.Kind() == reflect.Pointer {
		kind = kind.Elem()
	}
	if kind.Kind() == reflect.Interface || reflect.PointerTo(kind).Implements(reflect.TypeFor[driver.Valuer]()) {
		return true // the value says
	}
	uuid := kind.Kind() == reflect.Array && kind.Len() == 16 && kind.Elem().Kind() == reflect.Uint8
	text, whole := kind.Kind() == reflect.String, kind.Kind() >= reflect.Int && kind.Kind() <= reflect.Uint64
	switch t {
	case Integer:
		return whole || kind.Kind() == reflect.Float64 || kind == reflect.TypeFor[json.Number]()
	case Decimal:
		return whole || text
	case Boolean:
		return kind.Kind() == reflect.Bool
	case Date, Time:
		return text || kind == reflect.TypeFor[time.Time]()
	default:
		return text || uuid
	}
}

// Validate checks a struct by the rules of [Schema.Validate]. It makes a
// record of it first, so it allocates. No struct at all is a record that is
// missing.
func (t *Typed[T]) Validate(v *T) Violations {
	switch {
	case t == nil:
		return (*Schema)(nil).Validate(nil)
	case v == nil:
		return Violations{{Code: CodeRequired}}
	}
	record := make(map[string]any, len(t.fields))
	fields := reflect.ValueOf(v).Elem()
	for _, f := range t.fields {
		if held := given(fields.FieldByIndex(f.index).Addr().Interface()); held != nil {
			record[f.name] = held
		}
	}
	return t.schema.Validate(record)
}
