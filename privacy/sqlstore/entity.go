package sqlstore

import (
	"fmt"
	"slices"
	"strings"

	"github.com/crmguard/crmguard/privacy/datamap"
	"github.com/crmguard/crmguard/privacy/internal/catalog"
)

// An entity is a table of the map with what the statements about it need. Its
// alias is t0 in all of them.
type entity struct {
	datamap.Table
	ways    []way // that lead to the person whose row it is
	cuts    []way // that only point to a person, or to a row of one
	outputs []output
	changes []change         // of rows that stay
	reads   []expression     // what is read of a row, in order
	at      map[string]int   // position of a read
	linked  way              // of a joint record
	ids     map[string]field // of columns that are read as ids
	undated bool             // Created is a day, which does not say whether a row is older than an erasure of that day

	goes, redacted, kept, keptWith fate // of its rows
}

// A way is an edge with the columns that it compares, and where the values come
// from that it asks for.
type way struct {
	datamap.Edge
	source  string
	fields  []field
	to      []string // of a row edge: the columns that it names
	targets []field  // likewise
	sealed  bool     // the column cannot be compared: rows are searched by the application
	unique  bool     // of a row edge: no two rows have the values that it names
	merged  bool     // it is the foreign key that names whom the row was merged into
}

// An output is what rows of a table give to the edges of others.
type output struct {
	source  string
	columns []string
}

// A change is what may be done to a column of a row that stays.
type change struct {
	datamap.Column
	field field
}

type expression struct {
	sql  string
	args []any
	link bool // is about the link of a joint record
}

// Where the values of edges come from.
const persons = "person"

func identities(kind string) string { return "identity " + kind }

func rowsOf(table string, columns []string) string {
	return "rows " + table + " " + strings.Join(columns, " ")
}

// entities makes the tables of the map ready, each behind those that its rows
// lead over, as far as they do not lead in circles.
func (s *Store) readEntities(schema *catalog.Schema) {
	references := references(schema)
	byName := map[string]*entity{}
	for _, t := range s.cfg.Map.Tables {
		if t.Reaches() {
			byName[t.Name] = &entity{Table: t, at: map[string]int{}, ids: map[string]field{}, linked: way{source: persons, sealed: t.Link == nil}}
		}
	}
	for _, t := range s.cfg.Map.Tables {
		e := byName[t.Name]
		if e == nil {
			continue
		}
		for _, edge := range t.Ways() {
			w := s.way(e, edge, schema)
			if edge.Table != "" {
				byName[edge.Table].gives(output{w.source, edge.Target(byName[edge.Table].Table)})
			}
			if edge.Leads() {
				e.ways = append(e.ways, w)
			} else {
				e.cuts = append(e.cuts, w)
			}
		}
	}
	for _, r := range references {
		if e := byName[r.child]; e != nil && r.parent == r.child && r.empties && e.mergesOver(r) {
			w := s.way(e, datamap.Edge{Columns: []string{e.Merged}, Table: e.Name, To: []string{e.Person}, Unlink: datamap.Null}, schema)
			w.merged = true
			e.gives(output{w.source, w.To})
			e.cuts = append(e.cuts, w)
		}
	}
	s.entities = nil
	for _, t := range parentsFirst(s.cfg.Map, references) {
		e := byName[t.Name]
		s.entities = append(s.entities, e)
		s.readsOf(e)
	}
}

// sealed are the edges whose rows the application searches.
func (e *entity) sealed() (all []*way) {
	for i := range e.ways {
		if e.ways[i].sealed {
			all = append(all, &e.ways[i])
		}
	}
	for i := range e.cuts {
		if e.cuts[i].sealed {
			all = append(all, &e.cuts[i])
		}
	}
	return all
}

// mergesOver reports whether a foreign key says whom a row that goes was merged
// into: it would keep the one from going before the other.
func (e *entity) mergesOver(r reference) bool {
	return e.Merged != "" && e.Person != "" && e.Erase == datamap.Delete && len(r.columns) == 1 && strings.EqualFold(r.columns[0], e.Merged)
}

func (e *entity) gives(o output) {
	if !slices.ContainsFunc(e.outputs, func(known output) bool { return known.source == o.source }) {
		e.outputs = append(e.outputs, o)
	}
}

func (s *Store) way(e *entity, edge datamap.Edge, schema *catalog.Schema) way {
	w := way{Edge: edge, source: persons}
	for _, name := range edge.Columns {
		w.fields = append(w.fields, s.at("t0", e.Name, name))
	}
	switch {
	case edge.Table != "":
		to, _ := s.cfg.Map.Table(edge.Table)
		w.to = edge.Target(to)
		w.source = rowsOf(edge.Table, w.to)
		for _, name := range w.to {
			w.targets = append(w.targets, s.target(schema, edge.Table, name))
		}
		w.unique = isUnique(schema, e.Table, to, w.to)
	case edge.Identity != "":
		w.source = identities(edge.Identity)
		column, _ := e.Column(edge.Columns[0])
		w.sealed = column.Sealed
	}
	return w
}

// parentsFirst orders the tables that lead to persons so that each comes behind
// those that its edges and foreign keys lead to: rows are found in that order,
// and deleted in the opposite one. A circle is entered somewhere.
func parentsFirst(m *datamap.Map, references []reference) (ordered []datamap.Table) {
	var visit func(t datamap.Table)
	seen := map[string]bool{}
	visit = func(t datamap.Table) {
		if seen[t.Name] || !t.Reaches() {
			return
		}
		seen[t.Name] = true
		for _, e := range t.Edges {
			if to, ok := m.Table(e.Table); ok && e.Leads() {
				visit(to)
			}
		}
		for _, r := range references {
			if to, ok := m.Table(r.parent); ok && r.child == t.Name {
				visit(to)
			}
		}
		ordered = append(ordered, t)
	}
	for _, t := range m.Tables {
		visit(t)
	}
	return ordered
}

// read adds something to what is read of each row, once.
func (e *entity) read(name, sql string, args ...any) {
	if _, there := e.at[name]; !there {
		e.at[name] = len(e.reads)
		e.reads = append(e.reads, expression{sql, args, name == linkedRead || name == otherPersonsRead})
	}
}

// Names of reads: a column as the id that it is, as it is, as a time, and
// whether nothing is left to do to it.
func asID(column string) string     { return "id " + column }
func asIs(column string) string     { return "value " + column }
func asMoment(column string) string { return "moment " + column }
func shown(column string) string    { return "text " + column }
func isDone(action datamap.Action, c datamap.Column) string {
	return "done " + string(action) + " " + c.Name
}

const (
	otherPersonsRead = "others"
	linkedRead       = "linked"
)

// readsOf decides what is read of the rows of a table: keys, dates, key owner,
// what edges compare, what identities there are, and the columns that change.
func (s *Store) readsOf(e *entity) {
	e.fates()
	id := func(columns ...string) {
		for _, name := range columns {
			f := s.at("t0", e.Name, name)
			e.ids[name] = f
			if s.sqlite() {
				e.read(asID(name), f.shown()) // as stored: another type would be another value
			} else {
				e.read(asID(name), f.text())
			}
		}
	}
	id(e.Key...)
	if e.Created != "" {
		created := s.at("t0", e.Name, e.Created)
		e.read(asMoment(e.Created), created.moment())
		e.undated = created.day
	}
	if e.Keep != nil {
		e.read(asMoment(e.Keep.From), s.at("t0", e.Name, e.Keep.From).moment())
	}
	for _, w := range slices.Concat(e.ways, e.cuts) {
		if !w.sealed {
			id(w.Columns...)
		}
		for _, when := range w.When {
			id(when.Column)
		}
	}
	for _, o := range e.outputs {
		id(o.columns...)
	}
	for _, c := range e.Columns {
		if c.Identity != "" {
			e.read(asIs(c.Name), s.at("t0", e.Name, c.Name).name)
		}
	}
	stays := e.Stays()
	for _, c := range e.Columns {
		action, changes := stays[c.Where()]
		if !changes {
			continue
		}
		f := s.at("t0", e.Name, c.Name)
		e.changes = append(e.changes, change{c, f})
		actions := []datamap.Action{action}
		if action == datamap.Retain && !e.IsPerson(c.Where()) {
			actions = append(actions, e.Erase) // once the obligation is over
		}
		for _, a := range actions {
			switch {
			case a == datamap.Retain, a == datamap.Shred, a == datamap.Delete:
			case a == datamap.Null && c.Path == "":
				e.read(isDone(a, c), "CASE WHEN "+f.name+" IS NULL THEN 1 ELSE 0 END")
			case constant(a, c):
				sql, args := f.holds(redacted(c))
				e.read(isDone(a, c), fmt.Sprintf("CASE WHEN %s IS NULL OR %s THEN 1 ELSE 0 END", f.name, sql), args...)
			default:
				e.read(shown(c.Name), f.shown())
			}
		}
	}
	if j := e.Link; j != nil {
		if j.Owner != "" {
			e.read(asIs(j.Owner), s.at("t0", e.Name, j.Owner).name)
		}
		e.read(linkedRead, s.at("l", j.Table, j.Person).distinct())
		e.read(otherPersonsRead, s.others(e.Table))
	}
}

// constant reports whether an action writes the same value into every row.
func constant(action datamap.Action, c datamap.Column) bool {
	return action == datamap.Redact && c.Path == "" && !strings.Contains(c.To, datamap.RowMark)
}

// inTenant asks that a row is of the tenant; ok is false where the database has
// one tenant, and it is another.
func (s *Store) inTenant(c *condition, e *entity, tenant string) (ok bool) {
	j := e.Link
	switch {
	case j != nil && j.Tenant != "":
		s.is(c, s.at("l", j.Table, j.Tenant), tenant)
	case e.Tenant == "":
		return s.cfg.Map.Tenant == tenant
	}
	if e.Tenant != "" {
		s.is(c, s.at("t0", e.Name, e.Tenant), tenant)
	}
	return true
}
