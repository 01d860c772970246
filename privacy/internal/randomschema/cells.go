package randomschema

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/crmguard/crmguard/internal/testdb"
	"github.com/crmguard/crmguard/privacy/datamap"
	"github.com/crmguard/crmguard/privacy/internal/wholedb"
)

// make makes the values of a row, and writes down what becomes of them.
func (c *Case) make(d *drawer, t *table, r *row) {
	r.values = map[string]any{}
	about := r.persons()
	if t.kept {
		c.due(d, t, r)
	}
	if r.parent != nil && r.parent.held {
		r.held, r.until, r.because = true, r.parent.until, r.parent.because
	}
	goes := slices.Clone(about) // with whom the row goes
	names, with := c.point(d, t, r)
	about, goes = append(about, names...), append(goes, with...)
	r.goes = goes
	if r.self != nil {
		about = append(about, r.self.persons()...) // whose row it names
	}
	for i, k := range t.key {
		r.values[k.name] = c.key(t, r, i)
	}
	for i, col := range t.columns {
		switch {
		case !col.personal() || col.name == "who":
			c.plain(t, r, col)
		case col.name == "email" || col.name == "address":
			c.address(d, t, r, goes, col)
		case !col.notNull && d.upTo(0, 4, "null") == 0:
		default:
			w := c.cell(d, t, i, r)
			r.values[col.name] = w.value
			c.placeAll(t, r, goes, col, w)
		}
	}
	if t.stays || t.kept && (r.held || t.mapped.Erase == datamap.Null) || r.held {
		c.place(t, r, goes, column{name: "label"}, r.values["label"].(string), wholedb.Kept)
	}
	key := make([]string, len(t.key))
	for i, k := range t.key {
		key[i] = fmt.Sprint(r.values[k.name])
	}
	c.expected.Row(t.name, key, about...)
	for _, n := range r.members {
		if t.way == link {
			c.expected.Row(t.mapped.Link.Table, []string{key[0], fmt.Sprint(c.person(n))}, n)
		}
	}
}

// address makes the e-mail address of a row.
func (c *Case) address(d *drawer, t *table, r *row, goes []int, col column) {
	text := "somebody." + token("email", r.n) + "@else.example"
	if r.as != wholedb.Nobody {
		text = c.email(r.as)
	}
	if r.as != wholedb.Nobody && col.name == "address" {
		text = one(d, "address", text, text, strings.ToUpper(text))
	}
	if col.kind != sealed {
		r.values[col.name] = text
		if !d.twins && !d.prefix && c.sole(max(0, r.as)) {
			c.place(t, r, goes, col, text, wholedb.Gone)
		}
		return
	}
	owner := c.ownerOf(r)
	if col.name == "address" {
		owner = application
	}
	bytes := c.Keys.seal(owner, text)
	r.values[col.name] = bytes
	c.placeAll(t, r, goes, col, written{bytes, []string{string(bytes)}, nil})
}

// place writes down that a text about the row's persons stands in a column.
func (c *Case) place(t *table, r *row, goes []int, col column, text string, fate wholedb.Fate) {
	for _, n := range r.persons() {
		c.expected.Place(wholedb.Placed{Needle: wholedb.Needle{Name: t.name + "." + col.name, Text: text}, Of: n, Row: r.owner, Fate: fate, With: goes})
	}
}

// placeAll writes down what becomes of a personal value.
func (c *Case) placeAll(t *table, r *row, goes []int, col column, w written) {
	fate, rest := wholedb.Gone, wholedb.Gone
	stays := t.stays || t.kept && (r.held || t.mapped.Erase == datamap.Null)
	action := col.map_[len(col.map_)-1].Erase
	switch {
	case len(r.members) > 1:
		fate, rest = wholedb.Shared, wholedb.Shared
	case t.lines && r.held:
		fate, rest = wholedb.Kept, wholedb.Kept
	case !stays:
	case action == datamap.Retain && r.held:
		fate, rest = wholedb.Kept, wholedb.Kept
	case action == datamap.Shred:
		fate = wholedb.Kept // what nobody can open any more
	case action == datamap.Scrub && col.kind == long, len(col.map_) > 1:
		rest = wholedb.Kept
	}
	for _, text := range w.texts {
		c.place(t, r, goes, col, text, fate)
	}
	for _, text := range w.others {
		c.place(t, r, goes, col, text, rest)
	}
}

// hostile are ends of keys that mean something where keys are joined, quoted or
// compared.
var hostile = []string{"", "/", "%2F", "'", `\`, " x", "%_", "é"}

// key is a value of the row's key.
func (c *Case) key(t *table, r *row, i int) any {
	switch t.key[i].kind {
	case serial:
		if t.way == personal {
			return firstID + int64(r.n)
		}
		return int64(r.n + 1)
	case grade:
		return grades[r.n%len(grades)]
	case number:
		if t.key[i].name == "tenant" {
			return r.tenant
		}
		return int64(1001 + r.nth) // the same in both tenants
	case id:
		return uuidOf(t.n, "key", r.n)
	case day:
		return time.Date(2001, 1, 1+r.n/2, 0, 0, 0, 0, time.UTC).Format(time.DateOnly)
	default:
		if t.way == personal {
			return c.textID(r.n)
		}
		return "K" + token(t.n, "key", r.n) + hostile[r.n%len(hostile)]
	}
}

// other is a column that is not personal.
func (c *Case) plain(t *table, r *row, col column) {
	set := func(value any) { r.values[col.name] = value }
	switch col.name {
	case "tenant":
		set(r.tenant)
	case "person":
		if set(c.textID(r.n)); col.kind == id {
			set(uuidOf("person", r.n))
		}
	case "merged_into":
		if r.n < len(c.into) && c.into[r.n] != wholedb.Nobody {
			set(c.person(c.into[r.n]))
		}
	case "who":
		if !col.notNull && r.self != nil && t.self == "part_of" {
			return // what it is a part of says it
		}
		set(c.person(r.owner))
	case "with_whom":
		if r.second != wholedb.Nobody {
			set(c.person(r.second))
		}
	case "answers", "part_of":
		if r.self != nil {
			set(r.self.values["id"])
		}
	case "subject_type":
		set(r.subject)
	case "subject_id":
		n := r.owner
		if r.subject == "Thing" {
			n = r.members[0]
		}
		set(fmt.Sprint(c.rows[0][n].values["id"]))
	case "owner":
		if r.keys != "" {
			set(r.keys)
		}
	case "due": // made already
	case "code":
		set("C" + token(t.n, "code", r.n))
	case "label":
		set("L" + token(t.n, "label", r.n))
	case "created":
		at := time.Date(2025, 3, 1, 8, 30, 0, 123_456_000, time.UTC).Add(time.Duration(100*t.n+r.n) * time.Hour)
		if set(at); c.Name == testdb.SQLite {
			set(at.UnixMicro())
		}
	default:
		for _, over := range t.over {
			if col.name == "of_"+over {
				if set(r.parent.values[over]); t.folded {
					set(strings.ToLower(r.values[col.name].(string)))
				}
			}
		}
	}
}

// email is the address of a person: also that of whom they were merged into.
func (c *Case) email(n int) string {
	switch {
	case c.oneAddress[n]:
		return c.email(c.into[n])
	case c.same[n] != wholedb.Nobody:
		return c.email(c.same[n])
	case c.prefix && n >= 2:
		return "zo\u00e9." + token("email", n%2) + "@mail.example" + strings.Repeat(".org", n/2)
	}
	if c.twins && n >= 2 && n%4 >= 2 { // the other one of the tenant has it in one letter
		return "zoe\u0301." + token("email", n-2) + "@mail.example"
	}
	return "zo\u00e9." + token("email", n) + "@mail.example"
}

// textID is an id that is a text.
func (c *Case) textID(n int) string {
	if c.twins && n >= 2 && n%4 >= 2 {
		return "p\u0061\u0301" + token("person", n-2)
	}
	if c.prefix && n >= 2 {
		return c.textID(n-2) + []string{"1", "/1", "%", " 1"}[n%4]
	}
	return "P\u00e1" + token("person", n)
}

// person is the id of a person as the column of the persons' table holds it.
func (c *Case) person(n int) any { return c.rows[0][n].values[c.tables[0].mapped.Person] }
