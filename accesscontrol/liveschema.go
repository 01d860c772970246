package accesscontrol

import (
	"context"
	"database/sql"
	"errors"
	"strings"

	"github.com/crmguard/crmguard/internal/sqldb"
)

// liveTable is a table as the database has it.
type liveTable struct {
	kind    string // "table", or what else it is; "" where there is none
	loose   bool   // columns take values of any type
	columns map[string]liveColumn
}

type liveColumn struct {
	kind     string // the type, as this database spells it
	required bool   // NOT NULL
	inexact  string // why its texts do not compare by their bytes
	// collation is that of its texts, empty where there is none, or where any
	// two of them may be compared.
	collation string
}

// readTable reads the table that a statement of this connection would find
// under the name, which may say its schema.
func readTable(ctx context.Context, d sqldb.Dialect, q sqldb.Querier, name string) (liveTable, error) {
	schema, table, qualified := strings.Cut(name, ".")
	if !qualified {
		schema, table = "", name
	}
	switch d.Kind {
	case sqldb.SQLite:
		return sqliteTable(ctx, q, schema, table)
	case sqldb.Postgres:
		return postgresTable(ctx, d, q, schema, table)
	default:
		return mysqlTable(ctx, q, schema, table)
	}
}

func sqliteTable(ctx context.Context, q sqldb.Querier, schema, name string) (liveTable, error) {
	if schema == "" {
		schema = "main"
	}
	t := liveTable{}
	err := sqldb.One(ctx, q, []any{&t.kind, &t.loose}, `SELECT type, strict = 0 FROM pragma_table_list WHERE schema = ? AND name = ?`, schema, name)
	if err != nil {
		return t, absent(err)
	}
	t.columns, err = readColumns(ctx, q, `SELECT name, upper(type), "notnull" OR pk > 0, '', '' FROM pragma_table_info(?, ?)`, name, schema)
	return t, err
}

func postgresTable(ctx context.Context, d sqldb.Dialect, q sqldb.Querier, schema, name string) (liveTable, error) {
	t := liveTable{}
	quoted, err := d.Quote(name) // to_regclass folds what is not quoted
	if err != nil {
		return t, err
	}
	if schema != "" {
		within, err := d.Quote(schema)
		if err != nil {
			return t, err
		}
		quoted = within + "." + quoted
	}
	err = sqldb.One(ctx, q, []any{&t.kind}, `SELECT CASE relkind WHEN 'r' THEN 'table' WHEN 'p' THEN 'table' WHEN 'v' THEN 'view'
		WHEN 'm' THEN 'materialized view' WHEN 'f' THEN 'foreign table' ELSE 'relation of another kind' END
		FROM pg_catalog.pg_class WHERE oid = to_regclass($1)`, quoted)
	if err != nil {
		return t, absent(err)
	}
	// Equal under a deterministic collation means equal bytes, whatever the
	// order; a domain shows its own name, and is no type that fits.
	t.columns, err = readColumns(ctx, q, `SELECT a.attname, CASE t.typtype WHEN 'e' THEN 'enum' WHEN 'd' THEN 'the domain ' || t.typname ELSE format_type(a.atttypid, NULL) END,
		a.attnotnull, CASE WHEN c.collisdeterministic THEN '' WHEN c.collisdeterministic IS NULL THEN '' ELSE 'a collation that is not deterministic' END, COALESCE(NULLIF(a.attcollation, 0)::text, '')
		FROM pg_catalog.pg_attribute a JOIN pg_catalog.pg_type t ON t.oid = a.atttypid LEFT JOIN pg_catalog.pg_collation c ON c.oid = a.attcollation
		WHERE a.attrelid = to_regclass($1) AND a.attnum > 0 AND NOT a.attisdropped`, quoted)
	return t, err
}

func mysqlTable(ctx context.Context, q sqldb.Querier, schema, name string) (liveTable, error) {
	t := liveTable{}
	err := sqldb.One(ctx, q, []any{&t.kind}, `SELECT CASE table_type WHEN 'BASE TABLE' THEN 'table' ELSE LOWER(table_type) END
		FROM information_schema.tables WHERE table_schema = COALESCE(NULLIF(?, ''), DATABASE()) AND table_name = ?`, schema, name)
	if err != nil {
		return t, absent(err)
	}
	// The collation does not count, the bytes do: in these sets a text has those
	// that the connection has.
	t.columns, err = readColumns(ctx, q, `SELECT column_name, CASE data_type WHEN 'bit' THEN column_type ELSE CONCAT(data_type, CASE WHEN column_type LIKE '%unsigned%' THEN ' unsigned' ELSE '' END) END,
		is_nullable = 'NO', CASE WHEN COALESCE(character_set_name, 'ascii') IN ('ascii', 'utf8mb4', 'utf8mb3', 'utf8') THEN '' ELSE CONCAT('the character set ', character_set_name, ', whose bytes are not those of UTF-8: make it utf8mb4') END,
		COALESCE(collation_name, '')
		FROM information_schema.columns WHERE table_schema = COALESCE(NULLIF(?, ''), DATABASE()) AND table_name = ?`, schema, name)
	return t, err
}

// absent makes a table that is not there no error.
func absent(err error) error {
	if errors.Is(err, sql.ErrNoRows) {
		return nil
	}
	return err
}

func readColumns(ctx context.Context, q sqldb.Querier, query string, args ...any) (out map[string]liveColumn, err error) {
	rows, err := q.QueryContext(ctx, query, args...)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	out = map[string]liveColumn{}
	for rows.Next() {
		var column string
		var c liveColumn
		if err := rows.Scan(&column, &c.kind, &c.required, &c.inexact, &c.collation); err != nil {
			return nil, err
		}
		c.kind = strings.TrimSpace(c.kind)
		out[column] = c
	}
	return out, rows.Err()
}
