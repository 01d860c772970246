package adoption

import (
	"context"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/crmguard/crmguard/internal/sqldb"
)

// keyedBy is a unique index, or a constraint of PostgreSQL that excludes rows, with what
// it compares, as SQL.
type keyedBy struct {
	name          string
	of            string // as uniqueness.of
	parts         []string
	where         string // its predicate; "" is none
	nullsEqual    bool   // two NULLs are equal to it
	drop, restore string
}

// nullsCollide: where nothing stands in the clear in any row, a uniqueness to which
// two of those are equal refuses all but the first, whatever takes its place. To most
// of them NULL is equal to nothing.
func (m *moving) nullsCollide(ctx context.Context) (out []Obstacle, err error) {
	all, err := m.described(ctx)
	if err != nil || len(all) == 0 {
		return nil, err
	}
	names, err := m.columnNames(ctx)
	if err != nil {
		return nil, err
	}
	for _, u := range all {
		one := u.by
		if one.drop == "" { // of columns alone, of which NULL is equal to nothing
			continue
		}
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
					equal = append(equal, asking(part)+" IS NOT NULL")
				}
				break
			}
		}
		if column == nil {
			continue
		}
		others := all
		if one.nullsEqual { // so others have to be without NULL to tell rows apart
			if others, err = m.withoutNULL(ctx, all); err != nil {
				return nil, err
			}
		}
		if m.apart(others, u.of, m.emptied(one.parts)) {
			continue
		}
		rows, collides, err := m.refusesNULL(ctx, check{of: one.of, expr: `NOT (` + strings.Join(append(equal, "1 = 1"), " AND ") + `)`}, names)
		if err != nil {
			return nil, err
		}
		if !collides {
			continue
		}
		out = append(out, Obstacle{
			Column: column.Name, Rows: rows, SQL: []string{one.drop}, restores: []restoring{{Of: "UNIQUE " + one.name + one.of, SQL: []string{one.restore}}},
			Why: fmt.Sprintf("to the uniqueness %s two rows in which nothing stands in %s are equal: it would refuse all but one of them; let what takes its place be there, then drop it", one.name, column.Plain),
		})
	}
	return out, nil
}

// emptied are the parts of a uniqueness that say something where nothing stands in
// the clear: those that are about other columns, and what stands in for the value.
func (m *moving) emptied(parts []string) (out []string) {
	for _, part := range parts {
		if !slices.ContainsFunc(m.cells, func(c liveColumn) bool { return wordIn(part, c.Plain) }) {
			out = append(out, part)
			continue
		}
		bare := strings.TrimSpace(part)
		if bare[0] == '(' && closing(bare, 0) == len(bare)-1 {
			bare = bare[1 : len(bare)-1]
		}
		open := regexp.MustCompile(`(?is)^(?:coalesce|ifnull)\s*\(`).FindString(bare)
		if open == "" || closing(bare, len(open)-1) != len(bare)-1 {
			continue
		}
		of, _ := indexed(bare)
		for _, c := range m.cells {
			if whole, _ := m.comparesWhole(of[0], c.Plain); whole && len(of) == 2 && !wordIn(of[1], c.Plain) {
				out = append(out, of[1])
			}
		}
	}
	return out
}

// keyedBys lists what each uniqueness compares, where that is more than whole columns,
// or two NULLs may be equal to it.
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
		return m.keyedBysOfMySQL(ctx, schema, table)
	}
	err = m.rows(ctx, func(scan func(...any) error) error {
		var one keyedBy
		var definition string
		err := scan(&one.of, &one.name, &one.drop, &one.restore, &one.nullsEqual, &one.where, &definition)
		one.parts, _ = indexed(definition) // with collations and classes of operators
		out = append(out, one)
		return err
	}, tree+`SELECT `+of+`, CAST(c.relname AS text), CASE WHEN k.oid IS NOT NULL THEN concat('ALTER TABLE ', CASE WHEN tree.root THEN CAST(? AS text) ELSE `+of+` END, ' DROP CONSTRAINT ', quote_ident(k.conname))
				ELSE format('DROP INDEX %s%I.%I', CASE WHEN c.relkind = 'I' THEN '' ELSE 'CONCURRENTLY ' END, n.nspname, c.relname) END,
			CASE WHEN k.oid IS NOT NULL THEN concat('ALTER TABLE ', CASE WHEN tree.root THEN CAST(? AS text) ELSE `+of+` END, ' ADD CONSTRAINT ', quote_ident(k.conname), ' ', pg_get_constraintdef(k.oid)) ELSE pg_get_indexdef(i.indexrelid) END,
			COALESCE(CAST(to_jsonb(i) ->> 'indnullsnotdistinct' AS boolean), false), COALESCE(pg_get_expr(i.indpred, i.indrelid), ''), pg_get_indexdef(i.indexrelid)
		FROM pg_catalog.pg_index i JOIN tree ON tree.oid = i.indrelid JOIN pg_catalog.pg_class c ON c.oid = i.indexrelid JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
		LEFT JOIN pg_catalog.pg_constraint k ON k.conindid = i.indexrelid AND k.conrelid = i.indrelid AND k.contype IN ('p', 'u', 'x')
		WHERE`+own+`AND (i.indisunique OR i.indisexclusion) ORDER BY 1, 2`, m.sql, m.sql, m.sql)
	return out, err
}

// keyedBysOfMySQL has no statements for indexes of MariaDB, to none of which two NULLs
// are equal. MySQL has indexes over expressions, and shows these with a backslash
// before quotes.
func (m *moving) keyedBysOfMySQL(ctx context.Context, schema, table string) (out []keyedBy, err error) {
	expression := `''`
	if m.db.Kind == sqldb.MySQL {
		expression = `COALESCE(EXPRESSION, '')`
	}
	err = m.rows(ctx, func(scan func(...any) error) error {
		var name, part, expression string
		var only int
		if err := scan(&name, &part, &only, &expression); err != nil {
			return err
		}
		if len(out) == 0 || out[len(out)-1].name != name {
			out = append(out, keyedBy{name: name})
		}
		last := &out[len(out)-1]
		switch {
		case expression != "":
			part = `(` + strings.ReplaceAll(expression, `\'`, `'`) + `)`
			quoted, err := m.db.QuoteName(name)
			if err != nil {
				return fmt.Errorf("%w: %w", ErrDefinition, err)
			}
			last.drop = `DROP INDEX ` + quoted + ` ON ` + m.sql
			last.restore = `CREATE UNIQUE INDEX ` + quoted + ` ON ` + m.sql + ` (`
		case only > 0:
			part = fmt.Sprintf("`%s`(%d)", strings.ReplaceAll(part, "`", "``"), only)
		default:
			part = "`" + strings.ReplaceAll(part, "`", "``") + "`"
		}
		last.parts = append(last.parts, part)
		return nil
	}, `SELECT INDEX_NAME, COALESCE(COLUMN_NAME, ''), COALESCE(SUB_PART, 0), `+expression+` FROM information_schema.STATISTICS
		WHERE TABLE_SCHEMA = COALESCE(NULLIF(?, ''), DATABASE()) AND TABLE_NAME = ? AND NON_UNIQUE = 0 ORDER BY INDEX_NAME, SEQ_IN_INDEX`, schema, table)
	for i, one := range out {
		if one.restore != "" {
			out[i].restore += strings.Join(one.parts, ", ") + `)`
		}
	}
	return out, err
}

// order is what stands behind a part of an index and is no expression.
var order = regexp.MustCompile(`(?i)(?:\s+(?:ASC|DESC))?(?:\s+NULLS\s+(?:FIRST|LAST))?\s*$`)

// indexed are the parts of an index, and its predicate, as its statement has them.
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
