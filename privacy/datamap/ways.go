package datamap

import "slices"

// Empties lists the columns that [Null] of an Unlink edge empties: those of the
// edge, but the tenant, what tells apart which rows have the edge, and the key.
func (t Table) Empties(e Edge) []string {
	var names []string
	for _, name := range e.Columns {
		discriminator := slices.ContainsFunc(e.When, func(w When) bool { return w.Column == name })
		if name != t.Tenant && !discriminator && !slices.Contains(t.Key, name) {
			names = append(names, name)
		}
	}
	return names
}

// Action is what an erasure does to the column, or member of one, in a row that
// stays: its Erase, or the table's. "" where nothing is said and nothing is done.
func (t Table) Action(c Column) Action {
	if c.Erase != "" || !c.Personal() || t.IsPerson(c.Name) {
		return c.Erase
	}
	return t.Erase
}

// CanStay reports whether an erasure may leave a row of the table in place.
func (t Table) CanStay() bool { return t.Erase != Delete || t.Keep != nil }

// owned is the set of tables whose rows are some person's own: whatever leads
// to a person, in any number of steps, over edges that own.
func (m *Map) owned() map[string]bool {
	owned := map[string]bool{}
	for grown := true; grown; {
		grown = false
		for _, t := range m.Tables {
			if owned[t.Name] {
				continue
			}
			if t.Link != nil || slices.ContainsFunc(t.Ways(), func(e Edge) bool { return e.Leads() && m.leads(e, owned) }) {
				owned[t.Name], grown = true, true
			}
		}
	}
	return owned
}

// leads reports whether the edge ends at a person, given the tables known to.
func (m *Map) leads(e Edge, owned map[string]bool) bool {
	switch {
	case e.Table != "":
		return owned[e.Table]
	case e.Identity != "":
		return m.declares(e.Identity, owned)
	}
	return true
}

// declares reports whether a column of one of the tables holds identities of
// the kind.
func (m *Map) declares(identity string, tables map[string]bool) bool {
	return slices.ContainsFunc(m.Tables, func(t Table) bool {
		return tables[t.Name] && slices.ContainsFunc(t.Columns, func(c Column) bool { return c.Identity == identity })
	})
}
