package sqlstore

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"

	"github.com/crmguard/crmguard/internal/sqldb"
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
	emptied := false // all that was found is deleted
	for attempt := 1; ; attempt++ {
		if err := e.unfiltered(ctx); err != nil {
			return err
		}
		for _, k := range group {
			if err := e.s.lockJoint(ctx, e.tx, k.Scope); err != nil {
				return err
			}
		}
		if attempt > 1 && emptied {
			if nothing, err := e.s.nothing(ctx, e.tx, group, gone); nothing || err != nil {
				return err
			}
		}
		found, err := e.s.find(ctx, e.tx, group, e.prepared, gone)
		if err != nil {
			return err
		}
		var todo []*located
		for _, l := range found {
			if l.scope += at; l.covers(e.seekers[l.scope].Scope) && !l.clean {
				todo = append(todo, l)
			}
		}
		e.note(found)
		switch {
		case len(todo) == 0:
			return nil
		case attempt > attempts:
			return &RemainingError{todo[0].e.Name}
		}
		if err := e.apply(ctx, todo); err != nil {
			return err
		}
		emptied = len(todo) == len(found) && !slices.ContainsFunc(todo, (*located).stays) && e.s.alone()
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

// note remembers the rows, each once for every edge by which it points to somebody.
func (e *erasure) note(found []*located) {
	for _, l := range found {
		if id := fmt.Sprintf("%d %p %v", l.scope, l.cut, l.id()); !e.noted[id] {
			e.noted[id], e.found = true, append(e.found, l)
		}
	}
}

func (e *erasure) rows() []datastore.Row { return visible(e.found, e.seekers) }

// visible are the rows that an erasure in the scopes touches: one that points to
// the person in several columns once.
func visible(found []*located, seekers []seeker) (rows []datastore.Row) {
	pointing := map[owned]int{}
	for _, l := range found {
		scope := seekers[l.scope].Scope
		if !l.covers(scope) || l.hidden {
			continue
		}
		row := l.row()
		row.Person = scope.Person
		if l.cut != nil {
			id := owned{l.scope, l.id()}
			if at, known := pointing[id]; known {
				rows[at] = rows[at].And(row)
				continue
			}
			pointing[id] = len(rows)
		}
		rows = append(rows, row)
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
			for _, level := range levels(t, gone[place{t, tenant}]) {
				if err := e.loosen(ctx, t, level); err != nil {
					return err
				}
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
	r, ok := e.prepared.joint[jointID{scope.Person, l.id()}]
	if !ok {
		return changed(l.e.Name)
	}
	if r.Apply != nil {
		if err := e.filtered(ctx); err != nil {
			return err
		}
		if err := r.Apply(ctx, e.tx); err != nil {
			return dbError("redact", l.e.Name, err)
		}
	}
	j := l.e.Link
	var link condition
	s.key(&link, s.at("", j.Table, j.Record), l.part(0))
	s.is(&link, s.at("", j.Table, j.Person), scope.Person)
	if j.Tenant != "" {
		s.is(&link, s.at("", j.Table, j.Tenant), scope.Tenant)
	}
	if err := s.exec(ctx, e.tx, fmt.Sprintf("DELETE FROM %s WHERE %s", s.table(j.Table), link), link.args...); err != nil {
		return dbError("redact", j.Table, err)
	}
	return s.remember(ctx, e.tx, scope.Tenant, r.Retire)
}
