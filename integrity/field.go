package integrity

import (
	"regexp"
	"strconv"
	"strings"
	"unicode/utf8"
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
	// Required refuses a record without it. Text that is blank is not there.
	Required bool
	// Group names a set of fields of which at least one must be there.
	Group string
	// MinLen and MaxLen are limits in characters (runes), for types of text;
	// 0 is no limit.
	MinLen, MaxLen int
	// OneOf lists the only values allowed, for types of text.
	OneOf []string
	// Pattern is a regular expression (RE2) that the whole text must match.
	Pattern string
	// Scale is the number of digits after the point of a Decimal, at most 18.
	Scale int
	// Check is the application's own rule, asked after all others for values
	// that are there. It returns "" for yes and else a code. The record is
	// for reading only; a phone number needs its country.
	Check func(value any, record map[string]any) Code
}

const (
	maxName    = 128
	maxPattern = 1000
	maxScale   = 18
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
			p.choices[choice] = struct{}{}
		}
		if len(p.choices) != len(f.OneOf) {
			return plan{}, configErr("field %q: a choice stands twice", f.Name)
		}
	}
	if f.Pattern != "" {
		if len(f.Pattern) > maxPattern {
			return plan{}, configErr("field %q: pattern is longer than %d bytes", f.Name, maxPattern)
		}
		re, err := regexp.Compile(`\A(?:` + f.Pattern + `)\z`)
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
	case f.Scale < 0 || f.Scale > maxScale || f.Scale > 0 && f.Type != Decimal:
		return configErr("field %q: scale %d of type %s", f.Name, f.Scale, f.Type)
	}
	return nil
}

func checkName(kind, name string) error {
	if name == "" || len(name) > maxName || !utf8.ValidString(name) || strings.ContainsFunc(name, isControl) {
		return configErr("%s name is empty, longer than %d bytes or not plain text", kind, maxName)
	}
	return nil
}

func isControl(r rune) bool { return r < 0x20 || r == 0x7f }

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
