package sqldb

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"regexp"
	"slices"
	"strings"
)

// On PostgreSQL a name is looked up along the search path: the first schema
// that has it wins, in a statement of the work as in [Schema.Check]. So tables
// of one package could be found in several places, half of them filled by
// another application; all of them must be where the table of versions is.

// beside makes what is created from here on stand beside the table of versions
// that is found already: a first schema of the search path that is empty would
// get a second one, and hide the first.
func (db *DB) beside(ctx context.Context, conn *sql.Conn) error {
	if db.Kind != Postgres {
		return nil
	}
	var schema string
	err := One(ctx, conn, []any{&schema}, `SELECT n.nspname FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
		WHERE c.oid = to_regclass('crmguard_schema')`)
	if errors.Is(err, sql.ErrNoRows) {
		return nil
	}
	if err != nil {
		return err
	}
	name, err := db.Quote(strings.ReplaceAll(schema, ".", `_`))
	if err != nil || strings.Contains(schema, ".") {
		return fmt.Errorf("sqldb: crmguard_schema stands in a schema whose name holds a point: apply the migrations with a tool")
	}
	_, err = conn.ExecContext(ctx, `SET LOCAL search_path TO `+name)
	return Safe(err)
}

// elsewhere says where this connection does not look although tables are
// there, or "".
func elsewhere(ctx context.Context, d Dialect, q Querier) (string, error) {
	switch d.Kind {
	case Postgres:
		var schema string
		var usable bool
		err := One(ctx, q, []any{&schema, &usable}, `SELECT n.nspname, pg_catalog.has_schema_privilege(n.oid, 'USAGE')
			FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
			WHERE c.relname = 'crmguard_schema' AND c.relkind IN ('r', 'p') AND c.oid IS DISTINCT FROM to_regclass('crmguard_schema')
			ORDER BY 1 LIMIT 1`)
		switch {
		case errors.Is(err, sql.ErrNoRows):
			return "", nil
		case err != nil:
			return "", err
		case !usable:
			return fmt.Sprintf("this role has USAGE on schema %q, where a crmguard_schema stands", schema), nil
		}
		return fmt.Sprintf("the search path leads to schema %q first, where another crmguard_schema stands, or that none is there", schema), nil
	case MariaDB, MySQL:
		var other string
		err := One(ctx, q, []any{&other}, `SELECT table_schema FROM information_schema.tables
			WHERE table_name = 'crmguard_schema' AND NOT table_schema <=> DATABASE() ORDER BY 1 LIMIT 1`)
		if errors.Is(err, sql.ErrNoRows) || err != nil {
			return "", ignoreNoRows(err)
		}
		return fmt.Sprintf("the connection chooses database %q, where a crmguard_schema stands, or that this one is meant", other), nil
	case SQLite: // has one place, its file
	}
	return "", nil
}

func ignoreNoRows(err error) error {
	if errors.Is(err, sql.ErrNoRows) {
		return nil
	}
	return err
}

// parted names a table that a statement would not find where the table of
// versions is, or "".
func (s Schema) parted(ctx context.Context, d Dialect, q Querier, files []string) (string, error) {
	names, err := s.tables(files)
	if err != nil || len(names) == 0 {
		return "", err
	}
	list := "'" + strings.Join(names, "', '") + "'"
	found := map[string]bool{}
	switch d.Kind {
	case Postgres:
		found, err = these(ctx, q, `SELECT relname FROM pg_catalog.pg_class WHERE relname IN (`+list+`) AND oid = to_regclass(relname::text)
			AND relnamespace = (SELECT relnamespace FROM pg_catalog.pg_class WHERE oid = to_regclass('crmguard_schema'))`)
	case SQLite: // a temporary table hides the one of the file
		found, err = these(ctx, q, `SELECT name FROM sqlite_master WHERE name IN (`+list+`) EXCEPT SELECT name FROM sqlite_temp_master`)
	default: // information_schema knows only the tables that this role may use
		for _, name := range names {
			err := ignoreNoRows(One(ctx, q, []any{new(int)}, `SELECT 1 FROM `+name+` WHERE 1 = 0`))
			switch code := codeOf(err); {
			case err == nil, code == "mysql 1142": // without a right the database does not say whether it is there
				found[name] = true
			case code != "mysql 1146": // no such table
				return "", err
			}
		}
	}
	if err != nil {
		return "", err
	}
	for _, name := range names {
		if !found[name] {
			return fmt.Sprintf("table %s is not where crmguard_schema is: it is missing, or another one of this name comes before it", name), nil
		}
	}
	return "", nil
}

func these(ctx context.Context, q Querier, query string) (found map[string]bool, err error) {
	rows, err := q.QueryContext(ctx, query)
	if err != nil {
		return nil, Safe(err)
	}
	defer func() { err = errors.Join(err, Safe(rows.Close())) }()
	found = map[string]bool{}
	for rows.Next() {
		var name string
		if err := rows.Scan(&name); err != nil {
			return nil, Safe(err)
		}
		found[name] = true
	}
	return found, Safe(rows.Err())
}

// tables are the tables that the files create, in the library's own spelling.
func (s Schema) tables(files []string) ([]string, error) {
	create := regexp.MustCompile(`(?m)^CREATE TABLE (?:IF NOT EXISTS )?(crmguard_[a-z0-9_]+)\b`)
	var names []string
	for _, file := range files {
		text, err := fs.ReadFile(s.Migrations, file)
		if err != nil {
			return nil, err
		}
		for _, match := range create.FindAllStringSubmatch(string(text), -1) {
			if name := match[1]; name != "crmguard_schema" && !slices.Contains(names, name) {
				names = append(names, name)
			}
		}
	}
	return names, nil
}
