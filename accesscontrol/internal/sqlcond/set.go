package sqlcond

import "slices"

// Set is an attribute whose elements stand in rows of other tables.
type Set struct {
	// Slot is the place in Row.Sets.
	Slot int
	// From is the column of the record where the first step begins.
	From Column
	// Steps lead to the elements, one at least.
	Steps []Step
}

// Step leads from values to others, by the rows of one table.
type Step struct {
	// Table is its name, which may say its schema.
	Table string
	// Tenant is the column of the tenant; nil where the whole table is that of
	// the tenant who asks.
	Tenant *Column
	// Match is what equals the value before, Value is what comes next.
	Match, Value Column
	// Levels makes it a tree of parents: the values are the one before and its
	// ancestors, up to so many of them. Only the last step is one.
	Levels int
}

// Meets says that an element is among known values of the elements' kind.
type Meets struct {
	Set   *Set
	Among *Among
}

// Covers says that each of some known values is an element. No step of the set
// is a tree.
type Covers struct {
	Set   *Set
	Among *Among
}

// Includes says that an element equals a column of the record that is there. No
// step of the set is a tree.
type Includes struct {
	Set    *Set
	Column *Column
}

// Empty says that there is no element.
type Empty struct{ Set *Set }

// Put makes the values the elements of a set: sorted, each once.
func (r *Row) Put(slot int, elements []Value) {
	slices.SortFunc(elements, compare)
	r.Sets[slot] = slices.Compact(elements)
}

// Eval looks at each element.
func (m *Meets) Eval(row *Row) Outcome {
	return Truth(slices.ContainsFunc(row.Sets[m.Set.Slot], m.Among.holds))
}

// Eval looks each value up, in two lists that have one order.
func (c *Covers) Eval(row *Row) Outcome {
	elements := row.Sets[c.Set.Slot]
	for _, v := range c.Among.Values {
		at, is := slices.BinarySearchFunc(elements, v, compare)
		if !is {
			return False
		}
		elements = elements[at+1:]
	}
	return True
}

// Eval looks the value of the column up; an absent one fails.
func (i *Includes) Eval(row *Row) Outcome {
	v := row.Values[i.Column.Slot]
	if v.Kind == Absent {
		return Failed
	}
	_, is := slices.BinarySearchFunc(row.Sets[i.Set.Slot], v, compare)
	return Truth(is)
}

// Eval counts.
func (e *Empty) Eval(row *Row) Outcome { return Truth(len(row.Sets[e.Set.Slot]) == 0) }
