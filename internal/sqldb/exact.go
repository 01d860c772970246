package sqldb

import "context"

// Text is the expression that reads a column, a key or not, so that nothing is
// lost in any driver or session: text and bytes as they are, integers, and all
// else as the database itself writes it. [Column.Read] takes what a driver gave.
func (d Dialect) Text(c Column) string {
	if c.kind == ordinal {
		return "CONCAT(" + c.Name + ")" // the name of the value, which its number is not
	}
	return c.cursor(d)
}

// Read turns what a driver gave for [Dialect.Text] into what [Dialect.Equal]
// takes: nil, a string, an integer, bytes only of a column that holds bytes. On
// SQLite each value keeps its own class.
func (c Column) Read(value any) any {
	if c.kind == ordinal {
		if raw, ok := value.([]byte); ok {
			return string(raw)
		}
		return value
	}
	return c.bound(value)
}

// Binary says whether the column may hold bytes that are no text.
func (c Column) Binary() bool { return c.kind == binary }

// Named is the condition that a column holds the value whose text is this one:
// 7 of a number, not 07 or 7.0, and a UUID in lower case. The column's own
// comparison stands in front, so that an index of it is used. A text that is no
// value of the type finds nothing, or is an error of the database.
func (d Dialect) Named(c Column, name string) (condition string, args []any) {
	condition = c.Name + " = " + c.mark(d)
	switch {
	case d.Kind == SQLite: // the affinity of the column has made '07' a 7
		return condition + " AND CAST(" + c.Name + " AS TEXT) COLLATE BINARY = ?", []any{name, name}
	case c.kind == binary:
		return condition, []any{[]byte(name)}
	case d.Kind == Postgres:
		// A planner takes two comparisons for two that are independent, and would
		// expect a handful of the tenth of a table that it reads: within COALESCE
		// it expects every second row to pass.
		return condition + " AND COALESCE((" + d.Text(c) + `) COLLATE "C" = ?, false)`, []any{name, name}
	case c.kind == text:
		return d.Equal(c, name)
	}
	return condition + " AND CAST(CONCAT(" + c.Name + ") AS BINARY) = CAST(? AS BINARY)", []any{name, name}
}

// Bytes is the expression of the bytes that a column of text or bytes holds,
// text as UTF-8, whatever a collation takes for equal. On SQLite it is the value
// in its own class. false says that the column holds neither.
func (d Dialect) Bytes(c Column) (expression string, ok bool) {
	switch {
	case d.Kind == SQLite:
		return "+" + c.Name, true
	case c.kind == binary:
		return c.Name, true
	case d.Kind == Postgres && (c.kind == text || c.kind == foldable):
		return "convert_to(CAST(" + c.Name + " AS text), 'UTF8')", true
	case d.mysql() && c.kind == text:
		return "CAST(CONVERT(" + c.Name + " USING utf8mb4) AS BINARY)", true
	}
	return "", false
}

// Textual says whether the column takes any text, as long as there is room: text of
// any type, also one that pads it with blanks or compares it without regard to case,
// and bytes.
func (d Dialect) Textual(c Column) bool {
	return d.Kind == SQLite || c.kind == text || c.kind == foldable || c.kind == padded || c.kind == binary
}

// For is the database for [DB.Write] into a table that others made, named as
// SQL text: on SQLite a transaction begins by taking the write lock with a
// statement that touches no row of it, and no table of the library is needed.
func (db *DB) For(table string) *DB {
	other := *db
	other.lock = table
	return &other
}

// Hides says whether a table of PostgreSQL, named as [Dialect.Quote] takes it,
// shows this user only some of its rows, by policies of its own. Whoever must
// see all of them refuses it. Asked in the transaction that has read the table, it
// speaks of what was read: policies cannot change until that has ended, and the
// role is that of its connection.
func (db *DB) Hides(ctx context.Context, q Querier, table string) (hidden bool, err error) {
	if db.Kind != Postgres {
		return false, nil
	}
	quoted, err := db.Quote(table)
	if err != nil {
		return false, err
	}
	err = One(ctx, q, []any{&hidden}, `SELECT COALESCE(row_security_active(to_regclass($1)), false)`, quoted)
	return hidden, err
}
