package adoption

import (
	"context"
	"fmt"
	"regexp"
	"strings"

	"github.com/crmguard/crmguard/internal/sqldb"
)

// keyedBy is a unique index, or a constraint of PostgreSQL that excludes rows, with what
// it compares, as SQL.
type keyedBy struct {
	name          string
	parts         []string
	where         string // its predicate; "" is none
	nullsEqual    bool   // two NULLs are equal to it
	drop, restore string
}

// nullsCollide: where nothing stands in the clear in any row, a uniqueness to which
// two of those are equal refuses all but the first, whatever takes its place. To most
// of them NULL is equal to nothing.
func (m *moving) nullsCollide(ctx context.Context) (out []Obstacle, err error) {
	all, err := m.keyedBys(ctx)
	if err != nil || len(all) == 0 {
		return nil, err
	}
	names, err := m.columnNames(ctx)
	if err != nil {
		return nil, err
	}
	for _, one := range all {
		var column *liveColumn
		var equal []string
		for i, part := range append(one.parts, one.where) {
			for at := range m.cells {
				if !wordIn(part, m.cells[at].Plain) {
					continue
				}
				column = &m.cells[at]
				switch {
				case i == len(one.parts):
					equal = append(equal, "("+part+")")
				case !one.nullsEqual:
					equal = append(equal, "("+part+") IS NOT NULL")
				}
				break
			}
		}
		if column == nil {
			continue
		}
		rows, collides, err := m.refusesNULL(ctx, check{expr: `NOT (` + strings.Join(append(equal, "1 = 1"), " AND ") + `)`}, names)
		if err != nil {
			return nil, err
		}
		if !collides {
			continue
		}
		out = append(out, Obstacle{
			Column: column.Name, Rows: rows, SQL: []string{one.drop}, restores: []restoring{{Of: "UNIQUE " + one.name, SQL: []string{one.restore}}},
			Why: fmt.Sprintf("to the uniqueness %s two rows in which nothing stands in %s are equal: it would refuse all but one of them; let what takes its place be there, then drop it", one.name, column.Plain),
		})
	}
	return out, nil
}

// keyedBys lists what is unique by more than columns of which NULL is equal to
// nothing. MariaDB has none of these.
func (m *moving) keyedBys(ctx context.Context) (out []keyedBy, err error) {
	schema, table := m.parts()
	switch m.db.Kind {
	case sqldb.SQLite:
		before, master := "", "sqlite_master"
		if schema != "" {
			quoted, err := m.db.QuoteName(schema)
			if err != nil {
				return nil, fmt.Errorf("%w: %w", ErrDefinition, err)
			}
			before, master = quoted+".", quoted+"."+master
		}
		err = m.rows(ctx, func(scan func(...any) error) error {
			var one keyedBy
			if err := scan(&one.name, &one.restore); err != nil {
				return err
			}
			quoted, err := m.db.QuoteName(one.name)
			one.drop = `DROP INDEX ` + before + quoted
			one.parts, one.where = indexed(one.restore)
			out = append(out, one)
			return err
		}, `SELECT l.name, m.sql FROM pragma_index_list(?1, NULLIF(?2, '')) l JOIN `+master+` m ON m.type = 'index' AND m.name = l.name WHERE l."unique" AND m.sql IS NOT NULL ORDER BY 1`, table, schema)
		return out, err
	case sqldb.Postgres:
	case sqldb.MariaDB, sqldb.MySQL:
		return nil, nil
	}
	err = m.rows(ctx, func(scan func(...any) error) error {
		var one keyedBy
		var part string
		if err := scan(&one.name, &one.drop, &one.restore, &one.nullsEqual, &one.where, &part); err != nil {
			return err
		}
		if len(out) == 0 || out[len(out)-1].name != one.name {
			out = append(out, one)
		}
		last := &out[len(out)-1]
		last.parts = append(last.parts, part)
		return nil
	}, `SELECT CAST(c.relname AS text), CASE WHEN k.oid IS NOT NULL THEN concat('ALTER TABLE ', CAST(? AS text), ' DROP CONSTRAINT ', quote_ident(k.conname))
				ELSE format('DROP INDEX %s%I.%I', CASE WHEN c.relkind = 'I' THEN '' ELSE 'CONCURRENTLY ' END, n.nspname, c.relname) END,
			CASE WHEN k.oid IS NOT NULL THEN concat('ALTER TABLE ', CAST(? AS text), ' ADD CONSTRAINT ', quote_ident(k.conname), ' ', pg_get_constraintdef(k.oid)) ELSE pg_get_indexdef(i.indexrelid) END,
			COALESCE(CAST(to_jsonb(i) ->> 'indnullsnotdistinct' AS boolean), false), COALESCE(pg_get_expr(i.indpred, i.indrelid), ''), pg_get_indexdef(i.indexrelid, p.n, true)
		FROM pg_catalog.pg_index i JOIN pg_catalog.pg_class c ON c.oid = i.indexrelid JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
		LEFT JOIN pg_catalog.pg_constraint k ON k.conindid = i.indexrelid AND k.conrelid = i.indrelid AND k.contype IN ('u', 'x')
		CROSS JOIN LATERAL generate_series(1, CAST(i.indnkeyatts AS integer)) AS p(n)
		WHERE i.indrelid = to_regclass(?) AND (i.indisunique OR i.indisexclusion) AND NOT i.indisprimary ORDER BY 1, p.n`, m.sql, m.sql, m.sql)
	return out, err
}

// order is what stands behind a part of an index of SQLite and is no expression.
var order = regexp.MustCompile(`(?i)\s+(ASC|DESC)\s*$`)

// indexed are the parts of an index of SQLite, and its predicate, as its statement
// has them.
func indexed(statement string) (parts []string, where string) {
	open := 0
	for open < len(statement) && statement[open] != '(' {
		open = max(open+1, beyond(statement, open))
	}
	if open >= len(statement) {
		return nil, ""
	}
	end := closing(statement, open)
	begin, depth := open+1, 0
	for i := open + 1; i < end; {
		if after := beyond(statement, i); after > i {
			i = after
			continue
		}
		switch statement[i] {
		case '(':
			depth++
		case ')':
			depth--
		case ',':
			if depth == 0 {
				parts, begin = append(parts, statement[begin:i]), i+1
			}
		}
		i++
	}
	parts = append(parts, statement[begin:end])
	for i, part := range parts {
		parts[i] = strings.TrimSpace(order.ReplaceAllString(part, ""))
	}
	if at := regexp.MustCompile(`(?i)\bWHERE\b`).FindStringIndex(statement[min(end+1, len(statement)):]); at != nil {
		where = strings.TrimSpace(statement[end+1+at[1]:])
	}
	return parts, where
}
