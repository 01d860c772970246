package sqlstore

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/crmguard/crmguard/internal/sqldb"
	"github.com/crmguard/crmguard/privacy/datamap"
	"github.com/crmguard/crmguard/privacy/datastore"
)

// attempts bounds how often an erasure is prepared anew, and how often rows that
// came meanwhile are erased behind the others.
const attempts = 3

// Erase erases what Find locates, in one transaction, and rows that still name
// one of the rows found before, where that is gone. Redactions of joint records
// are prepared before it, key owners that they retire are destroyed after it;
// what an interruption leaves of that, the next Erase does. Backups from before
// it keep deleted rows: readable, but for the columns that were sealed under keys
// of the person which another store has destroyed.
func (s *Store) Erase(ctx context.Context, scope datastore.Scope, found []datastore.Row) error {
	return s.erase(ctx, []datastore.Scope{scope}, found, nil)
}

// EraseIn is Erase of several persons in one transaction; see
// datastore.Transactional.
func (s *Store) EraseIn(ctx context.Context, scopes []datastore.Scope, last func(ctx context.Context, tx datastore.Tx, found []datastore.Row) error) error {
	return s.erase(ctx, scopes, nil, last)
}

func (s *Store) erase(ctx context.Context, scopes []datastore.Scope, before []datastore.Row, last func(context.Context, datastore.Tx, []datastore.Row) error) error {
	for attempt := 1; ; attempt++ {
		seekers, p, err := s.prepare(ctx, scopes)
		if err != nil {
			return err
		}
		gone, err := s.absent(ctx, before, scopes)
		if err != nil {
			return err
		}
		err = s.write(ctx, func(tx *sql.Tx) error {
			e := &erasure{s: s, tx: tx, seekers: seekers, prepared: p, orphanOf: gone, noted: map[string]bool{}}
			if err := e.run(ctx); err != nil || last == nil {
				return err
			}
			return last(ctx, tx, e.rows())
		})
		if !errors.Is(err, datastore.ErrLater) || attempt == attempts {
			if err != nil {
				return err
			}
			break
		}
	}
	for _, tenant := range tenantsOf(scopes) {
		if err := s.retire(ctx, tenant); err != nil {
			return err
		}
	}
	return nil
}

func tenantsOf(scopes []datastore.Scope) (tenants []string) {
	for _, scope := range scopes {
		if !slices.Contains(tenants, scope.Tenant) {
			tenants = append(tenants, scope.Tenant)
		}
	}
	return tenants
}

// write runs f in a transaction; what f answers comes out as it is.
func (s *Store) write(ctx context.Context, f func(tx *sql.Tx) error) error {
	write := s.db.Write
	if len(s.shared) > 0 || s.db.Kind == sqldb.Postgres {
		write = s.db.WriteStill // rows are counted before and after
	}
	var answer error
	err := write(ctx, func(tx *sql.Tx) error {
		answer = f(tx)
		return answer
	})
	if err != nil && answer == nil { // it was the transaction that failed
		return dbError("erase", "(transaction)", err)
	}
	return err
}

// errRehearsed takes a rehearsal back.
var errRehearsed = errors.New("sqlstore: rehearsed")

// An erasure is what happens in one transaction.
type erasure struct {
	s        *Store
	tx       *sql.Tx
	seekers  []seeker
	prepared *prepared
	orphanOf []*located // rows found before, and gone
	found    []*located
	noted    map[string]bool
	security string // PostgreSQL: the application's row_security
	strict   bool
}

func (e *erasure) run(ctx context.Context) error {
	before, err := e.s.counts(ctx, e.tx)
	if err != nil {
		return err
	}
	// Of a joint record whose persons all go the last one deletes it: they go one
	// by one.
	groups := [][]seeker{e.seekers}
	if e.s.joint() {
		groups = slices.Collect(slices.Chunk(e.seekers, 1))
	}
	at := 0
	for _, group := range groups {
		if err := e.pass(ctx, group, at); err != nil {
			return err
		}
		at += len(group)
	}
	if err := e.s.othersThere(ctx, e.tx, before, e.found); err != nil {
		return err
	}
	if err := e.s.stillThere(ctx, e.tx, e.seekers, e.found); err != nil {
		return err
	}
	return e.filtered(ctx)
}

// pass erases what is found of some of the seekers, looks again, and erases what
// has come meanwhile. What is there then is not to be erased.
func (e *erasure) pass(ctx context.Context, group []seeker, at int) error {
	gone := among(e.orphanOf, at, len(group))
	for attempt := 1; ; attempt++ {
		if err := e.unfiltered(ctx); err != nil {
			return err
		}
		for _, k := range group {
			if err := e.s.lockJoint(ctx, e.tx, k.Scope); err != nil {
				return err
			}
		}
		found, err := e.s.find(ctx, e.tx, group, e.prepared, gone)
		if err != nil {
			return err
		}
		var todo []*located
		for _, l := range found {
			if l.scope += at; l.covers(e.seekers[l.scope].Scope) && !l.row.Clean {
				todo = append(todo, l)
			}
		}
		e.note(found)
		switch {
		case len(todo) == 0:
			return nil
		case attempt > attempts:
			return &RemainingError{todo[0].row.Table}
		}
		if err := e.apply(ctx, todo); err != nil {
			return err
		}
		gone = among(slices.DeleteFunc(todo, (*located).stays), at, len(group))
	}
}

// among are the rows of some of the scopes, counted from the first of them.
func among(rows []*located, from, n int) (some []*located) {
	for _, l := range rows {
		if l.scope >= from && l.scope < from+n {
			one := *l
			one.scope -= from
			some = append(some, &one)
		}
	}
	return some
}

// note remembers the rows, each once.
func (e *erasure) note(found []*located) {
	for _, l := range found {
		if id := fmt.Sprint(l.scope, " ", l.cut != nil, " ", l.id()); !e.noted[id] {
			e.noted[id], e.found = true, append(e.found, l)
		}
	}
}

func (e *erasure) rows() []datastore.Row { return visible(e.found, e.seekers) }

// visible are the rows that an erasure in the scopes touches.
func visible(found []*located, seekers []seeker) (rows []datastore.Row) {
	for _, l := range found {
		if scope := seekers[l.scope].Scope; l.covers(scope) && !l.hidden {
			row := l.row
			row.Person = scope.Person
			rows = append(rows, row)
		}
	}
	return rows
}

// unfiltered makes a policy that came after Open an error on PostgreSQL, instead
// of hiding rows; what the application does in the transaction goes by its own
// setting, which filtered gives back.
func (e *erasure) unfiltered(ctx context.Context) error {
	if e.strict || e.s.db.Kind != sqldb.Postgres {
		return nil
	}
	e.strict = true
	return dbError("erase", "(transaction)", sqldb.One(ctx, e.tx, []any{&e.security, new(string)}, `SELECT current_setting('row_security'), set_config('row_security', 'off', true)`))
}

func (e *erasure) filtered(ctx context.Context) error {
	if !e.strict {
		return nil
	}
	e.strict = false
	return dbError("erase", "(transaction)", sqldb.One(ctx, e.tx, []any{new(string)}, `SELECT set_config('row_security', $1, true)`, e.security))
}

// apply does to rows what the map says: to joint records first, then to what
// points to rows that go, then to rows that stay; children are deleted first.
func (e *erasure) apply(ctx context.Context, rows []*located) error {
	type place struct {
		e      *entity
		tenant string
	}
	gone := map[place][]*located{}
	for _, l := range rows {
		switch {
		case l.cut != nil:
		case l.others:
			if err := e.redact(ctx, l); err != nil {
				return err
			}
		case !l.stays():
			at := place{l.e, e.seekers[l.scope].Tenant}
			gone[at] = append(gone[at], l)
		}
	}
	if err := e.unfiltered(ctx); err != nil {
		return err
	}
	if err := e.change(ctx, rows); err != nil {
		return err
	}
	for i := len(e.s.entities) - 1; i >= 0; i-- {
		t := e.s.entities[i]
		for _, tenant := range e.tenants() {
			for _, level := range levels(e.s, t, gone[place{t, tenant}]) {
				if err := e.delete(ctx, t, level); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

func (e *erasure) tenants() []string {
	scopes := make([]datastore.Scope, len(e.seekers))
	for i, k := range e.seekers {
		scopes[i] = k.Scope
	}
	return tenantsOf(scopes)
}

// redact applies a prepared redaction and removes the person's link.
func (e *erasure) redact(ctx context.Context, l *located) error {
	s, scope := e.s, e.seekers[l.scope].Scope
	r, ok := e.prepared.joint[scope.Person+"\x00"+l.id()]
	if !ok {
		return changed(l.row.Table)
	}
	if r.Apply != nil {
		if err := e.filtered(ctx); err != nil {
			return err
		}
		if err := r.Apply(ctx, e.tx); err != nil {
			return dbError("redact", l.row.Table, err)
		}
	}
	j := l.e.Link
	var link condition
	s.key(&link, s.at("", j.Table, j.Record), l.key[0])
	s.is(&link, s.at("", j.Table, j.Person), scope.Person)
	if j.Tenant != "" {
		s.is(&link, s.at("", j.Table, j.Tenant), scope.Tenant)
	}
	if err := s.exec(ctx, e.tx, fmt.Sprintf("DELETE FROM %s WHERE %s", s.quote(j.Table), link), link.args...); err != nil {
		return dbError("redact", j.Table, err)
	}
	return s.remember(ctx, e.tx, scope.Tenant, r.Retire)
}

// change does to each column of rows that stay, and of rows that only point to
// the person, what the map says: rows that change alike in one statement.
func (e *erasure) change(ctx context.Context, rows []*located) error {
	alike := map[string][]*located{}
	sets := map[string][]set{}
	var order []string
	for _, l := range rows {
		if l.others && l.cut == nil || l.actions == nil && l.cut == nil {
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
		group := fmt.Sprintf("%s\x00%s\x00%#v", l.row.Table, scope.Tenant, own)
		if alike[group] == nil {
			order = append(order, group)
			sets[group] = own
		}
		alike[group] = append(alike[group], l)
	}
	for _, group := range order {
		if err := e.update(ctx, alike[group], sets[group]); err != nil {
			return err
		}
	}
	return nil
}

// unlinked empties the columns that point to the person: of several not those by
// which the row itself is known.
func (l *located) unlinked() (sets []set) {
	if l.cut.Unlink != datamap.Null {
		return nil
	}
	for _, name := range l.cut.Columns {
		if len(l.cut.Columns) == 1 || name != l.e.Tenant && !slices.Contains(l.e.Key, name) {
			sets = append(sets, set{column: name, sql: "NULL"})
		}
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
		query := fmt.Sprintf("UPDATE %s SET %s WHERE %s", e.s.quote(chunk[0].e.Name), strings.Join(texts, ", "), where)
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
			keys[i] = l.key[0]
		}
		s.key(&c, s.at("", e.Name, e.Key[0]), keys...)
	} else {
		each := make([]condition, len(rows))
		for i, l := range rows {
			for j, name := range e.Key {
				s.key(&each[i], s.at("", e.Name, name), l.key[j])
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
// of it: MariaDB checks each row of a statement at once.
func levels(s *Store, e *entity, rows []*located) (all [][]*located) {
	i := slices.IndexFunc(e.ways, func(w way) bool { return w.Edge.Table == e.Name })
	if i < 0 || len(rows) < 2 {
		return slices.Collect(slices.Chunk(rows, max(len(rows), 1)))
	}
	to := e.ways[i]
	for len(rows) > 0 {
		named := map[string]bool{} // by a row that is there still
		for _, l := range rows {
			if parts, ok, err := l.tuple(s, to.Columns); ok && err == nil {
				named[textsOf(parts)] = true
			}
		}
		var now, later []*located
		for _, l := range rows {
			if parts, ok, err := l.tuple(s, to.Target(e.Table)); ok && err == nil && named[textsOf(parts)] {
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
		if err := s.only(ctx, e.tx, t.Table, len(chunk), fmt.Sprintf("DELETE FROM %s WHERE %s", s.quote(t.Name), where), where.args); err != nil {
			return err
		}
	}
	return nil
}

func (e *erasure) deleteLinks(ctx context.Context, t *entity, rows []*located) error {
	s, j := e.s, t.Link
	keys, owners := make([]keyPart, len(rows)), []string{}
	for i, l := range rows {
		if keys[i] = l.key[0]; strings.HasPrefix(l.owner, "r:") && len(l.owner) > 2 {
			owners = append(owners, l.owner)
		}
	}
	var links condition
	s.key(&links, s.at("", j.Table, j.Record), keys...)
	if j.Tenant != "" {
		s.is(&links, s.at("", j.Table, j.Tenant), e.seekers[rows[0].scope].Tenant)
	}
	if err := s.exec(ctx, e.tx, fmt.Sprintf("DELETE FROM %s WHERE %s", s.quote(j.Table), links), links.args...); err != nil {
		return dbError("erase", j.Table, err)
	}
	return s.remember(ctx, e.tx, e.seekers[rows[0].scope].Tenant, owners)
}
