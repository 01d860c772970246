package liveschema

import (
	"slices"

	"github.com/crmguard/crmguard/privacy/datamap"
	"github.com/crmguard/crmguard/privacy/internal/catalog"
)

// What stays although its row goes, and rows that are not found at all: an
// erasure would say that it is done.

// holdsIDs checks that each column by which a person is found holds one id: of
// an array or a document no item is compared.
func (c *checking) holdsIDs() {
	c.eachTable(func(t datamap.Table, live *catalog.Table) {
		if t.Reaches() {
			c.holdsID(t.Name, live, append(compares(t), identified(t)...))
		}
		if l := t.Link; l != nil {
			if link := c.s.Table(l.Table); link != nil {
				c.holdsID(l.Table, link, linking(l))
			}
		}
	})
}

func (c *checking) holdsID(table string, live *catalog.Table, names []string) {
	slices.Sort(names)
	for _, name := range slices.Compact(names) {
		column := c.s.Column(live, name)
		if column == nil {
			continue // missing
		}
		switch column.Class {
		case catalog.Compound, catalog.JSON, catalog.Large:
			c.found(NoID, Alarm, table, column.Name, column.Type)
		default:
		}
	}
}

// identified are the columns by which persons are known.
func identified(t datamap.Table) (names []string) {
	for _, e := range t.Ways() {
		if e.Identity != "" {
			names = append(names, e.Columns...)
		}
	}
	for _, column := range t.Columns {
		if column.Identity != "" && column.Path == "" {
			names = append(names, column.Name)
		}
	}
	return names
}

// words finds full-text indexes that keep words of what is erased. Of one of SQLite
// that knows the texts of no table nobody can tell whose words it holds.
func (c *checking) words() {
	for _, live := range c.s.Tables {
		own := c.tables[live]
		for _, name := range live.FullText {
			if own.Reaches() {
				c.found(WordsKept, Notice, own.Name, "", name)
			}
		}
		if live.Words == nil {
			continue
		}
		of, mapped := c.tables[c.s.Table(live.Words.Of)]
		switch {
		case own.Reaches() && live.Words.Of != "":
			c.found(NotATable, Alarm, own.Name, "", "an index of "+live.Words.Of)
		case own.Reaches() && live.Words.Kept:
			c.found(WordsKept, Alarm, own.Name, "", "")
		case mapped && of.Reaches() && (live.Words.Kept || !live.Words.Synced):
			c.found(WordsKept, Alarm, c.s.NameOf(live), "", "of "+of.Name)
		case live.Words.Kept && !mapped && !own.Reaches():
			c.found(WordsKept, Notice, c.s.NameOf(live), "", "")
		}
	}
}

// elsewhere finds what stands beside the rows, and times that do not stay.
func (c *checking) elsewhere(t datamap.Table, live *catalog.Table) {
	for _, entry := range t.Columns {
		if column := c.s.Column(live, entry.Name); column != nil && column.Class == catalog.Large && entry.Personal() && t.Owns() {
			c.found(LargeObject, Alarm, t.Name, column.Name, "")
		}
	}
	times := []string{t.Created}
	if t.Keep != nil {
		times = append(times, t.Keep.From)
	}
	for _, name := range times {
		if column := c.s.Column(live, name); column != nil && column.Renewed && t.Reaches() {
			c.found(RenewedTime, Alarm, t.Name, column.Name, "")
		}
	}
}
