package accesscontrol

import "github.com/crmguard/crmguard/accesscontrol/internal/sqlcond"

// readAttrs puts the attributes of a record into their slots. It asks for each
// attribute of the table, required ones first, until the record has no more:
// that is faster than going through the record, and what is read first is the
// same each time. Many more attributes than the record has are not asked for.
func (t *table) readAttrs(attrs map[string]any, row *sqlcond.Row) error {
	if len(t.ordered) > 4*(len(attrs)+1) {
		return t.readFew(attrs, row)
	}
	found := 0
	for _, col := range t.ordered {
		v, given := attrs[col.attr]
		if !given {
			continue
		}
		if err := col.put(v, row); err != nil {
			return &RequestError{Part: "resource", Name: col.attr, Text: fault(err)}
		}
		if found++; found == len(attrs) {
			return nil
		}
	}
	if found == len(attrs) {
		return nil
	}
	return t.onlyFields(attrs)
}

// readFew is readAttrs for a record with a few attributes out of many.
func (t *table) readFew(attrs map[string]any, row *sqlcond.Row) error {
	found := 0
	for name, v := range attrs {
		col, known := t.slots[name]
		if !known {
			continue
		}
		if err := col.put(v, row); err != nil {
			return &RequestError{Part: "resource", Name: name, Text: fault(err)}
		}
		found++
	}
	if found == len(attrs) {
		return nil
	}
	return t.onlyFields(attrs)
}

// onlyFields refuses a record with an attribute that is neither in the schema
// nor a field, which no condition looks at.
func (t *table) onlyFields(attrs map[string]any) error {
	for name := range attrs {
		_, known := t.slots[name]
		if _, field := t.fields[name]; !known && !field {
			return &RequestError{Part: "resource", Name: name, Text: errUnknown.Error() + ", and no Column declares it: add one, or leave it out of the record"}
		}
	}
	return nil
}
