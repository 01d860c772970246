package sqlcond

import "slices"

// Set is an attribute whose elements stand in rows of other tables.
type Set struct {
	// Slot is the place in Row.Sets.
	Slot int
	// Element is the column of the elements, behind the joins that lead there.
	Element *Column
	// Tree, where it is not nil, makes the ancestors of the elements elements.
	Tree *Tree
}

// Tree is a table in which each row names its parent.
type Tree struct {
	// Node is a row of the table: its Key is the column of the parent.
	Node *Join
	// ID is the column of the row's own id.
	ID *Column
	// Levels bounds how many ancestors an element has.
	Levels int
}

// Meets says that an element is among known values: Among looks at the set's
// Element.
type Meets struct {
	Set   *Set
	Among *Among
}

// Covers says that each of some known values is an element, of a set without a
// tree.
type Covers struct {
	Set   *Set
	Among *Among
}

// Includes says that an element of a set without a tree equals a column of the
// record.
type Includes struct {
	Set    *Set
	Column *Column
}

// Some says that there is an element.
type Some struct{ Set *Set }

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
func (s *Some) Eval(row *Row) Outcome { return Truth(len(row.Sets[s.Set.Slot]) > 0) }

// All of them are written as EXISTS, which is never NULL.

func (m *Meets) write(w *Writer) {
	w.exists(m.Set.Element.chain(), func() {
		if m.Set.Tree == nil {
			m.Among.write(w)
			return
		}
		w.Raw("(")
		w.name(m.Set.Element)
		w.Raw(" IS NOT NULL AND (")
		m.Among.write(w)
		w.Raw(" OR ")
		w.below(m.Set.Tree, m.Set.Element, m.Among)
		w.Raw("))")
	})
}

// Many values are one argument, and elements are counted by their bytes. What
// the first step matches is one value, so all rows are one group.
func (c *Covers) write(w *Writer) {
	steps := c.Set.Element.chain()
	w.exists(steps, func() {
		c.Among.write(w)
		w.Raw(" GROUP BY ")
		w.name(steps[0].Key)
		w.Raw(" HAVING COUNT(DISTINCT ")
		w.member(c.Set.Element)
		if w.dialect == PostgreSQL && c.Set.Element.byBytes() {
			w.Raw("::text")
		}
		w.Raw(") = ")
		w.place("bigint", int64(len(c.Among.Values)))
	})
}

func (i *Includes) write(w *Writer) {
	w.exists(i.Set.Element.chain(), func() { w.columns(i.Set.Element, Equal, i.Column) })
}

func (s *Some) write(w *Writer) {
	w.exists(s.Set.Element.chain(), func() { (&Present{s.Set.Element}).write(w) })
}

// below writes that a column holds what stands below one of the values in a
// tree. The walk begins at the values, which are known, so that it is the same
// for every record; its columns have the types and collations of the tree's. The
// bound of levels ends circles. Ids that are equal under a collation only are
// two to UNION, too.
func (w *Writer) below(t *Tree, c *Column, values *Among) {
	down := &Join{}
	w.opens(t.Node)
	w.opens(down)
	id, bytes, depth := &Column{Name: "id", Kind: t.ID.Kind, Storage: t.ID.Storage, Via: down}, &Column{Name: "bytes", Via: down}, &Column{Name: "depth", Via: down}
	twice := w.dialect == MySQL && c.byBytes()
	row := func(level func()) {
		w.Raw("SELECT ")
		w.name(t.ID)
		switch {
		case w.dialect == PostgreSQL:
			w.Raw("::" + t.ID.typed())
		case w.dialect == SQLite && c.byBytes():
			w.Raw(" COLLATE BINARY")
		case twice:
			w.Raw(", ")
			w.bytes(t.ID)
		}
		w.Raw(", ")
		level()
		w.Raw(" FROM ")
		w.tableName(t.Node.Table)
		w.Raw(" AS ")
		w.quote(w.aliases[t.Node])
	}
	where := func() {
		w.Raw(" AND ")
		w.fence(t.Node)
		w.Raw(" AND ")
		w.name(t.ID)
		w.Raw(" IS NOT NULL")
	}
	w.member(c)
	w.Raw(" IN (WITH RECURSIVE ")
	w.quote(w.aliases[down])
	w.Raw(" (")
	w.quote(id.Name)
	if twice {
		w.Raw(", ")
		w.quote(bytes.Name)
	}
	w.Raw(", ")
	w.quote(depth.Name)
	w.Raw(") AS (")
	row(func() { w.Raw("1") })
	w.Raw(" WHERE ")
	(&Among{Column: t.Node.Key, Values: values.Values}).write(w)
	where()
	w.Raw(" UNION ")
	row(func() { w.name(depth); w.Raw(" + 1") })
	w.Raw(", ")
	w.quote(w.aliases[down])
	w.Raw(" WHERE ")
	w.equal(t.Node.Key, id)
	where()
	w.Raw(" AND ")
	w.name(depth)
	w.Raw(" < ")
	w.place("bigint", int64(t.Levels))
	w.Raw(") SELECT ")
	if twice {
		id = bytes
	}
	w.name(id)
	w.Raw(" FROM ")
	w.quote(w.aliases[down])
	w.Raw(")")
	delete(w.aliases, t.Node)
	delete(w.aliases, down)
}
