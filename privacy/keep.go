package privacy

import (
	"context"
	"slices"
	"time"

	"github.com/crmguard/crmguard/privacy/datastore"
)

// kept lists the rows of a store that the plan keeps.
func (p *Plan) kept(store string) []datastore.Row {
	var rows []datastore.Row
	for _, r := range p.rows {
		if r.Store == store && r.Class == datastore.Kept && r.Key != "" {
			rows = append(rows, r)
		}
	}
	return rows
}

// missing lists the rows that should have been kept and are gone. Those whose
// obligation has ended since the plan was made were erased with the rest: the
// outcome counts them as gone, or as what the store says of them now.
func (x *execution) missing(ctx context.Context, store datastore.Store) ([]datastore.Row, error) {
	kept := x.plan.kept(store.Name())
	keeper, ok := store.(datastore.Keeper)
	if len(kept) == 0 || !ok {
		return nil, nil
	}
	gone, err := keeper.Missing(ctx, x.scope(), kept)
	if err != nil {
		return nil, &StoreError{store.Name(), "missing", err}
	}
	var lost []datastore.Row
	now := x.d.now()
	for _, row := range gone {
		if row.Until.IsZero() || row.Until.After(now) {
			lost = append(lost, row)
			continue
		}
		for i, r := range x.plan.rows {
			if r == row {
				x.plan.rows[i] = datastore.Row{Store: r.Store, Table: r.Table, Key: r.Key, Created: r.Created, Class: datastore.Deleted}
			}
		}
	}
	if err := x.ended(ctx, store, now); err != nil {
		return nil, err
	}
	x.plan.Counts = Sum(x.plan.rows)
	x.outcome.Counts = x.plan.Counts
	return lost, nil
}

// ended asks the store anew about rows that are there and whose obligation
// has ended since the plan was made: kept is not what happened to them.
func (x *execution) ended(ctx context.Context, store datastore.Store, now time.Time) error {
	over := func(r datastore.Row) bool {
		return r.Store == store.Name() && r.Class == datastore.Kept && !r.Until.IsZero() && !r.Until.After(now)
	}
	if !slices.ContainsFunc(x.plan.rows, over) {
		return nil
	}
	for _, person := range x.persons() {
		scope := x.scope()
		scope.Person = person
		rows, err := store.Find(ctx, scope)
		if err != nil {
			return &StoreError{store.Name(), "find", err}
		}
		for _, fresh := range rows {
			for i, r := range x.plan.rows {
				if over(r) && r.Table == fresh.Table && r.Key == fresh.Key {
					x.plan.rows[i].Class, x.plan.rows[i].Until, x.plan.rows[i].Because = fresh.Class, fresh.Until, fresh.Because
				}
			}
		}
	}
	return nil
}

// unshown names the stores that keep rows and cannot show them.
func (x *execution) unshown() []string {
	var list []string
	for _, store := range x.d.cfg.Stores {
		if _, ok := store.(datastore.Keeper); !ok && len(x.plan.kept(store.Name())) > 0 {
			list = append(list, "store "+store.Name()+" keeps records and cannot show that they are there")
		}
	}
	return list
}
