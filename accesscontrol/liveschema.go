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
	exact    bool   // text compares by its bytes
}

// readTable reads the table that a statement of this connection would find
// under the name.
func readTable(ctx context.Context, d sqldb.Dialect, q sqldb.Querier, name string) (liveTable, error) {
	switch d.Kind {
	case sqldb.SQLite:
		return sqliteTable(ctx, d, q, name)
	case sqldb.Postgres:
		return postgresTable(ctx, d, q, name)
	default:
		return mysqlTable(ctx, q, name)
	}
}

func sqliteTable(ctx context.Context, d sqldb.Dialect, q sqldb.Querier, name string) (liveTable, error) {
	t := liveTable{}
	err := sqldb.One(ctx, q, []any{&t.kind, &t.loose}, `SELECT type, strict = 0 FROM pragma_table_list WHERE schema = 'main' AND name = ?`, name)
	if err != nil {
		return t, absent(err)
	}
	t.columns, err = readColumns(ctx, q, `SELECT name, upper(type), "notnull" OR pk > 0, FALSE FROM pragma_table_info(?)`, name)
	if err != nil || t.kind != "table" {
		return t, err
	}
	for column, c := range t.columns {
		if c.exact, err = sqliteComparesBytes(ctx, d, q, name, column); err != nil {
			return t, err
		}
		t.columns[column] = c
	}
	return t, nil
}

// sqliteComparesBytes asks the column itself: a UNION takes the collation of
// its first part, and under anything but BINARY two of the probes are one.
func sqliteComparesBytes(ctx context.Context, d sqldb.Dialect, q sqldb.Querier, table, column string) (bool, error) {
	quotedTable, err := d.Quote(table)
	if err != nil {
		return false, err
	}
	quotedColumn, err := d.Quote(column)
	if err != nil {
		return false, err
	}
	var distinct int
	err = sqldb.One(ctx, q, []any{&distinct}, `SELECT count(*) FROM (SELECT `+quotedColumn+` FROM `+quotedTable+
		` WHERE FALSE UNION SELECT 'a' UNION SELECT 'A' UNION SELECT 'a ')`)
	return distinct == 3, err
}

func postgresTable(ctx context.Context, d sqldb.Dialect, q sqldb.Querier, name string) (liveTable, error) {
	t := liveTable{}
	quoted, err := d.Quote(name) // to_regclass folds what is not quoted
	if err != nil {
		return t, err
	}
	err = sqldb.One(ctx, q, []any{&t.kind}, `SELECT CASE relkind WHEN 'r' THEN 'table' WHEN 'p' THEN 'table' WHEN 'v' THEN 'view'
		WHEN 'm' THEN 'materialized view' WHEN 'f' THEN 'foreign table' ELSE 'relation of another kind' END
		FROM pg_catalog.pg_class WHERE oid = to_regclass($1)`, quoted)
	if err != nil {
		return t, absent(err)
	}
	// Equal under a deterministic collation means equal bytes, whatever the
	// order; a domain shows its own name, and is no type that fits.
	t.columns, err = readColumns(ctx, q, `SELECT a.attname, format_type(a.atttypid, NULL), a.attnotnull, coalesce(c.collisdeterministic, TRUE)
		FROM pg_catalog.pg_attribute a LEFT JOIN pg_catalog.pg_collation c ON c.oid = a.attcollation
		WHERE a.attrelid = to_regclass($1) AND a.attnum > 0 AND NOT a.attisdropped`, quoted)
	return t, err
}

func mysqlTable(ctx context.Context, q sqldb.Querier, name string) (liveTable, error) {
	t := liveTable{}
	err := sqldb.One(ctx, q, []any{&t.kind}, `SELECT CASE table_type WHEN 'BASE TABLE' THEN 'table' ELSE LOWER(table_type) END
		FROM information_schema.tables WHERE table_schema = DATABASE() AND table_name = ?`, name)
	if err != nil {
		return t, absent(err)
	}
	// utf8mb4_bin compares code points but takes 'a' and 'a ' for one.
	t.columns, err = readColumns(ctx, q, `SELECT column_name, CONCAT(data_type, CASE WHEN column_type LIKE '%unsigned%' THEN ' unsigned' ELSE '' END),
		is_nullable = 'NO', collation_name IS NULL OR collation_name LIKE '%\\_nopad\\_bin' OR collation_name = 'utf8mb4_0900_bin'
		FROM information_schema.columns WHERE table_schema = DATABASE() AND table_name = ?`, name)
	return t, err
}

// absent makes a table that is not there no error.
func absent(err error) error {
	if errors.Is(err, sql.ErrNoRows) {
		return nil
	}
	return err
}

func readColumns(ctx context.Context, q sqldb.Querier, query, name string) (out map[string]liveColumn, err error) {
	rows, err := q.QueryContext(ctx, query, name)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	out = map[string]liveColumn{}
	for rows.Next() {
		var column string
		var c liveColumn
		if err := rows.Scan(&column, &c.kind, &c.required, &c.exact); err != nil {
			return nil, err
		}
		c.kind = strings.TrimSpace(c.kind)
		out[column] = c
	}
	return out, rows.Err()
}
