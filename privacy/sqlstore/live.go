package sqlstore

import (
	"context"
	"database/sql"
	"strings"

	"github.com/crmguard/crmguard/internal/sqldb"
	"github.com/crmguard/crmguard/privacy/datamap"
)

// liveTable is what the database says about a table.
type liveTable struct {
	columns []string
	indexed map[string]bool   // columns that lead an index
	foreign map[string]string // column to the table that it refers to
}

// liveSchema reads every table of the database but the library's own, by the
// names that the map gives them.
func liveSchema(ctx context.Context, db *sqldb.DB, m *datamap.Map) (map[string]*liveTable, error) {
	names, err := namesOf(ctx, db, m)
	if err != nil {
		return nil, dbError("check schema", "(schema)", err)
	}
	live := map[string]*liveTable{}
	columns, leading := liveQueries(db, m)
	err = triples(ctx, db, columns, func(id, table, column string) {
		if strings.HasPrefix(table[strings.LastIndexByte(table, '.')+1:], "crmguard_") {
			return
		}
		name := nameIn(names, id, table)
		if live[name] == nil {
			live[name] = &liveTable{indexed: map[string]bool{}, foreign: map[string]string{}}
		}
		live[name].columns = append(live[name].columns, column)
	})
	if err != nil {
		return nil, err
	}
	err = triples(ctx, db, leading, func(id, table, column string) {
		if l := live[nameIn(names, id, table)]; l != nil {
			l.indexed[column] = true
		}
	})
	if err != nil {
		return nil, err
	}
	query, args := foreignKeys(db, m)
	return live, foreign(ctx, db, question{query, args}, names, live)
}

// nameIn is the map's name of a table, or the shortest that is its own.
func nameIn(names tableNames, id, table string) string {
	if name, ok := names[id]; ok {
		return name
	}
	return table
}

type question struct {
	query string
	args  []any
}

// triples reads rows of three texts.
func triples(ctx context.Context, db *sqldb.DB, q question, each func(id, table, column string)) error {
	return dbError("check schema", "(schema)", sqldb.Each(ctx, db, func(rows *sql.Rows) error {
		var id, table, column string
		if err := rows.Scan(&id, &table, &column); err != nil {
			return err
		}
		each(id, table, column)
		return nil
	}, db.Bind(q.query), q.args...))
}

// foreign notes the foreign keys of the tables of the map.
func foreign(ctx context.Context, db *sqldb.DB, q question, names tableNames, live map[string]*liveTable) error {
	return dbError("check schema", "(schema)", sqldb.Each(ctx, db, func(rows *sql.Rows) error {
		var child, column, parent, action string
		if err := rows.Scan(&child, &column, &parent, &action); err != nil {
			return err
		}
		l := live[names.of(child)]
		if l != nil && (l.foreign[column] == "" || names[parent] != "") { // rather the whole than one of its partitions
			l.foreign[column] = names.of(parent)
		}
		return nil
	}, db.Bind(q.query), q.args...))
}

// liveQueries ask for the columns of all tables, and for those that lead an
// index which knows every row: id, table, column.
func liveQueries(db *sqldb.DB, m *datamap.Map) (columns, leading question) {
	switch db.Kind {
	case sqldb.SQLite:
		return question{query: `SELECT lower(m.name), m.name, c.name FROM sqlite_master m JOIN pragma_table_info(m.name) c
				WHERE m.type = 'table' AND m.name NOT LIKE 'sqlite\_%' ESCAPE '\' ORDER BY m.name, c.cid`},
			question{query: `SELECT lower(m.name), m.name, i.name FROM sqlite_master m JOIN pragma_index_list(m.name) l JOIN pragma_index_info(l.name) i
					WHERE m.type = 'table' AND i.seqno = 0 AND i.name IS NOT NULL
				UNION SELECT lower(m.name), m.name, c.name FROM sqlite_master m JOIN pragma_table_info(m.name) c WHERE m.type = 'table' AND c.pk = 1`}
	case sqldb.Postgres:
		const tables = ` FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace %JOIN%
			WHERE c.relkind IN ('r', 'p', 'm', 'f') AND NOT c.relispartition AND n.nspname <> 'information_schema' AND n.nspname NOT LIKE 'pg\_%'
				AND NOT EXISTS (SELECT 1 FROM pg_catalog.pg_depend d WHERE d.classid = 'pg_catalog.pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e')`
		const names = `SELECT n.nspname || '.' || c.relname, CASE WHEN pg_table_is_visible(c.oid) THEN c.relname ELSE n.nspname || '.' || c.relname END, a.attname::text`
		return question{query: names + strings.Replace(tables, "%JOIN%", `JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped`, 1) + ` ORDER BY 1, a.attnum`},
			question{query: names + strings.Replace(tables, "%JOIN%", `JOIN pg_catalog.pg_index i ON i.indrelid = c.oid AND i.indisvalid AND i.indpred IS NULL
				JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid AND a.attnum = i.indkey[0]`, 1)}
	default:
		schemas, args := schemasOf(m)
		const names = `SELECT LOWER(CONCAT(c.TABLE_SCHEMA, '.', c.TABLE_NAME)), CASE WHEN c.TABLE_SCHEMA = DATABASE() THEN c.TABLE_NAME ELSE CONCAT(c.TABLE_SCHEMA, '.', c.TABLE_NAME) END, c.COLUMN_NAME`
		return question{names + ` FROM information_schema.COLUMNS c JOIN information_schema.TABLES t ON t.TABLE_SCHEMA = c.TABLE_SCHEMA AND t.TABLE_NAME = c.TABLE_NAME
				WHERE t.TABLE_TYPE IN ('BASE TABLE', 'SYSTEM VERSIONED') AND c.TABLE_SCHEMA IN ` + schemas + ` ORDER BY c.TABLE_NAME, c.ORDINAL_POSITION`, args},
			question{names + ` FROM information_schema.STATISTICS c WHERE c.SEQ_IN_INDEX = 1 AND c.COLUMN_NAME IS NOT NULL AND c.TABLE_SCHEMA IN ` + schemas, args}
	}
}
