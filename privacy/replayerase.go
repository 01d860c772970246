package privacy

import (
	"cmp"
	"context"
	"errors"
	"maps"
	"slices"

	"github.com/crmguard/crmguard/privacy/datastore"
	"github.com/crmguard/crmguard/privacy/erasurelog"
)

// erase erases whom something has come back of, in every store, and reads back.
// They are noted first, until every store is done.
func (r *replay) erase(ctx context.Context) error {
	var back []*target
	var noted []notedPerson
	for _, t := range r.targets {
		if !r.back(t) {
			continue
		}
		back = append(back, t)
		noted = append(noted, notedPerson{Tenant: t.person.Tenant, Person: t.person.ID, Identities: t.identities, Rows: joined(t.before, t.rows)})
	}
	if len(back) > 0 {
		notes, err := r.d.noteReplay(ctx, noted)
		if err != nil {
			return err
		}
		r.notes = append(r.notes, notes...)
		if err := r.d.distrust(ctx); err != nil { // behind the notes: see replayedMeanwhile
			return err
		}
	}
	for _, store := range r.d.stores() {
		if r.failed[store.Name()] != nil {
			continue
		}
		if err := cmp.Or(r.eraseIn(ctx, store, back), r.remaining(ctx, store, back), ctx.Err()); err != nil {
			r.failed[store.Name()] = err
		}
	}
	if len(r.failed) > 0 {
		return errors.Join(slices.Collect(maps.Values(r.failed))...)
	}
	persons := map[*target]bool{}
	for _, t := range back {
		if len(t.rows) > 0 {
			persons[cmp.Or(t.of, t)] = true
		}
	}
	r.report.Erased = len(persons)
	return nil
}

// eraseIn erases the persons in one store, and flushes it.
func (r *replay) eraseIn(ctx context.Context, store datastore.Store, targets []*target) error {
	if t, ok := store.(datastore.Transactional); ok {
		if err := r.eraseMany(ctx, t, targets); err != nil {
			return err
		}
	} else {
		for _, t := range targets {
			err := tell(ctx, r.d, store.Name(), "erase", aboutReplay, func(ctx context.Context) error {
				return store.Erase(ctx, r.scope(t), rowsOf(joined(t.before, t.rows), store))
			})
			if err != nil {
				return err
			}
		}
	}
	if f, ok := store.(datastore.Flusher); ok && len(targets) > 0 {
		return tell(ctx, r.d, store.Name(), "flush", aboutReplay, f.Flush)
	}
	return nil
}

func (r *replay) eraseMany(ctx context.Context, store datastore.Transactional, targets []*target) error {
	for some := range slices.Chunk(targets, scopesAtOnce) {
		scopes := make([]datastore.Scope, len(some))
		for i, t := range some {
			scopes[i] = r.scope(t)
		}
		last := func(context.Context, datastore.Tx, []datastore.Row) error { return nil }
		err := tell(ctx, r.d, store.Name(), "erase", aboutReplay, func(ctx context.Context) error {
			return store.EraseIn(ctx, scopes, last)
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// remaining reads one store back: by a fresh search, and where it is not of the
// kind that has looked within its transaction by the keys found before.
func (r *replay) remaining(ctx context.Context, store datastore.Store, targets []*target) error {
	if _, ok := store.(datastore.Transactional); ok {
		found, err := r.find(ctx, store, targets)
		if err != nil {
			return err
		}
		for i, t := range targets {
			for _, row := range found[i] {
				if row.Clean || slices.Contains(t.undated, row) {
					continue
				}
				older, err := r.older(ctx, t, row) // what the first search concealed, too
				if err == nil && older != no {
					err = &StoreError{store.Name(), "remaining", ErrReplayLeft}
				}
				if err != nil {
					return err
				}
			}
		}
		return nil
	}
	for _, t := range targets {
		left, err := ask(ctx, r.d, store.Name(), "remaining", aboutReplay, func(ctx context.Context) (int, error) {
			return store.Remaining(ctx, r.scope(t), rowsOf(joined(t.before, t.rows), store))
		})
		if err != nil {
			return err
		}
		if left > 0 {
			return &StoreError{store.Name(), "remaining", ErrReplayLeft}
		}
	}
	return nil
}

// undecided are the persons with rows that wait for somebody.
func (r *replay) undecided() []notedPerson {
	var list []notedPerson
	for _, t := range r.targets {
		if len(t.undated) > 0 {
			list = append(list, notedPerson{Tenant: t.person.Tenant, Person: t.person.ID, Identities: t.identities, Undated: t.undated, Erased: true})
		}
	}
	return list
}

// postponed are the persons of earlier replays whom a hold keeps now: by what
// they are found the databases may have forgotten.
func (r *replay) postponed() []notedPerson {
	var list []notedPerson
	for _, p := range r.notes.persons() {
		if r.held[p.id()] {
			p.Held, p.Undated = true, nil // which are found again
			list = append(list, p)
		}
	}
	return list
}

// tenants are those in which someone was erased again: now, or by a replay
// before that did not come to its end.
func (r *replay) tenants() []string {
	var list []string
	for _, t := range r.targets {
		if len(t.rows) > 0 || t.again {
			list = append(list, t.person.Tenant)
		}
	}
	slices.Sort(list)
	return slices.Compact(list)
}

// forgotten lists the open plans that have ended, and the state in which they do;
// and the plans that are not open, nor under way, and have a note: whoever would have
// made an end of it was killed, or a restore took the plan away.
func (r *replay) forgotten(ctx context.Context) (ended map[string]string, orphans []string, err error) {
	ended = map[string]string{}
	rows, err := r.d.openPlans(ctx, r.ledger)
	if err != nil {
		return nil, nil, err
	}
	orphans = slices.DeleteFunc(slices.Clone(r.plans), func(id string) bool {
		status := r.ledger.Status(id)
		return status == erasurelog.Begun || status == erasurelog.Left || slices.ContainsFunc(rows, func(row planRow) bool { return row.id == id && len(row.body) > 0 })
	})
	for _, row := range rows {
		p, err := parsePlan(row.body)
		if err != nil {
			continue
		}
		state, err := r.d.ended(ctx, r.ledger, p)
		if err != nil {
			return nil, nil, err
		}
		if state != "" {
			ended[row.id] = state
		}
	}
	return ended, orphans, nil
}
