package privacy

import (
	"context"
	"errors"
	"slices"

	"github.com/crmguard/crmguard/privacy/datamap"
	"github.com/crmguard/crmguard/privacy/datastore"
)

// aboutReplay names a replay among the calls of stores.
const aboutReplay = "replay"

// scopesAtOnce bounds how many persons a store is asked about in one call.
const scopesAtOnce = 200

// search finds out who of the ledger is in the stores, and with what.
func (r *replay) search(ctx context.Context) error {
	if err := r.match(ctx); err != nil {
		return err
	}
	if err := r.matchMore(ctx); err != nil {
		return err
	}
	if err := r.identify(ctx); err != nil {
		return err
	}
	if err := r.locate(ctx); err != nil {
		return err
	}
	r.goWithOthers()
	var all []datastore.Row
	for _, t := range r.targets {
		if len(t.rows) > 0 {
			r.report.Back++
		}
		all = append(all, t.rows...)
	}
	r.report.Counts = Sum(all)
	return nil
}

// goWithOthers leaves nobody to decide about a row of two erased persons, of which
// the intent of one says that it is older: it goes with that one.
func (r *replay) goWithOthers() {
	type place struct{ tenant, store, table, key string }
	goes := map[place]bool{}
	for _, t := range r.targets {
		for _, row := range t.rows {
			if row.Class == datastore.Deleted && row.Key != "" {
				goes[place{t.person.Tenant, row.Store, row.Table, row.Key}] = true
			}
		}
	}
	r.report.Undated = nil
	for _, t := range r.targets {
		t.undated = slices.DeleteFunc(t.undated, func(row datastore.Row) bool {
			return goes[place{t.person.Tenant, row.Store, row.Table, row.Key}]
		})
		r.report.Undated = append(r.report.Undated, t.undated...)
	}
}

// identify asks by what the database knows the persons, before it forgets. What
// somebody else is known by, too, leads to nobody.
func (r *replay) identify(ctx context.Context) error {
	if !slices.ContainsFunc(r.d.cfg.Map.Tables, func(t datamap.Table) bool {
		return slices.ContainsFunc(t.Columns, func(c datamap.Column) bool { return c.Identity != "" })
	}) {
		return nil
	}
	for _, t := range r.targets {
		scope := datastore.Scope{Tenant: t.person.Tenant, Now: r.now}
		noted, shared, err := r.unshared(ctx, scope, t)
		if err != nil {
			return err
		}
		found, err := r.d.knownBy(ctx, scope, []string{t.person.ID})
		if err != nil && !errors.Is(err, datastore.ErrShared) {
			return err
		}
		if shared || err != nil {
			r.report.Shared++
		}
		if found.shredded {
			r.report.Sealed++
		}
		t.identities = noted
		if t.identities = merged(t.identities, found.values); t.identities == nil {
			t.identities = map[string][]string{} // and not what the database would find by itself
		}
	}
	return nil
}

// unshared are those of the identities which were noted of a person that are nobody
// else's by now.
func (r *replay) unshared(ctx context.Context, scope datastore.Scope, t *target) (left map[string][]string, shared bool, err error) {
	if len(t.identities) == 0 {
		return nil, false, nil
	}
	persons, err := r.d.persons(ctx, t.person.Tenant, t.person.ID)
	if err != nil {
		return nil, false, err
	}
	left, is, err := r.d.unshared(ctx, scope, persons, t.identities)
	return left, is != nil, err
}

// locate runs a fresh search for every matched person and sorts the rows. A
// store that does not answer does not keep the others from erasing.
func (r *replay) locate(ctx context.Context) error {
	for _, store := range r.d.stores() {
		found, err := r.find(ctx, store, r.targets)
		if err != nil {
			r.failed[store.Name()] = err
			continue
		}
		for i, t := range r.targets {
			t.again = t.again || t.listed[store.Name()] && len(found[i]) == 0
			if err := r.sort(ctx, t, found[i]); err != nil {
				return err
			}
		}
	}
	return ctx.Err()
}

// find asks a store for all rows of the persons.
func (r *replay) find(ctx context.Context, store datastore.Store, targets []*target) ([][]datastore.Row, error) {
	found := make([][]datastore.Row, len(targets))
	place := map[datastore.Person]int{}
	scopes := map[string][]datastore.Scope{} // by tenant
	for i, t := range targets {
		place[t.person] = i
		scopes[t.person.Tenant] = append(scopes[t.person.Tenant], datastore.Scope{Tenant: t.person.Tenant, Person: t.person.ID, Identities: t.identities, Now: r.now})
	}
	for tenant, all := range scopes {
		for some := range slices.Chunk(all, scopesAtOnce) {
			rows, err := ask(ctx, r.d, store.Name(), "find", aboutReplay, func(ctx context.Context) ([]datastore.Row, error) {
				return findAll(ctx, store, some)
			})
			if err != nil {
				return nil, err
			}
			for _, row := range rows {
				i, ok := place[datastore.Person{Tenant: tenant, ID: row.Person}]
				if !ok {
					return nil, &StoreError{store.Name(), "find", errForeignRow}
				}
				row.Store = store.Name()
				found[i] = append(found[i], row)
			}
		}
	}
	return found, nil
}

var errForeignRow = errors.New("a row of somebody who was not asked for")

// findAll finds the rows of several persons, and says whose each is.
func findAll(ctx context.Context, store datastore.Store, scopes []datastore.Scope) ([]datastore.Row, error) {
	if t, ok := store.(datastore.Transactional); ok {
		return t.FindAll(ctx, scopes)
	}
	var all []datastore.Row
	for _, scope := range scopes {
		rows, err := store.Find(ctx, scope)
		if err != nil {
			return nil, err
		}
		for _, row := range rows {
			row.Person = scope.Person
			all = append(all, row)
		}
	}
	return all, nil
}

// sort says of each row whether it is older than the erasure. One that is clean
// needs nothing; what points to it may.
func (r *replay) sort(ctx context.Context, t *target, rows []datastore.Row) error {
	for _, row := range rows {
		older, err := r.older(ctx, t, row)
		if err != nil {
			return err
		}
		switch {
		case row.Clean:
		case older == yes:
			t.rows = append(t.rows, row)
		case older == unknown:
			t.undated = append(t.undated, row)
			r.report.Undated = append(r.report.Undated, row)
		case !row.Created.IsZero():
			r.report.Newer = append(r.report.Newer, row)
		}
	}
	return nil
}

type answer int

const (
	no answer = iota
	yes
	unknown
)

// older says whether a row existed when its person was erased: by its creation
// time, by the intent, which names rows without an earlier one, or by what
// somebody has decided.
func (r *replay) older(ctx context.Context, t *target, row datastore.Row) (answer, error) {
	if row.Key == "" || !row.Created.IsZero() && row.Created.Before(t.at) {
		return yes, nil
	}
	keys, err := r.d.rowKeys(ctx, t.person.Tenant, row)
	if err != nil {
		return unknown, err
	}
	erase := slices.ContainsFunc(keys, func(k string) bool { return t.refs[k] })
	if !erase && !row.Created.IsZero() {
		return no, nil
	}
	if !erase {
		var decided bool
		if erase, decided = r.ledger.Decided(keys...); !decided {
			return unknown, nil
		}
	}
	if !erase {
		return no, nil
	}
	t.erase[tableKey{row.Table, row.Key}] = true
	return yes, nil
}

// scope is what is erased of a person: nothing that came later.
func (r *replay) scope(t *target) datastore.Scope {
	return datastore.Scope{
		Tenant: t.person.Tenant, Person: t.person.ID, Identities: t.identities, Before: t.at, Now: r.now,
		Known: func(table, key string) bool { return t.erase[tableKey{table, key}] },
	}
}
