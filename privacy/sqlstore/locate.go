package sqlstore

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/crmguard/crmguard/privacy"
)

// querier is *sql.DB or *sql.Tx.
type querier interface {
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
}

// located is a row with what erasing it needs.
type located struct {
	row     privacy.Row
	table   privacy.Table
	key     []any                     // as stored
	actions map[string]privacy.Action // of a row that stays; nil: it goes
	owner   string
	others  bool // a joint record with other persons left
}

// selection is the SELECT over one table: what is read, in order.
type selection struct {
	table   privacy.Table
	columns []string // quoted, with alias
	stays   []string // names of columns whose state says whether the row is clean
}

// selectionOf reads keys, dates, key owner and the columns whose state tells
// whether anything is left to do.
func selectionOf(t privacy.Table) selection {
	s := selection{table: t}
	add := func(name string) { s.columns = append(s.columns, "t0."+quote(name)) }
	for _, k := range t.Key {
		add(k)
	}
	if t.Created != "" {
		add(t.Created)
	}
	if t.Keep != nil {
		add(t.Keep.From)
	}
	if t.Joint != nil && t.Joint.Owner != "" {
		add(t.Joint.Owner)
	}
	for name := range t.Stays() {
		s.stays = append(s.stays, name)
	}
	slices.Sort(s.stays)
	for _, name := range s.stays {
		add(name)
	}
	return s
}

// where joins the table along its edges to the person of the scope.
func (s *Store) where(t privacy.Table, scope privacy.Scope) (joins, where string, args []any, ok bool) {
	path := s.cfg.Map.Path(t)
	for i, next := range path[1:] {
		joins += fmt.Sprintf(" JOIN %s t%d ON t%d.%s = t%d.%s", quote(next.Name), i+1, i, quote(path[i].Ref.Column), i+1, quote(next.Key[0]))
	}
	last, alias := path[len(path)-1], fmt.Sprintf("t%d", len(path)-1)
	person := alias + "." + quote(last.Person)
	if j := last.Joint; j != nil {
		joins += fmt.Sprintf(" JOIN %s l ON l.%s = %s.%s", quote(j.Table), quote(j.Record), alias, quote(last.Key[0]))
		person = "l." + quote(j.Person)
	}
	var c condition
	s.is(&c, person, scope.Person)
	switch {
	case last.Tenant != "":
		s.is(&c, alias+"."+quote(last.Tenant), scope.Tenant)
	case s.cfg.Map.Tenant != scope.Tenant:
		return "", "", nil, false // this database has one tenant, and it is another
	}
	for i, on := range path[:len(path)-1] { // row keys may be unique within a tenant only
		if on.Tenant != "" {
			s.is(&c, fmt.Sprintf("t%d.%s", i, quote(on.Tenant)), scope.Tenant)
		}
	}
	return joins, c.String(), c.args, true
}

func (s *Store) locateAll(ctx context.Context, q querier, scope privacy.Scope) ([]located, error) {
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

func (s *Store) locate(ctx context.Context, q querier, t privacy.Table, scope privacy.Scope) ([]located, error) {
	joins, where, args, ok := s.where(t, scope)
	if !ok {
		return nil, nil
	}
	sel := selectionOf(t)
	columns := strings.Join(sel.columns, ", ")
	if j := t.Joint; j != nil {
		others := s.others(t, scope.Person)
		columns += ", " + others.String()
		args = append(others.args, args...)
	}
	query := fmt.Sprintf("SELECT %s FROM %s t0%s WHERE %s ORDER BY %s", columns, quote(t.Name), joins, where, strings.Join(sel.columns[:len(t.Key)], ", "))
	return s.scan(ctx, q, sel, scope, query, args)
}

// byKey reports whether the row of that key still holds what should be gone.
func (s *Store) byKey(ctx context.Context, t privacy.Table, key string, scope privacy.Scope) (bool, error) {
	found, err := s.rowsOf(ctx, t, key, scope)
	return len(found) > 0 && !found[0].row.Clean, err
}

// rowsOf reads the row of that key, if it is there.
func (s *Store) rowsOf(ctx context.Context, t privacy.Table, key string, scope privacy.Scope) ([]located, error) {
	parts := splitKey(key, len(t.Key))
	if len(parts) != len(t.Key) {
		return nil, dbError("left", t.Name, errors.New("a key of another shape"))
	}
	sel := selectionOf(t)
	var where condition
	for i, k := range t.Key {
		s.is(&where, "t0."+quote(k), parts[i])
	}
	if t.Tenant != "" {
		s.is(&where, "t0."+quote(t.Tenant), scope.Tenant)
	}
	columns := strings.Join(sel.columns, ", ")
	if t.Joint != nil {
		columns += ", 0"
	}
	query := fmt.Sprintf("SELECT %s FROM %s t0 WHERE %s", columns, quote(t.Name), where)
	return s.scan(ctx, s.cfg.DB, sel, scope, query, where.args)
}

func (s *Store) scan(ctx context.Context, q querier, sel selection, scope privacy.Scope, query string, args []any) ([]located, error) {
	rows, err := q.QueryContext(ctx, query, args...)
	if err != nil {
		return nil, dbError("find", sel.table.Name, err)
	}
	defer func() { _ = rows.Close() }() // Err has said what there is to say
	var found []located
	for rows.Next() {
		l, err := sel.read(rows, scope)
		if err != nil {
			return nil, dbError("find", sel.table.Name, err)
		}
		found = append(found, l)
	}
	return found, dbError("find", sel.table.Name, rows.Err())
}

// read takes one row apart in the order of selectionOf.
func (sel selection) read(rows *sql.Rows, scope privacy.Scope) (located, error) {
	t := sel.table
	n := len(sel.columns)
	if t.Joint != nil {
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
	l := located{table: t, row: privacy.Row{Table: t.Name, Class: privacy.Deleted}}
	for range t.Key {
		l.key = append(l.key, next())
	}
	key, err := joinKey(l.key)
	if err != nil {
		return located{}, err
	}
	l.row.Key = key
	if t.Created != "" {
		l.row.Created = asTime(next())
	} else if len(l.key) == 1 {
		l.row.Created = uuidTime(key)
	}
	var start any
	if t.Keep != nil {
		start = next()
	}
	if t.Joint != nil && t.Joint.Owner != "" {
		l.owner = asText(next())
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
	if t.Joint != nil {
		if count, err := strconv.Atoi(asText(next())); err == nil && count > 0 {
			l.others, l.row.Joint, l.row.Class = true, true, privacy.Redacted
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
	if t.Erase == privacy.Delete && !held {
		return
	}
	l.actions = t.Stays()
	kept, shredded := false, false
	for name, action := range l.actions {
		if action == privacy.Retain && name != t.Person {
			if kept = kept || held; !held {
				l.actions[name] = t.Erase // the obligation is over
			}
		}
		shredded = shredded || l.actions[name] == privacy.Shred
	}
	switch {
	case kept:
		l.row.Class, l.row.Until, l.row.Because = privacy.Kept, until, because
	case shredded:
		l.row.Class = privacy.Shredded
	case t.Person != "" && l.actions[t.Person] == privacy.Retain:
		l.row.Class = privacy.Pseudonymised
	default:
		l.row.Class = privacy.Redacted
	}
}

func clean(action privacy.Action, v any) bool {
	switch action {
	case privacy.Null:
		return v == nil
	case privacy.Redact:
		return v == nil || asText(v) == privacy.RedactedText
	default:
		return true // retained, or unreadable without the key
	}
}

func asText(v any) string {
	switch x := v.(type) {
	case nil:
		return ""
	case string:
		return x
	case []byte:
		return string(x)
	case int64:
		return strconv.FormatInt(x, 10)
	}
	return fmt.Sprint(v)
}

// asTime reads microseconds since 1970, a time or RFC 3339 text.
func asTime(v any) time.Time {
	switch x := v.(type) {
	case int64:
		return time.UnixMicro(x).UTC()
	case time.Time:
		return x.UTC()
	case string, []byte:
		if t, err := time.Parse(time.RFC3339Nano, asText(x)); err == nil {
			return t.UTC()
		}
	}
	return time.Time{}
}

// uuidTime is the time inside a UUIDv7, zero for anything else.
func uuidTime(key string) time.Time {
	id, err := uuid.Parse(key)
	if err != nil || id.Version() != 7 || id.Variant() != uuid.RFC4122 {
		return time.Time{}
	}
	ms := int64(id[0])<<40 | int64(id[1])<<32 | int64(id[2])<<24 | int64(id[3])<<16 | int64(id[4])<<8 | int64(id[5])
	return time.UnixMilli(ms).UTC()
}

// joinKey writes a key as text: parts joined by "/", "%" and "/" escaped in
// keys of several columns.
func joinKey(parts []any) (string, error) {
	texts := make([]string, len(parts))
	for i, p := range parts {
		switch p.(type) {
		case string, int64, []byte:
			texts[i] = asText(p)
		default:
			return "", errors.New("a key that is neither text nor integer")
		}
		if len(parts) > 1 {
			texts[i] = strings.NewReplacer("%", "%25", "/", "%2F").Replace(texts[i])
		}
	}
	return strings.Join(texts, "/"), nil
}

func splitKey(key string, n int) []string {
	if n == 1 {
		return []string{key}
	}
	parts := strings.Split(key, "/")
	for i := range parts {
		parts[i] = strings.NewReplacer("%2F", "/", "%25", "%").Replace(parts[i])
	}
	return parts
}
