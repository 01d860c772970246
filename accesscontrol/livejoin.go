package accesscontrol

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/crmguard/crmguard/internal/sqldb"
)

// joinDifferences says where the live tables do not carry the joins of a table:
// both columns are of one collation, or the index of the key is of no use and
// PostgreSQL refuses the query, and no two rows of a tenant have the same key,
// or a record would be two.
func (t *table) joinDifferences(ctx context.Context, d sqldb.Dialect, q sqldb.Querier, live map[*table]liveTable) (out []string, err error) {
	for _, source := range t.Columns {
		to := t.relations[source.Attr]
		if to == nil {
			continue
		}
		from, fromExists := live[t].columns[t.columns[source.Attr].Name]
		key, keyExists := live[to].columns[to.Key]
		if !fromExists || !keyExists {
			continue // said already
		}
		if from.collation != key.collation && from.collation != "" && key.collation != "" {
			out = append(out, fmt.Sprintf("column %s has another collation than column %s of table %s, with which it is joined", t.columns[source.Attr].Name, to.Key, to.Name))
		}
		unique, err := uniqueIndexes(ctx, d, q, to.Name)
		if err != nil {
			return nil, err
		}
		if !slices.ContainsFunc(unique, func(columns []string) bool {
			return slices.Contains(columns, to.Key) && (len(columns) == 1 || len(columns) == 2 && slices.Contains(columns, to.Tenant))
		}) {
			out = append(out, fmt.Sprintf("column %s joins table %s, whose column %s is not UNIQUE by itself, nor within the tenant", t.columns[source.Attr].Name, to.Name, to.Key))
		}
	}
	return out, nil
}

// uniqueIndexes lists the columns of each unique index of a table.
func uniqueIndexes(ctx context.Context, d sqldb.Dialect, q sqldb.Querier, name string) (out [][]string, err error) {
	schema, table, qualified := strings.Cut(name, ".")
	if !qualified {
		schema, table = "", name
	}
	var rows string
	args := []any{schema, table}
	switch d.Kind {
	case sqldb.SQLite: // an INTEGER PRIMARY KEY has no index of its own
		if schema == "" {
			args[0] = "main"
		}
		rows = `SELECT name, '' FROM pragma_table_info(?2, ?1) WHERE pk > 0 UNION ALL
			SELECT COALESCE(c.name, ''), i.name FROM pragma_index_list(?2, ?1) AS i, pragma_index_xinfo(i.name, ?1) AS c WHERE i."unique" AND NOT i.partial AND c.key ORDER BY 2`
	case sqldb.Postgres:
		rows = `SELECT a.attname, i.indexrelid::text FROM pg_catalog.pg_index i JOIN pg_catalog.pg_class c ON c.oid = i.indrelid
			JOIN pg_catalog.pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = ANY (i.indkey[0:i.indnkeyatts - 1])
			WHERE c.oid = to_regclass(CASE $1::text WHEN '' THEN '' ELSE quote_ident($1) || '.' END || quote_ident($2)) AND i.indisunique AND i.indisvalid AND i.indpred IS NULL AND i.indexprs IS NULL ORDER BY 2`
	default:
		rows = `SELECT column_name, index_name FROM information_schema.statistics
			WHERE table_schema = COALESCE(NULLIF(?, ''), DATABASE()) AND table_name = ? AND non_unique = 0 AND sub_part IS NULL ORDER BY 2`
	}
	found, err := q.QueryContext(ctx, rows, args...)
	if err != nil {
		return nil, err
	}
	defer func() { _ = found.Close() }()
	before := ""
	for found.Next() {
		var column, index string
		if err := found.Scan(&column, &index); err != nil {
			return nil, err
		}
		if len(out) == 0 || index != before {
			out = append(out, nil)
		}
		before = index
		out[len(out)-1] = append(out[len(out)-1], column)
	}
	return out, found.Err()
}
