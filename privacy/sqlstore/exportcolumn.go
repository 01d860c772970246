package sqlstore

import (
	"encoding/json"
	"slices"

	"github.com/crmguard/crmguard/internal/value"
	"github.com/crmguard/crmguard/privacy/datamap"
	"github.com/crmguard/crmguard/privacy/datastore"
)

// Why something is left out that the map does not withhold.
const (
	otherPersons = "also concerns other persons"
	somebodyElse = "of a record about somebody else"
	namesOther   = "leads to somebody else"
	brokenJSON   = "no JSON, so that what is left out of it cannot be told apart"
)

// An exportColumn is a column of an export, with what the map says of it: several
// entries where it holds JSON.
type exportColumn struct {
	name    string
	entries []datamap.Column
	names   bool // holds the id of a person, and the map says nothing else of it
	points  bool // leads to somebody whose row it is not, likewise
	owner   bool // the key owner of a joint record
}

// exported lists the columns of a table, each once: the key, what leads to
// persons and when, dates, and the columns of the map.
func exported(t datamap.Table) (columns []exportColumn) {
	add := func(c exportColumn) {
		if c.name == "" || slices.ContainsFunc(columns, func(known exportColumn) bool { return known.name == c.name }) {
			return
		}
		for _, entry := range t.Columns {
			if entry.Name == c.name {
				c.entries = append(c.entries, entry)
			}
		}
		if len(c.entries) > 0 {
			c.names, c.points = false, false
		}
		columns = append(columns, c)
	}
	for _, k := range t.Key {
		add(exportColumn{name: k})
	}
	add(exportColumn{name: t.Tenant})
	for _, e := range t.Ways() {
		for _, name := range e.Columns {
			add(exportColumn{name: name, names: e.Names(), points: !e.Names() && !e.Leads() && len(e.Columns) == 1})
		}
		for _, when := range e.When {
			add(exportColumn{name: when.Column})
		}
	}
	if t.Link != nil {
		add(exportColumn{name: t.Link.Owner, owner: true})
	}
	add(exportColumn{name: t.Merged})
	add(exportColumn{name: t.Created})
	if t.Keep != nil {
		add(exportColumn{name: t.Keep.From})
	}
	for _, c := range t.Columns {
		add(exportColumn{name: c.Name})
	}
	return columns
}

// A view is what a person gets to see of a row.
type view struct {
	persons  []string // the ids of the person
	spelled  func(column string, stored any) (id string, err error)
	shared   bool     // other persons stay in it
	pointing []string // of somebody else's row: the columns that point to the person
}

// fields are the column's field and, of a JSON column, one for each member that
// was cut out of it.
func (w view) fields(c exportColumn, stored any) []datastore.Field {
	whole := datastore.Field{Name: c.name, Value: stored, Withhold: w.why(c, stored)}
	if whole.Withhold != "" {
		whole.Value = nil
		return []datastore.Field{whole}
	}
	var members []datastore.Field
	for _, entry := range c.entries {
		why := w.withheld(entry)
		switch {
		case entry.Path == "" && why != "":
			return []datastore.Field{{Name: c.name, Sealed: entry.Sealed, Withhold: why}}
		case entry.Path == "":
			whole.Sealed = entry.Sealed
		case why != "":
			rest, was, err := without(whole.Value, entry.Path)
			if err != nil {
				return []datastore.Field{{Name: c.name, Withhold: brokenJSON}}
			}
			if whole.Value = rest; was {
				members = append(members, datastore.Field{Name: entry.Where(), Withhold: why})
			}
		}
	}
	return append([]datastore.Field{whole}, members...)
}

// why is the reason for which the whole column is left out of a row, whatever the
// map says of it.
func (w view) why(c exportColumn, stored any) string {
	if w.pointing != nil {
		if slices.Contains(w.pointing, c.name) {
			return ""
		}
		return somebodyElse
	}
	mayName := c.names || c.points || c.owner && w.shared
	if v, err := value.Scanned(stored); err != nil || v.IsNull() || !mayName {
		return ""
	}
	if id, err := w.spelled(c.name, stored); err == nil && slices.Contains(w.persons, id) && !c.points {
		return ""
	}
	if c.owner {
		return otherPersons
	}
	return namesOther
}

func (w view) withheld(c datamap.Column) string {
	if c.Withhold == "" && w.pointing == nil && w.shared && !c.Everyone && c.Category != "" {
		return otherPersons
	}
	return c.Withhold
}

// without is a stored document without one of its members, and whether that was
// in it.
func without(stored any, path string) (rest any, was bool, err error) {
	document, cutBefore := stored.(json.RawMessage)
	if !cutBefore {
		text, err := textOf(stored)
		if err != nil || text == "" {
			return stored, false, err
		}
		document = json.RawMessage(text)
	}
	document, err = edit(document, pointer(path), func(json.RawMessage) (json.RawMessage, error) {
		was = true
		return nil, nil
	})
	if err != nil || !was {
		return stored, false, err
	}
	return document, true, nil
}
