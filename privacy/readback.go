package privacy

import (
	"cmp"
	"context"
	"database/sql"
	"errors"
	"log/slog"
	"time"

	"github.com/crmguard/crmguard/privacy/datastore"
	"github.com/crmguard/crmguard/privacy/erasurelog"
)

// readBack asks every store once what it still holds, by the keys found before
// and by a fresh search, and whether it has what stays.
func (x *execution) readBack(ctx context.Context) error {
	for _, store := range x.d.stores() {
		scope := x.scope()
		if store.Name() == x.d.database.Name() {
			scope.Identities = nil // which it knows itself
		}
		o := StoreOutcome{Store: store.Name()}
		var remaining, missing error
		o.Remaining, remaining = x.d.remaining(ctx, store, scope, x.plan.persons(), x.seen(rowsOf(x.facts.rows, store), store))
		o.Missing, missing = x.d.missing(ctx, store, scope, rowsOf(x.facts.rows, store))
		o.Err = cmp.Or(x.failed[o.Store], remaining, missing)
		x.stores = append(x.stores, o)
		if ctx.Err() != nil {
			return ctx.Err()
		}
	}
	return nil
}

// seen are rows of a store, with those that were there when the erasure was
// planned: what a store conceals by and by is asked for, too.
func (x *execution) seen(own []datastore.Row, store datastore.Store) []datastore.Row {
	type place struct{ table, key string }
	known := map[place]bool{}
	for _, r := range own {
		known[place{r.Table, r.Key}] = true
	}
	for _, r := range rowsOf(x.plan.rows, store) {
		if !known[place{r.Table, r.Key}] && r.Class != datastore.Kept {
			own = append(own, r)
		}
	}
	return own
}

// remaining reads one store back.
func (d *Desk) remaining(ctx context.Context, store datastore.Store, scope datastore.Scope, persons []string, own []datastore.Row) (int, error) {
	total := 0
	for i, person := range persons {
		scope := scope
		scope.Person = person
		if i > 0 {
			own = nil // the keys are asked for once
		}
		n, err := ask(ctx, d, store.Name(), "remaining", about(scope.Tenant, person), func(ctx context.Context) (int, error) {
			return store.Remaining(ctx, scope, own)
		})
		if err != nil {
			return total, err
		}
		total += n
	}
	return total, nil
}

// missing lists the rows that should have been kept and are gone.
func (d *Desk) missing(ctx context.Context, store datastore.Store, scope datastore.Scope, own []datastore.Row) ([]datastore.Row, error) {
	kept := keptOf(own)
	keeper, ok := store.(datastore.Keeper)
	if len(kept) == 0 || !ok {
		return nil, nil
	}
	return ask(ctx, d, store.Name(), "missing", scope.Tenant, func(ctx context.Context) ([]datastore.Row, error) {
		return keeper.Missing(ctx, scope, kept)
	})
}

func keptOf(rows []datastore.Row) (kept []datastore.Row) {
	for _, r := range rows {
		if r.Class == datastore.Kept && r.Key != "" {
			kept = append(kept, r)
		}
	}
	return kept
}

// outcome is what is known so far.
func (x *execution) outcome(state State) Outcome {
	rows := x.facts.rows
	return Outcome{State: state, Plan: x.plan.ID, Stores: x.stores, Counts: Sum(rows), NotCovered: x.d.notCovered(rows)}
}

// conclude decides between Partial, Waiting and Done.
func (x *execution) conclude(ctx context.Context) (Outcome, error) {
	later := false
	for _, s := range x.stores {
		switch {
		case s.Remaining > 0, len(s.Missing) > 0, s.Err != nil && !errors.Is(s.Err, datastore.ErrLater):
			return x.partial(ctx)
		case s.Err != nil:
			later = true
		}
	}
	o := x.outcome(Waiting)
	if later {
		o.Until = x.d.now()
		var err error
		if x.row.state != stateWaiting {
			err = x.answered(ctx, x.row.erased)
		}
		x.d.flush(ctx)
		return o, err
	}
	if err := x.begin(ctx); err != nil {
		return Outcome{}, err
	}
	o.Until = time.UnixMicro(x.row.erased.Int64).UTC().Add(x.d.cfg.lease())
	if x.d.now().Before(o.Until) {
		x.d.flush(ctx)
		return o, nil
	}
	return x.certify(ctx, o)
}

// begin notes since when nothing is left: the lease of cached keys begins. It
// begins anew where that is a time to come, or is before what the ledger says last of
// the plan: the clock was wrong then, or somebody has put an older row back.
func (x *execution) begin(ctx context.Context) error {
	entries, now := x.ledger.Plan(x.plan.ID), x.d.now().UnixMicro()
	earliest := entries[len(entries)-1].At.UnixMicro()
	if x.row.erased.Valid && earliest <= x.row.erased.Int64 && x.row.erased.Int64 <= now {
		return nil
	}
	if x.d.cfg.lease() == 0 {
		x.row.erased = sql.NullInt64{Int64: now, Valid: true} // the certificate says it in a moment
		return nil
	}
	return x.answered(ctx, sql.NullInt64{Int64: max(now, earliest), Valid: true})
}

// answered says in the plan row that every store has: from now on the gate does
// not wait for this erasure. An older row that is put back says so of an earlier
// Partial at most.
func (x *execution) answered(ctx context.Context, since sql.NullInt64) error {
	facts := x.facts
	err := x.change(ctx, true, func(tx *sql.Tx, row *planRow, b beside) error {
		row.state, row.erased = stateWaiting, since
		s, err := b.ledger.Append(ctx, b.mark.kept(), nothing)
		if err != nil {
			return err
		}
		for _, e := range s.Plan(row.id) {
			if e.Op == erasurelog.Partial {
				facts.left = e.N
			}
		}
		if row.outcome, err = facts.bytes(x.plan); err != nil {
			return err
		}
		if err := x.d.storePlan(ctx, tx, row); err != nil {
			return err
		}
		return x.d.settle(ctx, tx, s, b.locked, *row)
	})
	if err == nil {
		x.facts = facts
	}
	return err
}

// beside is what stands beside a plan while it changes.
type beside struct {
	locked mark // as it stands
	mark   mark // as decisions go by it
	ledger erasurelog.Anchored
}

// change calls f with the plan row locked, unless another process has changed
// it; f stores it. Where f goes by the ledger and raises the mark, that is locked
// before.
func (x *execution) change(ctx context.Context, marks bool, f func(tx *sql.Tx, row *planRow, b beside) error) (err error) {
	var b beside
	if marks {
		if b.ledger, err = x.d.cfg.Ledger.Anchored(ctx); err != nil {
			return err
		}
	}
	var row planRow
	err = x.d.recorded(ctx, []string{x.row.tenant}, func(tx *sql.Tx) (err error) {
		if marks {
			if b.locked, err = x.d.lockMark(ctx, tx); err != nil {
				return err
			}
			if b.mark, _, err = x.d.believed(ctx, b.locked); err != nil {
				return err
			}
		}
		if row, err = x.d.lockPlan(ctx, tx, x.row.id); err != nil {
			return err
		}
		if !row.same(x.row) {
			return errMoved
		}
		return f(tx, &row, b)
	})
	if err == nil {
		x.row = row
	}
	return err
}

// partial says so in the ledger, once in a row. The mark stays before that
// until nothing is left: a copy of the database, and whoever starts, is then
// behind the ledger.
func (x *execution) partial(ctx context.Context) (Outcome, error) {
	o, said := x.outcome(Partial), false
	err := x.change(ctx, true, func(tx *sql.Tx, row *planRow, b beside) (err error) {
		row.state, row.erased = stateLeft, sql.NullInt64{} // the lease begins anew when nothing is left
		x.ledger, err = b.ledger.Append(ctx, b.mark.kept(), func(s *erasurelog.State) (*erasurelog.Entry, error) {
			entries := s.Plan(x.plan.ID)
			last := entries[len(entries)-1]
			said = last.Op == erasurelog.Partial && b.mark.head.N < last.N && x.facts.left < last.N
			e, ok := follow(s, erasurelog.Partial, x.plan.ID)
			if said || !ok {
				return nil, nil
			}
			return e, nil
		})
		if err != nil {
			return err
		}
		if err := x.d.storePlan(ctx, tx, row); err != nil {
			return err
		}
		if err := x.d.settle(ctx, tx, x.ledger, b.locked, *row); err != nil || said {
			return err
		}
		return x.d.recordHead(ctx, tx, x.ledger.Head(), x.plan.Tenant, "privacy.erase.partial", planAttr(x.plan.ID), slog.String("outcome", "partial"))
	})
	if err != nil {
		return Outcome{}, err
	}
	if !said {
		x.d.observe(ctx, "privacy.partial", 1)
	}
	x.d.flush(ctx)
	return o, nil
}
