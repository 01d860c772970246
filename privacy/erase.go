package privacy

import (
	"cmp"
	"context"
	"database/sql"
	"errors"
	"slices"
	"time"

	"github.com/google/uuid"

	"github.com/crmguard/crmguard/privacy/datastore"
	"github.com/crmguard/crmguard/privacy/erasurelog"
)

// eraseDatabase erases in one transaction of the database. Before the intent
// stands in the ledger an error leaves everything as it was. Later executions
// erase what has come since.
func (x *execution) eraseDatabase(ctx context.Context) error {
	begun := x.ledger.Status(x.plan.ID) != erasurelog.Unknown
	if err := x.prepare(ctx, begun); err != nil {
		return err
	}
	tops, err := x.d.tops(ctx, x.plan)
	if err != nil {
		return err
	}
	if err := x.d.prepare(ctx, x.plan.Tenant); err != nil {
		return err
	}
	ledger, err := x.d.cfg.Ledger.Anchored(ctx)
	if err != nil {
		return err
	}
	name := x.d.database.Name()
	scope := datastore.Scope{Tenant: x.plan.Tenant, Now: x.d.now()}
	after, err := ask(ctx, x.d, name, "erase", about(x.plan.Tenant, x.plan.Person), func(ctx context.Context) (erasedNow, error) {
		var after erasedNow
		err := x.d.database.EraseIn(ctx, each(scope, x.plan.persons()), func(ctx context.Context, tx datastore.Tx, found []datastore.Row) (err error) {
			after, err = x.last(ctx, tx, ledger, once(stored(found, name)), tops)
			return err
		})
		if err == nil && after.ledger == nil {
			err = errUncalled
		}
		return after, err
	})
	var refused *refusal
	switch {
	case errors.As(err, &refused): // by the desk, not by the database
		return refused.err
	case err != nil && x.row.intent > 0 && ctx.Err() == nil: // begun, and now something is in the way: Partial
		x.failed[name] = err
		return nil
	case err != nil:
		return err
	}
	x.row, x.facts, x.ledger = after.row, after.facts, after.ledger
	if begun { // what came behind its parents finds them no more
		if err := x.d.eraseIn(ctx, unflushed{x.d.database}, scope, x.plan.persons(), rowsOf(x.facts.rows, x.d.database)); err != nil {
			x.failed[name] = err
		}
	}
	return nil
}

// errUncalled is of a database that says it has erased, and in whose transaction
// the desk did not write.
var errUncalled = errors.New("privacy: the store did not end its transaction with what it was given")

// prepare finds by what the other stores find the person. Once the database has
// erased, only notes say it. An erasure that stands in the ledger goes on for
// those whom it names.
func (x *execution) prepare(ctx context.Context, begun bool) (err error) {
	if begun && x.row.intent > 0 {
		noted, err := x.known(ctx)
		x.identities = noted.Identities
		return err
	}
	if !begun {
		persons, err := x.d.persons(ctx, x.plan.Tenant, x.plan.Person)
		if err != nil {
			return err
		}
		if !slices.Equal(persons, x.plan.persons()) {
			return ErrPlanChanged
		}
	}
	return x.before(ctx)
}

// before looks for what the transaction will take away: by what the other
// stores find the person. It stands beside the ledger, sealed, until all is
// done. What another process has noted of this plan, or another plan of the same
// persons, comes to it: the database may have forgotten it meanwhile.
func (x *execution) before(ctx context.Context) (err error) {
	persons := x.plan.persons()
	scope := datastore.Scope{Tenant: x.plan.Tenant, Now: x.d.now()}
	if x.identities, err = x.d.identities(ctx, scope, persons); err != nil {
		return err
	}
	if len(x.d.cfg.Stores) > 0 {
		noted, err := x.known(ctx) // after the database was asked
		if err != nil {
			return err
		}
		x.identities = merged(x.identities, noted.Identities)
		if x.noted, err = rowsOfLines(noted.Rows); err != nil {
			return err
		}
		x.others = slices.Clone(x.noted)
	}
	scope.Identities = x.identities
	for _, store := range x.d.cfg.Stores {
		rows, err := x.d.findIn(ctx, store, scope, persons)
		if ctx.Err() != nil {
			return err
		}
		if err != nil { // it may be down; what was found at planning stands in for it
			rows = rowsOf(x.plan.rows, store)
		}
		x.others = joined(x.others, rows)
	}
	event, err := uuid.NewV7()
	if err != nil {
		return mute("drawing an id", err)
	}
	x.facts = facts{noted: len(x.d.cfg.Stores) > 0}
	if x.d.cfg.Record != nil {
		x.facts.event = event.String()
	}
	if !x.facts.noted {
		return nil
	}
	return x.d.note(ctx, x.plan, x.identities, x.others)
}

// isNoted says that a row is in a note: it was approved with that plan.
func (x *execution) isNoted(r datastore.Row) bool {
	return slices.ContainsFunc(x.noted, func(n datastore.Row) bool {
		return n.Store == r.Store && n.Table == r.Table && n.Key == r.Key && n.Class == r.Class
	})
}

// erasedNow is what a transaction that erased leaves behind.
type erasedNow struct {
	row    planRow
	facts  facts
	ledger *erasurelog.State
}

// refusal carries the desk's own error through the store.
type refusal struct{ err error }

func (r *refusal) Error() string { return r.err.Error() }
func (r *refusal) Unwrap() error { return r.err }

// last ends the transaction in which the database has erased: the intent goes
// to the ledger, and the plan and the mark follow it. It changes nothing of the
// execution, because the transaction may be tried again.
func (x *execution) last(ctx context.Context, tx datastore.Tx, ledger erasurelog.Anchored, found []datastore.Row, tops map[string]int64) (erasedNow, error) {
	after, err := x.write(ctx, tx, ledger, found, tops)
	if err != nil {
		return after, &refusal{err}
	}
	return after, nil
}

func (x *execution) write(ctx context.Context, tx datastore.Tx, ledger erasurelog.Anchored, found []datastore.Row, tops map[string]int64) (after erasedNow, err error) {
	locked, err := x.d.lockMark(ctx, tx)
	if err != nil {
		return after, err
	}
	row, err := x.d.lockPlan(ctx, tx, x.row.id)
	switch {
	case err != nil:
		return after, err
	case row.state == stateCancelled:
		return after, ErrCancelled
	case !row.same(x.row):
		return after, errMoved
	}
	m, _, err := x.d.believed(ctx, locked)
	if err != nil {
		return after, err
	}
	rows := slices.Concat(found, x.others)
	now := x.d.now()
	after.ledger, err = ledger.Append(ctx, m.kept(), func(s *erasurelog.State) (*erasurelog.Entry, error) {
		return x.decide(ctx, tx, s, m, rows, now, tops)
	})
	if err != nil {
		return after, err
	}
	first := row.intent == 0
	if after.facts, err = x.facts.merged(rows); err != nil {
		return after, err
	}
	if row.intent, err = intentOf(after.ledger, row.id); err != nil {
		return after, err
	}
	if first || slices.ContainsFunc(found, func(r datastore.Row) bool { return !r.Clean }) {
		row.state, row.erased = stateErased, sql.NullInt64{} // the lease begins anew
		if len(x.d.cfg.Stores) == 0 {
			row.state = stateWaiting // there is nobody else to ask
		}
	}
	if row.outcome, err = after.facts.bytes(x.plan); err != nil {
		return after, err
	}
	after.row = row
	if !first && slices.Equal(row.covered(), x.row.covered()) {
		return after, nil // nothing has come since
	}
	if err := x.d.storePlan(ctx, tx, &after.row); err != nil {
		return after, err
	}
	if err := x.d.settle(ctx, tx, after.ledger, locked, after.row); err != nil || !first {
		return after, err
	}
	return after, x.d.recordHead(ctx, tx, after.ledger.Head(), x.plan.Tenant, "privacy.erase.begin", planAttr(x.plan.ID))
}

// decide answers the intent, nil where it stands already, or why it may not be
// written.
func (x *execution) decide(ctx context.Context, tx datastore.Tx, s *erasurelog.State, m mark, rows []datastore.Row, now time.Time, tops map[string]int64) (*erasurelog.Entry, error) {
	if err := x.d.behind(ctx, tx, s, m, x.plan.ID); err != nil {
		return nil, err
	}
	if _, held, err := x.d.held(ctx, s, x.plan.Tenant, x.plan.persons()); err != nil || held {
		return nil, cmp.Or(err, errMoved)
	}
	switch s.Status(x.plan.ID) {
	case erasurelog.Unknown:
	case erasurelog.Begun, erasurelog.Left:
		return nil, nil
	default:
		return nil, errMoved
	}
	if x.plan.grown(slices.DeleteFunc(slices.Clone(rows), x.isNoted)) {
		return nil, ErrPlanChanged
	}
	if err := x.d.capped(s); err != nil {
		return nil, err
	}
	return x.intent(ctx, rows, now, tops)
}

// intent is the entry that begins the erasure: digests under the newest root.
// It names rows that a replay could not date (joint ones and those without an
// earlier creation time), and what the person was known by.
func (x *execution) intent(ctx context.Context, rows []datastore.Row, now time.Time, tops map[string]int64) (*erasurelog.Entry, error) {
	e := &erasurelog.Entry{Op: erasurelog.Intent, Plan: x.plan.ID, Tops: tops}
	w := digesting{ctx: ctx, d: x.d, tenant: x.plan.Tenant, entry: e}
	w.about(x.plan.Person, x.plan.Aliases)
	for _, r := range slices.Concat(rows, x.plan.rows) { // what a store conceals now was seen when it was planned
		if r.Key != "" && (r.Others || r.Created.IsZero() || !r.Created.Before(now)) {
			e.Refs = append(e.Refs, w.digest(erasurelog.KindRef, erasurelog.RowID(r.Table, r.Key)))
		}
	}
	for kind, values := range x.identities {
		for _, value := range values {
			e.Known = append(e.Known, w.known(kind, value))
		}
	}
	return e, w.err
}

// capped refuses more intents in 24 hours than allowed.
func (d *Desk) capped(s *erasurelog.State) error {
	limit := d.cfg.perDay()
	day := d.now().Add(-24 * time.Hour).Add(time.Microsecond)
	if limit > 0 && s.IntentsSince(day) >= limit {
		return ErrTooMany
	}
	return nil
}

// unflushed hides that a store can be flushed.
type unflushed struct{ datastore.Store }

// eraseOthers asks the other stores, in their order. One that fails does not
// keep the others from erasing.
func (x *execution) eraseOthers(ctx context.Context) error {
	for _, store := range x.d.cfg.Stores {
		if err := x.d.eraseIn(ctx, store, x.scope(), x.plan.persons(), x.seen(rowsOf(x.facts.rows, store), store)); err != nil {
			x.failed[store.Name()] = err
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
	}
	return nil
}

func (x *execution) scope() datastore.Scope {
	return datastore.Scope{Tenant: x.plan.Tenant, Identities: x.identities, Now: x.d.now()}
}

// eraseIn erases the persons in one store and flushes it.
func (d *Desk) eraseIn(ctx context.Context, store datastore.Store, scope datastore.Scope, persons []string, own []datastore.Row) error {
	for _, person := range persons {
		scope := scope
		scope.Person = person
		err := tell(ctx, d, store.Name(), "erase", about(scope.Tenant, person), func(ctx context.Context) error {
			return store.Erase(ctx, scope, own)
		})
		if err != nil {
			return err
		}
	}
	if f, ok := store.(datastore.Flusher); ok {
		return tell(ctx, d, store.Name(), "flush", "", f.Flush)
	}
	return nil
}
