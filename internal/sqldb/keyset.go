package sqldb

import (
	"context"
	"database/sql"
	"fmt"
	"slices"
	"strings"
)

// A Keyset is a unique key of a table that others made: of any type, of several
// columns, under any collation. Pages come in the order of the key's own index,
// the database compares the cursor, and nothing is sorted.
type Keyset struct {
	Table   string   // as SQL text
	Columns []Column // in the order of the index

	dialect Dialect
	path    string
}

// Keyset asks the database for a key of a table named as [Dialect.Quote] takes
// it: the unique key of exactly the columns named, in any order, and without
// names the primary key. Where there is none that every row has and a page can
// be read by, it is a *KeyError.
func (d Dialect) Keyset(ctx context.Context, q Querier, table string, columns ...string) (Keyset, error) {
	if err := d.childless(ctx, q, table); err != nil {
		return Keyset{}, err
	}
	indexes, err := d.uniqueIndexes(ctx, q, table)
	if err != nil {
		return Keyset{}, err
	}
	for _, index := range indexes {
		if len(columns) == 0 && !index.primary || len(columns) > 0 && !index.of(columns) {
			continue
		}
		k := Keyset{dialect: d, path: table}
		if k.Table, err = d.Quote(table); err != nil {
			return Keyset{}, err
		}
		if k.Columns, err = d.Columns(ctx, q, table, index.columns...); err != nil {
			return Keyset{}, err
		}
		for i := range k.Columns {
			if k.Columns[i].collation, err = d.stated(ctx, q, k, i, index.collations[i]); err != nil {
				return Keyset{}, err
			}
			if k.Columns[i].kind == unordered {
				return Keyset{}, &KeyError{Table: table, Why: "column " + index.columns[i] + " of the key has a type that has no exact order"}
			}
			if k.Columns[i].nullable && d.Kind != SQLite {
				return Keyset{}, &KeyError{Table: table, Why: "column " + index.columns[i] + " of the key may be NULL: such a row has no place in the order"}
			}
		}
		return k, nil
	}
	if len(columns) == 0 {
		return Keyset{}, &KeyError{Table: table, Why: "there is no such table, this user may not see it, or it has no primary key"}
	}
	return Keyset{}, &KeyError{Table: table, Why: "no unique index over " + strings.Join(columns, ", ") + " alone: rows could not be told apart"}
}

// childless refuses a table of PostgreSQL that others inherit from: reading it
// reads their rows, too, and no key of it tells those apart. (A partitioned
// table has one key for all its partitions.)
func (d Dialect) childless(ctx context.Context, q Querier, table string) error {
	if d.Kind != Postgres {
		return nil
	}
	quoted, err := d.Quote(table)
	if err != nil {
		return err
	}
	var children int
	err = One(ctx, q, []any{&children}, `SELECT count(*) FROM pg_catalog.pg_inherits h JOIN pg_catalog.pg_class p ON p.oid = h.inhparent
		WHERE p.oid = to_regclass($1) AND p.relkind <> 'p'`, quoted)
	if err != nil {
		return fmt.Errorf("sqldb: tables that inherit from %s: %w", table, err)
	}
	if children > 0 {
		return &KeyError{Table: table, Why: "other tables inherit from it: their rows are read with it, and its key does not tell them apart"}
	}
	return nil
}

// stated is the collation that a column of the index must be named with: none
// where it is the column's own. SQLite does not say which that is, so it is asked
// how values of the column compare.
func (d Dialect) stated(ctx context.Context, q Querier, k Keyset, column int, collation string) (string, error) {
	if d.Kind != SQLite || collation == "" {
		return collation, nil
	}
	equal := func(to string) string {
		return "(SELECT count(*) FROM (SELECT " + k.Columns[column].Name + " AS v FROM " + k.Table + " WHERE 0 UNION ALL SELECT '" + to + "') WHERE v = 'a')"
	}
	var noCase, noBlanks bool
	err := One(ctx, q, []any{&noCase, &noBlanks}, "SELECT "+equal("A")+", "+equal("a "))
	if err != nil {
		return "", fmt.Errorf("sqldb: collations of %s: %w", k.path, err)
	}
	own := `"BINARY"`
	switch {
	case noCase:
		own = `"NOCASE"`
	case noBlanks:
		own = `"RTRIM"`
	}
	if strings.EqualFold(own, collation) {
		return "", nil
	}
	return collation, nil
}

// Page writes the query of one page and its arguments. Of p it takes Columns,
// Where, Args, Limit, and After as [Keyset.Scan] gave it; behind the columns the
// query selects the cursor.
func (k Keyset) Page(p Page) (query string, args []any) {
	key, marks := make([]string, len(k.Columns)), make([]string, len(k.Columns))
	columns := slices.Clone(p.Columns)
	for i, c := range k.Columns {
		key[i], marks[i] = c.ordered(k.Table), c.mark(k.dialect)
		columns = append(columns, c.cursor(k.dialect))
	}
	p.Table, p.Columns, p.Key = k.Table, columns, key
	if len(p.After) == len(key) {
		after := make([]any, len(key))
		for i, c := range k.Columns {
			after[i] = c.bound(p.After[i])
		}
		p.After = after
	}
	return k.dialect.page(p, marks)
}

// Scan reads the columns of a row of a page into dest, and returns the row's key
// for [Page].After and [Keyset.Equal]. A NULL in the key, which SQLite allows
// where a primary key was not declared NOT NULL, is a *KeyError: the row has no
// name.
func (k Keyset) Scan(rows *sql.Rows, dest ...any) (key []any, err error) {
	key = make([]any, len(k.Columns))
	all := slices.Clone(dest)
	for i := range key {
		all = append(all, &key[i])
	}
	if err := rows.Scan(all...); err != nil {
		return nil, fmt.Errorf("sqldb: page of %s: %w", k.path, err)
	}
	for i, c := range k.Columns {
		if key[i] == nil {
			return nil, &KeyError{Table: k.path, Why: "a row has NULL in the key column " + c.Name}
		}
		key[i] = c.bound(key[i])
	}
	return key, nil
}

// Equal is the condition that a row has exactly this key, byte for byte; see
// [Dialect.Equal].
func (k Keyset) Equal(key []any) (condition string, args []any) {
	conditions := make([]string, len(k.Columns))
	for i, c := range k.Columns {
		var values []any
		conditions[i], values = k.dialect.Equal(c, key[i])
		args = append(args, values...)
	}
	return strings.Join(conditions, " AND "), args
}

// A uniqueIndex tells rows apart by whole columns, all of them ascending or all
// descending.
type uniqueIndex struct {
	name       string
	primary    bool
	columns    []string
	collations []string
	down       bool
	usable     bool
}

func (x uniqueIndex) of(columns []string) bool {
	return len(columns) == len(x.columns) && !slices.ContainsFunc(columns, func(c string) bool { return !slices.Contains(x.columns, c) })
}

func (d Dialect) uniqueIndexes(ctx context.Context, q Querier, table string) ([]uniqueIndex, error) {
	query, args, err := d.askingIndexes(table)
	if err != nil {
		return nil, err
	}
	var all []uniqueIndex
	err = each(ctx, q, d.Bind(query), args, func(scan func(...any) error) error {
		var x uniqueIndex
		var column, collation sql.NullString
		if err := scan(&x.name, &x.primary, &column, &collation, &x.down, &x.usable); err != nil {
			return err
		}
		if n := len(all); n == 0 || all[n-1].name != x.name {
			all = append(all, uniqueIndex{name: x.name, primary: x.primary, down: x.down, usable: true})
		}
		last := &all[len(all)-1]
		last.columns, last.collations = append(last.columns, column.String), append(last.collations, collation.String)
		last.usable = last.usable && x.usable && x.down == last.down
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("sqldb: indexes of %s: %w", table, err)
	}
	return slices.DeleteFunc(all, func(x uniqueIndex) bool { return !x.usable }), nil
}

// askingIndexes lists the columns of unique indexes: name of the index, whether
// it is the primary key, column, collation that must be stated, whether it
// goes downwards, and whether the whole column stands in it.
func (d Dialect) askingIndexes(table string) (query string, args []any, err error) {
	quoted, err := d.Quote(table)
	if err != nil {
		return "", nil, err
	}
	schema, name := splitPath(table)
	switch {
	case d.Kind == Postgres:
		return `SELECT i.indexrelid::text, i.indisprimary, a.attname,
				CASE WHEN i.indcollation[k.n] <> a.attcollation THEN quote_ident(s.nspname) || '.' || quote_ident(c.collname) END,
				i.indoption[k.n] & 1 = 1, true
			FROM pg_catalog.pg_index i CROSS JOIN LATERAL generate_series(0, i.indnkeyatts - 1) AS k(n)
			LEFT JOIN pg_catalog.pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = i.indkey[k.n]
			LEFT JOIN pg_catalog.pg_collation c ON c.oid = i.indcollation[k.n]
			LEFT JOIN pg_catalog.pg_namespace s ON s.oid = c.collnamespace
			WHERE i.indrelid = to_regclass(?) AND i.indisunique AND i.indisvalid AND i.indpred IS NULL
			ORDER BY i.indisprimary DESC, i.indexrelid, k.n`, []any{quoted}, nil
	case d.mysql():
		return `SELECT INDEX_NAME, INDEX_NAME = 'PRIMARY', COLUMN_NAME, NULL, COALESCE(COLLATION = 'D', FALSE), SUB_PART IS NULL
			FROM information_schema.STATISTICS
			WHERE TABLE_SCHEMA = COALESCE(NULLIF(?, ''), DATABASE()) AND TABLE_NAME = ? AND NON_UNIQUE = 0
			ORDER BY INDEX_NAME = 'PRIMARY' DESC, INDEX_NAME, SEQ_IN_INDEX`, []any{schema, name}, nil
	}
	// The key of a table with rowids that is one INTEGER is the rowid: no index
	// is listed for it.
	return `SELECT name, pk, "column", '"' || replace(coll, '"', '""') || '"', down, true FROM (
			SELECT l.name, l.origin = 'pk' AS pk, x.name AS "column", x.coll, x."desc" = 1 AS down, x.seqno
			FROM pragma_index_list(?1, NULLIF(?2, '')) l, pragma_index_xinfo(l.name, NULLIF(?2, '')) x
			WHERE l."unique" AND NOT l.partial AND x.key
			UNION ALL
			SELECT '', 1, max(c.name), NULL, 0, 0 FROM pragma_table_xinfo(?1, NULLIF(?2, '')) c WHERE c.pk > 0
			HAVING count(*) = 1 AND upper(max(c.type)) = 'INTEGER' AND NOT EXISTS (SELECT 1 FROM pragma_index_list(?1, NULLIF(?2, '')) WHERE origin = 'pk')
		) ORDER BY pk DESC, name, seqno`, []any{name, schema}, nil
}
