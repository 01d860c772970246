package adoption

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/crmguard/crmguard/encryption"
	"github.com/crmguard/crmguard/internal/sqldb"
)

// live is the adopted table as the database has it. Names and types are asked for
// at each call: the application may change both while it runs.
type live struct {
	*Adoption
	table  *sqldb.DB
	sql    string // the table, quoted
	tenant *sqldb.Column
	owner  *sqldb.Column
	cells  []liveColumn // in the order of Config.Columns

	key   sqldb.Keyset
	named []int          // which of the key's columns name a row
	all   []sqldb.Column // what a page reads, in the order in which scan takes it
}

// liveColumn is an adopted column as the database has it.
type liveColumn struct {
	column
	plain, stored sqldb.Column
	values        []sqldb.Column // of its indexes
}

// live asks the database. It refuses what does not suit: see Check.
func (a *Adoption) live(ctx context.Context, tenant string) (*live, error) {
	if err := a.cfg.Table.CheckIn(ctx, a.cfg.DB, tenant); err != nil {
		if errors.Is(err, encryption.ErrDefinition) {
			return nil, fmt.Errorf("%w: where columns are missing, execute what SQL returns: %w", ErrDefinition, err)
		}
		return nil, fmt.Errorf("adoption: %w", err)
	}
	l := &live{Adoption: a}
	var err error
	if l.sql, err = a.db.Quote(a.def.SQL); err != nil {
		return nil, fmt.Errorf("%w: table %s: %w", ErrDefinition, a.def.Name, err)
	}
	l.table = a.db.For(l.sql)
	if err := l.describe(ctx); err != nil {
		return nil, err
	}
	if err := l.keyed(ctx); err != nil {
		return nil, err
	}
	l.all = l.selected()
	return l, nil
}

func (l *live) describe(ctx context.Context) error {
	one := func(name string) (c sqldb.Column, err error) {
		all, err := l.db.Columns(ctx, l.db, l.def.SQL, name)
		if err != nil {
			return c, l.wrong(err)
		}
		return all[0], nil
	}
	for _, at := range []struct {
		name string
		into **sqldb.Column
	}{{l.def.Tenant, &l.tenant}, {l.def.Owner, &l.owner}} {
		if at.name != "" {
			c, err := one(at.name)
			if err != nil {
				return err
			}
			*at.into = &c
		}
	}
	return l.each(func(c column) (err error) {
		cell := liveColumn{column: c}
		if cell.plain, err = one(c.Plain); err != nil {
			return err
		}
		if err := l.isText(c, cell.plain); err != nil {
			return err
		}
		if cell.stored, err = one(c.sealed.SQL); err != nil {
			return err
		}
		for _, x := range c.indexes {
			value, err := one(x.Column)
			if err != nil {
				return err
			}
			cell.values = append(cell.values, value)
		}
		l.cells = append(l.cells, cell)
		return nil
	})
}

// keyed finds the key that pages are read by: one that begins with the tenant
// before one without it.
func (l *live) keyed(ctx context.Context) error {
	names := strings.Split(l.def.Key, ",")
	for i := range names {
		names[i] = strings.TrimSpace(names[i])
	}
	var keyError *sqldb.KeyError
	var err error
	found := false
	if l.def.Tenant != "" && !slices.Contains(names, l.def.Tenant) {
		l.key, err = l.db.Keyset(ctx, l.db, l.def.SQL, append([]string{l.def.Tenant}, names...)...)
		if found = err == nil; !found && !errors.As(err, &keyError) {
			return l.wrong(err)
		}
	}
	if !found {
		if l.key, err = l.db.Keyset(ctx, l.db, l.def.SQL, names...); err != nil {
			return l.wrong(err)
		}
	}
	for _, name := range names {
		quoted, err := l.db.Quote(name)
		if err != nil {
			return l.wrong(err)
		}
		l.named = append(l.named, slices.IndexFunc(l.key.Columns, func(c sqldb.Column) bool { return c.Name == quoted }))
	}
	return nil
}

// wrong says of a table that is not as it was declared that it is the definition's
// fault, and takes values out of all other errors.
func (l *live) wrong(err error) error {
	var keyError *sqldb.KeyError
	if errors.As(err, &keyError) {
		return fmt.Errorf("%w: table %s: %w", ErrDefinition, l.def.Name, err)
	}
	return fmt.Errorf("adoption: table %s: %w", l.def.Name, sqldb.Safe(err))
}

// of is the condition that keeps to the rows of a tenant that have a name: SQLite
// allows NULL in a primary key.
func (l *live) of(tenant string) (where string, args []any) {
	where = "1 = 1"
	if l.tenant != nil {
		where, args = l.db.Named(*l.tenant, tenant)
	}
	if l.db.Kind == sqldb.SQLite {
		for _, c := range l.key.Columns {
			where += " AND " + c.Name + " IS NOT NULL"
		}
	}
	return where, args
}

// nameless counts the rows of SQLite that have no key and so cannot be written
// alone.
func (l *live) nameless(ctx context.Context, tenant, only string, more []any) (n int64, err error) {
	if l.db.Kind != sqldb.SQLite {
		return 0, nil
	}
	var null []string
	for _, c := range l.key.Columns {
		null = append(null, c.Name+" IS NULL")
	}
	where, args := "1 = 1", []any(nil)
	if l.tenant != nil {
		where, args = l.db.Named(*l.tenant, tenant)
	}
	if only != "" {
		where, args = where+" AND ("+only+")", append(args, more...)
	}
	return l.count(ctx, where+" AND ("+strings.Join(null, " OR ")+")", args)
}

// count counts rows, where all of them are shown.
func (l *live) count(ctx context.Context, where string, args []any) (n int64, err error) {
	var hidden bool
	columns, first := l.counting()
	err = l.db.Read(ctx, func(q sqldb.Querier) error {
		return sqldb.One(ctx, q, []any{&n, &hidden}, l.db.Bind(`SELECT `+columns+` FROM `+l.sql+` WHERE `+where), append(first, args...)...)
	})
	switch {
	case err != nil:
		return 0, l.wrong(err)
	case hidden:
		return 0, l.hides()
	}
	return n, nil
}

// sided counts rows of a tenant that hold a value on one side only.
func (l *live) sided(ctx context.Context, tenant string, plainOnly bool) (n int64, err error) {
	var either []string
	for _, c := range l.cells {
		there, missing := c.stored.Name, c.plain.Name
		if plainOnly {
			there, missing = missing, there
		}
		either = append(either, "("+there+" IS NOT NULL AND "+missing+" IS NULL)")
	}
	where, args := "1 = 1", []any(nil)
	if l.tenant != nil {
		where, args = l.db.Named(*l.tenant, tenant)
	}
	return l.count(ctx, where+" AND ("+strings.Join(either, " OR ")+")", args)
}

// row is one row of a page.
type row struct {
	cursor []any
	id     string // as encryption.RowText writes the key
	idErr  error
	owner  string // "" where the column names nobody
	stored any    // the owner as it is stored
	cells  []cell
}

// cell is one adopted column of a row, each part as the database holds it.
type cell struct {
	plain, sealed any
	values        []any
}

// read reads a page, or with a condition the rows that it names.
func (l *live) read(ctx context.Context, tenant string, after []any, condition string, more []any, limit int) (out []row, err error) {
	query, args := l.pageQuery(tenant, after, condition, more, limit)
	err = l.db.Read(ctx, func(q sqldb.Querier) error {
		out = nil
		return sqldb.Each(ctx, q, func(rows *sql.Rows) error {
			r, err := l.scan(rows)
			out = append(out, r)
			return err
		}, query, args...)
	})
	if err != nil {
		return nil, l.wrong(err)
	}
	return out, nil
}

func (l *live) pageQuery(tenant string, after []any, condition string, more []any, limit int) (query string, args []any) {
	where, args := l.of(tenant)
	if condition != "" {
		where += " AND (" + condition + ")"
		args = append(args, more...)
	}
	var columns []string
	for _, c := range l.all {
		columns = append(columns, l.db.Text(c))
	}
	return l.key.Page(sqldb.Page{Columns: columns, Where: where, Args: args, After: after, Limit: limit})
}

// selected are the columns that a page reads, in the order in which scan takes
// them.
func (l *live) selected() (out []sqldb.Column) {
	for _, at := range l.named {
		out = append(out, l.key.Columns[at])
	}
	if l.owner != nil {
		out = append(out, *l.owner)
	}
	for _, c := range l.cells {
		out = append(append(out, c.plain, c.stored), c.values...)
	}
	return out
}

func (l *live) scan(rows *sql.Rows) (r row, err error) {
	columns := l.all
	values, into := make([]any, len(columns)), make([]any, len(columns))
	for i := range values {
		into[i] = &values[i]
	}
	if r.cursor, err = l.key.Scan(rows, into...); err != nil {
		return r, err
	}
	for i, c := range columns {
		values[i] = c.Read(values[i])
	}
	take := func(n int) []any {
		out := values[:n]
		values = values[n:]
		return out
	}
	r.id, r.idErr = encryption.RowText(take(len(l.named))...)
	r.owner = tenantOwner
	if l.owner != nil {
		r.stored = take(1)[0]
		r.owner = ""
		if r.stored != nil {
			if text, err := encryption.RowText(r.stored); err == nil {
				r.owner = text
			}
		}
	}
	for _, c := range l.cells {
		both := take(2)
		r.cells = append(r.cells, cell{plain: both[0], sealed: both[1], values: take(len(c.values))})
	}
	return r, nil
}

// change is one column of an UPDATE that compares before it swaps.
type change struct {
	column   sqldb.Column
	old, new any
	keep     bool // compared, not written
}

// swap updates a row where everything that the plan rests on is as it was read,
// its owner included, and reports whether it was.
func (l *live) swap(ctx context.Context, tx *sql.Tx, tenant string, r row, changes []change) (bool, error) {
	var set []string
	var args []any
	where, compared := l.key.Equal(r.cursor)
	more := func(condition string, values []any) {
		where += " AND " + condition
		compared = append(compared, values...)
	}
	if l.tenant != nil {
		more(l.db.Named(*l.tenant, tenant))
	}
	if l.owner != nil {
		changes = append(slices.Clone(changes), change{column: *l.owner, old: r.stored, keep: true})
	}
	for _, c := range changes {
		if !c.keep {
			set = append(set, c.column.Name+" = ?")
			args = append(args, c.new)
		}
		if c.old == nil {
			more(c.column.Name+" IS NULL", nil)
		} else {
			more(l.db.Equal(c.column, c.old))
		}
	}
	result, err := tx.ExecContext(ctx, l.db.Bind(l.patience()+`UPDATE `+l.sql+` SET `+strings.Join(set, ", ")+` WHERE `+where), append(args, compared...)...)
	if err != nil {
		return false, sqldb.Safe(err)
	}
	n, err := result.RowsAffected()
	return n == 1, sqldb.Safe(err)
}
