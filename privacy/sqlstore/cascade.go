package sqlstore

import (
	"slices"
	"strings"

	"github.com/crmguard/crmguard/privacy/datamap"
	"github.com/crmguard/crmguard/privacy/internal/catalog"
)

// cascade is a foreign key that deletes, or empties its column.
type cascade struct {
	child, column, parent string
	empties               bool
}

// cascades reads the foreign keys that delete or empty. Tables of the map go by
// the names that it gives them.
func cascades(schema *catalog.Schema) (edges []cascade) {
	for _, f := range schema.Foreign {
		columns, empties := f.Empties, true
		switch f.OnDelete {
		case catalog.Cascade:
			columns, empties = f.Columns, false
		case catalog.Refuse, catalog.SetNull, catalog.SetDefault:
		}
		for _, column := range columns {
			edges = append(edges, cascade{schema.NameOf(f.Child), column, schema.NameOf(f.Parent), empties})
		}
	}
	return edges
}

// loss is a cascade that deletes or empties what the map keeps.
type loss struct {
	deleted, kept string // tables of the map
	column        string // of the kept one, with the foreign key
	empties       bool
}

// losses lists the cascades that reach a table whose rows the map keeps, from
// one that it deletes from: directly, or over others. They count whether
// foreign keys are enforced now or not, which each connection says for itself.
func losses(m *datamap.Map, edges []cascade) []loss {
	keeps := map[string]datamap.Table{}
	for _, t := range m.Tables {
		if staysInPlace(t) {
			keeps[t.Name] = t
		}
	}
	var found []loss
	for _, deleted := range deletedFrom(m) {
		reached := []string{deleted}
		for i := 0; i < len(reached); i++ {
			for _, e := range edges {
				if e.parent != reached[i] {
					continue
				}
				if kept, ok := keeps[e.child]; ok && (!e.empties || isNeeded(kept, e.column)) {
					found = append(found, loss{deleted, kept.Name, e.column, e.empties})
				}
				if !e.empties && !slices.Contains(reached, e.child) {
					reached = append(reached, e.child)
				}
			}
		}
	}
	return found
}

// deletedFrom lists the tables of which an erasure deletes rows.
func deletedFrom(m *datamap.Map) []string {
	var names []string
	for _, t := range m.Tables {
		if t.Erase == datamap.Delete && t.Owns() || slices.ContainsFunc(t.Edges, func(e datamap.Edge) bool { return e.Unlink == datamap.Delete }) {
			names = append(names, t.Name)
		}
		if t.Link != nil {
			names = append(names, t.Link.Table)
		}
	}
	return names
}

// checkKept refuses a schema that would delete what the map keeps.
func (s *Store) checkKept(schema *catalog.Schema) error {
	edges := cascades(schema)
	s.shared = sharedCascades(s.cfg.Map, edges)
	if found := losses(s.cfg.Map, edges); len(found) > 0 {
		refused := &CascadeError{Deleted: found[0].deleted, Kept: found[0].kept}
		if found[0].empties {
			refused.Emptied = found[0].column
		}
		return refused
	}
	return nil
}

// sharedCascades lists the tables from which the database deletes by a foreign
// key that is not the map's own way from every row to its person: it may go from
// one person's row to another's.
func sharedCascades(m *datamap.Map, edges []cascade) []string {
	var tables []string
	for _, t := range m.Tables {
		if t.Reaches() && slices.ContainsFunc(edges, func(e cascade) bool {
			own := slices.ContainsFunc(t.Edges, func(way datamap.Edge) bool {
				return way.Leads() && len(way.When) == 0 && way.Table == e.parent && slices.ContainsFunc(way.Columns, func(name string) bool { return strings.EqualFold(name, e.column) })
			})
			return t.Name == e.child && !e.empties && !own
		}) {
			tables = append(tables, t.Name)
		}
	}
	return tables
}
