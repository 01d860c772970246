package integrity

import (
	"regexp"
	"strconv"
	"strings"
)

// Field is one field of a record and its rules. The zero rules accept any
// text, and nothing.
type Field struct {
	// Name is the key in the record, at most 128 bytes without control
	// characters.
	Name string
	// Label is how people call the field, by language tag ("en", "zh-Hans").
	// Where the wanted language is missing, the name stands.
	Label map[string]string
	// Type is the kind of value; the zero value is Text.
	Type Type
	// Required refuses a record without it. Text in which nothing can be seen
	// and the zero time are not there.
	Required bool
	// Group names a set of fields of which at least one must be there.
	Group string
	// MinLen and MaxLen are limits in characters (runes), for types of text;
	// 0 is no limit.
	MinLen, MaxLen int
	// OneOf lists the only values allowed, for types of text.
	OneOf []string
	// Pattern is a regular expression (RE2) that the whole text must match. It
	// has at most 1,000 bytes and 2,000 instructions, and no text above 10,000
	// bytes matches, so that whoever wrote it cannot hold up a process.
	Pattern string
	// FreeText allows line breaks, tabs, and what opens and closes a direction
	// of writing, as in notes; for Text alone. Without it a text is one line and
	// holds none of them, so that a name cannot add a line to what it is printed
	// in. Other controls and direction overrides are refused in both.
	FreeText bool
	// Scale is the number of digits after the point of a Decimal, at most 18.
	Scale int
	// Check is the application's own rule, asked after all others for values
	// that are there and keep them. It returns "" for yes and else a code. Value
	// and record hold the Go types that [Type] names, in a form, a struct and an
	// import alike. The record has the fields of the schema that are there and
	// keep the other rules; it is for reading only. A phone number needs its
	// country.
	Check func(value any, record map[string]any) Code
}

const (
	maxName  = 128
	maxScale = 18
)

// plan is a compiled field.
type plan struct {
	Field
	path    string
	choices map[string]struct{}
	pattern *regexp.Regexp
	group   uint64 // one bit, 0 = in no group
}

func compile(f Field) (plan, error) {
	if err := checkName("field", f.Name); err != nil {
		return plan{}, err
	}
	if err := checkRules(f); err != nil {
		return plan{}, err
	}
	p := plan{Field: f, path: "/" + pointer(f.Name)}
	if len(f.OneOf) > 0 {
		p.choices = make(map[string]struct{}, len(f.OneOf))
		for _, choice := range f.OneOf {
			if !isLine(choice) {
				return plan{}, configErr("field %q: a choice is empty or not plain text of one line", f.Name)
			}
			p.choices[choice] = struct{}{}
		}
		if len(p.choices) != len(f.OneOf) {
			return plan{}, configErr("field %q: a choice stands twice", f.Name)
		}
	}
	for lang, label := range f.Label {
		if !isLine(label) {
			return plan{}, configErr("field %q: label %q is empty or not plain text of one line", f.Name, lang)
		}
	}
	if f.Pattern != "" {
		re, err := compilePattern(f.Pattern)
		if err != nil {
			return plan{}, configErr("field %q: %w", f.Name, err)
		}
		p.pattern = re
	}
	return p, nil
}

func checkRules(f Field) error {
	switch {
	case !f.Type.known() || f.Type >= Bytes:
		return configErr("field %q: type %s has no rule", f.Name, f.Type)
	case f.MinLen < 0 || f.MaxLen < 0 || f.MaxLen > 0 && f.MinLen > f.MaxLen:
		return configErr("field %q: lengths %d to %d", f.Name, f.MinLen, f.MaxLen)
	case !f.Type.isText() && (f.MinLen > 0 || f.MaxLen > 0 || len(f.OneOf) > 0 || f.Pattern != ""):
		return configErr("field %q: lengths, choices and patterns are for text, not for %s", f.Name, f.Type)
	case f.FreeText && f.Type != Text:
		return configErr("field %q: free text of type %s", f.Name, f.Type)
	case f.Scale < 0 || f.Scale > maxScale || f.Scale > 0 && f.Type != Decimal:
		return configErr("field %q: scale %d of type %s", f.Name, f.Scale, f.Type)
	}
	return nil
}

func checkName(kind, name string) error {
	if len(name) > maxName || !isLine(name) {
		return configErr("%s name is empty, longer than %d bytes or not plain text", kind, maxName)
	}
	return nil
}

// isLine holds for what people may be shown in one line.
func isLine(s string) bool {
	return checkPlain(s) == "" && checkHygiene(s, false) == "" && !blank(s, false)
}

// pointer escapes a name for a JSON Pointer (RFC 6901).
func pointer(name string) string {
	return strings.ReplaceAll(strings.ReplaceAll(name, "~", "~0"), "/", "~1")
}

// violation makes the violation of a code with the parameters of the rule.
func (p *plan) violation(code Code) Violation {
	return Violation{Code: code, Path: p.path, Params: p.params(code)}
}

func (p *plan) params(code Code) []Param {
	switch code {
	case CodeMinLength:
		return []Param{{"min", strconv.Itoa(p.MinLen)}}
	case CodeMaxLength:
		return []Param{{"max", strconv.Itoa(p.MaxLen)}}
	case CodeOneOf:
		return []Param{{"choices", strings.Join(p.OneOf, ", ")}}
	case CodeDecimal:
		return []Param{{"scale", strconv.Itoa(p.Scale)}}
	case CodeType:
		return []Param{{"type", p.Type.String()}}
	default:
		return nil
	}
}
