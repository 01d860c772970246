package integrity

import (
	"maps"
	"slices"
	"strconv"
	"strings"
)

// Schema is a compiled set of rules for one kind of record. It never changes
// after it is made.
type Schema struct {
	name   string
	fields []plan
	index  map[string]int
	groups []group
	checks bool // some field has a Check
}

type group struct {
	name  string
	first int // the field whose path names the group
	names []string
}

const maxFields = 1000

// NewSchema compiles the fields of a kind of record ("contact"). A bad rule is
// an error here that wraps [ErrConfig], never later.
func NewSchema(name string, fields ...Field) (*Schema, error) {
	if err := checkName("schema", name); err != nil {
		return nil, err
	}
	return build(&Schema{name: name}, fields)
}

// Extend returns a schema with further fields, such as those that an
// administrator defined at run time. A name that is taken is an error; s
// stays as it is.
func (s *Schema) Extend(fields ...Field) (*Schema, error) {
	if s.empty() {
		return nil, configErr("extend: no schema")
	}
	return build(s, fields)
}

func build(base *Schema, fields []Field) (*Schema, error) {
	s := &Schema{name: base.name, fields: slices.Clone(base.fields), index: map[string]int{}}
	for _, f := range fields {
		p, err := compile(f)
		if err != nil {
			return nil, err
		}
		p.Label, p.OneOf = cloneMap(f.Label), slices.Clone(f.OneOf)
		s.fields = append(s.fields, p)
	}
	s.checks = slices.ContainsFunc(s.fields, func(p plan) bool { return p.Check != nil })
	if len(s.fields) == 0 || len(s.fields) > maxFields {
		return nil, configErr("schema %q has %d fields, allowed are 1 to %d", s.name, len(s.fields), maxFields)
	}
	for i := range s.fields {
		if _, taken := s.index[s.fields[i].Name]; taken {
			return nil, configErr("schema %q: field %q stands twice", s.name, s.fields[i].Name)
		}
		s.index[s.fields[i].Name] = i
	}
	return s, s.collectGroups()
}

func (s *Schema) collectGroups() error {
	for i := range s.fields {
		p := &s.fields[i]
		if p.Group == "" {
			continue
		}
		at := slices.IndexFunc(s.groups, func(g group) bool { return g.name == p.Group })
		if at < 0 {
			at = len(s.groups)
			s.groups = append(s.groups, group{name: p.Group, first: i})
		}
		if at >= 64 {
			return configErr("schema %q has more than 64 groups", s.name)
		}
		s.groups[at].names = append(s.groups[at].names, p.Name)
		p.group = 1 << at
	}
	return nil
}

func cloneMap(m map[string]string) map[string]string {
	out := make(map[string]string, len(m))
	maps.Copy(out, m)
	return out
}

// empty holds for a schema that [NewSchema] did not make.
func (s *Schema) empty() bool { return s == nil || len(s.fields) == 0 }

// Name is the kind of record.
func (s *Schema) Name() string {
	if s.empty() {
		return ""
	}
	return s.name
}

// Fields lists the names of the fields in their order.
func (s *Schema) Fields() []string {
	if s.empty() {
		return nil
	}
	names := make([]string, len(s.fields))
	for i := range s.fields {
		names[i] = s.fields[i].Name
	}
	return names
}

// Unknown lists the keys of a record that the schema does not have, sorted.
// Validate only counts them: a key that nobody declared may be data itself.
func (s *Schema) Unknown(record map[string]any) []string {
	var names []string
	for name := range record {
		if _, known := s.at(name); !known {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

// at is the place of a field.
func (s *Schema) at(name string) (int, bool) {
	if s.empty() {
		return 0, false
	}
	i, known := s.index[name]
	return i, known
}

// Validate checks a record and returns all broken rules, nil for a valid one.
// [Type] says which Go values a record may hold. A missing key, nil, the zero
// time and text in which nothing can be seen are all "not there". Without a
// schema nothing is valid. Validating a valid record allocates nothing, but
// for names beyond ASCII in addresses and for what [Field.Check] is shown.
func (s *Schema) Validate(record map[string]any) Violations {
	if s.empty() {
		return Violations{{Code: CodeNoSchema}}
	}
	var out Violations
	var present uint64
	checked := s.checked(record)
	found := 0
	for i := range s.fields {
		p := &s.fields[i]
		value, ok := record[p.Name]
		if ok {
			found++
			value = given(value)
		}
		if blank(value, p.FreeText) {
			if p.Required {
				out = append(out, p.violation(CodeRequired))
			}
			continue
		}
		present |= p.group
		code := p.check(value)
		if code == "" && p.Check != nil {
			code = checked[i]
		}
		if code != "" {
			out = append(out, p.violation(code))
		}
	}
	for i := range s.groups {
		if present&(1<<i) == 0 {
			out = append(out, s.groupViolation(i))
		}
	}
	if n := len(record) - found; n > 0 {
		out = append(out, Violation{Code: CodeUnknownField, Params: []Param{{"count", strconv.Itoa(n)}}})
	}
	return out
}

// checked asks the Checks about a record, and returns their codes by field.
func (s *Schema) checked(record map[string]any) map[int]Code {
	if !s.checks {
		return nil
	}
	typed := make(map[string]any, len(record))
	for i := range s.fields {
		p := &s.fields[i]
		if value := given(record[p.Name]); !blank(value, p.FreeText) && p.check(value) == "" {
			typed[p.Name] = p.typed(value)
		}
	}
	return s.ask(typed)
}

// ask asks the Checks about typed values that keep the other rules. They are
// all asked before any value is dropped, so that none depends on the order of
// the fields.
func (s *Schema) ask(typed map[string]any) map[int]Code {
	if !s.checks {
		return nil
	}
	codes := map[int]Code{}
	for i := range s.fields {
		p := &s.fields[i]
		if value, there := typed[p.Name]; there && p.Check != nil {
			if code := p.Check(value, typed); code != "" {
				codes[i] = code
			}
		}
	}
	return codes
}

func (s *Schema) groupViolation(i int) Violation {
	g := s.groups[i]
	return Violation{Code: CodeRequiredAny, Path: s.fields[g.first].path, Params: []Param{{"fields", strings.Join(g.names, ", ")}}}
}
