package sqlstore

import (
	"context"
	"database/sql"
	"fmt"
	"slices"
	"strings"

	"github.com/crmguard/crmguard/internal/sqldb"
	"github.com/crmguard/crmguard/privacy/datamap"
)

// A kind is how values of a column are compared with ids, which are text.
type kind int

const (
	dynamic  kind = iota // SQLite: each value has a type of its own
	textual              // by the column's collation, and again by bytes
	integral             // as a number, where the id is one in its shortest spelling
	identity             // a uuid: as one, where the id is one in its usual spelling
	binary               // bytes
	other                // by what the database writes for it
)

// A column is what the catalog says of one.
type column struct {
	kind      kind
	cast      string // PostgreSQL: the type to compare text with, as it is written in this search path; MariaDB: a character set that lacks some characters
	collation string
	loose     bool   // texts that differ in bytes may be equal
	written   string // PostgreSQL: the type as a statement writes it
	day       bool   // a date without a time of day
	padded    bool   // MariaDB's CHAR, which a session may show with its blanks
	narrow    bool   // PostgreSQL: of a database that cannot hold every character
	instant   bool   // MariaDB's TIMESTAMP and PostgreSQL's timestamptz, which are written in the time zone of the session
}

// A relation is what the catalog says of a table of the map.
type relation struct {
	id      string // the same for every name of the table
	schema  string // PostgreSQL: where the search path has led to
	refused string // why it cannot be erased from, or ""
	heirs   bool   // PostgreSQL: what inherits from it is a table of its own
	columns map[string]column
}

// column is the column of that name, which only PostgreSQL tells apart by case.
func (r relation) column(db sqldb.Dialect, name string) (column, bool) {
	if db.Kind != sqldb.Postgres {
		name = strings.ToLower(name)
	}
	c, ok := r.columns[name]
	return c, ok
}

// relations reads the tables that lead to persons, and their link tables. On
// SQLite, whose columns have no types of their own, there is nothing to read.
func (s *Store) readRelations(ctx context.Context) error {
	s.relations = map[string]relation{}
	if s.sqlite() {
		return refuseSchemas(s.cfg.Map)
	}
	names := map[string]string{}
	for _, t := range reaching(s.cfg.Map) {
		if err := s.readRelation(ctx, names, t.Name, needed(t)); err != nil {
			return err
		}
		if j := t.Link; j != nil {
			columns := []string{j.Record, j.Person}
			if j.Tenant != "" {
				columns = append(columns, j.Tenant)
			}
			if err := s.readRelation(ctx, names, j.Table, columns); err != nil {
				return err
			}
		}
	}
	return nil
}

// reaching are the tables that lead to persons.
func reaching(m *datamap.Map) (tables []datamap.Table) {
	for _, t := range m.Tables {
		if t.Reaches() {
			tables = append(tables, t)
		}
	}
	return tables
}

// refuseSchemas: a name with a schema means another database file on SQLite.
func refuseSchemas(m *datamap.Map) error {
	for _, t := range m.Tables {
		if strings.Contains(t.Name, ".") || t.Link != nil && strings.Contains(t.Link.Table, ".") {
			return mapError(t.Name, "SQLite has no schemas: name the table alone")
		}
	}
	return nil
}

func mapError(table, text string) error {
	return fmt.Errorf("%w: table %s: %s", datamap.ErrMap, table, text)
}

// needed lists the columns that the statements about a table name.
func needed(t datamap.Table) []string {
	names := slices.Clone(t.Key)
	for _, name := range []string{t.Tenant, t.Person, t.Created} {
		if name != "" {
			names = append(names, name)
		}
	}
	for _, e := range t.Edges {
		names = append(names, e.Columns...)
		for _, w := range e.When {
			names = append(names, w.Column)
		}
	}
	if t.Merged != "" {
		names = append(names, t.Merged)
	}
	if t.Link != nil && t.Link.Owner != "" {
		names = append(names, t.Link.Owner)
	}
	if t.Keep != nil {
		names = append(names, t.Keep.From)
	}
	for _, c := range t.Columns {
		names = append(names, c.Name)
	}
	return names
}

// readRelation reads one table and insists that it can be erased from. names
// are the tables seen so far, by id: two names of one table would be two plans
// for its rows.
func (s *Store) readRelation(ctx context.Context, names map[string]string, table string, columns []string) error {
	r, err := readRelation(ctx, s.db, table)
	switch {
	case err != nil:
		return dbError("open", table, err)
	case r.id == "":
		return mapError(table, "not in this database, or not where its search path leads: write its schema before the name")
	case r.refused != "":
		return mapError(table, r.refused)
	case names[r.id] != "" && names[r.id] != table:
		return mapError(table, "the same table as "+names[r.id])
	}
	for _, name := range columns {
		if _, ok := r.column(s.db.Dialect, name); !ok {
			return mapError(table, "no column "+name)
		}
	}
	names[r.id], s.relations[table] = table, r
	return nil
}

func readRelation(ctx context.Context, db *sqldb.DB, table string) (relation, error) {
	if db.Kind == sqldb.Postgres {
		return postgresRelation(ctx, db, table)
	}
	return mysqlRelation(ctx, db, table)
}

func postgresRelation(ctx context.Context, db *sqldb.DB, table string) (r relation, err error) {
	quoted, err := db.Quote(table)
	if err != nil {
		return r, err
	}
	r.columns = map[string]column{}
	// The base type of a domain counts, three deep.
	err = sqldb.Each(ctx, db, func(rows *sql.Rows) error {
		var kind, name, base, written, full, collation string
		var hides, temporary, loose, elsewhere, narrow bool
		if err := rows.Scan(&r.id, &r.schema, &temporary, &kind, &r.heirs, &elsewhere, &hides, &name, &base, &written, &full, &collation, &loose, &narrow); err != nil {
			return err
		}
		switch {
		case temporary:
			r.refused = "a temporary table of this connection: write the schema of the true one before the name"
		case kind != "r" && kind != "p":
			r.refused = "not a table: name the tables behind a view"
		case elsewhere:
			r.refused = "a partition stands on another server, whose changes a rehearsal does not take back: name the tables there in a map of their own"
		case hides:
			r.refused = "row level security hides rows from this role, which would stay: use a role that bypasses it"
		}
		c := postgresColumn(base, written, collation)
		c.written, c.loose, c.narrow = full, loose, narrow
		r.columns[name] = c
		return nil
	}, `SELECT c.oid::text, n.nspname::text, c.relpersistence = 't', c.relkind::text, c.relkind = 'r' AND c.relhassubclass,
			c.relkind = 'p' AND EXISTS (SELECT 1 FROM pg_catalog.pg_partition_tree(c.oid) p JOIN pg_catalog.pg_class f ON f.oid = p.relid AND f.relkind = 'f'), row_security_active(c.oid), a.attname::text, b.typname::text, format_type(b.oid, NULL), format_type(a.atttypid, a.atttypmod), a.attcollation::text,
			b.typname = 'citext' OR COALESCE(NOT k.collisdeterministic, false), getdatabaseencoding() NOT IN ('UTF8', 'SQL_ASCII')
		FROM pg_catalog.pg_class c
		JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
		JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
		JOIN pg_catalog.pg_type d ON d.oid = a.atttypid
		LEFT JOIN pg_catalog.pg_type e ON e.oid = d.typbasetype
		LEFT JOIN pg_catalog.pg_type f ON f.oid = e.typbasetype
		JOIN pg_catalog.pg_type b ON b.oid = COALESCE(f.oid, e.oid, d.oid)
		LEFT JOIN pg_catalog.pg_collation k ON k.oid = a.attcollation
		WHERE c.oid = to_regclass($1)`, quoted)
	return r, err
}

func postgresColumn(base, written, collation string) column {
	switch base {
	case "text", "varchar", "name":
		return column{kind: textual, cast: "text", collation: collation}
	case "bpchar":
		return column{kind: textual, cast: "bpchar", collation: collation}
	case "citext":
		return column{kind: textual, cast: written, collation: base + collation}
	case "int2", "int4", "int8":
		return column{kind: integral}
	case "uuid":
		return column{kind: identity}
	case "bytea":
		return column{kind: binary}
	case "date":
		return column{kind: other, day: true}
	case "timestamptz":
		return column{kind: other, instant: true}
	}
	return column{kind: other}
}

func mysqlRelation(ctx context.Context, db *sqldb.DB, table string) (r relation, err error) {
	schema, name := splitName(table)
	r.columns = map[string]column{}
	err = sqldb.Each(ctx, db, func(rows *sql.Rows) error {
		var tableType, transactions, name, dataType, charset, collation string
		if err := rows.Scan(&r.id, &tableType, &transactions, &name, &dataType, &charset, &collation); err != nil {
			return err
		}
		switch {
		case tableType == "SYSTEM VERSIONED":
			r.refused = "it keeps the history of its rows (WITH SYSTEM VERSIONING), where what is erased would stay"
		case tableType != "BASE TABLE":
			r.refused = "not a table: name the tables behind a view"
		case transactions != "YES":
			r.refused = "its engine has no transactions, so that half an erasure could stay: convert it to InnoDB"
		}
		r.columns[name] = mysqlColumn(dataType, charset, collation)
		return nil
	}, `SELECT IF(@@lower_case_table_names = 0, CONCAT(t.TABLE_SCHEMA, '.', t.TABLE_NAME), LOWER(CONCAT(t.TABLE_SCHEMA, '.', t.TABLE_NAME))), t.TABLE_TYPE, COALESCE(e.TRANSACTIONS, 'NO'),
			LOWER(c.COLUMN_NAME), LOWER(c.DATA_TYPE), COALESCE(c.CHARACTER_SET_NAME, ''), COALESCE(c.COLLATION_NAME, '')
		FROM information_schema.TABLES t
		JOIN information_schema.COLUMNS c ON c.TABLE_SCHEMA = t.TABLE_SCHEMA AND c.TABLE_NAME = t.TABLE_NAME AND (@@lower_case_table_names <> 0 OR BINARY c.TABLE_NAME = t.TABLE_NAME)
		LEFT JOIN information_schema.ENGINES e ON e.ENGINE = t.ENGINE
		WHERE t.TABLE_SCHEMA = COALESCE(NULLIF(?, ''), DATABASE()) AND t.TABLE_NAME = ? AND (@@lower_case_table_names <> 0 OR BINARY t.TABLE_NAME = ?)`, schema, name, name)
	return r, err
}

func mysqlColumn(dataType, charset, collation string) column {
	// One of bytes that pads with blanks takes 'a' and 'a ' for one.
	loose := !strings.HasSuffix(collation, "_nopad_bin") && collation != "utf8mb4_0900_bin"
	if charset == "utf8mb4" {
		charset = ""
	}
	switch dataType {
	case "char", "varchar", "tinytext", "text", "mediumtext", "longtext", "enum", "set":
		return column{kind: textual, cast: charset, collation: collation, loose: loose, padded: dataType == "char"}
	case "tinyint", "smallint", "mediumint", "int", "bigint":
		return column{kind: integral}
	case "binary", "varbinary", "tinyblob", "blob", "mediumblob", "longblob":
		return column{kind: binary}
	case "uuid":
		return column{kind: identity}
	case "date":
		return column{kind: other, day: true}
	case "timestamp":
		return column{kind: other, instant: true}
	}
	return column{kind: other}
}

// splitName parts the schema from the table; "" stands for the one in use.
func splitName(name string) (schema, table string) {
	schema, table, ok := strings.Cut(name, ".")
	if !ok {
		return "", name
	}
	return schema, table
}
