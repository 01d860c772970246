package adoption

import (
	"context"
	"errors"
	"fmt"

	"github.com/crmguard/crmguard/encryption"
	"github.com/crmguard/crmguard/internal/sqldb"
)

// levelRow binds a value to its row.
const levelRow = encryption.LevelRow

// SQL returns the statements that the table still lacks, for whoever owns it, one
// by one and each outside of a transaction: the sealed columns and their indexes'
// columns, which are all nullable and take no time, the indexes over these, on
// PostgreSQL built while writers go on, each partition's by itself, and the guard
// Reset. An index that failed in the middle is taken away and built again. nil says
// that nothing is missing. The application's role needs none of the rights for this.
// A column in the clear that cannot be adopted is a [*ColumnError], and nothing else;
// so is an owner, a tenant or a key that names no column of the table.
func (a *Adoption) SQL(ctx context.Context) ([]string, error) {
	table, err := a.db.Quote(a.def.SQL)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrDefinition, err)
	}
	if err := a.suits(ctx); err != nil {
		return nil, err
	}
	var out []string
	err = a.each(func(c column) error {
		missing, err := a.missing(ctx, table, c.sealed.SQL, a.sealedType(c.sealed.Text))
		if err != nil {
			return err
		}
		out = append(out, missing...)
		for _, x := range c.indexes {
			missing, err := a.missing(ctx, table, x.Column, a.indexType(x.Bits))
			if err != nil {
				return err
			}
			out = append(out, missing...)
			there, err := a.searched(ctx, x.Column)
			if err != nil {
				return err
			}
			if there {
				continue
			}
			name, err := a.db.Quote(x.Column)
			if err != nil {
				return fmt.Errorf("%w: %w", ErrDefinition, err)
			}
			// Its values differ between tenants by themselves: it begins with nothing else.
			index, err := a.build(ctx, wanted{name: a.indexName("crmguard_", x.Column, a.def.SQL), columns: []string{name}})
			if err != nil {
				return err
			}
			out = append(out, index...)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	guard, err := a.standing(ctx)
	if err != nil || guard == Reset || guard == Refuse {
		return out, err
	}
	statements, err := a.guardSQL(ctx, Reset) // over columns that the statements before it add
	return append(out, statements...), err
}

// missing adds a column where there is none.
func (a *Adoption) missing(ctx context.Context, table, column, typ string) ([]string, error) {
	_, err := a.db.Columns(ctx, a.db, a.def.SQL, column)
	if err == nil {
		return nil, nil
	}
	var missing *sqldb.KeyError
	if !errors.As(err, &missing) {
		return nil, fmt.Errorf("adoption: columns of %s: %w", a.def.Name, sqldb.Safe(err))
	}
	name, err := a.db.Quote(column)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrDefinition, err)
	}
	return []string{`ALTER TABLE ` + table + ` ADD COLUMN ` + name + ` ` + typ}, nil
}

func (a *Adoption) sealedType(text bool) string {
	switch {
	case a.db.Kind == sqldb.Postgres && text:
		return `text COLLATE "C"`
	case a.db.Kind == sqldb.Postgres:
		return `bytea`
	case a.db.Kind == sqldb.SQLite && text:
		return `TEXT`
	case a.db.Kind == sqldb.SQLite:
		return `BLOB`
	case text:
		return `LONGTEXT CHARACTER SET ascii COLLATE ascii_bin`
	}
	return `LONGBLOB`
}

func (a *Adoption) indexType(bits int) string {
	switch {
	case a.db.Kind == sqldb.SQLite && bits <= 63:
		return `INTEGER`
	case bits <= 63:
		return `bigint`
	case a.db.Kind == sqldb.SQLite:
		return `BLOB`
	case a.db.Kind == sqldb.Postgres:
		return `bytea`
	}
	return fmt.Sprintf(`VARBINARY(%d)`, bits/8)
}

// Check compares the live table with the definition: columns that are missing, are
// generated, or of a type that holds no text, an engine that rolls nothing back, a key
// that rows can be read by, rows that this user does not see, a tenant that the column
// spells otherwise, a sealed or index column that may not be NULL. It is
// ErrDefinition, about a column in the clear a [*ColumnError]; SQL returns what is
// missing, and [Adoption.Obstacles] what later moves will want.
func (a *Adoption) Check(ctx context.Context, tenant string) error {
	if err := a.suits(ctx); err != nil {
		return err
	}
	l, err := a.live(ctx, tenant)
	if err != nil {
		return err
	}
	return l.each(func(c column) error {
		names := []string{c.sealed.SQL}
		for _, x := range c.indexes {
			names = append(names, x.Column)
		}
		for _, name := range names {
			nullable, err := l.nullable(ctx, name)
			if err != nil {
				return err
			}
			if !nullable {
				return fmt.Errorf("%w: %s.%s is NOT NULL: at %s nothing is written there; declare that after the move to %s", ErrDefinition, l.def.Name, name, Plain, SealedOnly)
			}
		}
		return nil
	})
}
