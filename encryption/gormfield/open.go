package gormfield

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"

	"gorm.io/gorm"
	"gorm.io/gorm/schema"

	"github.com/crmguard/crmguard/encryption"
)

// pageSize is how many rows share one query for keys where rows are handed out
// one by one.
const pageSize = 256

// group is the sealed cells of one table in a result: those of the model, or of
// a relation that was joined.
type group struct {
	table  *sealedTable
	cells  []cellAt
	owner  int // -1 where there is none
	tenant int
	keys   []int
}

type cellAt struct {
	at     int
	column *encryption.Column
}

// groupsOf finds the sealed columns of a result by their names.
func (p *Plugin) groupsOf(stmt *gorm.Statement, r *record, names []string) ([]group, error) {
	at := map[string]int{}
	for i, name := range names {
		if _, twice := at[strings.ToLower(name)]; !twice {
			at[strings.ToLower(name)] = i
		}
	}
	found := map[string]*group{}
	var order []string
	for i, name := range names {
		prefix, column, t := "", strings.ToLower(name), r.primary
		if cut := strings.LastIndex(name, "__"); cut > 0 {
			if s := joined(stmt, name[:cut]); s != nil {
				prefix, column, t = strings.ToLower(name[:cut+2]), strings.ToLower(name[cut+2:]), p.tables[bare(s.Table)]
			}
		}
		if t == nil || t.columns[column] == nil {
			continue
		}
		g := found[prefix]
		if g == nil {
			g = &group{table: t}
			found[prefix] = g
			order = append(order, prefix)
		}
		g.cells = append(g.cells, cellAt{at: i, column: t.columns[column]})
	}
	groups := make([]group, 0, len(order))
	for _, prefix := range order {
		g := found[prefix]
		if err := g.find(prefix, at); err != nil {
			return nil, err
		}
		groups = append(groups, *g)
	}
	return groups, nil
}

// find finds what the cells are bound to.
func (g *group) find(prefix string, at map[string]int) error {
	index := func(column string) (int, error) {
		i, ok := at[prefix+column]
		if !ok {
			return -1, g.table.fail(column, "the result lacks it: select it, too", ErrOwner)
		}
		return i, nil
	}
	owner, row := false, false
	for _, c := range g.cells {
		owner = owner || c.column.Level != encryption.LevelTenant
		row = row || c.column.Level == encryption.LevelRow
	}
	g.owner, g.tenant = -1, -1
	var err error
	if owner {
		if g.owner, err = index(g.table.owner); err != nil {
			return err
		}
	}
	if g.table.tenant != "" {
		if g.tenant, err = index(g.table.tenant); err != nil {
			return err
		}
	}
	if row {
		for _, key := range g.table.keys {
			i, err := index(key)
			if err != nil {
				return err
			}
			g.keys = append(g.keys, i)
		}
	}
	return nil
}

// joined is the schema of a relation by its name in a result: the names of its
// parts with two underscores between them, or the alias of the join.
func joined(stmt *gorm.Statement, name string) *schema.Schema {
	if stmt.Schema == nil {
		return nil
	}
	path := strings.Split(name, "__")
	for _, join := range stmt.Joins {
		if join.Alias == name {
			path = strings.Split(join.Name, ".")
		}
	}
	s := stmt.Schema
	for _, part := range path {
		rel := s.Relationships.Relations[part]
		if rel == nil {
			return nil
		}
		s = rel.FieldSchema
	}
	return s
}

// open prepares the opening of a result; nil says that nothing in it is sealed.
// Where it fails, the rows are closed.
func (p *pool) open(ctx context.Context, rows *sql.Rows) (*openedRows, error) {
	source, err := passed(rows)
	if err != nil {
		return nil, err
	}
	if source.groups, err = p.plugin.groupsOf(p.stmt, p.record, source.names); err != nil {
		p.record.refused = err
		return nil, errors.Join(err, rows.Close())
	}
	blank := p.indexFields(source.names)
	bound := p.record.bound
	if len(source.groups) == 0 && len(blank) == 0 && bound == nil {
		return nil, nil
	}
	shown := len(source.names)
	if bound != nil {
		shown -= len(bound.columns) // which are the plugin's own
		source.shown = source.names[:shown]
	}
	source.size = 0
	from := pooled(p.stmt.DB)
	if p.record.paged {
		source.size = pageSize
		source.full, source.most = func() bool { return full(from) }, p.plugin.ahead
	}
	p.only = held(p.stmt)
	source.open = func(first int, page [][]any) error {
		opening := *p
		if opening.only == nil && !source.drained {
			opening.only = single(from)
		}
		for _, row := range page {
			if bound != nil {
				if err := bound.check(row[shown:]); err != nil {
					return err
				}
			}
			for _, i := range blank {
				row[i] = nil
			}
		}
		for _, g := range source.groups {
			if err := opening.openGroup(ctx, g, first, page); err != nil {
				return err
			}
		}
		return nil
	}
	return source, nil
}

// indexFields are the columns for fields of type encryption.IndexValue, which
// nothing but the plugin fills: what is read of them is NULL.
func (p *pool) indexFields(names []string) []int {
	var out []int
	for i, name := range names {
		if t := p.record.primary; t == nil || t.indexes[strings.ToLower(name)] == nil {
			continue
		}
		if field := lookUp(p.stmt.Schema, strings.ToLower(name)); field != nil && field.FieldType == indexValueType {
			out = append(out, i)
		}
	}
	return out
}

// cells is one row on its way through encryption.OpenAll.
type cells struct {
	owner, row string
	list       []encryption.Cell
	at         []int
	index      int // in the page
}

// SealedCells is for encryption.OpenAll.
func (c *cells) SealedCells() (owner, row string, list []encryption.Cell) {
	return c.owner, c.row, c.list
}

func (p *pool) openGroup(ctx context.Context, g group, first int, page [][]any) error {
	byTenant := map[string][]*cells{}
	for i, row := range page {
		c := &cells{index: i}
		for _, cell := range g.cells {
			var sealed []byte
			switch v := row[cell.at].(type) {
			case nil:
				continue
			case []byte:
				sealed = v
			case string:
				sealed = []byte(v)
			default:
				sealed = []byte{0} // opens for nobody
			}
			c.list = append(c.list, encryption.Cell{Column: cell.column.Name, Sealed: sealed, Bytes: new([]byte)})
			c.at = append(c.at, cell.at)
		}
		if len(c.list) == 0 {
			continue
		}
		tenant, err := p.bindingOf(ctx, g, row, c)
		if err != nil {
			p.fail(g, c, first, row, err)
			continue
		}
		byTenant[tenant] = append(byTenant[tenant], c)
	}
	for tenant, rows := range byTenant {
		if err := p.openRows(ctx, g, tenant, rows, first, page); err != nil {
			return err
		}
	}
	return nil
}

func (p *pool) bindingOf(ctx context.Context, g group, row []any, c *cells) (tenant string, err error) {
	if g.tenant < 0 {
		tenant, err = p.plugin.config.tenant(ctx)
	} else {
		tenant, err = idText(row[g.tenant])
	}
	if err == nil && g.owner >= 0 {
		c.owner, err = idText(row[g.owner])
	}
	if err == nil && len(g.keys) > 0 {
		keys := make([]any, len(g.keys))
		for i, at := range g.keys {
			keys[i] = row[at]
		}
		c.row, err = idText(keys...)
	}
	if err != nil || tenant == "" || (g.owner >= 0 && c.owner == "") {
		return "", g.table.fail("", "open", errors.Join(ErrOwner, err))
	}
	return tenant, nil
}

func (p *pool) openRows(ctx context.Context, g group, tenant string, rows []*cells, first int, page [][]any) error {
	err := p.openAll(ctx, g, tenant, rows)
	var some *encryption.RowsError
	if err != nil && !errors.As(err, &some) {
		return g.table.fail("", "open", err)
	}
	if some != nil {
		if rows, err = p.openParts(ctx, g, tenant, rows, some, first, page); err != nil {
			return err
		}
	}
	for _, c := range rows {
		for j, at := range c.at {
			page[c.index][at] = opened(*c.list[j].Bytes)
		}
	}
	return nil
}

// openAll opens what it can, with one query for keys.
func (p *pool) openAll(ctx context.Context, g group, tenant string, rows []*cells) error {
	return p.plugin.fetch(ctx, p.only, func(ctx context.Context) error {
		return encryption.OpenAll(ctx, g.table.table, tenant, rows)
	})
}

// openParts opens rows cell by cell of which not all cells open: the others are
// good, and would be lost where somebody saves the row. It fails what does not
// open, and returns the rest.
func (p *pool) openParts(ctx context.Context, g group, tenant string, rows []*cells, some *encryption.RowsError, first int, page [][]any) ([]*cells, error) {
	var good, parts []*cells
	for i, c := range rows {
		if some.Rows[i] == nil {
			good = append(good, c)
			continue
		}
		for j := range c.list {
			parts = append(parts, &cells{owner: c.owner, row: c.row, list: c.list[j : j+1], at: c.at[j : j+1], index: c.index})
		}
	}
	err := p.openAll(ctx, g, tenant, parts)
	if err != nil && !errors.As(err, &some) {
		return nil, g.table.fail("", "open", err)
	}
	for i, c := range parts {
		if err != nil && some.Rows[i] != nil {
			p.fail(g, c, first, page[c.index], some.Rows[i])
			continue
		}
		good = append(good, c)
	}
	return good, nil
}

// fail takes the cells of a row away that do not open. Where the rows go to a
// list, the list is whole, and one error at its end names those rows; where they
// are handed out one by one, the row itself fails.
func (p *pool) fail(g group, c *cells, first int, row []any, err error) {
	if !errors.Is(err, encryption.ErrErased) {
		g.table.unopened.Store(true)
	}
	for _, at := range c.at {
		if row[at] = nil; p.record.paged {
			row[at] = failed{err}
		}
	}
	if p.record.paged {
		return
	}
	if p.record.failed == nil {
		p.record.failed = map[int]error{}
	}
	if p.record.failed[first+c.index] == nil {
		p.record.failed[first+c.index] = err
	}
}

// String shows nothing of what failed.
func (f failed) String() string { return "unopened" }

var _ fmt.Stringer = failed{}
