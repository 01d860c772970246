package adoption

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"

	"github.com/crmguard/crmguard/encryption"
	"github.com/crmguard/crmguard/internal/sqldb"
)

// bare is the table as it is before it has the columns of the adoption: its key,
// tenant and owner, and the columns in the clear. stored is without a name where the
// sealed column is missing.
func (a *Adoption) bare(ctx context.Context) (*live, error) {
	l := &live{Adoption: a}
	var err error
	if l.sql, err = a.db.Quote(a.def.SQL); err != nil {
		return nil, fmt.Errorf("%w: table %s: %w", ErrDefinition, a.def.Name, err)
	}
	l.table = a.db.For(l.sql)
	if err := a.suits(ctx); err != nil {
		return nil, err
	}
	one := func(name string) (sqldb.Column, error) {
		all, err := a.db.Columns(ctx, a.db, a.def.SQL, name)
		if err != nil {
			return sqldb.Column{}, l.wrong(err)
		}
		return all[0], nil
	}
	for _, at := range []struct {
		name string
		into **sqldb.Column
	}{{a.def.Tenant, &l.tenant}, {a.def.Owner, &l.owner}} {
		if at.name == "" {
			continue
		}
		c, err := one(at.name)
		if err != nil {
			return nil, err
		}
		*at.into = &c
	}
	err = l.each(func(c column) error {
		cell := liveColumn{column: c}
		if cell.plain, err = one(c.Plain); err != nil {
			return err
		}
		if cell.stored, err = one(c.sealed.SQL); err != nil && !errors.Is(err, ErrDefinition) {
			return err
		}
		l.cells = append(l.cells, cell)
		return nil
	})
	if err != nil {
		return nil, err
	}
	return l, l.keyed(ctx)
}

// texts of the key's columns that name a row.
func (l *live) nameTexts() (out []string) {
	for _, at := range l.named {
		out = append(out, l.db.Text(l.key.Columns[at]))
	}
	return out
}

// nameOf is the name of a row, as encryption.RowText writes it, "" where it has none.
func (l *live) nameOf(values []any) string {
	read := make([]any, len(values))
	for i, at := range l.named {
		read[i] = l.key.Columns[at].Read(values[i])
	}
	name, err := encryption.RowText(read...)
	if err != nil {
		return ""
	}
	return name
}

// clears reads a page of the rows that hold something in the clear: where they stand,
// what they are called, and their values in the order of cells. With a condition it
// reads those that it names.
func (l *live) clears(ctx context.Context, tenant, condition string, more, after []any, limit int) (out []row, err error) {
	where, args := l.of(tenant)
	if condition != "" {
		where += " AND (" + condition + ")"
		args = append(args, more...)
	}
	columns := l.nameTexts()
	var some []string
	for _, c := range l.cells {
		columns = append(columns, l.db.Text(c.plain))
		some = append(some, c.plain.Name+" IS NOT NULL")
	}
	query, args := l.key.Page(sqldb.Page{Columns: columns, Where: where + " AND (" + strings.Join(some, " OR ") + ")", Args: args, After: after, Limit: limit})
	err = l.db.Read(ctx, func(q sqldb.Querier) error {
		out = nil
		return sqldb.Each(ctx, q, func(rows *sql.Rows) error {
			values, into := make([]any, len(columns)), make([]any, len(columns))
			for i := range values {
				into[i] = &values[i]
			}
			cursor, err := l.key.Scan(rows, into...)
			if err != nil {
				return err
			}
			r := row{cursor: cursor, id: l.nameOf(values[:len(l.named)])}
			for i, c := range l.cells {
				r.cells = append(r.cells, cell{plain: c.plain.Read(values[len(l.named)+i])})
			}
			out = append(out, r)
			return nil
		}, query, args...)
	})
	if err != nil {
		return nil, l.wrong(err)
	}
	return out, nil
}
