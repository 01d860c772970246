package privacy

import (
	"context"
	"slices"
	"strings"

	"github.com/crmguard/crmguard/internal/canon"
	"github.com/crmguard/crmguard/privacy/datastore"
	"github.com/crmguard/crmguard/privacy/erasurelog"
)

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
			twin, err := r.look(ctx, datastore.Person{Tenant: t.person.Tenant, ID: alias})
			if err != nil {
				return err
			}
			if twin != nil && twin != t && twin.of == nil && t.of == nil {
				twin.of = t
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
	rows, err := r.d.openPlans(ctx, r.ledger)
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
		if err := r.isNoted(ctx, row); err != nil {
			return nil, err
		}
		for _, person := range p.persons() {
			list = append(list, datastore.Person{Tenant: p.Tenant, ID: person})
		}
	}
	return list, nil
}

// isNoted is ErrNoteGone of an erasure that is under way and was noted.
func (r *replay) isNoted(ctx context.Context, row planRow) error {
	if status := r.ledger.Status(row.id); status != erasurelog.Begun && status != erasurelog.Left || slices.Contains(r.plans, row.id) {
		return nil
	}
	if _, err := r.d.authentic(ctx, &row); err != nil {
		return nil //nolint:nilerr // it says nothing of a note
	}
	if f, err := row.factsBody(); err != nil || !f.Noted {
		return err
	}
	return ErrNoteGone
}

// noted lists what erasures that are under way have noted beside the ledger.
func (r *replay) noted(ctx context.Context) (list []notedPerson, err error) {
	for note, err := range r.d.cfg.Ledger.Notes(ctx) {
		plan, is := strings.CutPrefix(note.Name, noteName(""))
		if note.Name == "" && err != nil {
			return nil, err
		}
		if is {
			r.plans = append(r.plans, plan)
		}
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
	told, err := r.d.cfg.Ledger.Told(ctx, r.ledger, person.Tenant, person.ID)
	if err != nil {
		return nil, err
	}
	if len(told.Erasures) == 0 {
		return nil, nil //nolint:nilnil // nobody
	}
	if _, held := told.Held(r.now); held {
		r.report.Held++
		r.held[person] = true
		return nil, nil //nolint:nilnil // nobody
	}
	t := &target{person: person, at: told.Erased(), refs: map[string]bool{}, listed: map[string]bool{}, erase: map[tableKey]bool{}}
	for _, ref := range told.RefKeys() {
		t.refs[ref] = true
	}
	r.targets, r.known[person] = append(r.targets, t), t
	return t, nil
}
