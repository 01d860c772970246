package privacy

import (
	"context"
	"errors"
	"slices"
	"strings"

	"github.com/crmguard/crmguard/internal/canon"
	"github.com/crmguard/crmguard/privacy/datamap"
	"github.com/crmguard/crmguard/privacy/datastore"
	"github.com/crmguard/crmguard/privacy/erasurelog"
)

// aboutReplay names a replay among the calls of stores.
const aboutReplay = "replay"

// scopesAtOnce bounds how many persons a store is asked about in one call.
const scopesAtOnce = 100

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

// match looks every person of the stores up in the ledger.
func (r *replay) match(ctx context.Context) error {
	listed := false
	for _, store := range r.d.stores() {
		people, ok := store.(datastore.People)
		if !ok {
			continue
		}
		listed = true
		for page, err := range peopleOf(ctx, people) {
			if err != nil {
				return &StoreError{store.Name(), "people", err}
			}
			r.report.Unread += page.unread
			for _, person := range page.persons {
				t, err := r.look(ctx, person)
				if err != nil {
					return err
				}
				if t != nil {
					t.listed[store.Name()] = true
				}
			}
		}
	}
	if !listed {
		return ErrNoPeople
	}
	r.report.People = len(r.known)
	return r.nobodys(ctx)
}

// nobodys counts the rows of the database that name a person and no tenant.
func (r *replay) nobodys(ctx context.Context) error {
	counts, ok := r.d.database.(interface {
		Undecided(ctx context.Context) ([]datastore.Row, error)
	})
	if !ok {
		return nil
	}
	rows, err := ask(ctx, r.d, r.d.database.Name(), "people", aboutReplay, counts.Undecided)
	for _, row := range rows {
		r.report.Unread += max(1, row.Count)
	}
	return err
}

// matchMore looks up whom the stores may not list any more, after they were
// asked: what another process has noted meanwhile is not missed.
func (r *replay) matchMore(ctx context.Context) error {
	var err error
	if r.notes, err = r.d.unfinished(ctx); err != nil {
		return err
	}
	underWay, err := r.noted(ctx)
	if err != nil {
		return err
	}
	noted := map[datastore.Person][]notedPerson{}
	for _, p := range append(r.notes.persons(), underWay...) {
		noted[p.id()] = append(noted[p.id()], p)
		if _, err := r.look(ctx, p.id()); err != nil {
			return err
		}
	}
	begun, err := r.begun(ctx)
	if err != nil {
		return err
	}
	for _, person := range begun {
		if _, err := r.look(ctx, person); err != nil {
			return err
		}
	}
	for _, t := range slices.Clone(r.targets) { // merged into somebody who was erased, and erased with them
		aliases, err := r.d.persons(ctx, t.person.Tenant, t.person.ID)
		if err != nil {
			return err
		}
		for _, alias := range aliases {
			if _, err := r.look(ctx, datastore.Person{Tenant: t.person.Tenant, ID: alias}); err != nil {
				return err
			}
		}
	}
	for _, t := range r.targets {
		for _, p := range noted[t.person] {
			t.again = t.again || !p.Erased
			t.before = joined(t.before, p.Rows)
			t.identities = merged(t.identities, p.Identities)
		}
	}
	return nil
}

// joined are the rows of both, each once.
func joined(a, b []datastore.Row) []datastore.Row {
	for _, row := range b {
		if !slices.Contains(a, row) {
			a = append(a, row)
		}
	}
	return a
}

func merged(a, b map[string][]string) map[string][]string {
	for kind, values := range b {
		if a == nil {
			a = map[string][]string{}
		}
		a[kind] = slices.Compact(slices.Sorted(slices.Values(append(a[kind], values...))))
	}
	return a
}

// begun lists the persons of plans that stand in this database and whose
// intent is in the ledger: a store that was down may hold them when no other
// lists them any more.
func (r *replay) begun(ctx context.Context) ([]datastore.Person, error) {
	rows, err := r.d.openPlans(ctx)
	if err != nil {
		return nil, err
	}
	var list []datastore.Person
	for _, row := range rows {
		if r.ledger.Status(row.id) == erasurelog.Unknown {
			continue
		}
		p, err := parsePlan(row.body)
		if err != nil {
			continue // somebody wrote to it
		}
		for _, person := range p.persons() {
			list = append(list, datastore.Person{Tenant: p.Tenant, ID: person})
		}
	}
	return list, nil
}

// noted lists what erasures that are under way have noted beside the ledger.
func (r *replay) noted(ctx context.Context) (list []notedPerson, err error) {
	for note, err := range r.d.cfg.Ledger.Notes(ctx) {
		plan, is := strings.CutPrefix(note.Name, noteName(""))
		if !is || !r.ledger.InForce(plan) {
			continue
		}
		var l lookup
		if err == nil {
			err = canon.Unmarshal(note.Data, &l)
		}
		if err != nil {
			return nil, mute("reading what the stores are asked by", err)
		}
		rows, err := rowsOfLines(l.Rows)
		if err != nil {
			return nil, err
		}
		for _, person := range append([]string{l.Person}, l.Aliases...) {
			list = append(list, notedPerson{Tenant: l.Tenant, Person: person, Identities: l.Identities, Rows: rows, Erased: true})
		}
	}
	return list, nil
}

// look looks one person up in the ledger, once; nil is nobody to be erased again.
func (r *replay) look(ctx context.Context, person datastore.Person) (*target, error) {
	if t, known := r.known[person]; known {
		return t, nil
	}
	r.known[person] = nil
	keys, err := r.d.cfg.Ledger.Keys(ctx, erasurelog.KindPerson, person.Tenant, []byte(person.ID))
	if err != nil {
		return nil, err
	}
	told := r.ledger.Person(keys...)
	if len(told.Erasures) == 0 {
		return nil, nil //nolint:nilnil // nobody
	}
	if _, held := told.Held(r.now); held {
		r.report.Held++
		return nil, nil //nolint:nilnil // nobody
	}
	t := &target{person: person, at: told.Erased(), refs: map[string]bool{}, listed: map[string]bool{}, erase: map[tableKey]bool{}}
	for _, ref := range told.RefKeys() {
		t.refs[ref] = true
	}
	r.targets, r.known[person] = append(r.targets, t), t
	return t, nil
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
		found, err := r.d.identities(ctx, datastore.Scope{Tenant: t.person.Tenant, Now: r.now}, []string{t.person.ID})
		switch {
		case errors.Is(err, datastore.ErrShared):
			r.report.Shared++
		case err != nil:
			return err
		}
		if t.identities = merged(t.identities, found); t.identities == nil {
			t.identities = map[string][]string{} // and not what the database would find by itself
		}
	}
	return nil
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

// sort says of each row whether it is older than the erasure.
func (r *replay) sort(ctx context.Context, t *target, rows []datastore.Row) error {
	for _, row := range rows {
		if row.Clean {
			continue
		}
		older, err := r.older(ctx, t, row)
		if err != nil {
			return err
		}
		switch {
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
		if erase, decided, err = r.d.decided(ctx, keys); err != nil || !decided {
			return unknown, err
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
