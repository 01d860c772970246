package audit

import (
	"cmp"
	"errors"
	"reflect"
	"slices"
	"strings"

	"github.com/crmguard/crmguard/internal/ids"
	"github.com/crmguard/crmguard/internal/value"
)

// shapeField is one field of a struct.
type shapeField struct {
	name  string
	index []int  // the way to it
	goes  string // the way to it in Go, for errors
	kind  reflect.Type
	who   []int // the way to the person's id, nil for the person of the row
}

// A shapeProblem is what is wrong with some fields.
type shapeProblem struct {
	what  string
	names []string
}

// shapeError is one error about all that there are, nil if there are none.
func shapeError(where string, all []shapeProblem) error {
	var said []string
	for _, p := range all {
		if len(p.names) > 0 {
			slices.Sort(p.names)
			said = append(said, p.what+": "+strings.Join(slices.Compact(p.names), ", "))
		}
	}
	if said == nil {
		return nil
	}
	return invalid("%s: %s", where, strings.Join(said, "; "))
}

// fields are those of a type that are shown or hidden, sorted by name.
func (s Shape) fields(t reflect.Type) ([]shapeField, error) {
	where := "differ of " + t.String()
	of := t
	for of.Kind() == reflect.Pointer {
		of = of.Elem()
	}
	if of.Kind() != reflect.Struct || isValueType(of) {
		return nil, invalid("%s: it is no struct with fields", where)
	}
	if s.Kind != "" && !codes.MatchString(s.Kind) {
		return nil, invalid("%s: Kind is no code such as contact: letters, digits and _ . : - only", where)
	}
	found := &fieldWalk{byName: map[string][]shapeField{}}
	found.walk(of, nil, "", "")
	lists, all := s.lists()
	there, wrong := found.there()
	all = append(all, wrong...)

	var out []shapeField
	var unclassified, unknown, forms, types, persons []string
	for name, f := range there {
		list, classified := lists[name]
		switch {
		case !classified:
			unclassified = append(unclassified, f.goes+" ("+name+")")
			continue
		case list == "Skip":
			continue
		case list == "Show" && !fields.MatchString(name), ids.Check("Path", name) != nil:
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
		shapeProblem{"in none of Show, Hide and Skip", unclassified},
		shapeProblem{"no field has the name", unknown},
		shapeProblem{"no name for a log, letters, digits and _ . - only", forms},
		shapeProblem{"a Go type without a value, put the field into Skip or keep another type", types},
		shapeProblem{"Who leads to no id of a person, or from what is not recorded", persons},
	)
	if err := shapeError(where, all); err != nil {
		return nil, err
	}
	if len(out) == 0 {
		return nil, invalid("%s: nothing is in Show or Hide", where)
	}
	slices.SortFunc(out, func(a, b shapeField) int { return cmp.Compare(a.name, b.name) })
	return out, nil
}

// lists says for each name in which list it stands.
func (s Shape) lists() (map[string]string, []shapeProblem) {
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
	return in, []shapeProblem{{"listed twice", twice}}
}

// fieldWalk collects the fields of a struct, those of embedded ones included.
type fieldWalk struct {
	byName map[string][]shapeField
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
		w.byName[name] = append(w.byName[name], shapeField{name: name, index: at, goes: goes + f.Name, kind: f.Type})
	}
}

// there are the fields by their names: of several with one name that which is
// less deep, as Go has it.
func (w *fieldWalk) there() (map[string]shapeField, []shapeProblem) {
	out := map[string]shapeField{}
	var twice []string
	for name, all := range w.byName {
		slices.SortStableFunc(all, func(a, b shapeField) int { return cmp.Compare(len(a.index), len(b.index)) })
		out[name] = all[0]
		if len(all) > 1 && len(all[0].index) == len(all[1].index) {
			twice = append(twice, name+" ("+all[0].goes+", "+all[1].goes+")")
		}
	}
	return out, []shapeProblem{{"a struct that embeds itself", w.loops}, {"two fields have the name", twice}}
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
