package liveschema

import (
	"slices"
	"strings"

	"github.com/crmguard/crmguard/internal/sqldb"
	"github.com/crmguard/crmguard/privacy/datamap"
	"github.com/crmguard/crmguard/privacy/internal/catalog"
)

// edges checks that persons are found by an index, and by bytes.
func (c *checking) edges() {
	c.eachTable(func(t datamap.Table, live *catalog.Table) {
		for _, e := range t.Ways() {
			helping := []string{t.Tenant}
			for _, w := range e.When {
				helping = append(helping, w.Column)
			}
			if e.Identity == datamap.Email {
				c.folded(t, live, e.Columns[0], helping)
			} else {
				c.indexed(t.Name, live, e.Columns, helping)
			}
			if e.Table != "" {
				c.reference(t, live, e)
			}
		}
		if t.Merged != "" {
			c.indexed(t.Name, live, []string{t.Merged}, []string{t.Tenant})
		}
		if l := t.Link; l != nil {
			if link := c.s.Table(l.Table); link != nil {
				c.indexed(l.Table, link, []string{l.Record}, []string{l.Tenant})
				c.indexed(l.Table, link, []string{l.Person}, []string{l.Tenant})
				c.compared(l.Table, link, []string{l.Record, l.Person, l.Tenant})
			}
		}
		if t.Reaches() {
			c.compared(t.Name, live, compares(t))
		}
	})
}

// indexed checks that an index which knows every row begins with the columns;
// those that help stand in the question, too.
func (c *checking) indexed(table string, live *catalog.Table, columns, helping []string) {
	var asked []string
	for _, name := range columns {
		if c.s.Column(live, name) == nil {
			return // missing
		}
		if !c.has(helping, name) {
			asked = append(asked, name)
		}
	}
	if len(asked) == 0 {
		asked = columns
	}
	for _, i := range live.Indexes {
		if i.Partial {
			continue
		}
		led := 0
		for led < len(i.Columns) && (c.has(columns, i.Columns[led]) || c.has(helping, i.Columns[led])) {
			led++
		}
		if !slices.ContainsFunc(asked, func(name string) bool { return !c.has(i.Columns[:led], name) }) {
			return
		}
	}
	c.found(UnindexedEdge, Notice, table, strings.Join(columns, ", "), "")
}

// folded checks that an index knows the column as e-mail addresses are looked
// for: in small letters of no language. Only PostgreSQL can have one; where the column
// is sealed the application looks.
func (c *checking) folded(t datamap.Table, live *catalog.Table, name string, helping []string) {
	column := c.s.Column(live, name)
	if declared, _ := t.Column(name); c.s.Kind != sqldb.Postgres || column == nil || declared.Sealed {
		return
	}
	quoted := `"` + strings.ReplaceAll(column.Name, `"`, `""`) + `"`
	for _, i := range live.Indexes {
		for _, written := range []string{column.Name, quoted} {
			known := slices.ContainsFunc(i.Bytewise, func(expression string) bool { return bare(expression) == bare("lower"+written+` COLLATE "C"`) })
			if first := slices.Index(i.Columns, ""); known && !i.Partial && !slices.ContainsFunc(i.Columns[:first], func(name string) bool { return !c.has(helping, name) }) {
				return
			}
		}
	}
	c.found(UnindexedIdentity, Notice, t.Name, column.Name, "")
}

// bare is an expression without what PostgreSQL writes around a column.
func bare(expression string) string {
	return strings.NewReplacer("(", "", ")", "", "::text", "").Replace(expression)
}

// reference checks the other end of an edge.
func (c *checking) reference(t datamap.Table, live *catalog.Table, e datamap.Edge) {
	target, _ := c.m.Table(e.Table)
	to := c.s.Table(e.Table)
	if to == nil {
		return
	}
	names := e.Target(target)
	c.indexed(e.Table, to, names, []string{target.Tenant})
	c.compared(e.Table, to, names)
	if known := append(slices.Clone(names), tenantOf(t, target)); to.Form == catalog.Plain && !c.tellsApart(to, known) {
		c.found(AmbiguousEdge, Notice, t.Name, strings.Join(e.Columns, ", "), e.Table+"."+strings.Join(names, ", "))
	}
	for i, name := range e.Columns {
		a, b := c.s.Column(live, name), c.s.Column(to, names[i])
		if a != nil && b != nil && a.Class != b.Class && a.Class != catalog.Any && b.Class != catalog.Any {
			c.found(EdgeTypes, Notice, t.Name, name, a.Type+", and "+e.Table+"."+names[i]+" "+b.Type)
		}
	}
}

// tenantOf is the column of the target that helps to tell its rows apart: both
// tables name their tenant.
func tenantOf(t, target datamap.Table) string {
	if t.Tenant == "" {
		return ""
	}
	return target.Tenant
}

// compares lists the columns by which rows are found and told apart.
func compares(t datamap.Table) []string {
	names := append(slices.Clone(t.Key), t.Tenant, t.Merged)
	for _, e := range t.Ways() {
		if e.Identity == "" { // which is looked for as it is spelt by the application
			names = append(names, e.Columns...)
		}
		for _, w := range e.When {
			names = append(names, w.Column)
		}
	}
	return names
}

// compared finds columns that take values for one which differ in bytes.
func (c *checking) compared(table string, live *catalog.Table, names []string) {
	for _, name := range names {
		if column := c.s.Column(live, name); name != "" && column != nil && column.Loose {
			c.found(LooseComparison, Notice, table, column.Name, "")
		}
	}
}
