package randomschema

import (
	"fmt"
	"slices"

	"pgregory.net/rapid"

	"github.com/crmguard/crmguard/internal/testdb"
	"github.com/crmguard/crmguard/privacy/datamap"
)

// Options say what a schema may have besides.
type Options struct {
	Undated bool // tables whose rows say nothing about when they came
	Shared  bool // persons who are not merged and have one address
}

// How the rows of a table lead to a person.
type way string

const (
	personal  way = "the table of persons"
	byPerson  way = "a column with the person's id"
	reference way = "a key of another table"
	either    way = "a Person or a Thing"
	identity  way = "an e-mail address"
	link      way = "a link table"
	nobody    way = "no way"
)

// A table is one of the schema: what is created, what the map says, and how rows
// are made.
type table struct {
	n       int
	name    string
	way     way
	key     []column
	columns []column // the others
	rules   []string // constraints of the table
	indexed [][]string
	parent  *table   // of a reference
	over    []string // its columns that a reference names
	stays   bool     // rows stay, without the person
	kept    bool     // rows are kept for an obligation
	lines   bool     // what its rows hang on may be kept for one, and they with it
	due     dateForm // of the date from which an obligation counts
	leaf    bool     // no other table refers to it
	self    string   // a column that names a row of the same table
	second  bool     // rows may be of two persons
	folded  bool     // ids of others are spelt as the database takes them for equal
	mapped  datamap.Table
}

type drawer struct {
	*rapid.T
	on     testdb.Name
	opts   Options
	tables []*table
	twins  bool // ids and addresses that differ in nothing but what eyes and collations overlook
	shared bool // persons of whom one was merged into the other may have one address
	sealed bool // their addresses are sealed under their keys
	prefix bool // ids and addresses begin with whole ones of others
}

func (d *drawer) yes(label string) bool { return rapid.Bool().Draw(d.T, label) }

func (d *drawer) upTo(least, most int, label string) int {
	return rapid.IntRange(least, most).Draw(d.T, label)
}

func one[T any](d *drawer, label string, of ...T) T { return rapid.SampledFrom(of).Draw(d.T, label) }

// people makes the first table.
func (d *drawer) people() {
	t := d.begin(personal)
	d.twins = d.on != testdb.MariaDB && d.yes("twins") // whose keys there are UNIQUE in other letters, too
	d.prefix = !d.twins && d.upTo(0, 2, "prefixes") == 0
	t.stays = d.yes("persons stay")
	t.mapped.Person, t.mapped.Erase = "id", datamap.Delete
	if t.stays {
		t.mapped.Erase = datamap.Redact
	}
	t.key = []column{d.keyColumn("id", serial, id, name)}
	if d.yes("a person's id is no key") {
		t.mapped.Person = "person"
		t.columns = append(t.columns, column{name: "person", kind: one(d, "kind of person", id, name), notNull: true, unique: true})
	}
	if t.stays {
		t.mapped.Columns = append(t.mapped.Columns, datamap.Column{Name: t.mapped.Person, Erase: datamap.Retain})
	}
	d.shared = d.yes("one address of several")
	t.columns = append(t.columns, d.address(t))
	if d.yes("merged persons") {
		t.mapped.Merged = "merged_into"
		into := column{name: "merged_into", kind: t.person().kind.referring()}
		into.refers = d.foreign(t, t.mapped.Person, one(d, "merging goes", "", "NO ACTION"))
		t.columns, t.indexed = append(t.columns, into), append(t.indexed, []string{"merged_into"})
	}
	if d.yes("chiefs") {
		chief := column{name: "chief", kind: t.key[0].kind.referring()}
		chief.refers = d.foreign(t, "id", one(d, "chief goes", "", "NO ACTION", "SET NULL"))
		d.edge(t, datamap.Edge{Table: t.name, Unlink: datamap.Null}, chief)
	}
	d.finish(t)
}

// further makes one more table.
func (d *drawer) further() {
	people := d.tables[0]
	t := d.begin(one(d, "way", byPerson, byPerson, reference, reference, either, identity, link, nobody))
	t.mapped.Erase = datamap.Delete
	switch t.way {
	case byPerson:
		d.byPerson(t)
	case reference:
		d.reference(t)
	case either:
		t.columns = append(t.columns, column{name: "subject_type", kind: name, notNull: true})
		t.mapped.Columns = append(t.mapped.Columns, datamap.Column{Name: "subject_type"})
		d.edge(t, datamap.Edge{Table: people.name, When: []datamap.When{{Column: "subject_type", Is: "Person"}}}, column{name: "subject_id", kind: name, notNull: true})
	case identity:
		t.mapped.Tenant = "tenant"
		address := column{name: "address", kind: name, notNull: true, map_: []datamap.Column{about("address", "")}}
		if d.upTo(0, 2, "sealed addresses") == 0 { // by the application: whose they are it does not know
			address.kind, address.map_[0].Sealed = sealed, true
		}
		t.mapped.Edges = []datamap.Edge{{Columns: []string{"address"}, Identity: "email"}}
		t.columns, t.indexed = append(t.columns, address), append(t.indexed, []string{"address"})
	case link:
		t.mapped.Tenant, t.leaf = "tenant", true
		t.mapped.Link = &datamap.Link{Table: t.name + "_persons", Record: "record", Person: "who"}
		if d.yes("a link with columns of its own") {
			t.mapped.Link.Tenant = "tenant"
		}
		if d.yes("key owners") {
			t.mapped.Link.Owner = "owner"
			t.columns = append(t.columns, column{name: "owner", kind: name})
			t.mapped.Columns = append(t.mapped.Columns, datamap.Column{Name: "owner"})
		}
	default:
		t.mapped.Erase, t.leaf = "", true
	}
	switch {
	case len(t.key) > 0:
	case t.way != link && t.way != either && t.self == "" && d.yes("composite key"):
		t.mapped.Tenant = "tenant"
		t.key = d.composite(t)
	default:
		kinds := []kind{serial, id, name}
		if t.way != link {
			kinds = append(kinds, folded)
		}
		t.key = []column{d.keyColumn("id", kinds...)}
	}
	if t.self != "" {
		d.toItself(t)
	}
	if (t.way == byPerson || t.way == reference) && !t.kept && !t.lines && (d.yes("mentions somebody") || d.going() && d.yes("in a chain")) {
		d.mention(t)
	}
	d.finish(t)
}

func (d *drawer) byPerson(t *table) {
	people := d.tables[0]
	t.kept = d.yes("kept")
	t.stays = !t.kept && d.yes("stays")
	t.mapped.Tenant, t.mapped.Person = "tenant", "who"
	who := column{name: "who", kind: people.person().kind.referring(), notNull: d.yes("whose row it is has to be said")}
	switch {
	case t.kept:
		who.map_ = []datamap.Column{about("who", datamap.Retain)}
		d.obligation(t)
	case t.stays:
		t.mapped.Erase = datamap.Redact
		who.map_ = []datamap.Column{about("who", datamap.Retain)}
		if !who.notNull && d.yes("and is forgotten") {
			who.map_[0].Erase = datamap.Null
		}
	}
	if people.mapped.Person == "id" {
		who.refers = d.foreign(people, "id", d.rule(t, people))
	}
	t.columns, t.indexed = append(t.columns, who), append(t.indexed, []string{"who"})
	if t.kept || t.stays {
		return
	}
	if t.second = d.yes("a second person"); t.second {
		with := column{name: "with_whom", kind: people.person().kind.referring()}
		if people.mapped.Person == "id" {
			with.refers = d.foreign(people, "id", d.rule(t, people))
		}
		d.edge(t, datamap.Edge{}, with)
	}
	t.self = one(d, "names rows of its own", "", "", "answers", "part_of")
}

// toItself lets rows name others of the table: what they answer, or what they are
// a part of and so the person's.
func (d *drawer) toItself(t *table) {
	c := column{name: t.self, kind: t.key[0].kind.referring()}
	edge, rules := datamap.Edge{Table: t.name, Unlink: datamap.Null}, []string{"", "NO ACTION", "SET NULL"}
	if t.self == "part_of" {
		edge.Unlink, rules = "", []string{"", "NO ACTION", "CASCADE"}
	}
	c.refers = d.foreign(t, "id", one(d, "rows of its own go", rules...))
	d.edge(t, edge, c)
}

// composite is a key of several columns.
func (d *drawer) composite(t *table) []column {
	of := func(named string, k kind) column { return column{name: named, kind: k, notNull: true} }
	tenant, numbered := of("tenant", number), of("number", number)
	kinds := [][]column{
		{tenant, numbered},
		{tenant, numbered},
		{tenant, of("grade", grade), numbered},
		{of("slug", name), numbered},
		{tenant, of("uid", id)},
	}
	if t.way != identity { // whose rows an application finds by its own means
		kinds = append(kinds, []column{tenant, of("since", day), of("slug", name)})
	}
	return one(d, "composite", kinds...)
}

func (d *drawer) reference(t *table) {
	var parents []*table
	for _, p := range d.tables {
		if !p.leaf && p != t {
			parents = append(parents, p)
		}
	}
	p := one(d, "parent", parents...)
	if t.parent, t.stays = p, p.stays && d.yes("stays"); t.stays {
		t.mapped.Erase = datamap.Redact
	}
	t.lines = p.kept || p.lines
	edge := datamap.Edge{Table: p.name}
	for _, c := range p.key {
		t.over = append(t.over, c.name)
	}
	if len(p.key) == 1 && d.yes("by another unique column") {
		t.over, edge.To = []string{"code"}, []string{"code"}
	}
	foreign := d.foreignTo(p, t.over, d.rule(t, p))
	t.folded = p.named(t.over[0]).kind == folded && len(t.over) == 1
	var columns []column
	var names []string
	for _, over := range t.over {
		c := column{name: "of_" + over, kind: p.named(over).kind.referring(), notNull: true}
		columns, names = append(columns, c), append(names, c.name)
	}
	if len(columns) == 1 {
		columns[0].refers = foreign
	} else if foreign != "" {
		t.rules = append(t.rules, "FOREIGN KEY ("+list(names)+")"+foreign)
	}
	d.edge(t, edge, columns...)
}

// rule is what a foreign key does that would not be wrong.
func (d *drawer) rule(child, parent *table) string {
	switch {
	case (child.stays || child.kept) && !parent.stays:
		return ""
	case child.stays || child.kept:
		return one(d, "rule", "", "NO ACTION")
	}
	return one(d, "rule", "", "NO ACTION", "CASCADE")
}

func (d *drawer) foreign(t *table, column, rule string) string {
	return d.foreignTo(t, []string{column}, rule)
}

func (d *drawer) foreignTo(t *table, columns []string, rule string) string {
	if rule == "" {
		return ""
	}
	text := fmt.Sprintf(" REFERENCES %s (%s) ON DELETE %s", t.name, list(columns), rule)
	if d.on != testdb.MariaDB && d.yes("deferred") {
		text += " DEFERRABLE INITIALLY DEFERRED"
	}
	return text
}

func (d *drawer) edge(t *table, e datamap.Edge, columns ...column) {
	for _, c := range columns {
		e.Columns = append(e.Columns, c.name)
	}
	t.mapped.Edges = append(t.mapped.Edges, e)
	t.columns, t.indexed = append(t.columns, columns...), append(t.indexed, e.Columns)
}

func (d *drawer) keyColumn(name string, kinds ...kind) column {
	return column{name: name, kind: one(d, "kind of key", kinds...), notNull: true}
}

func (d *drawer) begin(w way) *table {
	t := &table{n: len(d.tables), way: w}
	t.name = fmt.Sprintf("t%d", t.n)
	if (d.on == testdb.PostgresC || d.on == testdb.PostgresICU) && rapid.IntRange(0, 3).Draw(d.T, "schema") == 0 {
		t.name = "other." + t.name
	}
	d.tables = append(d.tables, t)
	return t
}

// finish adds what every table has, and what is personal in it.
func (d *drawer) finish(t *table) {
	if t.way == personal {
		t.mapped.Tenant = "tenant"
	}
	if t.mapped.Tenant != "" && t.key[0].name != "tenant" {
		t.columns = append(t.columns, column{name: "tenant", kind: number, notNull: true})
	}
	plain := []column{{name: "code", kind: name, notNull: true, unique: true}, {name: "label", kind: name, notNull: true}}
	t.columns = append(t.columns, plain...)
	t.mapped.Columns = append(t.mapped.Columns, datamap.Column{Name: "code"}, datamap.Column{Name: "label"})
	if t.way != nobody && (!d.opts.Undated || d.yes("dated")) {
		t.columns = append(t.columns, column{name: "created", kind: moment, notNull: true})
		t.mapped.Created = "created"
	}
	if t.way != nobody {
		for i := range d.upTo(1, 3, "personal columns") {
			t.columns = append(t.columns, d.personal(t, fmt.Sprintf("p%d", i)))
		}
	}
	t.mapped.Name = t.name
	for _, c := range t.key {
		t.mapped.Key = append(t.mapped.Key, c.name)
	}
	for _, c := range t.columns {
		t.mapped.Columns = append(t.mapped.Columns, c.map_...)
	}
}

// referring is the type of a column that holds a value of that type.
func (k kind) referring() kind {
	if k == serial {
		return number
	}
	return k
}

func (t *table) all() []column { return slices.Concat(t.key, t.columns) }

func (t *table) named(wanted string) column {
	all := t.all()
	return all[slices.IndexFunc(all, func(c column) bool { return c.name == wanted })]
}

// person is the column with the person's id.
func (t *table) person() column { return t.named(t.mapped.Person) }
