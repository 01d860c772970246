package randomschema

import (
	"slices"

	"github.com/crmguard/crmguard/privacy/datamap"
	"github.com/crmguard/crmguard/privacy/internal/wholedb"
)

// going reports whether rows of some table go with whom they point to.
func (d *drawer) going() bool { return slices.ContainsFunc(d.tables, (*table).goes) }

func (t *table) goes() bool {
	return slices.ContainsFunc(t.mapped.Edges, func(e datamap.Edge) bool { return e.Unlink == datamap.Delete })
}

// mention points to somebody whom the row is not about, or to a row of somebody,
// which may itself go with whom it points to.
func (d *drawer) mention(t *table) {
	to := []*table{d.tables[0]}
	for _, p := range d.tables[1:t.n] {
		if (p.way == byPerson || p.way == reference) && !p.kept && !p.lines && len(p.key) == 1 && p.key[0].kind != folded {
			to = append(to, p)
			if p.goes() {
				to = append(to, p, p, p, p, p, p) // and so on
			}
		}
	}
	target := one(d, "points to a row of", to...)
	unlink, rules := datamap.Null, []string{"", "NO ACTION", "SET NULL"}
	if !t.stays && t.self == "" && d.yes("goes with whom it mentions") {
		unlink, rules, t.leaf = datamap.Delete, []string{"", "NO ACTION", "CASCADE"}, true
	}
	c := column{name: "mentioned", kind: target.key[0].kind.referring()}
	c.refers = d.foreign(target, "id", one(d, "mention goes", rules...))
	d.edge(t, datamap.Edge{Table: target.name, Unlink: unlink}, c)
}

// point draws what a row points to that it is not about: the persons with whom that
// changes, and those with whom the row goes.
func (c *Case) point(d *drawer, t *table, r *row) (about, goes []int) {
	for _, e := range t.mapped.Edges {
		if e.Unlink == "" || e.Table == t.name && t.self != "" {
			continue
		}
		var with []int
		if e.Table == d.tables[0].name {
			if n := c.points(d, t, r, e); n != wholedb.Nobody && n != r.owner && n != r.second {
				with, r.values[e.Columns[0]] = []int{n}, c.rows[0][n].values["id"]
			}
		} else if to := c.pointed(d, r, e); to != nil {
			with, r.values[e.Columns[0]] = slices.Concat(to.persons(), to.goes), to.values["id"]
		}
		if about = append(about, with...); e.Unlink == datamap.Delete {
			goes = append(goes, with...)
		}
	}
	return about, goes
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

// pointed draws the row of its tenant to which a row points; nil is none.
func (c *Case) pointed(d *drawer, r *row, e datamap.Edge) *row {
	at := slices.IndexFunc(d.tables, func(t *table) bool { return t.name == e.Table })
	to := []*row{nil}
	for _, one := range c.rows[at] {
		if one.tenant == r.tenant {
			to = append(to, one)
		}
	}
	return to[d.upTo(0, len(to)-1, "points to "+e.Table)]
}
