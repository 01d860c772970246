package sqldb

import (
	"context"
	"fmt"
	"strings"
)

// A Listed is a table of the application, as the catalog of the database has it:
// what a search through all of them needs, whoever made the table.
type Listed struct {
	Schema, Name string
	SQL          string // both, quoted, as it stands in a statement: of this table alone, without heirs
	Path         string // as [Dialect.Quote] takes it; "" where a name has a point
	Default      bool   // found by its name alone
	// Root is the partitioned table of which this is a part, or the table itself.
	Root    string
	Columns []ListedColumn
}

// A ListedColumn may hold bytes or text.
type ListedColumn struct {
	Name  string
	Bytes string // the expression of its bytes, text as UTF-8 (on SQLite in the encoding of the file), JSON and arrays as their text
}

// Catalog lists the tables of the database, on MariaDB and MySQL of the one that
// the connection has chosen, with the columns that may hold bytes or text in any
// form: JSON, arrays, domains. On SQLite that is every column. Views, foreign and
// temporary tables are left out, of partitioned tables the parts are listed, and
// what the history of a system-versioned table holds is not read.
func (d Dialect) Catalog(ctx context.Context, q Querier) (tables []Listed, err error) {
	at := map[string]int{}
	err = each(ctx, q, d.catalogue(), nil, func(scan func(...any) error) error {
		var t Listed
		var column, typ string
		if err := scan(&t.Schema, &t.Name, &t.Default, &t.Root, &column, &typ); err != nil {
			return err
		}
		id := t.Schema + "\x00" + t.Name
		i, seen := at[id]
		if !seen {
			i, at[id] = len(tables), len(tables)
			t.SQL = d.part(t.Schema) + "." + d.part(t.Name)
			if d.Kind == Postgres {
				t.SQL = "ONLY " + t.SQL
			}
			if !strings.Contains(t.Schema+t.Name, ".") {
				t.Path = t.Schema + "." + t.Name
			}
			tables = append(tables, t)
		}
		tables[i].Columns = append(tables[i].Columns, ListedColumn{column, d.anyBytes(d.part(column), typ)})
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("sqldb: catalog: %w", Safe(err))
	}
	return tables, nil
}

func (d Dialect) part(name string) string {
	quote := `"`
	if d.mysql() {
		quote = "`"
	}
	return quote + strings.ReplaceAll(name, quote, quote+quote) + quote
}

func (d Dialect) anyBytes(column, typ string) string {
	switch {
	case d.Kind == SQLite:
		return "CAST(" + column + " AS BLOB)"
	case d.Kind == Postgres && typ == "bytea":
		return "CAST(" + column + " AS bytea)" // a domain is more than its type
	case d.Kind == Postgres:
		return "convert_to(CAST(" + column + " AS text), 'UTF8')"
	case strings.HasSuffix(typ, "binary"), strings.HasSuffix(typ, "blob"):
		return column
	}
	return "CAST(CONVERT(" + column + " USING utf8mb4) AS BINARY)"
}

func (d Dialect) catalogue() string {
	switch d.Kind {
	case SQLite:
		return `SELECT l.schema, l.name, 1, l.name, c.name, '' FROM pragma_table_list l JOIN pragma_table_xinfo(l.name, l.schema) c
			WHERE l.schema = 'main' AND l.type IN ('table', 'shadow') AND l.name NOT LIKE 'sqlite\_%' ESCAPE '\' ORDER BY l.name, c.cid`
	case Postgres:
		// Numbers, times, booleans, enums, geometry, addresses, bit strings and uuid hold neither.
		return `SELECT n.nspname, c.relname, pg_table_is_visible(c.oid), r.relname, a.attname,
				(WITH RECURSIVE b (oid) AS (SELECT t.oid UNION ALL SELECT d.typbasetype FROM pg_catalog.pg_type d JOIN b ON d.oid = b.oid WHERE d.typtype = 'd')
				SELECT d.typname FROM b JOIN pg_catalog.pg_type d ON d.oid = b.oid WHERE d.typtype <> 'd')
			FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
			JOIN pg_catalog.pg_class r ON r.oid = COALESCE(pg_partition_root(c.oid), c.oid)
			JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
			JOIN pg_catalog.pg_type t ON t.oid = a.atttypid
			WHERE c.relkind IN ('r', 'm') AND c.relpersistence <> 't' AND n.nspname <> 'information_schema' AND n.nspname NOT LIKE 'pg\_%'
				AND t.typcategory NOT IN ('B', 'D', 'E', 'G', 'I', 'N', 'T', 'V') AND t.typname <> 'uuid'
			ORDER BY n.nspname, c.relname, a.attnum`
	case MariaDB, MySQL:
	}
	return `SELECT c.TABLE_SCHEMA, c.TABLE_NAME, 1, c.TABLE_NAME, c.COLUMN_NAME, LOWER(c.DATA_TYPE)
		FROM information_schema.COLUMNS c JOIN information_schema.TABLES t ON t.TABLE_SCHEMA = c.TABLE_SCHEMA AND t.TABLE_NAME = c.TABLE_NAME
		WHERE c.TABLE_SCHEMA = DATABASE() AND t.TABLE_TYPE IN ('BASE TABLE', 'SYSTEM VERSIONED') AND c.DATA_TYPE IN ('char', 'varchar', 'tinytext', 'text',
			'mediumtext', 'longtext', 'json', 'binary', 'varbinary', 'tinyblob', 'blob', 'mediumblob', 'longblob')
		ORDER BY c.TABLE_NAME, c.ORDINAL_POSITION`
}
