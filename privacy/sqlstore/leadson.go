package sqlstore

import (
	"context"
	"slices"

	"github.com/crmguard/crmguard/privacy/datastore"
)

// A leading asks of rows that were found before, and that no search finds any more,
// whether they lead to somebody else now.
type leading struct {
	s      *Store
	scope  datastore.Scope
	passed map[rowID]bool // ends circles
}

// leadsOn reports whether a row names a person, or a row that leads on, and that is
// the person's no more: what names only what is nobody's is still the person's.
func (s *Store) leadsOn(ctx context.Context, l *located, scope datastore.Scope) (bool, error) {
	return leading{s, scope, map[rowID]bool{}}.on(ctx, l)
}

func (g leading) on(ctx context.Context, l *located) (bool, error) {
	g.passed[l.id()] = true
	if e := g.s.entity(l.e.Name); e.Link != nil {
		c, err := g.s.named(e, []string{l.name()})
		if err != nil {
			return false, err
		}
		linked, err := g.s.ask(ctx, g.s.db, e, c)
		return len(linked) > 0, err
	}
	for i := range l.e.ways {
		w := &l.e.ways[i]
		is, err := l.when(w)
		if err != nil {
			return false, err
		}
		if !is || w.Identity != "" { // an address is nobody by itself
			continue
		}
		parts, names, err := l.tuple(w.Columns)
		if err != nil {
			return false, err
		}
		switch {
		case !names:
			continue
		case w.Table == "":
			if parts[0].text != "" { // which is no id
				return true, nil
			}
			continue
		}
		if on, err := g.over(ctx, l, w); err != nil || on {
			return on, err
		}
	}
	return false, nil
}

// over reports whether a row that the edge names leads on.
func (g leading) over(ctx context.Context, l *located, w *way) (bool, error) {
	to := g.s.bare(w.Table)
	c := g.s.names(to, w, []given{{row: l, scope: l.scope}})
	if to.Tenant != "" {
		g.s.is(&c, g.s.at("t0", to.Name, to.Tenant), g.scope.Tenant)
	}
	rows, err := g.s.ask(ctx, g.s.db, to, c)
	if err != nil {
		return false, err
	}
	for _, row := range rows {
		if g.passed[row.id()] {
			continue
		}
		if on, err := g.on(ctx, row); err != nil || on {
			return on, err
		}
	}
	return false, nil
}

func (s *Store) entity(table string) *entity {
	return s.entities[slices.IndexFunc(s.entities, func(e *entity) bool { return e.Name == table })]
}

// bare is a table without the links of its joint records: with those that have none, too.
func (s *Store) bare(table string) *entity {
	e := *s.entity(table)
	e.Link, e.reads = nil, slices.DeleteFunc(slices.Clone(e.reads), func(r expression) bool { return r.link })
	return &e
}
