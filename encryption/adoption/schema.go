package adoption

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"

	"github.com/crmguard/crmguard/encryption"
	"github.com/crmguard/crmguard/internal/sqldb"
)

// levelRow binds a value to its row.
const levelRow = encryption.LevelRow

// SQL returns the statements that the table still lacks, for whoever owns it, one
// by one and each outside of a transaction: the sealed columns and their indexes'
// columns, which are all nullable and take no time, the indexes over these, on
// PostgreSQL built while writers go on, and the guard Reset. nil says that nothing
// is missing. The application's role needs none of the rights for this.
func (a *Adoption) SQL(ctx context.Context) ([]string, error) {
	table, err := a.db.Quote(a.def.SQL)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrDefinition, err)
	}
	var out []string
	err = a.each(func(c column) error {
		columns := []struct{ name, typ string }{{c.sealed.SQL, a.sealedType(c.sealed.Text)}}
		for _, x := range c.indexes {
			columns = append(columns, struct{ name, typ string }{x.Column, a.indexType(x.Bits)})
		}
		for i, column := range columns {
			_, err := a.db.Columns(ctx, a.db, a.def.SQL, column.name)
			if err == nil {
				continue
			}
			var missing *sqldb.KeyError
			if !errors.As(err, &missing) {
				return fmt.Errorf("adoption: columns of %s: %w", a.def.Name, sqldb.Safe(err))
			}
			name, err := a.db.Quote(column.name)
			if err != nil {
				return fmt.Errorf("%w: %w", ErrDefinition, err)
			}
			out = append(out, `ALTER TABLE `+table+` ADD COLUMN `+name+` `+column.typ)
			if i > 0 {
				out = append(out, a.indexSQL(table, column.name, name))
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	guard, err := a.Guard(ctx)
	if err != nil || guard == Reset || guard == Refuse {
		return out, err
	}
	statements, err := a.GuardSQL(ctx, Reset)
	return append(out, statements...), err
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

// indexSQL builds an index over an index column. With a tenant in the table it
// begins with nothing else: its values differ between tenants by themselves.
func (a *Adoption) indexSQL(table, column, quoted string) string {
	name := a.indexName("crmguard_", column)
	switch a.db.Kind {
	case sqldb.Postgres:
		return `CREATE INDEX CONCURRENTLY IF NOT EXISTS ` + name + ` ON ` + table + ` (` + quoted + `)`
	case sqldb.SQLite:
		return `CREATE INDEX IF NOT EXISTS ` + name + ` ON ` + table[strings.LastIndex(table, ".")+1:] + ` (` + quoted + `)`
	case sqldb.MariaDB, sqldb.MySQL:
	}
	return `CREATE INDEX ` + name + ` ON ` + table + ` (` + quoted + `)`
}

// indexName names an index after its column and, since PostgreSQL and SQLite have
// one name once in a schema, its table.
func (a *Adoption) indexName(prefix, column string) string {
	name := prefix + column
	sum := sha256.Sum256([]byte(a.def.SQL))
	return name[:min(len(name), 50)] + "_" + hex.EncodeToString(sum[:4])
}

// Check compares the live table with the definition: columns that are missing or
// of a type that holds no text, a key that rows can be read by, rows that this
// user does not see, a tenant that the column spells otherwise, a sealed or index
// column that may not be NULL. It is ErrDefinition; SQL returns what is missing.
func (a *Adoption) Check(ctx context.Context, tenant string) error {
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
