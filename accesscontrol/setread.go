package accesscontrol

import (
	"unicode/utf8"

	"github.com/crmguard/crmguard/accesscontrol/internal/cedarx"
	"github.com/crmguard/crmguard/accesscontrol/internal/sqlcond"
)

// read puts the elements of a set into its slot. It takes the usual Go types
// without looking twice, and the others as [valueOf] does.
func (s *set) read(v any, row *sqlcond.Row) (given bool, err error) {
	out := row.Sets[s.Slot][:0]
	plain := s.element.Storage == sqlcond.Plain
	switch v := v.(type) {
	case nil:
		return false, nil
	case []string:
		for _, text := range v {
			if s.element.Kind != sqlcond.Text || !utf8.ValidString(text) {
				return false, errKind
			}
			element, err := s.element.settle(sqlcond.TextOf(text))
			if err != nil {
				return false, err
			}
			out = append(out, element)
		}
		row.Put(s.Slot, out)
		return v != nil, nil
	case []int64:
		if plain && s.element.Kind == sqlcond.Integer {
			for _, n := range v {
				out = append(out, sqlcond.IntegerOf(n))
			}
			row.Put(s.Slot, out)
			return v != nil, nil
		}
	}
	converted, err := valueOf(cedarx.Type{Kind: cedarx.Set, Element: &s.element.typ}, v)
	if converted == nil || err != nil {
		return false, err
	}
	elements, is := converted.(cedarx.SetValue)
	if !is {
		return false, errKind
	}
	for item := range elements.All() {
		element, err := s.element.settle(slotOf(item))
		if err != nil {
			return false, err
		}
		out = append(out, element)
	}
	row.Put(s.Slot, out)
	return true, nil
}
