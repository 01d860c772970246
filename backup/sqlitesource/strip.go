package sqlitesource

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// quote makes an SQL identifier.
func quote(name string) string { return `"` + strings.ReplaceAll(name, `"`, `""`) + `"` }

// strip sets columns of the copy to NULL, and takes out of the planner's
// statistics the samples that quote their values.
func strip(ctx context.Context, db *sql.DB, table string, columns []string) error {
	triggers, err := dropTriggers(ctx, db, table)
	if err != nil {
		return err
	}
	sets, where := make([]string, 0, len(columns)), make([]string, 0, len(columns))
	for _, c := range columns {
		sets = append(sets, quote(c)+" = NULL")
		where = append(where, quote(c)+" IS NOT NULL")
	}
	update := "UPDATE " + quote(table) + " SET " + strings.Join(sets, ", ") + " WHERE " + strings.Join(where, " OR ")
	if _, err := db.ExecContext(ctx, update); err != nil {
		return fmt.Errorf("%w: table %q: %w", ErrStrip, table, err)
	}
	for _, create := range triggers {
		if _, err := db.ExecContext(ctx, create); err != nil {
			return fmt.Errorf("sqlitesource: put a trigger of table %q back: %w", table, err)
		}
	}
	return forgetSamples(ctx, db, table)
}

// strippable returns what to strip by the names that the database has for
// it, sorted: SQL takes a name in any case, and so do we, or a column would
// stay because of a capital letter. Tables and columns must exist and be
// nullable.
func strippable(ctx context.Context, db *sql.DB, want map[string][]string) (map[string][]string, error) {
	found := map[string][]string{}
	for asked, columns := range want {
		tables, err := texts(ctx, db, `SELECT name FROM pragma_table_list WHERE schema = 'main' AND type IN ('table', 'shadow') AND name = ? COLLATE NOCASE`, asked)
		if err != nil {
			return nil, err
		}
		if len(tables) != 1 {
			return nil, fmt.Errorf("%w: there is no table %q", ErrStrip, asked)
		}
		table := tables[0]
		if len(columns) == 0 {
			return nil, fmt.Errorf("%w: table %q: no columns given", ErrStrip, table)
		}
		for _, c := range columns {
			names, err := texts(ctx, db, `SELECT name FROM pragma_table_info(?) WHERE name = ? COLLATE NOCASE AND "notnull" = 0 AND pk = 0`, table, c)
			if err != nil {
				return nil, err
			}
			if len(names) != 1 {
				return nil, fmt.Errorf("%w: %q of table %q", ErrStrip, c, table)
			}
			found[table] = append(found[table], names[0])
		}
	}
	for table, columns := range found {
		slices.Sort(columns)
		found[table] = slices.Compact(columns)
	}
	return found, nil
}

// dropTriggers keeps the application's triggers from seeing the update, and
// returns the statements that make them again.
func dropTriggers(ctx context.Context, db *sql.DB, table string) (create []string, err error) {
	rows, err := db.QueryContext(ctx, `SELECT name, sql FROM sqlite_schema WHERE type = 'trigger' AND tbl_name = ? COLLATE NOCASE ORDER BY rowid`, table)
	if err != nil {
		return nil, fmt.Errorf("sqlitesource: triggers of table %q: %w", table, err)
	}
	defer rows.Close()
	var names []string
	for rows.Next() {
		var name, text string
		if err := rows.Scan(&name, &text); err != nil {
			return nil, err
		}
		names, create = append(names, name), append(create, text)
	}
	if err := errors.Join(rows.Err(), rows.Close()); err != nil {
		return nil, err
	}
	for _, name := range names {
		if _, err := db.ExecContext(ctx, "DROP TRIGGER "+quote(name)); err != nil {
			return nil, fmt.Errorf("sqlitesource: triggers of table %q: %w", table, err)
		}
	}
	return create, nil
}

// forgetSamples empties sqlite_stat3 and sqlite_stat4, which hold sampled
// index keys: values of the stripped columns.
func forgetSamples(ctx context.Context, db *sql.DB, table string) error {
	for _, stat := range []string{"sqlite_stat3", "sqlite_stat4"} {
		var n int
		if err := db.QueryRowContext(ctx, `SELECT count(*) FROM sqlite_schema WHERE name = ?`, stat).Scan(&n); err != nil {
			return err
		}
		if n == 0 {
			continue
		}
		if _, err := db.ExecContext(ctx, `DELETE FROM `+stat+` WHERE tbl = ? COLLATE NOCASE`, table); err != nil {
			return fmt.Errorf("sqlitesource: statistics of table %q: %w", table, err)
		}
	}
	return nil
}

// provesStripped reads back that nothing is left in the columns.
func provesStripped(ctx context.Context, db *sql.DB, table string, columns []string) error {
	for _, c := range columns {
		var left int64
		if err := db.QueryRowContext(ctx, "SELECT count("+quote(c)+") FROM "+quote(table)).Scan(&left); err != nil {
			return fmt.Errorf("sqlitesource: table %q: %w", table, err)
		}
		if left != 0 {
			return fmt.Errorf("%w: %q of table %q still holds %d values", ErrStrip, c, table, left)
		}
	}
	return nil
}
