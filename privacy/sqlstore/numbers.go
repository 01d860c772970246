package sqlstore

import (
	"context"
	"database/sql"
	"fmt"
	"slices"

	"github.com/crmguard/crmguard/internal/sqldb"
	"github.com/crmguard/crmguard/privacy/datamap"
)

// NumberError says that a table gives numbers of deleted rows again, or has no
// counter to be moved, so that a new person could get the number of one who was
// erased. Permanent: on SQLite declare the column INTEGER PRIMARY KEY
// AUTOINCREMENT.
type NumberError struct {
	Table, Column string
}

// Error names table and column.
func (e *NumberError) Error() string {
	return fmt.Sprintf("sqlstore: table %s gives numbers of deleted rows again in column %s: declare it AUTOINCREMENT", e.Table, e.Column)
}

// Is makes errors.Is(err, datamap.ErrMap) true.
func (e *NumberError) Is(target error) bool { return target == datamap.ErrMap }

// A counter gives out the numbers of a column of a table of the map.
type counter struct {
	table, column string
	sequence      string // PostgreSQL: quoted
}

func (c counter) name() string { return c.table + "." + c.column }

// Tops are the highest numbers that the databases' own counters have given out, or
// that stand in the column, by the table as the map names it and the column: of
// the keys and persons of tables that lead to persons. Columns whose numbers the
// application gives out are left out, and SQLite's that have no counter of their
// own.
func (s *Store) Tops(ctx context.Context) (map[string]int64, error) {
	counters, err := s.counters(ctx)
	if err != nil {
		return nil, err
	}
	tops := map[string]int64{}
	for _, c := range counters {
		given, stands, err := s.top(ctx, c)
		if err != nil {
			return nil, err
		}
		tops[c.name()] = max(given, stands)
	}
	return tops, nil
}

// Advance moves every counter past the number, where it is behind. A column that
// has none is a [*NumberError], where a row of it could get such a number; what
// the map does not name is left alone.
func (s *Store) Advance(ctx context.Context, tops map[string]int64) error {
	counters, err := s.counters(ctx)
	if err != nil {
		return err
	}
	for _, c := range counters {
		wanted, asked := tops[c.name()]
		if !asked {
			continue
		}
		given, _, err := s.top(ctx, c)
		if err == nil && given < wanted { // a counter of PostgreSQL does not look at the rows
			err = s.advance(ctx, c, wanted)
		}
		if err != nil {
			return err
		}
	}
	for _, e := range s.entities {
		for _, column := range numbered(e.Table) {
			name := counter{table: e.Name, column: column}.name()
			if _, asked := tops[name]; asked && !slices.ContainsFunc(counters, func(c counter) bool { return c.name() == name }) {
				return &NumberError{e.Name, column}
			}
		}
	}
	return nil
}

// numbered are the columns whose numbers stand for rows or persons.
func numbered(t datamap.Table) []string {
	columns := slices.Clone(t.Key)
	if t.Person != "" && !slices.Contains(columns, t.Person) {
		columns = append(columns, t.Person)
	}
	return columns
}

func (s *Store) counters(ctx context.Context) (all []counter, err error) {
	if s.sqlite() { // one question instead of one a column: no table counts without that one
		var n int
		err := sqldb.One(ctx, s.db, []any{&n}, `SELECT COUNT(*) FROM sqlite_master WHERE type = 'table' AND name = 'sqlite_sequence'`)
		if err != nil || n == 0 {
			return nil, dbError("numbers", "sqlite_sequence", err)
		}
	}
	for _, e := range s.entities {
		for _, column := range numbered(e.Table) {
			c := counter{table: e.Name, column: column}
			has, err := s.counted(ctx, &c)
			if err != nil {
				return nil, dbError("numbers", e.Name, err)
			}
			if has {
				all = append(all, c)
			}
		}
	}
	return all, nil
}

// counted reports whether the database counts the column by itself.
func (s *Store) counted(ctx context.Context, c *counter) (bool, error) {
	switch s.at("", c.table, c.column).kind {
	case textual, identity, binary: // a number within a text is none that could be moved
		return false, nil
	default:
	}
	schema, table := splitName(c.table)
	var n int
	switch s.db.Kind {
	case sqldb.SQLite:
		err := sqldb.One(ctx, s.db, []any{&n}, `SELECT COUNT(*) FROM sqlite_master m JOIN pragma_table_info(m.name, 'main') i ON i.name = ? COLLATE NOCASE AND i.pk = 1
			WHERE m.type = 'table' AND m.name = ? COLLATE NOCASE AND upper(m.sql) LIKE '%AUTOINCREMENT%'`, c.column, table)
		return n > 0, err
	case sqldb.Postgres:
		// A sequence of a serial or an identity column belongs to it; another one
		// stands in the default.
		var sequence sql.NullString
		err := sqldb.One(ctx, s.db, []any{&sequence}, `SELECT COALESCE(pg_get_serial_sequence($1, $2),
			(SELECT d.refobjid::regclass::text FROM pg_catalog.pg_attrdef f
				JOIN pg_catalog.pg_attribute a ON a.attrelid = f.adrelid AND a.attnum = f.adnum
				JOIN pg_catalog.pg_depend d ON d.classid = 'pg_attrdef'::regclass AND d.objid = f.oid AND d.refclassid = 'pg_class'::regclass
				JOIN pg_catalog.pg_class c ON c.oid = d.refobjid AND c.relkind = 'S'
				WHERE f.adrelid = to_regclass($1) AND a.attname = $2 LIMIT 1))`, s.path(c.table), c.column)
		c.sequence = sequence.String
		return sequence.Valid, err
	default:
		err := sqldb.One(ctx, s.db, []any{&n}, `SELECT COUNT(*) FROM information_schema.COLUMNS
			WHERE TABLE_SCHEMA = COALESCE(NULLIF(?, ''), DATABASE()) AND TABLE_NAME = ? AND `+s.sameFile()+` AND COLUMN_NAME = ? AND EXTRA LIKE '%auto_increment%'`, schema, table, table, c.column)
		return n > 0, err
	}
}

// sameFile asks MariaDB and MySQL for the table of exactly that name where names
// are told apart by case; their catalogue does not.
func (*Store) sameFile() string { return `(@@lower_case_table_names <> 0 OR BINARY TABLE_NAME = ?)` }

// top is the highest number that was given out, and the highest that stands there.
func (s *Store) top(ctx context.Context, c counter) (given, stands int64, err error) {
	schema, table := splitName(c.table)
	var counted, there sql.NullInt64
	switch s.db.Kind {
	case sqldb.SQLite:
		err = sqldb.One(ctx, s.db, []any{&counted}, `SELECT MAX(seq) FROM main.sqlite_sequence WHERE name = ? COLLATE NOCASE`, table)
	case sqldb.Postgres:
		err = sqldb.One(ctx, s.db, []any{&counted}, `SELECT CASE WHEN is_called THEN last_value END FROM `+c.sequence)
	default:
		err = s.db.ReadCatalog(ctx, func(q sqldb.Querier) error {
			return sqldb.One(ctx, q, []any{&counted}, `SELECT AUTO_INCREMENT - 1 FROM information_schema.TABLES WHERE TABLE_SCHEMA = COALESCE(NULLIF(?, ''), DATABASE()) AND TABLE_NAME = ? AND `+s.sameFile(), schema, table, table)
		})
	}
	if err == nil {
		err = sqldb.One(ctx, s.db, []any{&there}, fmt.Sprintf("SELECT MAX(%s) FROM %s", s.quote(c.column), s.path(c.table)))
	}
	return counted.Int64, there.Int64, dbError("numbers", c.table, err)
}

func (s *Store) advance(ctx context.Context, c counter, top int64) error {
	_, table := splitName(c.table)
	var err error
	switch s.db.Kind {
	case sqldb.SQLite:
		err = s.db.Write(ctx, func(tx *sql.Tx) error {
			if err := s.exec(ctx, tx, `DELETE FROM main.sqlite_sequence WHERE name = ? COLLATE NOCASE`, table); err != nil {
				return err
			}
			return s.exec(ctx, tx, `INSERT INTO main.sqlite_sequence (name, seq) SELECT name, ? FROM main.sqlite_master WHERE type = 'table' AND name = ? COLLATE NOCASE`, top, table)
		})
	case sqldb.Postgres:
		err = sqldb.One(ctx, s.db, []any{new(int64)}, `SELECT setval($1::text::regclass, $2)`, c.sequence, top)
	default:
		_, err = s.db.ExecContext(ctx, fmt.Sprintf("ALTER TABLE %s AUTO_INCREMENT = %d", s.table(c.table), top+1))
	}
	return dbError("numbers", c.table, err)
}
