package liveschema

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"

	"github.com/crmguard/crmguard/internal/sqldb"
	"github.com/crmguard/crmguard/privacy/datamap"
	"github.com/crmguard/crmguard/privacy/internal/catalog"
)

// Check compares the map with the live schema; alarms come first. In a test of
// the application it must find no alarm, so that no new column is forgotten:
// see [Findings.Err]. A map that is wrong in itself is datamap.ErrMap.
func Check(ctx context.Context, handle *sql.DB, m *datamap.Map) (Findings, error) {
	c, err := NewChecker(ctx, handle)
	if err != nil {
		return nil, err
	}
	return c.Check(ctx, m)
}

// A Checker has asked the database what it is, and compares maps with it as often
// as it is called. It is safe for concurrent use.
type Checker struct{ db *sqldb.DB }

// NewChecker asks the database what it is.
func NewChecker(ctx context.Context, handle *sql.DB) (*Checker, error) {
	db, err := open(ctx, handle)
	if err != nil {
		return nil, err
	}
	return &Checker{db}, nil
}

// Check is the func [Check].
func (k *Checker) Check(ctx context.Context, m *datamap.Map) (Findings, error) {
	if err := m.Validate(); err != nil {
		return nil, err
	}
	s, err := read(ctx, k.db, m)
	if err != nil {
		return nil, err
	}
	c := newCheck(m, s)
	c.present()
	c.gaps()
	c.forms()
	c.edges()
	c.holdsIDs()
	c.words()
	c.foreign()
	c.values()
	slices.SortFunc(c.out, compare)
	return slices.Compact(c.out), nil
}

func open(ctx context.Context, handle *sql.DB) (*sqldb.DB, error) {
	db, err := sqldb.Open(ctx, handle)
	switch {
	case errors.Is(err, errors.ErrUnsupported): // says which database was found
		return nil, fmt.Errorf("liveschema: %w", err)
	case err != nil:
		return nil, fmt.Errorf("liveschema: %w", sqldb.Safe(err))
	}
	return db, nil
}

func readOnce(ctx context.Context, handle *sql.DB, m *datamap.Map) (*catalog.Schema, error) {
	db, err := open(ctx, handle)
	if err != nil {
		return nil, err
	}
	return read(ctx, db, m)
}

func read(ctx context.Context, db *sqldb.DB, m *datamap.Map) (*catalog.Schema, error) {
	s, err := catalog.Read(ctx, db, m)
	if err != nil {
		return nil, fmt.Errorf("liveschema: %w", err)
	}
	return s, nil
}

// checking is one comparison.
type checking struct {
	m      *datamap.Map
	s      *catalog.Schema
	tables map[*catalog.Table]datamap.Table // of the map, by what they are
	links  map[*catalog.Table]*datamap.Link
	out    Findings
}

func newCheck(m *datamap.Map, s *catalog.Schema) *checking {
	c := &checking{m: m, s: s, tables: map[*catalog.Table]datamap.Table{}, links: map[*catalog.Table]*datamap.Link{}}
	for _, t := range m.Tables {
		if live := s.Table(t.Name); live != nil {
			c.tables[live] = t
		}
		if t.Link != nil {
			if live := s.Table(t.Link.Table); live != nil {
				c.links[live] = t.Link
			}
		}
	}
	return c
}

// found notes a finding.
func (c *checking) found(kind Kind, level Level, table, column, detail string) {
	c.out = append(c.out, Finding{kind, level, table, column, detail, remedy(kind)})
}

// present finds what stands on one side only.
func (c *checking) present() {
	for _, t := range c.m.Tables {
		live := c.s.Table(t.Name)
		if live == nil {
			c.found(MissingTable, Alarm, t.Name, "", "")
			continue
		}
		c.columns(t.Name, live, classified(c.m, t))
		if l := t.Link; l != nil {
			live := c.s.Table(l.Table)
			if live == nil {
				c.found(MissingTable, Alarm, l.Table, "", "link of "+t.Name)
			} else if _, listed := c.tables[live]; !listed {
				c.columns(l.Table, live, linking(l)) // what else it holds would be in no export
			}
		}
	}
	for _, live := range c.s.Tables {
		_, mapped := c.tables[live]
		if !mapped && c.links[live] == nil && live.Form != catalog.View {
			c.found(UnclassifiedTable, Alarm, live.Path(), "", "")
		}
	}
}

// columns compares the columns of one table.
func (c *checking) columns(table string, live *catalog.Table, names []string) {
	for _, column := range live.Columns {
		if !slices.ContainsFunc(names, func(name string) bool { return c.s.Same(name, column.Name) }) {
			c.found(UnclassifiedColumn, Alarm, table, column.Name, "")
		}
	}
	for _, name := range names {
		if c.s.Column(live, name) == nil {
			c.found(MissingColumn, Alarm, table, name, "")
		}
	}
}

// linking lists the columns of a link table that link.
func linking(l *datamap.Link) []string {
	names := []string{l.Record, l.Person}
	if l.Tenant != "" {
		names = append(names, l.Tenant)
	}
	return names
}

// classified lists the columns of a table that the map speaks of.
func classified(m *datamap.Map, t datamap.Table) []string {
	names := slices.Clone(t.Key)
	for _, e := range t.Ways() {
		names = append(names, e.Columns...)
		for _, w := range e.When {
			names = append(names, w.Column)
		}
	}
	for _, other := range m.Tables {
		if other.Link != nil && other.Link.Table == t.Name {
			names = append(names, linking(other.Link)...)
		}
		for _, e := range other.Edges {
			if e.Table == t.Name {
				names = append(names, e.To...)
			}
		}
	}
	optional := []string{t.Tenant, t.Merged, t.Created}
	if t.Link != nil {
		optional = append(optional, t.Link.Owner)
	}
	if t.Keep != nil {
		optional = append(optional, t.Keep.From)
	}
	for _, column := range t.Columns {
		names = append(names, column.Name)
	}
	for _, name := range optional {
		if name != "" {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// gaps finds what is not stated.
func (c *checking) gaps() {
	kinds := map[string]Kind{"category": NoCategory, "purpose": NoPurpose, "basis": NoBasis}
	for _, gap := range c.m.Gaps() {
		c.found(kinds[gap.Missing], Alarm, gap.Table, gap.Column, "")
	}
}
