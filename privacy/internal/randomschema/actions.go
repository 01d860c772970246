package randomschema

import (
	"github.com/crmguard/crmguard/privacy/datamap"
)

// What an erasure writes where a name, or an address, has to differ from row to
// row, and where it need not.
const (
	ofTheRow = "gone-" + datamap.RowMark + "@erased.invalid"
	ofNobody = "gone@erased.invalid"
	coded    = "code-" + datamap.CodeMark + "@erased.invalid"
)

// address is the column by which persons are known.
func (d *drawer) address(t *table) column {
	m := about("email", "")
	m.Identity = "email"
	c := column{name: "email", kind: name, notNull: true, unique: !d.shared && !d.twins}
	if d.sealed = d.upTo(0, 2, "sealed address") == 0; d.sealed {
		c.kind, c.unique, m.Sealed = sealed, false, true
		if t.stays {
			m.Erase = one(d, "sealed address becomes", datamap.Shred, datamap.Null)
			c.notNull = m.Erase == datamap.Shred
		}
	} else if t.stays {
		m.Erase = one(d, "address becomes", datamap.Redact, datamap.Pseudonymise)
		if m.To = ofTheRow; m.Erase == datamap.Pseudonymise {
			m.To = coded
		}
		if d.shared && d.yes("the same of all") {
			m.Erase, m.To = datamap.Redact, ofNobody
		}
	}
	c.map_ = []datamap.Column{m}
	return c
}

// personal draws a column about the person, with what may happen to it in a row
// that stays.
func (d *drawer) personal(t *table, named string) column {
	kinds := []kind{name, name, long, long, day, stamp, money, object, object, binary}
	if t.way != link || t.mapped.Link.Owner != "" {
		kinds = append(kinds, sealed)
	}
	c := column{name: named, kind: one(d, "kind", kinds...), notNull: d.yes("not null")}
	c.unique = c.kind == name && d.yes("unique")
	if d.yes("checked") {
		c.check = map[kind]string{name: named + " LIKE '%_@_%'", long: "length(" + named + ") >= 3", money: named + " >= 0"}[c.kind]
	}
	stays := t.stays || t.kept
	if t.kept && t.mapped.Erase == datamap.Null {
		c.notNull = false // when the obligation is over
	}
	if (c.kind == binary || c.kind == sealed && t.kept) && stays {
		c.notNull = false
	}
	switch {
	case !stays && c.kind == sealed:
		m := about(named, "")
		m.Sealed = true
		c.map_ = []datamap.Column{m}
	case !stays:
		c.map_ = []datamap.Column{about(named, "")}
	case t.kept && c.kind != sealed && d.yes("retained"):
		c.map_ = []datamap.Column{about(named, datamap.Retain)}
	case c.kind == object && d.yes("members"):
		c.map_ = d.members(named)
	default:
		c.map_ = []datamap.Column{d.action(c)}
	}
	return c
}

// action is what becomes of the column in a row that stays.
func (d *drawer) action(c column) datamap.Column {
	m := about(c.name, datamap.Redact)
	if m.Sealed = c.kind == sealed; m.Sealed {
		if m.Erase = datamap.Shred; !c.notNull {
			m.Erase = one(d, "sealed becomes", datamap.Shred, datamap.Null)
		}
		return m
	}
	if !c.notNull && (c.kind == binary || d.upTo(0, 3, "null") == 0) {
		m.Erase = datamap.Null
		return m
	}
	set := func(action datamap.Action, to string) { m.Erase, m.To = action, to }
	switch c.kind {
	case name:
		switch way := d.upTo(0, 3, "name becomes"); {
		case way == 0 && !c.unique:
			set(datamap.Redact, ofNobody)
		case way == 1 && !c.unique && c.check == "":
			set(datamap.Generalise, "first:1")
		case way == 2 && c.check == "":
			set(datamap.Pseudonymise, "")
		case way == 2:
			set(datamap.Pseudonymise, coded)
		default:
			set(datamap.Redact, ofTheRow)
		}
	case long:
		set(one(d, "text becomes", datamap.Redact, datamap.Scrub, datamap.Pseudonymise), "")
	case day:
		set(datamap.Redact, "1900-01-01")
		d.coarser(&m)
	case stamp:
		set(datamap.Redact, "1900-01-01 00:00:00")
		d.coarser(&m)
	case money:
		set(datamap.Redact, "0")
	default:
		set(datamap.Redact, "{}")
	}
	return m
}

func (d *drawer) coarser(m *datamap.Column) {
	if d.yes("generalised") {
		m.Erase, m.To = datamap.Generalise, one(d, "to", datamap.ToMonth, datamap.ToYear, datamap.ToDecade)
	}
}

// members are those of a JSON column, each with its own action.
func (d *drawer) members(named string) []datamap.Column {
	a, list, street := about(named, ""), about(named, one(d, "list becomes", datamap.Null, datamap.Redact)), about(named, datamap.Null)
	a.Path, list.Path, street.Path = "/a", "/b/c", "/b/street~1no"
	switch d.upTo(0, 4, "a becomes") {
	case 0:
		a.Erase = datamap.Null
	case 1:
		a.Erase = datamap.Pseudonymise
	case 2:
		a.Erase, a.To = datamap.Generalise, "first:1"
	case 3:
		a.Erase = datamap.Scrub
	default:
		a.Erase, a.To = datamap.Redact, ofTheRow
	}
	return []datamap.Column{{Name: named, Path: "/theme"}, a, list, street}
}

func about(column string, action datamap.Action) datamap.Column {
	return datamap.Column{Name: column, Category: "contact.data", Purpose: "dpv:CustomerRelationshipManagement", Basis: "eu-gdpr:A6-1-b", Erase: action}
}
