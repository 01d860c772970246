package accesscontrol

import (
	"unicode/utf8"

	"github.com/crmguard/crmguard/accesscontrol/internal/cedarx"
	"github.com/crmguard/crmguard/accesscontrol/internal/sqlcond"
)

// put reads a value into its place of a row.
func (col *column) put(v any, row *sqlcond.Row) error {
	if col.set == nil {
		return col.read(v, &row.Values[col.Slot])
	}
	for len(row.Sets) <= col.set.Slot {
		row.Sets = append(row.Sets, nil)
	}
	return col.set.read(v, row, &row.Values[col.Slot])
}

// read puts the elements of a set into their slot of a row, and into its own
// that they are there: a nil slice is an empty set, as it comes of a loop over no
// rows. It takes the usual Go types without looking twice, and
// the others as [valueOf] does.
func (s *set) read(v any, row *sqlcond.Row, there *sqlcond.Value) error {
	elements := row.Sets[s.Slot][:0]
	switch v := v.(type) {
	case []string:
		if s.element.Kind != sqlcond.Text {
			break
		}
		for _, text := range v {
			if !utf8.ValidString(text) {
				return errText
			}
			element, err := s.element.settle(sqlcond.TextOf(text))
			if err != nil {
				return err
			}
			elements = append(elements, element)
		}
		return s.put(elements, row, there)
	case []Ref:
		if s.element.typ.Kind != cedarx.EntityRef {
			break
		}
		for _, ref := range v {
			element, err := s.element.settle(sqlcond.TextOf(ref.ID))
			if err != nil || ref.Type != string(s.element.typ.Entity) {
				return errKind
			}
			elements = append(elements, element)
		}
		return s.put(elements, row, there)
	case []int64:
		if s.element.Kind != sqlcond.Integer {
			break
		}
		for _, n := range v {
			elements = append(elements, sqlcond.IntegerOf(n))
		}
		return s.put(elements, row, there)
	}
	return s.convert(v, row, there)
}

func (s *set) convert(v any, row *sqlcond.Row, there *sqlcond.Value) error {
	converted, err := valueOf(cedarx.Type{Kind: cedarx.Set, Element: &s.element.typ}, v)
	if converted == nil || err != nil {
		return err // NULL is no set, and a set is required
	}
	set, is := converted.(cedarx.SetValue)
	if !is {
		return errKind
	}
	elements := row.Sets[s.Slot][:0]
	for item := range set.All() {
		element, err := s.element.settle(slotOf(item))
		if err != nil {
			return err
		}
		elements = append(elements, element)
	}
	return s.put(elements, row, there)
}

func (s *set) put(elements []sqlcond.Value, row *sqlcond.Row, there *sqlcond.Value) error {
	row.Put(s.Slot, elements)
	there.Kind = sqlcond.Other
	return nil
}
