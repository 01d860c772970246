package sqlstore

import (
	"context"
	"slices"
	"strings"

	"github.com/crmguard/crmguard/internal/sqldb"
	"github.com/crmguard/crmguard/privacy/datamap"
)

// tableNames are the names that the map gives to tables, by the ids that the
// catalog has for them.
type tableNames map[string]string

// of is the map's name, or the id of a table that is not in the map.
func (n tableNames) of(id string) string {
	if name, ok := n[id]; ok {
		return name
	}
	return id
}

// namesOf asks the catalog for the tables of the map. Ids are the small letters
// of a name on SQLite, those of schema and name on MariaDB and MySQL, and
// schema and name as they are on PostgreSQL.
func namesOf(ctx context.Context, db *sqldb.DB, m *datamap.Map) (tableNames, error) {
	names := tableNames{}
	for _, name := range mappedTables(m) {
		id, err := idOf(ctx, db, name)
		if err != nil {
			return nil, err
		}
		if id != "" {
			names[id] = name
		}
	}
	return names, nil
}

func mappedTables(m *datamap.Map) []string {
	var names []string
	for _, t := range m.Tables {
		names = append(names, t.Name)
		if t.Link != nil {
			names = append(names, t.Link.Table)
		}
	}
	return names
}

func idOf(ctx context.Context, db *sqldb.DB, table string) (id string, err error) {
	switch schema, name := splitName(table); db.Kind {
	case sqldb.SQLite:
		return strings.ToLower(table), nil
	case sqldb.Postgres:
		quoted, err := db.Quote(table)
		if err != nil {
			return "", err
		}
		err = sqldb.One(ctx, db, []any{&id}, `SELECT COALESCE((SELECT n.nspname || '.' || c.relname FROM pg_catalog.pg_class c
			JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace WHERE c.oid = to_regclass($1)), '')`, quoted)
		return id, err
	default:
		err := sqldb.One(ctx, db, []any{&id}, `SELECT LOWER(CONCAT(COALESCE(NULLIF(?, ''), DATABASE()), '.', ?))`, schema, name)
		return id, err
	}
}

// foreignKeys asks for every foreign key, a row for each of its columns: child,
// column, parent, what happens when the parent's row is deleted.
func foreignKeys(db *sqldb.DB, m *datamap.Map) (query string, args []any) {
	switch db.Kind {
	case sqldb.SQLite:
		return `SELECT lower(m.name), f."from", lower(f."table"), upper(f.on_delete) FROM sqlite_master m JOIN pragma_foreign_key_list(m.name) f
			WHERE m.type = 'table' ORDER BY 1, 2, 3, 4`, nil
	case sqldb.Postgres:
		// ON DELETE SET NULL may name columns since version 15, and older ones
		// have no confdelsetcols: as JSON both can be asked.
		// A partition, and a table that inherits, may have foreign keys of its own,
		// and is referred to; its rows are rows of the tables above it, too.
		return `WITH RECURSIVE above (rel, name) AS (
				SELECT oid, oid FROM pg_catalog.pg_class WHERE relkind IN ('r', 'p')
				UNION SELECT above.rel, h.inhparent FROM above JOIN pg_catalog.pg_inherits h ON h.inhrelid = above.name)
			SELECT DISTINCT cn.nspname || '.' || c.relname, a.attname::text, pn.nspname || '.' || p.relname,
				CASE k.confdeltype WHEN 'c' THEN 'CASCADE' WHEN 'n' THEN 'SET NULL' WHEN 'd' THEN 'SET DEFAULT' ELSE '' END
			FROM pg_catalog.pg_constraint k
			JOIN above ca ON ca.rel = k.conrelid JOIN above pa ON pa.rel = k.confrelid
			JOIN pg_catalog.pg_class c ON c.oid = ca.name JOIN pg_catalog.pg_namespace cn ON cn.oid = c.relnamespace
			JOIN pg_catalog.pg_class p ON p.oid = pa.name JOIN pg_catalog.pg_namespace pn ON pn.oid = p.relnamespace
			JOIN pg_catalog.pg_attribute a ON a.attrelid = k.conrelid AND a.attnum = ANY (k.conkey)
			WHERE k.contype = 'f' AND (k.confdeltype NOT IN ('n', 'd') OR jsonb_typeof(to_jsonb(k)->'confdelsetcols') IS DISTINCT FROM 'array'
				OR to_jsonb(k)->'confdelsetcols' @> to_jsonb(a.attnum))
			ORDER BY 1, 2, 3, 4`, nil
	default:
		schemas, args := schemasOf(m)
		return `SELECT LOWER(CONCAT(k.TABLE_SCHEMA, '.', k.TABLE_NAME)), k.COLUMN_NAME,
				LOWER(CONCAT(k.REFERENCED_TABLE_SCHEMA, '.', k.REFERENCED_TABLE_NAME)), r.DELETE_RULE
			FROM information_schema.KEY_COLUMN_USAGE k
			JOIN information_schema.REFERENTIAL_CONSTRAINTS r
				ON r.CONSTRAINT_SCHEMA = k.CONSTRAINT_SCHEMA AND r.CONSTRAINT_NAME = k.CONSTRAINT_NAME AND r.TABLE_NAME = k.TABLE_NAME
			WHERE k.REFERENCED_TABLE_NAME IS NOT NULL AND k.TABLE_SCHEMA IN ` + schemas + `
			ORDER BY 1, 2, 3, 4`, args
	}
}

// schemasOf are the databases of MariaDB's or MySQL's server that belong to the
// map: the one in use, and those that it names. The others are other people's.
func schemasOf(m *datamap.Map) (list string, args []any) {
	var named []string
	for _, table := range mappedTables(m) {
		if schema, _ := splitName(table); schema != "" && !slices.Contains(named, schema) {
			named, args = append(named, schema), append(args, schema)
		}
	}
	return "(DATABASE()" + strings.Repeat(", ?", len(named)) + ")", args
}
