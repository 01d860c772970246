package sqlstore

import (
	"cmp"
	"context"
	"database/sql"
	"fmt"
	"slices"
	"strings"

	"github.com/crmguard/crmguard/internal/sqldb"
	"github.com/crmguard/crmguard/privacy/datamap"
)

// change does to each column of rows that stay, and of rows that only point to
// the person, what the map says: rows that change alike in one statement.
func (e *erasure) change(ctx context.Context, rows []*located) error {
	alike := map[string][]*located{}
	sets := map[string][]set{}
	var order []string
	for _, l := range rows {
		if l.others && l.cut == nil || !l.fate.stays && l.cut == nil {
			continue
		}
		scope := e.seekers[l.scope].Scope
		var own []set
		if l.cut != nil {
			own = l.unlinked()
		} else {
			var err error
			if own, err = e.s.newValues(ctx, l, scope, e.prepared); err != nil {
				return err
			}
		}
		group := fmt.Sprintf("%s\x00%s\x00%#v", l.e.Name, scope.Tenant, own)
		if alike[group] == nil {
			order = append(order, group)
			sets[group] = own
		}
		alike[group] = append(alike[group], l)
	}
	last := func(group string) int { // what goes: before what it points to
		if rows := alike[group]; len(sets[group]) == 0 && rows[0].cut != nil {
			return len(e.s.entities) - slices.Index(e.s.entities, rows[0].e)
		}
		return 0
	}
	slices.SortStableFunc(order, func(a, b string) int { return cmp.Compare(last(a), last(b)) })
	for _, group := range order {
		if err := e.update(ctx, alike[group], sets[group]); err != nil {
			return err
		}
	}
	return nil
}

// unlinked empties the columns that point to the person, and not those by which
// the row itself is known.
func (l *located) unlinked() (sets []set) {
	if l.cut.Unlink != datamap.Null {
		return nil
	}
	for _, name := range l.e.Empties(l.cut.Edge) {
		sets = append(sets, set{column: name, sql: "NULL"})
	}
	return sets
}

// update writes the same into all of the rows; without anything to write they are
// rows that point to the person and go.
func (e *erasure) update(ctx context.Context, rows []*located, sets []set) error {
	if len(sets) == 0 {
		if rows[0].cut != nil {
			return e.delete(ctx, rows[0].e, rows)
		}
		return nil
	}
	var texts []string
	var args []any
	for _, one := range sets {
		texts, args = append(texts, e.s.quote(one.column)+" = "+one.sql), append(args, one.args...)
	}
	for chunk := range slices.Chunk(rows, batch) {
		where := e.s.these(chunk, e.seekers[chunk[0].scope].Tenant)
		query := fmt.Sprintf("UPDATE %s SET %s WHERE %s", e.s.table(chunk[0].e.Name), strings.Join(texts, ", "), where)
		if err := e.s.only(ctx, e.tx, chunk[0].e.Table, len(chunk), query, slices.Concat(args, where.args)); err != nil {
			return err
		}
	}
	return nil
}

// these is the condition for located rows of one table.
func (s *Store) these(rows []*located, tenant string) (c condition) {
	e := rows[0].e
	if len(e.Key) == 1 {
		keys := make([]keyPart, len(rows))
		for i, l := range rows {
			keys[i] = l.part(0)
		}
		s.key(&c, s.at("", e.Name, e.Key[0]), keys...)
	} else {
		each := make([]condition, len(rows))
		for i, l := range rows {
			for j, name := range e.Key {
				s.key(&each[i], s.at("", e.Name, name), l.part(j))
			}
		}
		c = either(each...)
	}
	if e.Tenant != "" {
		s.is(&c, s.at("", e.Name, e.Tenant), tenant)
	}
	return c
}

// KeyError says that the key columns that the map names for a table, with its
// tenant column, do not tell its rows apart: an erasure would reach rows of
// others. Permanent: name the columns of a unique key. Nothing was erased.
type KeyError struct {
	Table string // whose rows share a key
}

// Error names the table.
func (e *KeyError) Error() string {
	return fmt.Sprintf("sqlstore: erase: the key that the map names for table %s does not tell its rows apart: nothing was erased", e.Table)
}

// Is makes errors.Is(err, datamap.ErrMap) true.
func (e *KeyError) Is(target error) bool { return target == datamap.ErrMap }

// key asks that a column holds one of the located keys: on SQLite the value
// that was found, in its own type.
func (s *Store) key(c *condition, f field, keys ...keyPart) {
	stored, ids := make([]any, len(keys)), make([]string, len(keys))
	for i, k := range keys {
		stored[i], ids[i] = k.stored, k.text
	}
	if s.sqlite() {
		c.add(f.name+" IN ("+marks("?", len(keys))+")", stored...)
		return
	}
	s.among(c, f, ids)
}

// only changes no more rows than were found.
func (s *Store) only(ctx context.Context, tx *sql.Tx, t datamap.Table, found int, query string, args []any) error {
	result, err := tx.ExecContext(ctx, s.db.Bind(query), args...)
	if err != nil {
		return dbError("erase", t.Name, err)
	}
	n, err := result.RowsAffected()
	if err == nil && n > int64(found) {
		return &KeyError{t.Name}
	}
	return dbError("erase", t.Name, err)
}

func (s *Store) exec(ctx context.Context, tx *sql.Tx, query string, args ...any) error {
	_, err := tx.ExecContext(ctx, s.db.Bind(query), args...)
	return err
}

// levels are rows in the order in which they go, where rows of a table name others
// of it: MariaDB checks each row of a statement at once, all databases each statement.
func levels(e *entity, rows []*located) (all [][]*located) {
	if len(rows) < 2 || !slices.ContainsFunc(e.ways, func(w way) bool { return w.Table == e.Name }) {
		return slices.Collect(slices.Chunk(rows, max(len(rows), 1)))
	}
	for len(rows) > 0 {
		named := map[string]bool{} // by another row that is there still
		for _, l := range rows {
			own := l.selves(func(w *way) []string { return w.to })
			for i, name := range l.selves(func(w *way) []string { return w.Columns }) {
				named[name] = named[name] || name != "" && name != own[i]
			}
		}
		var now, later []*located
		for _, l := range rows {
			if slices.ContainsFunc(l.selves(func(w *way) []string { return w.to }), func(name string) bool { return named[name] }) {
				later = append(later, l)
			} else {
				now = append(now, l)
			}
		}
		if len(now) == 0 { // in a circle
			return append(all, later)
		}
		all, rows = append(all, now), later
	}
	return all
}

// selves are, for each edge to rows of the same table, the names in some columns of
// the row; "" where it names none.
func (l *located) selves(columns func(w *way) []string) (names []string) {
	for i := range l.e.ways {
		if w := &l.e.ways[i]; w.Table == l.e.Name {
			name := ""
			if parts, ok, err := l.tuple(columns(w)); ok && err == nil {
				name = w.source + "\x00" + textsOf(parts)
			}
			names = append(names, name)
		}
	}
	return names
}

// loosen empties columns of rows that go and name one, or themselves, which goes with
// the same statement: MariaDB refuses that.
func (e *erasure) loosen(ctx context.Context, t *entity, rows []*located) error {
	if e.s.sqlite() || e.s.db.Kind == sqldb.Postgres {
		return nil
	}
	going := map[string]bool{}
	for _, l := range rows {
		for _, name := range l.selves(func(w *way) []string { return w.to }) {
			going[name] = name != ""
		}
	}
	at := 0
	for _, w := range t.ways {
		if w.Table != t.Name {
			continue
		}
		naming := slices.DeleteFunc(slices.Clone(rows), func(l *located) bool {
			return !going[l.selves(func(w *way) []string { return w.Columns })[at]]
		})
		at++
		var sets []set
		for _, name := range t.Empties(w.Edge) {
			sets = append(sets, set{column: name, sql: "NULL"})
		}
		if len(naming) == 0 || len(sets) == 0 {
			continue
		}
		if err := e.update(ctx, naming, sets); err != nil {
			return err
		}
	}
	return nil
}

// delete removes rows, links of joint records first.
func (e *erasure) delete(ctx context.Context, t *entity, rows []*located) error {
	s := e.s
	for chunk := range slices.Chunk(rows, batch) {
		tenant := e.seekers[chunk[0].scope].Tenant
		if t.Link != nil {
			if err := e.deleteLinks(ctx, t, chunk); err != nil {
				return err
			}
		}
		where := s.these(chunk, tenant)
		if err := s.only(ctx, e.tx, t.Table, len(chunk), fmt.Sprintf("DELETE FROM %s WHERE %s", s.table(t.Name), where), where.args); err != nil {
			return err
		}
	}
	return nil
}

func (e *erasure) deleteLinks(ctx context.Context, t *entity, rows []*located) error {
	s, j := e.s, t.Link
	keys, owners := make([]keyPart, len(rows)), []string{}
	for i, l := range rows {
		owner, _ := l.owner() // readRow has read it
		if keys[i] = l.part(0); strings.HasPrefix(owner, "r:") && len(owner) > 2 {
			owners = append(owners, owner)
		}
	}
	var links condition
	s.key(&links, s.at("", j.Table, j.Record), keys...)
	if j.Tenant != "" {
		s.is(&links, s.at("", j.Table, j.Tenant), e.seekers[rows[0].scope].Tenant)
	}
	if err := s.exec(ctx, e.tx, fmt.Sprintf("DELETE FROM %s WHERE %s", s.table(j.Table), links), links.args...); err != nil {
		return dbError("erase", j.Table, err)
	}
	return s.remember(ctx, e.tx, e.seekers[rows[0].scope].Tenant, owners)
}
