package liveschema

import (
	"slices"
	"strings"

	"github.com/crmguard/crmguard/privacy/datamap"
	"github.com/crmguard/crmguard/privacy/internal/catalog"
)

// eachTable visits the tables of the map that are there.
func (c *checking) eachTable(visit func(t datamap.Table, live *catalog.Table)) {
	for _, t := range c.m.Tables {
		if live := c.s.Table(t.Name); live != nil {
			visit(t, live)
		}
	}
}

// forms finds tables that cannot be erased from as the map says.
func (c *checking) forms() {
	c.eachTable(func(t datamap.Table, live *catalog.Table) {
		if !t.Reaches() {
			if live.Form == catalog.Copy {
				c.found(HoldsCopy, Notice, t.Name, "", "")
			}
			for _, above := range live.Above {
				if of := c.tables[above]; of.Reaches() {
					c.found(OwnRows, Alarm, t.Name, "", "inherits from "+of.Name)
				}
			}
			return
		}
		c.form(t.Name, live)
		if t.Link != nil {
			if link := c.s.Table(t.Link.Table); link != nil {
				c.form(t.Link.Table, link)
			}
		}
		c.key(t, live)
	})
}

// form checks one table from which rows are erased.
func (c *checking) form(name string, live *catalog.Table) {
	switch live.Form {
	case catalog.View, catalog.Elsewhere, catalog.Copy:
		c.found(NotATable, Alarm, name, "", string(live.Form))
	case catalog.Versioned:
		c.found(HistoryKept, Alarm, name, "", "")
	case catalog.Plain, catalog.Virtual:
	}
	if live.Hides {
		c.found(RowsHidden, Alarm, name, "", "")
	}
	if !live.Atomic {
		c.found(NoTransactions, Alarm, name, "", "")
	}
	for _, trigger := range live.Triggers {
		c.found(TriggerFires, Notice, name, "", trigger)
	}
}

// key checks that Key names one row, and that no other one gets its number.
func (c *checking) key(t datamap.Table, live *catalog.Table) {
	if !c.tellsApart(live, t.Key) && live.Form == catalog.Plain {
		c.found(NoUniqueKey, Alarm, t.Name, strings.Join(t.Key, ", "), "")
	}
	if !live.Reuses || len(t.Key) != 1 {
		return
	}
	column := c.s.Column(live, t.Key[0])
	switch {
	case column == nil || !strings.EqualFold(column.Type, "integer"):
	case t.IsPerson(column.Name):
		c.found(ReusedNumbers, Alarm, t.Name, column.Name, "")
	case !slices.ContainsFunc(t.Ways(), func(e datamap.Edge) bool { return c.has(e.Columns, column.Name) }): // a number of its own
		c.found(ReusedNumbers, Notice, t.Name, column.Name, "")
	}
}

// tellsApart reports whether an index says that the columns tell the rows apart.
func (c *checking) tellsApart(live *catalog.Table, columns []string) bool {
	return slices.ContainsFunc(live.Indexes, func(i catalog.Index) bool {
		return i.Unique && !i.Partial && !slices.ContainsFunc(i.Columns, func(name string) bool { return !c.has(columns, name) })
	})
}

// has reports whether a name is among the names.
func (c *checking) has(names []string, name string) bool {
	return slices.ContainsFunc(names, func(other string) bool { return c.s.Same(other, name) })
}
