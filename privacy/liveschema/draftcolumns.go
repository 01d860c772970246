package liveschema

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode"

	"github.com/crmguard/crmguard/privacy/datamap"
	"github.com/crmguard/crmguard/privacy/internal/catalog"
)

// say notes what somebody has to decide about the table.
func (t *draftTable) say(format string, args ...any) {
	t.decide = append(t.decide, fmt.Sprintf(format, args...))
}

// identities finds tables that know people by e-mail only.
func (d *draft) identities() {
	declared := slices.ContainsFunc(d.tables, func(t *draftTable) bool {
		rest, refers := d.rest(t)
		return t.owned && slices.ContainsFunc(rest, func(c catalog.Column) bool { return t.list(c, refers[c.Name]).Identity != "" })
	})
	for _, t := range d.tables {
		if t.owned || !declared || len(t.Key) == 0 || tableIs(t.Name, staffWords()) || d.tenanted && t.Tenant == "" {
			continue
		}
		for _, column := range t.live.Columns {
			if category(t.Name, column) == "contact.email" && holdsText(column) && !slices.Contains(slices.Concat(t.Key, t.paired), column.Name) {
				t.owned, t.Erase = true, datamap.Delete
				t.Edges = append(t.Edges, datamap.Edge{Columns: []string{column.Name}, Identity: datamap.Email})
				t.edges[column.Name] = "decide: known by e-mail only"
				break
			}
		}
	}
}

// pairs proposes, as comments, edges for columns such as subject_type and
// subject_id, which name rows of several tables.
func (d *draft) pairs() {
	for _, t := range d.tables {
		for _, column := range t.live.Columns {
			base, ok := strings.CutSuffix(column.Name, "_type")
			if !ok || d.s.Column(t.live, base+"_id") == nil || t.edges[base+"_id"] != "" || t.Person == base+"_id" {
				continue
			}
			for _, to := range d.tables {
				if to.Person != "" && to.Person == first1(to.Key) {
					t.paired = append(t.paired, column.Name, base+"_id")
					t.pairs = append(t.pairs, fmt.Sprintf("{Columns: []string{%q}, Table: %q, When: []datamap.When{{Column: %q, Is: %q}}},", base+"_id", to.Name, column.Name, d.spelt(t, column, singular(to.Name))))
				}
			}
		}
		if len(t.pairs) > 0 {
			t.say("rows may be about persons: take the edges in that are true, with the values that the column holds, and say Erase")
		}
	}
}

var quoted = regexp.MustCompile(`'([^']+)'`)

// spelt is a word as the column spells it, as far as an enum or a CHECK tells.
func (d *draft) spelt(t *draftTable, column catalog.Column, word string) string {
	labels := slices.Clone(column.Labels)
	for _, check := range t.live.Checks {
		if strings.Contains(check.Text, column.Name) {
			for _, match := range quoted.FindAllStringSubmatch(check.Text, -1) {
				labels = append(labels, match[1])
			}
		}
	}
	for _, label := range labels {
		if strings.EqualFold(label, word) {
			return label
		}
	}
	runes := []rune(word)
	return string(unicode.ToUpper(runes[0])) + string(runes[1:])
}

// rest are the columns of which the table says nothing else, and those among
// them that name rows of another table.
func (d *draft) rest(t *draftTable) (rest []catalog.Column, refers map[string]bool) {
	known := append(slices.Clone(t.Key), t.Tenant, t.Person, t.Merged, t.Created)
	for _, e := range t.Edges {
		if e.Identity == "" {
			known = append(known, e.Columns...)
		}
	}
	refers = map[string]bool{}
	for _, f := range d.s.Foreign {
		if f.Child == t.live {
			for _, name := range f.Columns {
				refers[name] = true
			}
		}
	}
	for _, name := range t.paired {
		refers[name] = true
	}
	for _, live := range t.live.Columns {
		if !slices.Contains(known, live.Name) {
			rest = append(rest, live)
		}
	}
	return rest, refers
}

// listColumns lists every column that is nothing else yet.
func (t *draftTable) listColumns(d *draft) {
	rest, refers := d.rest(t)
	for _, live := range rest {
		t.Columns = append(t.Columns, t.list(live, refers[live.Name]))
	}
	if t.owned && tableIs(t.Name, keptWords()) {
		t.say(`a law may keep such rows: Keep: &datamap.Keep{Because: "DE-HGB-257", From: "…", Years: 10}, and Erase of each personal column and of Person (datamap.Retain, Null, Redact): what becomes of it while the row stays`)
	}
	for _, f := range d.s.Foreign {
		if parent := d.of[f.Parent]; parent == t && d.of[f.Child] != nil && !t.owned && len(t.Key) == 1 {
			d.joint(t, d.of[f.Child], f)
		}
	}
}

// joint speaks of records that concern several persons.
func (d *draft) joint(t, link *draftTable, f catalog.ForeignKey) {
	person := ""
	for _, r := range d.references(link) {
		if r.to.Person != "" && r.to.Person == first1(r.to.Key) && len(r.columns) == 1 && slices.Contains(link.Key, r.columns[0]) {
			person = r.columns[0]
		}
	}
	if person != "" && len(f.Columns) == 1 && slices.Contains(link.Key, f.Columns[0]) && len(link.Key) == 2 {
		leave := "leave that table out and "
		if len(link.live.Columns) > len(link.Key) {
			leave = ""
		}
		t.say("where its rows concern several persons, who are listed in %s, %ssay Erase: datamap.Delete, Link: &datamap.Link{Table: %q, Record: %q, Person: %q}", link.Name, leave, link.Name, f.Columns[0], person)
	}
}

// list is the entry of one column.
func (t *draftTable) list(live catalog.Column, foreign bool) datamap.Column {
	c := datamap.Column{Name: live.Name}
	guessed := category(t.Name, live)
	switch {
	case foreign && (guessed == "" || !holdsText(live) || speaksOf(live.Name, []string{"id", "type"})):
	case foreign: // a key that is itself about a person
		c.Category, t.columns[live.Name] = datamap.Unclassified, "decide: looks like "+guessed+", and names rows of another table"
	case t.owned && guessed != "":
		c.Category = guessed
		if guessed == "contact.email" && holdsText(live) {
			c.Identity = datamap.Email
		}
		if guessed == "account.secret" {
			c.Withhold = "secret"
		}
	case t.owned:
		c.Category, t.columns[live.Name] = datamap.Unclassified, "decide: "+typeOf(live)
	case guessed != "" && holdsText(live):
		c.Category, t.columns[live.Name] = datamap.Unclassified, "decide: looks like "+guessed+", but no person reaches the table"
	case holdsText(live):
		c.Category, t.columns[live.Name] = datamap.Unclassified, "decide: "+typeOf(live)
	}
	return c
}

// typeOf is the type of a column as it may stand in a comment: SQLite takes any
// text for one, and a line break would end the comment.
func typeOf(column catalog.Column) string {
	return strings.Trim(strconv.Quote(column.Type), `"`)
}

// tenants says who the tenant is where no column does.
func (d *draft) tenants() {
	for _, t := range d.tables {
		ends := slices.ContainsFunc(t.Ways(), func(e datamap.Edge) bool { return e.Table == "" })
		if ends && t.Tenant == "" {
			d.tenant = "main"
		}
	}
	if d.tenant != "" && d.tenanted {
		d.decide = append(d.decide, "some tables of persons have a tenant column, and others have none: Tenant is whose those are")
	}
}

// asMap is the draft as a map.
func (d *draft) asMap() *datamap.Map {
	m := &datamap.Map{Tenant: d.tenant}
	for _, t := range d.tables {
		m.Tables = append(m.Tables, t.Table)
	}
	return m
}
