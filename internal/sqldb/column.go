package sqldb

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// A Column is a column of a table that others made. Its type decides how its
// values travel and compare; see [Dialect.Columns].
type Column struct {
	Name string // as SQL text

	kind      kind
	nullable  bool
	collation string // of the index, as SQL text, where it must be stated
	generated bool
	room      room
}

// A kind is a group of types that travel and compare alike.
type kind int

const (
	native    kind = iota // the database compares it with a value of its type
	text                  // compares by a collation
	foldable              // text of a type that compares without regard to case (citext)
	padded                // text whose blanks at the end are padding
	integer               // a number, which stays one beside a text
	decimal               // on MySQL, where text beside it would make a binary64 of both
	ordinal               // an enum of MariaDB and MySQL: ordered by number, named by text
	temporal              // a date or a time, whose text depends on the session
	binary                // bytes
	unordered             // what has no exact text or no order: no key is made of it
)

// A KeyError says why a table cannot be read by a key.
type KeyError struct {
	Table  string
	Why    string
	Absent bool // there is no such table, or this user may not see it
}

// Error names the table and the reason.
func (e *KeyError) Error() string { return "sqldb: table " + e.Table + ": " + e.Why }

// Columns asks the database for the columns named, of a table named as
// [Dialect.Quote] takes it. A table or column that is not there is a *KeyError.
func (d Dialect) Columns(ctx context.Context, q Querier, table string, names ...string) ([]Column, error) {
	there, err := d.describe(ctx, q, table)
	if err != nil {
		return nil, err
	}
	if len(there) == 0 {
		return nil, &KeyError{Table: table, Why: "there is no such table, or this user may not see it", Absent: true}
	}
	out := make([]Column, len(names))
	for i, name := range names {
		column, ok := there[name]
		if !ok {
			return nil, &KeyError{Table: table, Why: "there is no such table, this user may not see it, or it has no column " + name}
		}
		if column.Name, err = d.Quote(name); err != nil || strings.Contains(name, ".") {
			return nil, &KeyError{Table: table, Why: "a column has a name that cannot be quoted"}
		}
		out[i] = column
	}
	return out, nil
}

// Equal is the condition that a column holds exactly this value, byte for byte,
// whatever its collation takes for equal. The column's own comparison stands in
// front, so that an index of it is used.
func (d Dialect) Equal(c Column, value any) (condition string, args []any) {
	value = c.bound(value)
	condition = c.Name + " = " + c.mark(d)
	exact := ""
	switch {
	case d.Kind == SQLite:
		exact = c.Name + " COLLATE BINARY = ?"
	case d.Kind == Postgres:
		exact = c.exactly("?", "?")
	case d.mysql() && c.kind == text:
		// The bytes of one character set on both sides, whatever the column's is.
		exact = "CAST(CONVERT(" + c.Name + " USING utf8mb4) AS BINARY) = CAST(? AS BINARY)"
	}
	if exact == "" {
		return condition, []any{value}
	}
	return condition + " AND " + exact, []any{value, value}
}

// SameAs is [Dialect.Equal] with an expression of the column's type, of
// PostgreSQL, in the place of the value.
func (c Column) SameAs(expression string) string {
	condition := c.Name + " = " + expression
	if exact := c.exactly(expression, "CAST("+expression+" AS text)"); exact != "" {
		condition += " AND " + exact
	}
	return condition
}

// exactly compares the bytes of text on PostgreSQL, with a value of the column's
// type or the same one as text.
func (c Column) exactly(value, asText string) string {
	switch c.kind { //nolint:exhaustive // the others have one spelling of a value
	case text:
		return c.Name + ` COLLATE "C" = ` + value
	case foldable, padded:
		return "CAST(" + c.Name + ` AS text) COLLATE "C" = ` + asText
	}
	return ""
}

// cursor is the expression whose value [Column.bound] takes back.
func (c Column) cursor(d Dialect) string {
	switch {
	case d.Kind == SQLite:
		return "+" + c.Name // an expression has no declared type that a driver would convert to
	case c.kind == binary:
		return c.Name
	case d.Kind == Postgres && c.kind == temporal:
		return "to_jsonb(" + c.Name + ") #>> '{}'" // ISO 8601, whatever the session's style
	case d.Kind == Postgres:
		return "CAST(" + c.Name + " AS text)"
	case c.kind == ordinal:
		return c.Name + " + 0"
	case c.kind == temporal, c.kind == native, c.kind == decimal:
		return "CONCAT(" + c.Name + ")"
	}
	return c.Name
}

// mark is the placeholder that is compared with the column.
func (c Column) mark(d Dialect) string {
	if d.mysql() && c.kind == decimal {
		return "CAST(? AS DECIMAL(65, 30))"
	}
	return "?"
}

// bound turns what a driver gave for a value into what it takes as one.
func (c Column) bound(value any) any {
	if raw, ok := value.([]byte); ok && c.kind != binary {
		value = string(raw)
	}
	if s, ok := value.(string); ok && (c.kind == integer || c.kind == ordinal) {
		if n, err := strconv.ParseInt(s, 10, 64); err == nil {
			return n
		}
		if n, err := strconv.ParseUint(s, 10, 64); err == nil {
			return n
		}
	}
	return value
}

// ordered is the column as it stands in ORDER BY and before >. It names the
// table: a bare name in ORDER BY is first of all a column of the result, such as
// the text of the key, which has another order.
func (c Column) ordered(table string) string {
	if c.collation != "" {
		return table + "." + c.Name + " COLLATE " + c.collation
	}
	return table + "." + c.Name
}

// describe reads all columns of a table, by name.
func (d Dialect) describe(ctx context.Context, q Querier, table string) (map[string]Column, error) {
	query, args, err := d.describing(table)
	if err != nil {
		return nil, err
	}
	out := map[string]Column{}
	err = each(ctx, q, d.Bind(query), args, func(scan func(...any) error) error {
		var name, typ string
		var nullable, generated, unsigned bool
		var size int64
		if err := scan(&name, &typ, &nullable, &generated, &unsigned, &size); err != nil {
			return err
		}
		typ = strings.ToLower(typ)
		out[name] = Column{kind: d.kindOf(typ), nullable: nullable, generated: generated, room: room{d.Kind, typ, unsigned, size}}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("sqldb: columns of %s: %w", table, err)
	}
	return out, nil
}

func (d Dialect) describing(table string) (query string, args []any, err error) {
	quoted, err := d.Quote(table)
	if err != nil {
		return "", nil, err
	}
	schema, name := splitPath(table)
	switch {
	case d.Kind == Postgres:
		// A domain may stand for another one, over any number of steps.
		return `WITH RECURSIVE c (attname, attnotnull, made, type) AS (
				SELECT a.attname, a.attnotnull, a.attgenerated <> '' OR a.attidentity = 'a', a.atttypid FROM pg_catalog.pg_attribute a
				WHERE a.attrelid = to_regclass(?) AND a.attnum > 0 AND NOT a.attisdropped
				UNION ALL SELECT c.attname, c.attnotnull, c.made, t.typbasetype FROM c JOIN pg_catalog.pg_type t ON t.oid = c.type AND t.typtype = 'd')
			SELECT c.attname, CASE WHEN t.typtype = 'e' THEN 'enum' ELSE t.typname END, NOT c.attnotnull, c.made, false, 0
			FROM c JOIN pg_catalog.pg_type t ON t.oid = c.type AND t.typtype <> 'd'`, []any{quoted}, nil
	case d.mysql():
		return `SELECT COLUMN_NAME, DATA_TYPE, IS_NULLABLE = 'YES', COALESCE(GENERATION_EXPRESSION, '') <> '', COLUMN_TYPE LIKE '%unsigned%',
			CAST(COALESCE(CHARACTER_MAXIMUM_LENGTH, NUMERIC_PRECISION - NUMERIC_SCALE, 0) AS SIGNED) FROM information_schema.COLUMNS
			WHERE TABLE_SCHEMA = COALESCE(NULLIF(?, ''), DATABASE()) AND TABLE_NAME = ?`, []any{schema, name}, nil
	}
	return `SELECT name, type, "notnull" = 0, hidden IN (2, 3), 0, 0 FROM pragma_table_xinfo(?, NULLIF(?, ''))`, []any{name, schema}, nil
}

// kindOf groups the types as the catalog names them.
func (d Dialect) kindOf(typ string) kind {
	group := map[Kind]map[string]kind{
		Postgres: {
			"text": text, "varchar": text, "name": text, "bpchar": padded, "citext": foldable, "bytea": binary,
			"date": temporal, "timestamp": temporal, "timestamptz": temporal,
			"float4": unordered, "float8": unordered, "money": unordered, "json": unordered, "xml": unordered,
		},
		MariaDB: {
			"char": text, "varchar": text, "tinytext": text, "text": text, "mediumtext": text, "longtext": text,
			"tinyint": integer, "smallint": integer, "mediumint": integer, "int": integer, "bigint": integer, "year": integer,
			"decimal": decimal, "enum": ordinal, "date": temporal, "datetime": temporal, "timestamp": temporal,
			"binary": binary, "varbinary": binary, "tinyblob": binary, "blob": binary, "mediumblob": binary, "longblob": binary,
			"uuid": native, "inet4": native, "inet6": native,
		},
	}
	kinds, other := group[d.Kind], native
	if d.mysql() {
		kinds, other = group[MariaDB], unordered // what is not listed compares as a binary64, or not at all
	}
	if d.Kind == SQLite {
		return binary // each value has a class of its own, and travels as it is
	}
	if k, ok := kinds[typ]; ok {
		return k
	}
	return other
}

func splitPath(table string) (schema, name string) {
	if before, after, ok := strings.Cut(table, "."); ok {
		return before, after
	}
	return "", table
}

// each calls f for each row of a question.
func each(ctx context.Context, q Querier, query string, args []any, f func(scan func(dest ...any) error) error) (err error) {
	rows, err := q.QueryContext(ctx, query, args...)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	for rows.Next() {
		if err := f(rows.Scan); err != nil {
			return err
		}
	}
	return rows.Err()
}
