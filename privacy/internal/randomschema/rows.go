package randomschema

import (
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/crmguard/crmguard/internal/testdb"
	"github.com/crmguard/crmguard/privacy/datamap"
	"github.com/crmguard/crmguard/privacy/internal/wholedb"
)

// Now is when tests erase: obligations run then that end later.
func Now() time.Time { return time.Date(2026, 11, 2, 9, 0, 0, 0, time.UTC) }

// most rows of a table.
const most = 12

// firstID is where the numbers of persons begin: what takes one for a float64
// takes it for its neighbour.
const firstID int64 = 1<<53 + 1

// A row of a table, before its values are made.
type row struct {
	n       int
	nth     int // in its tenant
	owner   int // the person, or wholedb.Nobody
	tenant  int64
	parent  *row
	subject string
	members []int          // of a link
	ended   bool           // its obligation has
	values  map[string]any // by column, as applications hand them to a database
}

// fill draws how many rows there are, and makes them.
func (c *Case) fill(d *drawer) {
	for _, t := range d.tables {
		c.rows = append(c.rows, c.draw(d, t))
		key := make([]string, len(t.key))
		for i, k := range t.key {
			key[i] = k.name
		}
		c.expected.Table(t.name, key...)
		if t.way == link {
			c.expected.Table(t.mapped.Link.Table, "record", "who")
		}
		for _, r := range c.rows[t.n] {
			c.make(d, t, r)
		}
	}
}

func (c *Case) draw(d *drawer, t *table) (out []*row) {
	add := func(r row) {
		if len(out) < most {
			if r.n = len(out); r.owner != wholedb.Nobody {
				r.tenant = c.People[r.owner].Tenant
			}
			for _, before := range out {
				if before.tenant == r.tenant {
					r.nth++
				}
			}
			out = append(out, &r)
		}
	}
	switch t.way {
	case personal:
		for n := range c.People {
			add(row{owner: n})
		}
	case reference:
		for _, p := range c.rows[t.parent.n] {
			for range d.upTo(0, 2, "rows") {
				add(row{owner: p.owner, tenant: p.tenant, parent: p})
			}
		}
	case link:
		for range d.upTo(1, 3, "records") {
			first := d.upTo(0, len(c.People)-1, "member")
			r := row{owner: first, members: []int{first}}
			for n := range c.People {
				if n != first && n%2 == first%2 && d.yes("member, too") {
					r.members = append(r.members, n)
				}
			}
			add(r)
		}
	case nobody:
		add(row{owner: wholedb.Nobody, tenant: 1})
		add(row{owner: wholedb.Nobody, tenant: 2})
	case byPerson, either, identity:
		for n, p := range c.People {
			for range d.upTo(0, 2, "rows") {
				add(row{owner: n, subject: "Person", ended: t.kept && d.yes("ended")})
			}
			if t.way == either && d.yes("a thing") {
				add(row{owner: wholedb.Nobody, tenant: p.Tenant, subject: "Thing", members: []int{n}}) // of the same number
			}
		}
		if t.way == identity {
			add(row{owner: wholedb.Nobody, tenant: 1})
		}
	}
	return out
}

// make makes the values of a row, and writes down what becomes of them.
func (c *Case) make(d *drawer, t *table, r *row) {
	r.values = map[string]any{}
	about := slices.Clone(r.members)
	if r.owner != wholedb.Nobody {
		about = append(about, r.owner)
	}
	if r.subject == "Thing" {
		about = nil
	}
	var goes []int // others with whom the row goes
	for _, e := range t.mapped.Edges {
		if e.Unlink == "" {
			continue
		}
		if target := c.points(d, t, r, e); target != wholedb.Nobody && target != r.owner {
			about = append(about, target)
			r.values[e.Columns[0]] = c.rows[0][target].values["id"]
			if e.Unlink == datamap.Delete {
				goes = append(goes, target)
			}
		}
	}
	for i, k := range t.key {
		r.values[k.name] = c.key(t, r, i)
	}
	place := func(column, text string, of int, fate wholedb.Fate) {
		c.expected.Place(wholedb.Placed{Needle: wholedb.Needle{Name: t.name + "." + column, Text: text}, Of: of, Row: r.owner, Fate: fate, With: goes})
	}
	for i, col := range t.columns {
		if !col.personal() || col.name == "who" {
			c.other(t, r, col)
			continue
		}
		if col.name == "email" || col.name == "address" {
			r.values[col.name] = c.email(r)
			place(col.name, c.email(r), r.owner, wholedb.Gone)
			continue
		}
		if !col.notNull && d.upTo(0, 4, "null") == 0 {
			continue
		}
		value, texts := col.value(t.n, i, r.n)
		r.values[col.name] = value
		for _, text := range texts {
			switch {
			case len(r.members) > 1:
				for _, n := range r.members {
					place(col.name, text, n, wholedb.Shared)
				}
			case col.map_[0].Erase == datamap.Retain && !r.ended:
				place(col.name, text, r.owner, wholedb.Kept)
			default:
				place(col.name, text, r.owner, wholedb.Gone)
			}
		}
	}
	if t.stays || t.kept && !r.ended {
		place("label", r.values["label"].(string), r.owner, wholedb.Kept)
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

// points draws whom of its tenant a row points to that is not about them.
func (c *Case) points(d *drawer, t *table, r *row, e datamap.Edge) int {
	most := len(c.People) - 1
	if t.way == personal {
		most = -1
		for _, r := range c.rows[0] {
			if r.values["id"] != nil {
				most = r.n // of those that are made already
			}
		}
	}
	target := d.upTo(wholedb.Nobody, most, "points to "+e.Table)
	if target != wholedb.Nobody && c.People[target].Tenant != r.tenant {
		return wholedb.Nobody
	}
	return target
}

// key is a value of the row's key.
func (c *Case) key(t *table, r *row, i int) any {
	switch t.key[i].kind {
	case serial:
		if t.way == personal {
			return firstID + int64(r.n)
		}
		return int64(r.n + 1)
	case number:
		if t.key[i].name == "tenant" {
			return r.tenant
		}
		return int64(1001 + r.nth) // the same in both tenants
	case id:
		return uuidOf(t.n, "key", r.n)
	default:
		return "K" + token(t.n, "key", r.n)
	}
}

// other is a column that is not personal.
func (c *Case) other(t *table, r *row, col column) {
	set := func(value any) { r.values[col.name] = value }
	switch col.name {
	case "tenant":
		set(r.tenant)
	case "person":
		if set("P" + token("person", r.n)); col.kind == id {
			set(uuidOf("person", r.n))
		}
	case "who":
		set(c.person(r.owner))
	case "subject_type":
		set(r.subject)
	case "subject_id":
		n := r.owner
		if r.subject == "Thing" {
			n = r.members[0]
		}
		set(fmt.Sprint(c.rows[0][n].values["id"]))
	case "due":
		if set("2026-02-01"); r.ended {
			set("2014-02-01")
		}
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
				set(r.parent.values[over])
			}
		}
	}
}

// email is the address of the row's person, or of somebody without a row.
func (c *Case) email(r *row) string {
	if r.owner == wholedb.Nobody {
		return "somebody." + token("email", r.n) + "@else.example"
	}
	return "person" + strconv.Itoa(r.owner) + "." + token("email", r.owner) + "@mail.example"
}

// person is the id of a person as the column of the persons' table holds it.
func (c *Case) person(n int) any { return c.rows[0][n].values[c.tables[0].mapped.Person] }
