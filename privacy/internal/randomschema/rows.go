package randomschema

import (
	"slices"
	"time"

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
	second  int // another one, or wholedb.Nobody
	as      int // whose address is in it, or wholedb.Nobody
	tenant  int64
	parent  *row
	self    *row // of the same table
	subject string
	members []int  // of a link
	goes    []int  // persons with whom it goes, whose row it is not, too
	keys    string // owner of the keys of a record of several persons
	// Of a row that an obligation keeps, itself or with what it hangs on.
	held    bool
	until   time.Time
	because string
	values  map[string]any // by column, as applications hand them to a database
}

// persons are those whose row it is.
func (r *row) persons() []int {
	if r.subject == "Thing" {
		return nil
	}
	all := slices.Clone(r.members)
	for _, n := range []int{r.owner, r.second} {
		if n != wholedb.Nobody && !slices.Contains(all, n) {
			all = append(all, n)
		}
	}
	return all
}

// of reports whether the row is one of the persons'.
func (r *row) of(persons []int) bool {
	return slices.ContainsFunc(r.persons(), func(n int) bool { return slices.Contains(persons, n) })
}

// fill draws how many rows there are, and makes them.
func (c *Case) fill(d *drawer) {
	c.merge(d)
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
			if r.second = wholedb.Nobody; r.parent != nil {
				r.second = r.parent.second
			} else if t.second {
				r.second = c.other(d, r.owner)
			}
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
			add(row{owner: n, as: n})
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
			if t.mapped.Link.Owner != "" && d.upTo(0, 4, "no key owner") > 0 {
				r.keys = "r:" + uuidOf(t.n, "owner", len(out))
			}
			add(r)
		}
	case nobody:
		add(row{owner: wholedb.Nobody, tenant: 1})
		add(row{owner: wholedb.Nobody, tenant: 2})
	case byPerson, either, identity:
		for n, p := range c.People {
			for range d.upTo(0, 2, "rows") {
				r := row{owner: n, subject: "Person", as: n}
				if t.way == identity && !c.sole(n) {
					r.owner, r.tenant = wholedb.Nobody, p.Tenant
				}
				add(r)
			}
			if t.way == either && d.yes("a thing") {
				add(row{owner: wholedb.Nobody, tenant: p.Tenant, subject: "Thing", members: []int{n}}) // of the same number
			}
		}
		c.hang(d, t, out)
		if t.way == identity {
			add(row{owner: wholedb.Nobody, as: wholedb.Nobody, tenant: 1})
		}
	}
	return out
}

// hang lets rows name others of their table, which came before them.
func (c *Case) hang(d *drawer, t *table, rows []*row) {
	for i, r := range rows {
		if t.self == "" || i == 0 || !d.yes("names a row of its own") {
			continue
		}
		to := rows[d.upTo(0, i-1, "which row")]
		if t.self == "answers" && to.tenant == r.tenant {
			r.self = to
		}
		if t.self == "part_of" && to.owner == r.owner { // and so of whom that one is besides
			r.self, r.second = to, to.second
		}
	}
}

// other draws another person of the same tenant, or nobody.
func (c *Case) other(d *drawer, person int) int {
	n := d.upTo(wholedb.Nobody, len(c.People)-1, "another person")
	if n == wholedb.Nobody || n == person || c.People[n].Tenant != c.People[person].Tenant {
		return wholedb.Nobody
	}
	return n
}
