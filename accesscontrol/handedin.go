package accesscontrol

import (
	"reflect"
	"slices"

	"github.com/crmguard/crmguard/internal/value"
)

// handedIn is a principal of our own. It is read again after the call that handed
// it in, and whoever did may fill the same slices and maps for the next person.
func handedIn(p Principal) Principal {
	p.Attrs, p.Context, p.Parents = kept(p.Attrs), kept(p.Context), slices.Clone(p.Parents)
	p.Entities = slices.Clone(p.Entities)
	n := 0
	for i := range p.Entities {
		n += len(p.Entities[i].Parents)
	}
	refs := make([]Ref, 0, n) // of all of them, which may be thousands
	for i := range p.Entities {
		e, first := &p.Entities[i], len(refs)
		refs = append(refs, e.Parents...)
		e.Parents = refs[first:len(refs):len(refs)]
		if len(e.Attrs) > 0 {
			e.Attrs = kept(e.Attrs)
		}
	}
	return p
}

// kept copies values with all that they hold.
func kept(values map[string]any) map[string]any {
	out := make(map[string]any, len(values))
	for name, v := range values {
		out[name] = keptValue(v, keptDepth)
	}
	return out
}

// keptDepth bounds lists in lists and maps in maps: a schema has fewer.
const keptDepth = 32

func keptValue(v any, depth int) any {
	switch v := v.(type) {
	case nil, string, int, int64, bool, Ref:
		return v
	case []string:
		return slices.Clone(v)
	case []int64:
		return slices.Clone(v)
	case []int:
		return slices.Clone(v)
	case []bool:
		return slices.Clone(v)
	case []Ref:
		return slices.Clone(v)
	}
	plain, err := value.Resolve(v)
	if err != nil || plain == nil || depth == 0 {
		return v // which is refused when it is read, or NULL
	}
	switch r := reflect.ValueOf(plain); r.Kind() {
	case reflect.Slice:
		if r.IsNil() {
			return plain
		}
		if flat(r.Type().Elem().Kind()) {
			out := reflect.MakeSlice(r.Type(), r.Len(), r.Len())
			reflect.Copy(out, r)
			return out.Interface()
		}
		out := make([]any, r.Len())
		for i := range out {
			out[i] = keptValue(r.Index(i).Interface(), depth-1)
		}
		return out
	case reflect.Map:
		if r.Type().Key().Kind() != reflect.String || r.IsNil() {
			return plain
		}
		out := make(map[string]any, r.Len())
		for i := r.MapRange(); i.Next(); {
			out[i.Key().String()] = keptValue(i.Value().Interface(), depth-1)
		}
		return out
	default:
		return plain
	}
}

// flat says whether a copy of a value of the kind shares nothing with it.
func flat(kind reflect.Kind) bool {
	return kind >= reflect.Bool && kind <= reflect.Float64 || kind == reflect.String
}
