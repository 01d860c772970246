package sqlstore

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/google/uuid"

	"github.com/crmguard/crmguard/internal/sqldb"
	"github.com/crmguard/crmguard/privacy/datamap"
)

// condition is SQL with its arguments; several conditions are joined by AND.
type condition struct {
	parts []string
	args  []any
	scope int // 1 and the one scope that the condition is for
}

// String is the SQL.
func (c condition) String() string { return strings.Join(c.parts, " AND ") }

func (c *condition) add(part string, args ...any) {
	c.parts, c.args = append(c.parts, part), append(c.args, args...)
}

// either joins conditions by OR.
func either(all ...condition) (c condition) {
	if len(all) == 1 {
		return all[0]
	}
	texts := make([]string, len(all))
	for i, one := range all {
		texts[i] = "(" + one.String() + ")"
		c.args = append(c.args, one.args...)
	}
	c.parts = []string{"(" + strings.Join(texts, " OR ") + ")"}
	return c
}

// field is a column in a statement.
type field struct {
	column
	name string // quoted, with the alias of its table
	on   sqldb.Kind
	rule string // SQLite, of what an edge names: by which collation, quoted; empty: by bytes
}

// at is a column of a table under an alias; "" stands for none.
func (s *Store) at(alias, table, name string) field {
	c, _ := s.relations[table].column(s.db.Dialect, name) // Open has looked; on SQLite there is nothing to know
	f := field{column: c, name: s.quote(name), on: s.db.Kind}
	if alias != "" {
		f.name = alias + "." + f.name
	}
	return f
}

// quote writes a name, whose letters the map has checked.
func (s *Store) quote(name string) string {
	quoted, _ := s.db.Quote(name)
	return quoted
}

// table is what a statement says of a table whose rows it means: on PostgreSQL not
// those of tables that inherit from it, which have keys and ways of their own.
func (s *Store) table(name string) string {
	if s.relations[name].heirs {
		return "ONLY " + s.path(name)
	}
	return s.path(name)
}

// path writes the name of a table behind its schema, as far as the database has
// one to tell it from a temporary table of that name, and from one that another
// search path leads to.
func (s *Store) path(name string) string {
	switch {
	case s.sqlite():
		return "main." + s.quote(name)
	case s.db.Kind == sqldb.Postgres && !strings.Contains(name, ".") && s.relations[name].schema != "":
		schema, _ := s.db.QuoteName(s.relations[name].schema)
		return schema + "." + s.quote(name)
	}
	return s.quote(name)
}

func (f field) mysql() bool { return f.on == sqldb.MariaDB || f.on == sqldb.MySQL }

// text is the value as the id that it stands for, in the one spelling by which
// it is listed and found. The ledger's digest is over that.
func (f field) text() string {
	switch {
	case f.on == sqldb.SQLite:
		// A blob is its bytes: a cast reads it in the encoding of the database,
		// which may be UTF-16.
		return fmt.Sprintf("CASE typeof(%[1]s) WHEN 'blob' THEN %[1]s ELSE CAST(%[1]s AS TEXT) END", f.name)
	case f.kind == integral, f.kind == binary, f.mysql() && f.kind != other:
		return f.absolute()
	case f.mysql():
		return "CAST(" + f.absolute() + " AS CHAR)"
	}
	return "CAST(" + f.absolute() + " AS text)"
}

// absolute is the value as it is written alike in every session, whose time zone
// may be another one, and whose sql_mode may be PAD_CHAR_TO_FULL_LENGTH.
func (f field) absolute() string {
	switch {
	case f.instant && f.on == sqldb.Postgres:
		return "(" + f.name + " AT TIME ZONE 'UTC')"
	case f.padded:
		return "RTRIM(" + f.name + ")"
	case f.instant:
		return fmt.Sprintf("TIMESTAMPADD(MICROSECOND, CAST(UNIX_TIMESTAMP(%s) * 1000000 AS SIGNED), '1970-01-01 00:00:00')", f.name)
	}
	return f.name
}

// bytes is the text compared and ordered byte by byte.
func (f field) bytes() string {
	switch {
	case f.on == sqldb.SQLite:
		return f.text()
	case f.kind == binary:
		return f.name
	case f.mysql() && f.kind == textual:
		return "CAST(CONVERT(" + f.absolute() + " USING utf8mb4) AS BINARY)"
	case f.mysql():
		return "CAST(CAST(" + f.absolute() + " AS CHAR CHARACTER SET utf8mb4) AS BINARY)"
	}
	return "CAST(" + f.absolute() + ` AS text) COLLATE "C"`
}

// mark is a placeholder for a value of the column's own type, byteMark one for
// what bytes is compared with.
func (f field) mark() string {
	cast := map[kind]string{textual: f.cast, integral: "bigint", identity: "uuid", binary: "bytea", other: "text"}[f.kind]
	switch {
	case f.on == sqldb.Postgres:
		return "CAST(? AS " + cast + ")"
	case f.kind == textual && cast != "": // a character that it lacks becomes another, and then the bytes differ
		return "CONVERT(? USING " + cast + ")"
	}
	return "?"
}

func (f field) byteMark() string {
	if f.mysql() {
		return "CAST(? AS BINARY)"
	}
	return "CAST(? AS text)"
}

// value is the id as a value of the column; ok is false where no value of the
// column can stand for the id: 017 is no integer's spelling, nor P1 a uuid's.
func (f field) value(id string) (v any, ok bool) {
	switch f.kind {
	case integral:
		if n, err := strconv.ParseInt(id, 10, 64); err == nil {
			return n, strconv.FormatInt(n, 10) == id
		}
		n, err := strconv.ParseUint(id, 10, 64)
		return n, err == nil && f.mysql() && strconv.FormatUint(n, 10) == id
	case identity:
		u, err := uuid.Parse(id)
		return id, err == nil && u.String() == id
	case binary:
		return bytesOf(id), true
	case dynamic, textual, other:
	}
	return id, utf8.ValidString(id) && !strings.ContainsRune(id, 0)
}

// is asks that a column holds an id, in the very spelling that the ledger's
// digest is over and that People lists after a restore. Databases take more
// for equal: 017 and 17 in an integer column, P1 and p1 in one without regard
// to case; a person erased under such a name would not be found again.
func (s *Store) is(c *condition, f field, id string) { s.among(c, f, []string{id}) }

// among asks that a column holds one of the ids. The first half is for the
// index.
func (s *Store) among(c *condition, f field, ids []string) {
	if s.sqlite() {
		s.amongSQLite(c, f, ids)
		return
	}
	var values, texts, far []any
	for _, id := range ids {
		v, ok := f.value(id)
		switch {
		case !ok:
		case f.narrow && f.kind != binary && escape(id) != id:
			far = append(far, escape(id))
		default:
			values, texts = append(values, v), append(texts, id)
		}
	}
	if len(far) > 0 {
		var other condition
		other.add(f.escaped()+" IN ("+marks(f.byteMark(), len(far))+")", far...)
		if len(values) > 0 {
			var near condition
			s.hold(&near, f, values, texts)
			other = either(near, other)
		}
		c.add(other.String(), other.args...)
		return
	}
	if len(values) == 0 {
		c.add("1 = 0")
		return
	}
	s.hold(c, f, values, texts)
}

// hold asks that a column holds one of the values, which texts spell.
func (s *Store) hold(c *condition, f field, values, texts []any) {
	if f.kind != other {
		c.add(f.name+" IN ("+marks(f.mark(), len(values))+")", values...)
	}
	if f.kind == textual && !s.roughly || f.kind == other {
		c.add(f.bytes()+" IN ("+marks(f.byteMark(), len(texts))+")", texts...)
	}
}

// amongSQLite: the stored value, number, text or blob, must read as one of the
// ids, byte for byte, whatever affinity and collation say. A list is looked up
// in the index; a chain of ORs would be tried on every row.
func (s *Store) amongSQLite(c *condition, f field, ids []string) {
	var likely, numbers, blobs, texts, spelled []any
	for _, id := range ids {
		if stored := bytesOf(id); string(stored) != id {
			spelled = append(spelled, stored)
		}
		if strings.Trim(id, "0123456789.+-eE") == "" { // a number may be spelled so
			numbers = append(numbers, id)
		}
		likely = append(likely, id, []byte(id))
		blobs, texts = append(blobs, []byte(id)), append(texts, id)
	}
	list := marks("?", len(likely))
	if len(numbers) > 0 {
		list += ", " + marks("CAST(? AS INTEGER)", len(numbers))
	}
	one, args := f.name+" IN ("+list+")", slices.Concat(likely, numbers)
	if !s.roughly {
		one += fmt.Sprintf(" AND CASE typeof(%[1]s) WHEN 'blob' THEN %[1]s IN (%[2]s) ELSE CAST(%[1]s AS TEXT) COLLATE BINARY IN (%[2]s) END", f.name, marks("?", len(ids)))
		args = slices.Concat(args, blobs, texts)
	}
	if len(spelled) > 0 {
		one = f.name + " IN (" + marks("?", len(spelled)) + ") OR " + one
		args = append(spelled, args...)
	}
	c.add("("+one+")", args...)
}

// marks writes n placeholders.
func marks(mark string, n int) string { return strings.TrimSuffix(strings.Repeat(mark+", ", n), ", ") }

// same joins a column and the key that it names: as the database compares them, where it can. Columns
// of different types, or of text under different rules, are compared by bytes.
func same(a, b field) string {
	if a.on == sqldb.SQLite { // by the rule of the left one: the key
		return b.name + " = " + a.name
	}
	if a.kind == b.kind && a.kind != other && a.collation == b.collation {
		return a.name + " = " + b.name
	}
	return a.bytes() + " = " + b.bytes()
}

// points asks that a column of an edge names one of the values of a row's column:
// as the database compares the two, where it can. SQLite's foreign keys go by the
// collation of what is named.
func (s *Store) points(c *condition, f, target field, values []keyPart) {
	if !s.sqlite() && (f.kind != target.kind || f.kind == other || f.collation != target.collation) {
		texts := make([]string, len(values))
		for i, v := range values {
			texts[i] = v.text
		}
		s.among(c, f, texts)
		return
	}
	args := make([]any, len(values))
	for i, v := range values {
		if args[i] = v.stored; !s.sqlite() {
			args[i], _ = f.value(v.text) // it is of the same kind
		}
	}
	list := " IN (" + marks(f.mark(), len(args)) + ")"
	switch {
	case !s.sqlite():
		c.add(f.name+list, args...)
	case target.rule == "": // the first half is for the index, whose rule is the column's own
		if c.add(f.name+list, args...); !s.roughly {
			c.add(f.name+" COLLATE BINARY"+list, args...)
		}
	default:
		c.add(f.name+" COLLATE "+target.rule+list, args...)
	}
}

// shown is the value as text that is read, changed and written again.
func (f field) shown() string {
	switch {
	case f.on == sqldb.Postgres && f.kind != binary:
		return "CAST(" + f.name + " AS text)"
	case f.mysql() && f.kind == other:
		return "CAST(" + f.name + " AS CHAR)"
	case f.on == sqldb.SQLite:
		return "+" + f.name // the driver makes times of what is declared as such
	case f.padded:
		return f.absolute()
	}
	return f.name
}

// literal is a placeholder for a text that the column takes as a value of its type.
func (f field) literal() string {
	switch {
	case f.on == sqldb.Postgres && f.kind == textual:
		return "CAST(? AS text)" // a cast to varchar(9) would cut
	case f.on == sqldb.Postgres:
		return "CAST(CAST(? AS text) AS " + f.written + ")"
	}
	return "?"
}

// holds asks that a column holds the value that the text stands for.
func (f field) holds(text string) (sql string, args []any) {
	if f.on == sqldb.Postgres && f.kind == other { // JSON has no equality
		return "CAST(" + f.name + " AS text) = CAST(" + f.literal() + " AS text)", []any{text}
	}
	return f.name + " = " + f.literal(), []any{text}
}

// named is the condition for rows of a table by their keys as text.
func (s *Store) named(e *entity, keys []string) (condition, error) {
	if len(e.Key) == 1 {
		var c condition
		s.among(&c, s.at("t0", e.Name, e.Key[0]), keys)
		return c, nil
	}
	all := make([]condition, len(keys))
	for i, key := range keys {
		parts := splitKey(key, len(e.Key))
		if len(parts) != len(e.Key) {
			return condition{}, dbError("find", e.Name, errors.New("a key of another shape"))
		}
		for j, name := range e.Key {
			s.is(&all[i], s.at("t0", e.Name, name), parts[j])
		}
	}
	return either(all...), nil
}

// others counts the other persons of a joint record t0, beside the one of the
// link l.
func (s *Store) others(t datamap.Table) string {
	j := t.Link
	where := same(s.at("o", j.Table, j.Record), s.at("t0", t.Name, t.Key[0])) +
		" AND NOT (" + s.at("o", j.Table, j.Person).bytes() + " = " + s.at("l", j.Table, j.Person).bytes() + ")"
	if j.Tenant != "" {
		where += " AND " + same(s.at("o", j.Table, j.Tenant), s.at("l", j.Table, j.Tenant))
	}
	return fmt.Sprintf("(SELECT COUNT(DISTINCT %s) FROM %s o WHERE %s)", s.at("o", j.Table, j.Person).bytes(), s.table(j.Table), where)
}

// moment is a date or time as one that createdAt and startDate read the same,
// whatever the driver makes of it and whatever time zone the session is in.
func (f field) moment() string {
	switch {
	case f.instant && f.mysql():
		return fmt.Sprintf("CASE WHEN UNIX_TIMESTAMP(%s) = 0 THEN '0000-00-00' ELSE CAST(%s AS CHAR) END", f.name, f.absolute())
	case f.mysql() && f.kind == other:
		return "CAST(" + f.name + " AS CHAR)"
	}
	return f.name
}

// distinct is the text of an id, of which p1 and P1 are two.
func (f field) distinct() string {
	if f.kind == textual || f.kind == other {
		return f.bytes()
	}
	return f.text()
}
