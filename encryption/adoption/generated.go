package adoption

import (
	"context"
	"fmt"

	"github.com/crmguard/crmguard/internal/sqldb"
)

// ColumnError says why a column in the clear cannot be adopted as it is, or that
// another column that the definition names is not there: the owner's, the tenant's,
// one of the key.
type ColumnError struct {
	Table  string // logical name
	Column string // as the definition or the database has it
	Why    string // in words, with the remedy
}

// Error names the column, the reason and the remedy.
func (e *ColumnError) Error() string {
	return fmt.Sprintf("%v: %s.%s %s", ErrDefinition, e.Table, e.Column, e.Why)
}

// Unwrap returns ErrDefinition.
func (e *ColumnError) Unwrap() error { return ErrDefinition }

// suits refuses a table that lacks a column which the definition names, or whose
// columns in the clear cannot be sealed and put back, before any statement is handed out for it.
func (a *Adoption) suits(ctx context.Context) error {
	if err := a.transactional(ctx); err != nil {
		return err
	}
	if err := a.bound(ctx); err != nil {
		return err
	}
	return a.each(func(c column) error {
		plain, err := a.found(ctx, c.Plain, "Column.Plain, the column in the clear")
		if err != nil {
			return err
		}
		if err := a.isText(c, plain); err != nil {
			return err
		}
		names, err := a.generated(ctx, c.Plain)
		if err != nil || len(names) == 0 {
			return err
		}
		if names[0] == c.Plain {
			return &ColumnError{a.def.Name, c.Plain, "is GENERATED: nobody can write it, so nothing can be put back; adopt the columns that it is computed from, and take it away"}
		}
		return &ColumnError{a.def.Name, c.Plain, fmt.Sprintf("is what the GENERATED column %s is computed from, which would hold it in the clear, and then nothing: take that one away first, and compute it in the application", names[0])}
	})
}

// isText refuses what the database does not give back as it was written.
func (a *Adoption) isText(c column, plain sqldb.Column) error {
	if _, text := a.db.Bytes(plain); text && (!plain.Binary() || a.db.Kind == sqldb.SQLite) {
		return nil
	}
	return &ColumnError{a.def.Name, c.Plain, "is no text: only what the database gives back as it was written can be sealed and put back (text, varchar, citext); copy the column into one of text first, from char(n) without its padding, from jsonb as the application writes it, from a number or a date as it shows it"}
}

// generated names the generated columns that a column is, or is the source of, the
// column itself first.
func (a *Adoption) generated(ctx context.Context, column string) (names []string, err error) {
	schema, table := a.parts()
	switch a.db.Kind {
	case sqldb.SQLite:
		return a.generatedSQLite(ctx, column)
	case sqldb.Postgres:
		quoted, err := a.db.Quote(a.def.SQL)
		if err != nil {
			return nil, fmt.Errorf("%w: %w", ErrDefinition, err)
		}
		// What depends on a column is the default of the other one, or that itself,
		// by the version of the server.
		return a.texts(ctx, `SELECT CAST(a.attname AS text) FROM pg_catalog.pg_attribute a WHERE a.attrelid = to_regclass(?) AND a.attgenerated <> '' AND NOT a.attisdropped
			AND (a.attname = ? OR EXISTS (SELECT 1 FROM pg_catalog.pg_depend d JOIN pg_catalog.pg_attribute s ON s.attrelid = a.attrelid AND s.attnum = d.refobjsubid AND s.attname = ?
				WHERE d.refclassid = 'pg_catalog.pg_class'::regclass AND d.refobjid = a.attrelid AND (d.classid = 'pg_catalog.pg_class'::regclass AND d.objid = a.attrelid AND d.objsubid = a.attnum
					OR d.classid = 'pg_catalog.pg_attrdef'::regclass AND d.objid IN (SELECT f.oid FROM pg_catalog.pg_attrdef f WHERE f.adrelid = a.attrelid AND f.adnum = a.attnum))))
			ORDER BY a.attname <> ?, a.attnum`, quoted, column, column, column)
	case sqldb.MariaDB, sqldb.MySQL:
	}
	return a.texts(ctx, `SELECT COLUMN_NAME FROM information_schema.COLUMNS WHERE TABLE_SCHEMA = COALESCE(NULLIF(?, ''), DATABASE()) AND TABLE_NAME = ?
		AND COALESCE(GENERATION_EXPRESSION, '') <> '' AND (COLUMN_NAME = ? OR INSTR(GENERATION_EXPRESSION, CONCAT('`+"`', ?, '`"+`')) > 0)
		ORDER BY COLUMN_NAME <> ?, ORDINAL_POSITION`, schema, table, column, column, column)
}

// generatedSQLite reads the expressions out of the statement that made the table:
// they stand there in the order of the columns.
func (a *Adoption) generatedSQLite(ctx context.Context, column string) (names []string, err error) {
	schema, table := a.parts()
	all, err := a.texts(ctx, `SELECT name FROM pragma_table_xinfo(?, NULLIF(?, '')) WHERE hidden IN (2, 3) ORDER BY name <> ?, cid`, table, schema, column)
	if err != nil || len(all) == 0 || all[0] == column {
		return all, err
	}
	inOrder, err := a.texts(ctx, `SELECT name FROM pragma_table_xinfo(?, NULLIF(?, '')) WHERE hidden IN (2, 3) ORDER BY cid`, table, schema)
	if err != nil {
		return nil, err
	}
	text, err := a.created(ctx)
	if err != nil {
		return nil, err
	}
	for i, one := range clauses(text, "AS") {
		if wordIn(one.text, column) {
			names = append(names, inOrder[min(i, len(inOrder)-1)])
		}
	}
	return names, nil
}

// transactional refuses a table of MariaDB and MySQL whose engine rolls nothing
// back: a job takes back what the table does not keep.
func (a *Adoption) transactional(ctx context.Context) error {
	if a.db.Kind != sqldb.MariaDB && a.db.Kind != sqldb.MySQL {
		return nil
	}
	schema, table := a.parts()
	engines, err := a.texts(ctx, `SELECT t.ENGINE FROM information_schema.TABLES t JOIN information_schema.ENGINES e ON e.ENGINE = t.ENGINE
		WHERE t.TABLE_SCHEMA = COALESCE(NULLIF(?, ''), DATABASE()) AND t.TABLE_NAME = ? AND COALESCE(e.TRANSACTIONS, '') <> 'YES'`, schema, table)
	if err != nil || len(engines) == 0 {
		return err
	}
	return fmt.Errorf("%w: table %s is of the engine %s, which rolls nothing back: ALTER TABLE … ENGINE = InnoDB", ErrDefinition, a.def.Name, engines[0])
}
