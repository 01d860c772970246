package sqlstore

import (
	"context"
	"fmt"
	"slices"

	"github.com/crmguard/crmguard/privacy/datamap"
	"github.com/crmguard/crmguard/privacy/internal/catalog"
)

// AmbiguousError says that an edge names rows of another table by columns that
// do not tell them apart, and that such a row is another person's: whose the
// rows are that the edge leads to, nobody can tell. Permanent: let the edge name
// a unique key, and its table a tenant column where keys are unique within a
// tenant only. Nothing was erased.
type AmbiguousError struct {
	Table string // with the edge
	To    string // whose rows share a value
}

// Error names both tables.
func (e *AmbiguousError) Error() string {
	return fmt.Sprintf("sqlstore: find: an edge of table %s leads to several rows of table %s under one value, also to one of others: name a unique key in the edge, and a tenant column where keys are unique within a tenant only", e.Table, e.To)
}

// Is makes errors.Is(err, datamap.ErrMap) true.
func (e *AmbiguousError) Is(target error) bool { return target == datamap.ErrMap }

// isUnique reports whether an index says that columns of a table, with its tenant
// where both tables have one, tell its rows apart.
func isUnique(schema *catalog.Schema, from, to datamap.Table, columns []string) bool {
	live := schema.Table(to.Name)
	if live == nil {
		return false
	}
	known := slices.Clone(columns)
	if from.Tenant != "" && to.Tenant != "" {
		known = append(known, to.Tenant)
	}
	return slices.ContainsFunc(live.Indexes, func(i catalog.Index) bool {
		return i.Unique && !i.Partial && !slices.ContainsFunc(i.Columns, func(name string) bool {
			return !slices.ContainsFunc(known, func(other string) bool { return schema.Same(name, other) })
		})
	})
}

// target is a column that an edge names, with the rule by which SQLite compares
// it.
func (s *Store) target(schema *catalog.Schema, table, name string) field {
	f := s.at("", table, name)
	if live := schema.Table(table); live != nil && s.sqlite() {
		if c := schema.Column(live, name); c != nil && c.Collation != "" {
			f.rule, _ = s.db.QuoteName(c.Collation)
		}
	}
	return f
}

// A doubt is an edge without a unique target, over which rows of a scope were found.
type doubt struct {
	w     *way
	scope int
}

// unambiguous insists that rows which only edges without a unique target lead to
// are the person's: that all rows are which such an edge names.
func (f *finding) unambiguous(ctx context.Context) error {
	asked := map[doubt]*pool{}
	for _, l := range f.found {
		ways, err := f.doubtful(l)
		if err != nil {
			return dbError("find", l.e.Name, err)
		}
		for _, w := range ways {
			parts, ok, err := l.tuple(w.Columns)
			if err != nil || !ok {
				return dbError("find", l.e.Name, err) // over has read it
			}
			at := doubt{w, l.scope}
			if asked[at] == nil {
				asked[at] = &pool{whose: map[string][]int{}}
			}
			asked[at].give(textsOf(parts), given{row: l, scope: l.scope})
		}
	}
	for _, e := range f.s.entities {
		for _, w := range e.rowWays() {
			for scope := range f.seekers {
				if p := asked[doubt{w, scope}]; p != nil {
					if err := f.named(ctx, e, w, scope, p.values); err != nil {
						return err
					}
				}
			}
		}
	}
	return nil
}

// rowWays are the edges to rows, the others too.
func (e *entity) rowWays() (all []*way) {
	for _, ways := range [][]way{e.ways, e.cuts} {
		for i := range ways {
			if ways[i].Table != "" {
				all = append(all, &ways[i])
			}
		}
	}
	return all
}

// doubtful are the edges without a unique target over which the row was found; none
// where another edge leads there, too.
func (f *finding) doubtful(l *located) (ways []*way, err error) {
	if l.cut != nil {
		if l.cut.Table != "" && !l.cut.unique {
			ways = append(ways, l.cut)
		}
		return ways, nil
	}
	for i := range l.e.ways {
		w := &l.e.ways[i]
		scopes, err := f.over(l, w)
		switch {
		case err != nil:
			return nil, err
		case !slices.Contains(scopes, l.scope):
		case w.Table == "" || w.unique:
			return nil, nil
		default:
			ways = append(ways, w)
		}
	}
	return ways, nil
}

// named asks whose the rows are that an edge names with the values.
func (f *finding) named(ctx context.Context, e *entity, w *way, scope int, values []given) error {
	to := f.s.bare(w.Table)
	for _, chunk := range chunks(values, batch) {
		c := f.s.names(to, w, chunk)
		if e.Tenant != "" && to.Tenant != "" {
			f.s.is(&c, f.s.at("t0", to.Name, to.Tenant), f.tenant)
		}
		rows, err := f.s.ask(ctx, f.q, to, c)
		if err != nil {
			return err
		}
		once := map[rowID]bool{} // two rows under one key are of two tenants
		for _, l := range rows {
			if once[l.id()] || f.seen[owned{scope, l.id()}] == nil {
				return &AmbiguousError{e.Name, to.Name}
			}
			once[l.id()] = true
		}
	}
	return nil
}

// names is the condition for the rows that an edge names with one of the values.
func (s *Store) names(to *entity, w *way, values []given) (c condition) {
	column := func(c *condition, i int, parts ...keyPart) {
		from := w.fields[i]
		from.rule = w.targets[i].rule
		s.points(c, s.at("t0", to.Name, w.to[i]), from, parts)
	}
	if len(w.fields) == 1 {
		column(&c, 0, first(values, w.Columns)...)
		return c
	}
	each := make([]condition, len(values))
	for at, v := range values {
		for i, part := range v.parts(w.Columns) {
			column(&each[at], i, part)
		}
	}
	return either(each...)
}
