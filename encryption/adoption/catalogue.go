package adoption

import (
	"cmp"
	"context"
	"database/sql"
	"fmt"
	"strings"

	"github.com/crmguard/crmguard/internal/sqldb"
)

// parts are schema and name of the table without quotes; the schema may be "".
func (a *Adoption) parts() (schema, name string) {
	if before, after, ok := strings.Cut(a.def.SQL, "."); ok {
		return before, after
	}
	return "", a.def.SQL
}

// ask reads texts that the catalogue answers, one a row.
func (l *live) ask(ctx context.Context, query string, args ...any) (out []string, err error) {
	err = l.db.Read(ctx, func(q sqldb.Querier) error {
		out = nil
		return sqldb.Each(ctx, q, func(rows *sql.Rows) error {
			var text string
			err := rows.Scan(&text)
			out = append(out, text)
			return err
		}, l.db.Bind(query), args...)
	})
	if err != nil {
		return nil, l.wrong(err)
	}
	return out, nil
}

// guardMark names the triggers that stand on the table so that one that is made
// anew, or switched off and on, has another name. SQLite counts the changes of its
// schema, of whatever table.
func (l *live) guardMark(ctx context.Context) (string, error) {
	schema, name := l.parts()
	like := l.guardName() + "%"
	query, args := `SELECT CONCAT(TRIGGER_NAME, ' ', COALESCE(CREATED, '')) FROM information_schema.TRIGGERS
		WHERE EVENT_OBJECT_SCHEMA = COALESCE(NULLIF(?, ''), DATABASE()) AND EVENT_OBJECT_TABLE = ? AND TRIGGER_NAME LIKE ? ORDER BY 1`, []any{schema, name, like}
	switch l.db.Kind {
	case sqldb.Postgres:
		query, args = `SELECT concat_ws(' ', t.oid, t.xmin, p.oid, p.xmin) FROM pg_catalog.pg_trigger t JOIN pg_catalog.pg_proc p ON p.oid = t.tgfoid
			WHERE t.tgrelid = to_regclass(?) AND t.tgname LIKE ? ORDER BY 1`, []any{l.sql, like}
	case sqldb.SQLite:
		quoted, err := l.db.Quote(cmp.Or(schema, "main"))
		if err != nil {
			return "", fmt.Errorf("%w: %w", ErrDefinition, err)
		}
		query, args = `PRAGMA `+quoted+`.schema_version`, nil
	case sqldb.MariaDB, sqldb.MySQL:
	}
	out, err := l.ask(ctx, query, args...)
	return strings.Join(out, ", "), err
}

// nullable says whether a column may be NULL.
func (l *live) nullable(ctx context.Context, column string) (bool, error) {
	schema, name := l.parts()
	query, args := `SELECT IS_NULLABLE FROM information_schema.COLUMNS WHERE TABLE_SCHEMA = COALESCE(NULLIF(?, ''), DATABASE()) AND TABLE_NAME = ? AND COLUMN_NAME = ?`, []any{schema, name, column}
	switch l.db.Kind {
	case sqldb.Postgres:
		query, args = `SELECT CASE WHEN attnotnull THEN 'NO' ELSE 'YES' END FROM pg_catalog.pg_attribute WHERE attrelid = to_regclass(?) AND attname = ? AND NOT attisdropped`, []any{l.sql, column}
	case sqldb.SQLite:
		query, args = `SELECT CASE WHEN "notnull" THEN 'NO' ELSE 'YES' END FROM pragma_table_xinfo(?, NULLIF(?, '')) WHERE name = ?`, []any{name, schema, column}
	case sqldb.MariaDB, sqldb.MySQL:
	}
	out, err := l.ask(ctx, query, args...)
	if err == nil && len(out) == 0 {
		err = fmt.Errorf("%w: table %s has no column %s", ErrDefinition, l.def.Name, column)
	}
	return err == nil && out[0] == "YES", err
}

// unique names the unique indexes that a column has a part in, by itself or in an
// expression.
func (l *live) unique(ctx context.Context, column string) ([]string, error) {
	schema, name := l.parts()
	switch l.db.Kind {
	case sqldb.Postgres:
		return l.ask(ctx, `SELECT c.relname FROM pg_catalog.pg_index i JOIN pg_catalog.pg_class c ON c.oid = i.indexrelid
			JOIN pg_catalog.pg_attribute a ON a.attrelid = i.indrelid AND a.attname = ?
			WHERE i.indrelid = to_regclass(?) AND i.indisunique AND i.indisvalid AND (a.attnum = ANY (i.indkey::int2[]) OR EXISTS (SELECT 1 FROM pg_catalog.pg_depend d
				WHERE d.classid = 'pg_catalog.pg_class'::regclass AND d.objid = i.indexrelid AND d.refobjid = i.indrelid AND d.refobjsubid = a.attnum))`, column, l.sql)
	case sqldb.SQLite:
		return l.ask(ctx, `SELECT l.name FROM pragma_index_list(?, NULLIF(?, '')) l WHERE l."unique" AND EXISTS (SELECT 1 FROM pragma_index_xinfo(l.name, NULLIF(?, '')) x WHERE x.name = ? AND x.key)`, name, schema, schema, column)
	case sqldb.MariaDB, sqldb.MySQL:
	}
	return l.ask(ctx, `SELECT INDEX_NAME FROM information_schema.STATISTICS WHERE TABLE_SCHEMA = COALESCE(NULLIF(?, ''), DATABASE()) AND TABLE_NAME = ? AND COLUMN_NAME = ? AND NON_UNIQUE = 0`, schema, name, column)
}

func (l *live) uniqueSQL(column string) string {
	quoted, err := l.db.Quote(column)
	if err != nil {
		quoted = column
	}
	name := l.indexName("crmguard_unique_", column)
	if l.db.Kind == sqldb.Postgres {
		return `CREATE UNIQUE INDEX CONCURRENTLY ` + name + ` ON ` + l.sql + ` (` + quoted + `)`
	}
	return `CREATE UNIQUE INDEX ` + name + ` ON ` + l.sql + ` (` + quoted + `)`
}

// dropNotNull lets a column be NULL, and back again. SQLite has no statement for
// it.
func (l *live) dropNotNull(ctx context.Context, column string) (drop, restore []string, err error) {
	quoted, err := l.db.Quote(column)
	if err != nil {
		return nil, nil, fmt.Errorf("%w: %w", ErrDefinition, err)
	}
	switch l.db.Kind {
	case sqldb.Postgres:
		alter := `ALTER TABLE ` + l.sql + ` ALTER COLUMN ` + quoted
		return []string{alter + ` DROP NOT NULL`}, []string{alter + ` SET NOT NULL`}, nil
	case sqldb.SQLite:
		return nil, nil, nil
	case sqldb.MariaDB, sqldb.MySQL:
	}
	schema, name := l.parts()
	typ, err := l.ask(ctx, `SELECT CONCAT(COLUMN_TYPE, ' CHARACTER SET ', CHARACTER_SET_NAME, ' COLLATE ', COLLATION_NAME) FROM information_schema.COLUMNS
		WHERE TABLE_SCHEMA = COALESCE(NULLIF(?, ''), DATABASE()) AND TABLE_NAME = ? AND COLUMN_NAME = ?`, schema, name, column)
	if err != nil || len(typ) == 0 {
		return nil, nil, err
	}
	alter := `ALTER TABLE ` + l.sql + ` MODIFY ` + quoted + ` ` + typ[0]
	return []string{alter + ` NULL`}, []string{alter + ` NOT NULL`}, nil
}
