package sqlstore

import (
	"context"
	"database/sql"
	"fmt"
	"strings"

	"github.com/crmguard/crmguard/internal/sqldb"
)

// ask reads the rows of a table that a condition is true of; in a transaction it
// locks them, so that nobody gives one to another person before it is erased.
func (s *Store) ask(ctx context.Context, q sqldb.Querier, e *entity, c condition) (found []*located, err error) {
	var columns []string
	var args []any
	for _, r := range e.reads {
		columns, args = append(columns, r.sql), append(args, r.args...)
	}
	query := fmt.Sprintf("SELECT %s FROM %s WHERE %s ORDER BY %s", strings.Join(columns, ", "), s.from(e), c, s.order(e))
	if _, erasing := q.(*sql.Tx); erasing && !s.sqlite() {
		query += " FOR UPDATE"
	}
	values, pointers := make([]any, len(columns)), make([]any, len(columns))
	for i := range values {
		pointers[i] = &values[i]
	}
	err = sqldb.Each(ctx, q, func(rows *sql.Rows) error {
		if err := rows.Scan(pointers...); err != nil {
			return err
		}
		l, err := s.readRow(e, values)
		if err != nil {
			return err
		}
		if c.scope > 0 {
			l.asked, l.scope = true, c.scope-1
		}
		found = append(found, l)
		return nil
	}, s.db.Bind(query), append(args, c.args...)...)
	return found, dbError("find", e.Name, err)
}

// from is the table as t0, with the links l of joint records.
func (s *Store) from(e *entity) string {
	from := s.table(e.Name) + " t0"
	if j := e.Link; j != nil {
		from += fmt.Sprintf(" JOIN %s l ON %s", s.table(j.Table), same(s.at("l", j.Table, j.Record), s.at("t0", e.Name, e.Key[0])))
	}
	return from
}

// order is the order of a table's rows: by key.
func (s *Store) order(e *entity) string {
	names := make([]string, len(e.Key))
	for i, k := range e.Key {
		names[i] = "t0." + s.quote(k)
	}
	return strings.Join(names, ", ")
}
