package differ

import (
	"cmp"
	"errors"
	"reflect"
	"slices"
	"strings"

	"github.com/crmguard/crmguard/internal/ids"
	"github.com/crmguard/crmguard/internal/value"
)

// A Field is one field of a struct that is shown or hidden.
type Field struct {
	name  string
	index []int  // the way to it
	goes  string // the way to it in Go, for errors
	kind  reflect.Type
	who   []int // the way to the person's id, nil for the person of the row
}

// A Problem is what is wrong with some fields: what it is, and their names.
type Problem struct {
	What  string
	Names []string
}

// Join is one error about all that there are, nil if there are none.
func Join(where string, all []Problem) error {
	var said []string
	for _, p := range all {
		if len(p.Names) > 0 {
			slices.Sort(p.Names)
			said = append(said, p.What+": "+strings.Join(slices.Compact(p.Names), ", "))
		}
	}
	if said == nil {
		return nil
	}
	return errors.New(where + ": " + strings.Join(said, "; "))
}

// Fields are those of a type that are shown or hidden, sorted by name. The error
// names all that is wrong with the shape.
func (s Shape) Fields(t reflect.Type, may Forms) ([]Field, error) {
	where := "differ of " + t.String()
	of := t
	for of.Kind() == reflect.Pointer {
		of = of.Elem()
	}
	if of.Kind() != reflect.Struct || isValueType(of) {
		return nil, errors.New(where + ": it is no struct with fields")
	}
	if s.Kind != "" && !may.Kind(s.Kind) {
		return nil, errors.New(where + ": Kind is no code such as contact: letters, digits and _ . : - only")
	}
	found := &fieldWalk{byName: map[string][]Field{}}
	found.walk(of, nil, "", "")
	lists, all := s.lists()
	there, wrong := found.there()
	all = append(all, wrong...)

	var out []Field
	var unclassified, unknown, forms, types, persons []string
	for name, f := range there {
		list, classified := lists[name]
		switch {
		case !classified:
			unclassified = append(unclassified, f.goes+" ("+name+")")
			continue
		case list == "Skip":
			continue
		case list == "Show" && !may.Path(name), ids.Check("Path", name) != nil:
			forms = append(forms, name)
		}
		if why := noValueIn(f.kind); why != "" {
			types = append(types, name+" ("+why+")")
		}
		out = append(out, f)
	}
	for name := range lists {
		if _, ok := there[name]; !ok {
			unknown = append(unknown, name)
		}
	}
	for i := range out {
		holder, other := s.Who[out[i].name]
		if f, ok := there[holder]; ok && holdsID(f.kind) {
			out[i].who = f.index
		} else if other {
			persons = append(persons, out[i].name)
		}
	}
	for name := range s.Who {
		if list := lists[name]; list != "Show" && list != "Hide" {
			persons = append(persons, name)
		}
	}
	all = append(all,
		Problem{"in none of Show, Hide and Skip", unclassified},
		Problem{"no field has the name", unknown},
		Problem{"no name for a log, letters, digits and _ . - only", forms},
		Problem{"a Go type without a value, put the field into Skip or keep another type", types},
		Problem{"Who leads to no id of a person, or from what is not recorded", persons},
	)
	if err := Join(where, all); err != nil {
		return nil, err
	}
	if len(out) == 0 {
		return nil, errors.New(where + ": nothing is in Show or Hide")
	}
	slices.SortFunc(out, func(a, b Field) int { return cmp.Compare(a.name, b.name) })
	return out, nil
}

// lists says for each name in which list it stands.
func (s Shape) lists() (map[string]string, []Problem) {
	in := map[string]string{}
	var twice []string
	for list, names := range map[string][]string{"Show": s.Show, "Hide": s.Hide, "Skip": s.Skip} {
		for _, name := range names {
			if in[name] != "" {
				twice = append(twice, name)
			}
			in[name] = list
		}
	}
	return in, []Problem{{"listed twice", twice}}
}

// fieldWalk collects the fields of a struct, those of embedded ones included.
type fieldWalk struct {
	byName map[string][]Field
	within []reflect.Type // the structs around
	loops  []string
}

func (w *fieldWalk) walk(t reflect.Type, index []int, goes, prefix string) {
	if slices.Contains(w.within, t) {
		w.loops = append(w.loops, strings.TrimSuffix(goes, "."))
		return
	}
	w.within = append(w.within, t)
	defer func() { w.within = w.within[:len(w.within)-1] }()
	for i := range t.NumField() {
		f := t.Field(i)
		tag := readTag(f)
		if tag.skip || !f.IsExported() && !f.Anonymous {
			continue
		}
		at := append(slices.Clone(index), i)
		if inner := f.Type; f.Anonymous || tag.embedded {
			if inner.Kind() == reflect.Pointer {
				inner = inner.Elem()
			}
			if inner.Kind() == reflect.Struct && !isValueType(inner) {
				w.walk(inner, at, goes+f.Name+".", prefix+tag.prefix)
				continue
			}
		}
		if !f.IsExported() {
			continue // embedded, and no struct
		}
		name := prefix + cmp.Or(tag.name, snakeCase(f.Name))
		w.byName[name] = append(w.byName[name], Field{name: name, index: at, goes: goes + f.Name, kind: f.Type})
	}
}

// there are the fields by their names: of several with one name that which is
// less deep, as Go has it.
func (w *fieldWalk) there() (map[string]Field, []Problem) {
	out := map[string]Field{}
	var twice []string
	for name, all := range w.byName {
		slices.SortStableFunc(all, func(a, b Field) int { return cmp.Compare(len(a.index), len(b.index)) })
		out[name] = all[0]
		if len(all) > 1 && len(all[0].index) == len(all[1].index) {
			twice = append(twice, name+" ("+all[0].goes+", "+all[1].goes+")")
		}
	}
	return out, []Problem{{"a struct that embeds itself", w.loops}, {"two fields have the name", twice}}
}

// holdsID says whether a field of this type may hold the id of a person.
func holdsID(t reflect.Type) bool {
	held, sure := specimen(t, 0)
	if held.Kind() == reflect.Interface {
		return false // nobody can say
	}
	v, err := value.Of(held.Interface())
	if err != nil {
		return !sure && errors.Is(err, value.ErrValuer)
	}
	_, err = v.ID()
	return !errors.Is(err, value.ErrKind)
}
