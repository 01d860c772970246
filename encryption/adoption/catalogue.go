package adoption

import (
	"cmp"
	"context"
	"database/sql"
	"fmt"
	"regexp"
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

// rows hands the rows of a question to the catalogue to scan.
func (a *Adoption) rows(ctx context.Context, f func(scan func(...any) error) error, query string, args ...any) error {
	err := a.db.ReadCatalog(ctx, func(q sqldb.Querier) error {
		return sqldb.Each(ctx, q, func(rows *sql.Rows) error { return f(rows.Scan) }, a.db.Bind(query), args...)
	})
	if err != nil {
		return fmt.Errorf("adoption: table %s: %w", a.def.Name, sqldb.Safe(err))
	}
	return nil
}

// texts reads what the catalogue answers, one text a row.
func (a *Adoption) texts(ctx context.Context, query string, args ...any) (out []string, err error) {
	err = a.rows(ctx, func(scan func(...any) error) error {
		var text string
		err := scan(&text)
		out = append(out, text)
		return err
	}, query, args...)
	return out, err
}

// wordIn says whether a text of SQL names a column: too often rather than too
// seldom.
func wordIn(text, name string) bool {
	if strings.ContainsAny(name, "`\"") { // which quotes double
		name = regexp.QuoteMeta(name) + "|" + regexp.QuoteMeta(strings.ReplaceAll(name, "`", "``")) + "|" + regexp.QuoteMeta(strings.ReplaceAll(name, `"`, `""`))
	} else {
		name = regexp.QuoteMeta(name)
	}
	return regexp.MustCompile(`(?i)(^|[^\w$])(?:` + name + `)($|[^\w$])`).MatchString(text)
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
	out, err := l.texts(ctx, query, args...)
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
	out, err := l.texts(ctx, query, args...)
	if err == nil && len(out) == 0 {
		err = fmt.Errorf("%w: table %s has no column %s", ErrDefinition, l.def.Name, column)
	}
	return err == nil && out[0] == "YES", err
}

// dropNotNull lets a column be NULL, and back again. SQLite has no statement for
// it.
func (l *live) dropNotNull(ctx context.Context, column string) (drop []string, restore restoring, err error) {
	restore = restoring{Of: "NOT NULL " + column}
	quoted, err := l.db.QuoteName(column)
	if err != nil {
		return nil, restore, fmt.Errorf("%w: %w", ErrDefinition, err)
	}
	switch l.db.Kind {
	case sqldb.Postgres:
		alter := `ALTER TABLE ` + l.sql + ` ALTER COLUMN ` + quoted
		restore.SQL = []string{alter + ` SET NOT NULL`}
		return []string{alter + ` DROP NOT NULL`}, restore, nil
	case sqldb.SQLite:
		return nil, restore, nil
	case sqldb.MariaDB, sqldb.MySQL:
	}
	all, err := l.shown(ctx, sqldb.ColumnPart)
	for _, one := range all {
		if strings.EqualFold(one.Name, column) {
			// Before NOT NULL stand a type, a character set and a collation: no free text.
			restore.Column, restore.Clause = column, notNullClause
			return []string{l.modify(strings.Replace(one.Text, " NOT NULL", " NULL", 1))}, restore, nil
		}
	}
	return nil, restore, cmp.Or(err, fmt.Errorf("%w: table %s has no column %s", ErrDefinition, l.def.Name, column))
}

// modify changes a column of MariaDB and MySQL into what the line says.
func (l *live) modify(line string) string { return `ALTER TABLE ` + l.sql + ` MODIFY ` + line }

// created is the statement that made a table of SQLite, as it was written.
func (a *Adoption) created(ctx context.Context) (text string, err error) {
	schema, name := a.parts()
	master := "sqlite_master"
	if schema != "" {
		quoted, err := a.db.QuoteName(schema)
		if err != nil {
			return "", fmt.Errorf("%w: %w", ErrDefinition, err)
		}
		master = quoted + "." + master
	}
	err = a.rows(ctx, func(scan func(...any) error) error { return scan(&text) }, `SELECT sql FROM `+master+` WHERE type = 'table' AND lower(name) = lower(?)`, name)
	return text, err
}

// shown are the parts of a table of MariaDB and MySQL: the catalogue shows CHECKs and
// foreign keys to who has more than SELECT. Each has all that it is made of: what
// MODIFY is not told again of a column it takes away.
func (a *Adoption) shown(ctx context.Context, kind sqldb.PartKind) (out []sqldb.Part, err error) {
	table, err := a.db.Quote(a.def.SQL)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrDefinition, err)
	}
	all, err := a.db.Parts(ctx, a.db, table)
	if err != nil {
		return nil, fmt.Errorf("adoption: table %s: %w", a.def.Name, err)
	}
	for _, one := range all {
		if one.Kind == kind {
			out = append(out, one)
		}
	}
	return out, nil
}
