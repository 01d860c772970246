package sqlstore

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/crmguard/crmguard/internal/sqldb"
	"github.com/crmguard/crmguard/privacy"
	"github.com/crmguard/crmguard/privacy/datamap"
	"github.com/crmguard/crmguard/privacy/datastore"
)

// located is a row with what erasing it needs.
type located struct {
	row     datastore.Row
	table   datamap.Table
	key     []keyPart
	actions map[string]datamap.Action // of a row that stays; nil: it goes
	owner   string
	others  bool // a joint record with other persons left
}

// selection is the SELECT over one table: what is read, in order.
type selection struct {
	table   datamap.Table
	columns []string // quoted, with alias
	undated bool     // Created is a day, which does not say whether a row is older than an erasure of that day
	stays   []string // names of columns whose state says whether the row is clean
}

// selectionOf reads keys, dates, key owner and the columns whose state tells
// whether anything is left to do.
func (s *Store) selectionOf(t datamap.Table) selection {
	sel := selection{table: t}
	add := func(column string) { sel.columns = append(sel.columns, column) }
	for _, k := range t.Key {
		if key := s.at("t0", t.Name, k); s.sqlite() {
			add(key.name) // as stored: another type would be another value
		} else {
			add(key.text())
		}
	}
	if t.Created != "" {
		created := s.at("t0", t.Name, t.Created)
		add(created.moment())
		sel.undated = created.day
	}
	if t.Keep != nil {
		add(s.at("t0", t.Name, t.Keep.From).moment())
	}
	if t.Link != nil && t.Link.Owner != "" {
		add(s.at("t0", t.Name, t.Link.Owner).name)
	}
	actions := t.Stays()
	for name := range actions {
		sel.stays = append(sel.stays, name)
	}
	slices.Sort(sel.stays)
	for _, name := range sel.stays {
		if f := s.at("t0", t.Name, name); actions[name] == datamap.Redact && f.kind == textual {
			add(f.text()) // without the blanks to which a char(n) is filled up
		} else {
			add(f.name)
		}
	}
	return sel
}

// where joins the table along its edges to the person of the scope.
func (s *Store) where(t datamap.Table, scope datastore.Scope) (joins, where string, args []any, ok bool) {
	path := s.cfg.Map.Path(t)
	for i, next := range path[1:] {
		from, to := fmt.Sprintf("t%d", i), fmt.Sprintf("t%d", i+1)
		joins += fmt.Sprintf(" JOIN %s %s ON %s", s.quote(next.Name), to, same(s.at(from, path[i].Name, path[i].Ref.Column), s.at(to, next.Name, next.Key[0])))
	}
	last, alias := path[len(path)-1], fmt.Sprintf("t%d", len(path)-1)
	person := s.at(alias, last.Name, last.Person)
	if j := last.Link; j != nil {
		joins += fmt.Sprintf(" JOIN %s l ON %s", s.quote(j.Table), same(s.at("l", j.Table, j.Record), s.at(alias, last.Name, last.Key[0])))
		person = s.at("l", j.Table, j.Person)
	}
	var c condition
	s.is(&c, person, scope.Person)
	switch {
	case last.Tenant != "":
		s.is(&c, s.at(alias, last.Name, last.Tenant), scope.Tenant)
	case s.cfg.Map.Tenant != scope.Tenant:
		return "", "", nil, false // this database has one tenant, and it is another
	}
	for i, on := range path[:len(path)-1] { // row keys may be unique within a tenant only
		if on.Tenant != "" {
			s.is(&c, s.at(fmt.Sprintf("t%d", i), on.Name, on.Tenant), scope.Tenant)
		}
	}
	return joins, c.String(), c.args, true
}

// locateAll finds the rows of a person. In the transaction of an erasure it
// locks them, and the rows that lead to the person: nobody gives a row to
// another person before it is erased.
func (s *Store) locateAll(ctx context.Context, q sqldb.Querier, scope datastore.Scope) ([]located, error) {
	if scope.Tenant == "" || scope.Person == "" {
		return nil, privacy.ErrID
	}
	var all []located
	for _, t := range s.tables {
		found, err := s.locate(ctx, q, t, scope)
		if err != nil {
			return nil, err
		}
		all = append(all, found...)
	}
	return all, nil
}

func (s *Store) locate(ctx context.Context, q sqldb.Querier, t datamap.Table, scope datastore.Scope) ([]located, error) {
	joins, where, args, ok := s.where(t, scope)
	if !ok {
		return nil, nil
	}
	sel := s.selectionOf(t)
	columns := strings.Join(sel.columns, ", ")
	if t.Link != nil {
		others := s.others(t, scope.Person)
		columns += ", " + others.String()
		args = append(others.args, args...)
	}
	query := fmt.Sprintf("SELECT %s FROM %s t0%s WHERE %s ORDER BY %s", columns, s.quote(t.Name), joins, where, s.order(t))
	if _, erasing := q.(*sql.Tx); erasing && !s.sqlite() {
		query += " FOR UPDATE"
	}
	return s.scan(ctx, q, sel, scope, query, args)
}

// order is the order of a table's rows: by key.
func (s *Store) order(t datamap.Table) string {
	names := make([]string, len(t.Key))
	for i, k := range t.Key {
		names[i] = "t0." + s.quote(k)
	}
	return strings.Join(names, ", ")
}

// byKey reports whether the row of that key still holds what should be gone.
func (s *Store) byKey(ctx context.Context, t datamap.Table, key string, scope datastore.Scope) (bool, error) {
	found, err := s.rowsOf(ctx, t, key, scope)
	return len(found) > 0 && !found[0].row.Clean, err
}

// rowsOf reads the row of that key, if it is there.
func (s *Store) rowsOf(ctx context.Context, t datamap.Table, key string, scope datastore.Scope) ([]located, error) {
	parts := splitKey(key, len(t.Key))
	if len(parts) != len(t.Key) {
		return nil, dbError("left", t.Name, errors.New("a key of another shape"))
	}
	sel := s.selectionOf(t)
	var where condition
	for i, k := range t.Key {
		s.is(&where, s.at("t0", t.Name, k), parts[i])
	}
	if t.Tenant != "" {
		s.is(&where, s.at("t0", t.Name, t.Tenant), scope.Tenant)
	}
	columns := strings.Join(sel.columns, ", ")
	if t.Link != nil {
		columns += ", 0"
	}
	query := fmt.Sprintf("SELECT %s FROM %s t0 WHERE %s", columns, s.quote(t.Name), where)
	return s.scan(ctx, s.db, sel, scope, query, where.args)
}

func (s *Store) scan(ctx context.Context, q sqldb.Querier, sel selection, scope datastore.Scope, query string, args []any) (found []located, err error) {
	err = sqldb.Each(ctx, q, func(rows *sql.Rows) error {
		l, err := sel.read(rows, scope)
		found = append(found, l)
		return err
	}, s.db.Bind(query), args...)
	return found, dbError("find", sel.table.Name, err)
}

// read takes one row apart in the order of selectionOf.
func (sel selection) read(rows *sql.Rows, scope datastore.Scope) (located, error) {
	t := sel.table
	n := len(sel.columns)
	if t.Link != nil {
		n++
	}
	values, pointers := make([]any, n), make([]any, n)
	for i := range values {
		pointers[i] = &values[i]
	}
	if err := rows.Scan(pointers...); err != nil {
		return located{}, err
	}
	next := func() any { v := values[0]; values = values[1:]; return v }
	l := located{table: t, row: datastore.Row{Table: t.Name, Class: datastore.Deleted}}
	var err error
	if l.key, err = keyParts(values[:len(t.Key)]); err != nil {
		return located{}, err
	}
	values = values[len(t.Key):]
	l.row.Key = joinKey(l.key)
	if t.Created != "" {
		if l.row.Created = createdAt(next()); sel.undated {
			l.row.Created = time.Time{}
		}
	} else if len(l.key) == 1 {
		l.row.Created = uuidTime(l.row.Key)
	}
	var start any
	if t.Keep != nil {
		start = next()
	}
	if t.Link != nil && t.Link.Owner != "" {
		if l.owner, err = textOf(next()); err != nil {
			return located{}, err
		}
	}
	now := scope.Now
	if now.IsZero() {
		now = time.Now()
	}
	l.fate(start, now)
	l.row.Clean = l.actions != nil
	for _, name := range sel.stays {
		v := next()
		if l.actions != nil && !clean(l.actions[name], v) {
			l.row.Clean = false
		}
	}
	if t.Link != nil {
		if l.others, err = isPositive(next()); err != nil {
			return located{}, err
		}
		if l.others {
			l.row.Others, l.row.Class = true, datastore.Redacted
		}
	}
	return l, nil
}

// fate decides what happens to the row: by the table's Erase, or by the
// obligation while it runs. Without a date (NULL) the obligation has not begun;
// with one that cannot be read it has no end.
func (l *located) fate(start any, now time.Time) {
	t := l.table
	held, until, because := false, time.Time{}, ""
	if t.Keep != nil {
		from, begun, known := startDate(start)
		because = t.Keep.Because
		switch {
		case !known:
			held, because = true, because+" ("+t.Keep.From+" holds no date that can be read)"
		case begun:
			until = from.AddDate(t.Keep.Years, 0, 0)
			held = until.After(now)
		}
	}
	if t.Erase == datamap.Delete && !held {
		return
	}
	l.actions = t.Stays()
	kept, shredded := false, false
	for name, action := range l.actions {
		if action == datamap.Retain && name != t.Person {
			if kept = kept || held; !held {
				l.actions[name] = t.Erase // the obligation is over
			}
		}
		shredded = shredded || l.actions[name] == datamap.Shred
	}
	switch {
	case kept:
		l.row.Class, l.row.Until, l.row.Because = datastore.Kept, until, because
	case shredded:
		l.row.Class = datastore.Shredded
	case t.Person != "" && l.actions[t.Person] == datamap.Retain:
		l.row.Class = datastore.Pseudonymised
	default:
		l.row.Class = datastore.Redacted
	}
}

func clean(action datamap.Action, v any) bool {
	switch action {
	case datamap.Null:
		return v == nil
	case datamap.Redact:
		text, err := textOf(v)
		return v == nil || err == nil && text == datamap.RedactedText
	default:
		return true // retained, or unreadable without the key
	}
}
