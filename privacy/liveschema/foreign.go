package liveschema

import (
	"slices"
	"strings"

	"github.com/crmguard/crmguard/privacy/datamap"
	"github.com/crmguard/crmguard/privacy/internal/catalog"
)

// foreign checks what the database does by itself, or refuses, when rows go. It
// counts whether foreign keys are enforced now or not, which each connection of
// SQLite says for itself.
func (c *checking) foreign() {
	gone := c.gone()
	for _, f := range c.s.Foreign {
		parent, mapped := c.tables[f.Parent]
		child := c.tables[f.Child]
		if f.Deferred && (parent.Reaches() || child.Reaches()) {
			c.found(DeferredConstraint, Notice, c.s.NameOf(f.Child), strings.Join(f.Columns, ", "), f.Name)
		}
		switch {
		case gone[f.Parent]:
			c.goes(f)
		case mapped && parent.Owns() && !c.followed(f):
			c.undeclared(f, Notice) // the rows that it names stay
		}
	}
}

// gone are the tables of which rows go: by the map, or over a foreign key.
func (c *checking) gone() map[*catalog.Table]bool {
	gone := map[*catalog.Table]bool{}
	for live, t := range c.tables {
		deletes := slices.ContainsFunc(t.Ways(), func(e datamap.Edge) bool { return e.Unlink == datamap.Delete })
		gone[live] = t.Owns() && t.Erase == datamap.Delete || deletes
	}
	for live := range c.links {
		gone[live] = true
	}
	for grown := true; grown; {
		grown = false
		for _, f := range c.s.Foreign {
			if gone[f.Parent] && !gone[f.Child] && f.OnDelete == catalog.Cascade && !c.letsGo(f) {
				gone[f.Child], grown = true, true
			}
		}
	}
	return gone
}

// goes judges a foreign key to a row that goes.
func (c *checking) goes(f catalog.ForeignKey) {
	child, mapped := c.tables[f.Child]
	if c.letsGo(f) || c.links[f.Child] != nil {
		return
	}
	kept := mapped && child.Owns() && child.CanStay()
	switch f.OnDelete {
	case catalog.Refuse:
		if !c.goesFirst(f) {
			c.byKey(BlockedDeletion, Alarm, f)
		}
	case catalog.Cascade:
		switch {
		case kept:
			c.byKey(CascadeIntoKept, Alarm, f)
		case c.goesFirst(f):
		case mapped && child.Owns():
			c.byKey(CascadeIntoOthers, Alarm, f)
		default:
			c.undeclared(f, Alarm)
		}
	case catalog.SetNull, catalog.SetDefault:
		switch {
		case kept && slices.ContainsFunc(f.Empties, func(name string) bool { return c.has(needed(child), name) }):
			c.byKey(CascadeIntoKept, Alarm, f)
		case !c.followed(f):
			c.undeclared(f, Notice)
		}
	}
}

// byKey notes a finding about a foreign key.
func (c *checking) byKey(kind Kind, level Level, f catalog.ForeignKey) {
	c.found(kind, level, c.s.NameOf(f.Child), strings.Join(f.Columns, ", "), f.Name+" to "+c.s.NameOf(f.Parent)+" ON DELETE "+string(f.OnDelete))
}

func (c *checking) undeclared(f catalog.ForeignKey, level Level) { c.byKey(UndeclaredEdge, level, f) }

// followed reports whether the map goes the way of a foreign key.
func (c *checking) followed(f catalog.ForeignKey) bool {
	if c.links[f.Child] != nil {
		return true
	}
	child := c.tables[f.Child]
	merged := child.Merged != "" && c.s.SameAll(f.Columns, []string{child.Merged})
	return merged || slices.ContainsFunc(child.Ways(), func(e datamap.Edge) bool { return c.is(f, e) })
}

// is reports whether an edge is the foreign key: it goes to the same rows, or
// names the person that the parent's row is about.
func (c *checking) is(f catalog.ForeignKey, e datamap.Edge) bool {
	parent, mapped := c.tables[f.Parent]
	if !mapped || !c.s.SameAll(e.Columns, f.Columns) {
		return false
	}
	return e.Table == parent.Name || e.Names() && len(f.To) == 1 && parent.IsPerson(f.To[0])
}

// goesFirst reports whether rows with the foreign key go as their person's own,
// before the row that they name.
func (c *checking) goesFirst(f catalog.ForeignKey) bool {
	child := c.tables[f.Child]
	if child.Merged != "" && c.s.SameAll(f.Columns, []string{child.Merged}) {
		return true // all rows of a merged person go together
	}
	return child.Owns() && !child.CanStay() && slices.ContainsFunc(child.Ways(), func(e datamap.Edge) bool { return e.Leads() && c.is(f, e) })
}

// letsGo reports whether the map empties the foreign key, or deletes the row,
// before the row that it names goes.
func (c *checking) letsGo(f catalog.ForeignKey) bool {
	child := c.tables[f.Child]
	unlinked := slices.ContainsFunc(child.Ways(), func(e datamap.Edge) bool { return e.Unlink != "" && c.is(f, e) })
	return unlinked || child.CanStay() && slices.ContainsFunc(f.Columns, func(name string) bool {
		return slices.ContainsFunc(child.Columns, func(column datamap.Column) bool {
			return c.s.Same(column.Name, name) && column.Path == "" && child.Action(column) == datamap.Null
		})
	})
}

// needed lists the columns without which a kept row is not found, or its
// obligation has no end.
func needed(t datamap.Table) []string {
	names := append(slices.Clone(t.Key), t.Tenant)
	for _, e := range t.Ways() {
		if e.Leads() {
			names = append(names, e.Columns...)
		}
	}
	if t.Keep != nil {
		names = append(names, t.Keep.From)
	}
	for _, c := range t.Columns {
		if t.Action(c) == datamap.Retain {
			names = append(names, c.Name)
		}
	}
	return names
}
