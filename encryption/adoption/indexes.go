package adoption

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strings"

	"github.com/crmguard/crmguard/internal/sqldb"
)

// wanted is an index that a table should have.
type wanted struct {
	name    string
	table   string   // a partition, quoted; "" is the table
	columns []string // quoted, or expressions
	where   string   // a predicate; "" is none
	unique  bool
}

func (w wanted) list() string { return strings.Join(w.columns, ", ") }

// asked is the list as a question may have it.
func (w wanted) asked(between string) string {
	var out []string
	for _, part := range w.columns {
		out = append(out, asking(part))
	}
	return strings.Join(out, between)
}

// create is the statement of it up to the table.
func (w wanted) create(how string) string {
	unique := ""
	if w.unique {
		unique = "UNIQUE "
	}
	return `CREATE ` + unique + `INDEX ` + how + w.name + ` ON `
}

// of is its columns and predicate.
func (w wanted) of() string {
	if w.where == "" {
		return ` (` + w.list() + `)`
	}
	return ` (` + w.list() + `) WHERE ` + w.where
}

// indexName names an index after its column and, since PostgreSQL and SQLite have
// one name once in a schema, its table.
//
// Statements name it without quotes, and the catalogue is asked for it as it is: it is
// in small letters, and what differs in them only in the sum.
func (a *Adoption) indexName(prefix, column, table string) string {
	name := strings.ToLower(prefix + column)
	sum := sha256.Sum256([]byte(column + "\x00" + table))
	return name[:min(len(name), 50)] + "_" + hex.EncodeToString(sum[:4])
}

// searched says whether a column is searched by an index of its own: a whole and
// valid one that begins with it.
func (a *Adoption) searched(ctx context.Context, column string) (bool, error) {
	schema, name := a.parts()
	query, args := `SELECT INDEX_NAME FROM information_schema.STATISTICS WHERE TABLE_SCHEMA = COALESCE(NULLIF(?, ''), DATABASE()) AND TABLE_NAME = ? AND COLUMN_NAME = ? AND SEQ_IN_INDEX = 1 AND SUB_PART IS NULL`, []any{schema, name, column}
	switch a.db.Kind {
	case sqldb.Postgres:
		quoted, err := a.db.Quote(a.def.SQL)
		if err != nil {
			return false, fmt.Errorf("%w: %w", ErrDefinition, err)
		}
		query, args = `SELECT CAST(i.indexrelid AS text) FROM pg_catalog.pg_index i JOIN pg_catalog.pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = i.indkey[0]
			WHERE i.indrelid = to_regclass(?) AND a.attname = ? AND i.indisvalid AND i.indisready AND i.indpred IS NULL`, []any{quoted, column}
	case sqldb.SQLite:
		query, args = `SELECT l.name FROM pragma_index_list(?, NULLIF(?, '')) l, pragma_index_xinfo(l.name, NULLIF(?, '')) x WHERE NOT l.partial AND x.seqno = 0 AND x.name = ?`, []any{name, schema, schema, column}
	case sqldb.MariaDB, sqldb.MySQL:
	}
	found, err := a.texts(ctx, query, args...)
	return len(found) > 0, err
}

// build returns the statements that make an index while writers go on, and those
// before it that take away what was left of one that failed.
func (a *Adoption) build(ctx context.Context, w wanted) ([]string, error) {
	table, err := a.db.Quote(a.def.SQL)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrDefinition, err)
	}
	switch a.db.Kind {
	case sqldb.Postgres:
		return a.buildOn(ctx, cmp.Or(w.table, table), "", w)
	case sqldb.SQLite:
		schema, bare := "", table
		if before, after, ok := strings.Cut(table, "."); ok {
			schema, bare = before+".", after
		}
		return []string{strings.Replace(w.create(""), w.name, schema+w.name, 1) + bare + w.of()}, nil
	case sqldb.MariaDB, sqldb.MySQL:
	}
	return []string{w.create("") + table + w.of()}, nil
}

// buildOn is build for PostgreSQL. An index of a partitioned table cannot be built
// CONCURRENTLY: it is declared over the parent alone, one is built on each partition,
// and attached; with the last one the parent's is valid.
func (a *Adoption) buildOn(ctx context.Context, table, parent string, w wanted) (out []string, err error) {
	at := struct {
		schema, kind                string
		there, valid, attached, own bool
	}{}
	err = a.rows(ctx, func(scan func(...any) error) error {
		return scan(&at.schema, &at.kind, &at.there, &at.valid, &at.attached, &at.own)
	}, `SELECT quote_ident(n.nspname), CAST(c.relkind AS text), x.oid IS NOT NULL, COALESCE(i.indisvalid AND i.indisready, false), COALESCE(x.relispartition, false), COALESCE(i.indrelid = c.oid, true)
		FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
		LEFT JOIN pg_catalog.pg_class x ON x.relnamespace = c.relnamespace AND x.relname = ? LEFT JOIN pg_catalog.pg_index i ON i.indexrelid = x.oid
		WHERE c.oid = to_regclass(?)`, w.name, table)
	if err != nil {
		return nil, err
	}
	if !at.own {
		return nil, fmt.Errorf("%w: the name %s is that of an index of another table: rename that one", ErrDefinition, w.name)
	}
	name := at.schema + "." + w.name
	switch {
	case at.kind == "f":
		return nil, nil // another server's: it has no index here
	case at.kind == "p":
		if !at.there {
			out = append(out, w.create("")+`ONLY `+table+w.of())
		}
		parts, err := a.texts(ctx, `SELECT format('%I.%I', n.nspname, c.relname) FROM pg_catalog.pg_inherits h JOIN pg_catalog.pg_class c ON c.oid = h.inhrelid
			JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace WHERE h.inhparent = to_regclass(?) ORDER BY 1`, table)
		if err != nil {
			return nil, err
		}
		for _, part := range parts {
			one := w
			one.name = a.indexName(w.name, "", part)
			more, err := a.buildOn(ctx, part, name, one)
			if err != nil {
				return nil, err
			}
			out = append(out, more...)
		}
	case at.there && !at.valid && at.attached:
		out = append(out, `REINDEX INDEX CONCURRENTLY `+name)
	case at.there && !at.valid:
		out = append(out, `DROP INDEX CONCURRENTLY `+name, w.create("CONCURRENTLY ")+table+w.of())
	case !at.there:
		out = append(out, w.create("CONCURRENTLY ")+table+w.of())
	}
	if parent != "" && !at.attached {
		out = append(out, `ALTER INDEX `+parent+` ATTACH PARTITION `+name)
	}
	return out, nil
}
