package privacy

import (
	"cmp"
	"context"
	"database/sql"
	"errors"
	"maps"
	"slices"
	"time"

	"github.com/crmguard/crmguard/privacy/datastore"
)

// Refusals of a replay.
var (
	ErrReplayLimit = errors.New("privacy: the replay would erase more than max(10, 1 %) of the people: look first, then allow it")
	ErrReplayLeft  = errors.New("privacy: the replay left something: the database stays closed")
	ErrNoPeople    = errors.New("privacy: no store lists its people, so a replay cannot find anyone")
)

// Replayed is what a replay found and did.
type Replayed struct {
	Entries int             // erasures that the ledger knows, voided and held ones left out
	People  int             // persons in the restored stores
	Erased  int             // of them erased again
	Counts  []Count         // what was erased again
	Undated []datastore.Row // rows of erased persons without creation time: listed, left alone
	Newer   []datastore.Row // rows of erased persons created afterwards: left alone
	Held    int             // erasures on hold: left alone
	Open    int             // intents that were never done: Execute them again
	Plans   int             // plans in the database that were made to forget their person
}

// target is one person of the ledger found in the restored data.
type target struct {
	person datastore.Person
	at     time.Time
	refs   map[string]bool
	rows   []datastore.Row // to be erased
}

// Replay carries out again, in a restored database, every erasure that the
// ledger knows: of the same random person ids, and of records created before
// the erasure only. It refuses when the ledger is behind a head kept
// elsewhere, reads everything back, and only then raises the high-water mark.
// It may be called again at any time; where nothing came back it does nothing.
// After one that failed the gate stays shut until one has got through: a store
// that was down is asked again about everyone whom the others have erased.
// Called now and then, it also finishes what an obligation kept until its end.
func (d *Desk) Replay(ctx context.Context) (Replayed, error) {
	d.executing.Lock()
	defer d.executing.Unlock()
	m, _, err := d.loadMark(ctx)
	if err != nil {
		return Replayed{}, err
	}
	c, err := d.cfg.Ledger.read(ctx, m.named())
	if err != nil {
		return Replayed{}, err
	}
	r := &replay{d: d, chain: c, digests: map[string]erased{}}
	r.index()
	if err := r.match(ctx); err != nil {
		return Replayed{}, err
	}
	if err := r.locate(ctx); err != nil {
		return Replayed{}, err
	}
	if err := r.limit(ctx); err != nil {
		return Replayed{}, err
	}
	if err := r.erase(ctx); err != nil {
		return Replayed{}, err
	}
	if err := r.finish(ctx); err != nil {
		return Replayed{}, err
	}
	d.observe(ctx, "privacy.replayed", float64(r.report.Erased))
	return r.report, nil
}

type replay struct {
	d       *Desk
	chain   *chain
	digests map[string]erased // keyid/digest of person or alias
	targets []target
	pending []datastore.Person // of an earlier replay, and of this one

	unfinished []string // tenants of an earlier replay
	report     Replayed
}

// erased is what the ledger says about one digest.
type erased struct {
	at   time.Time
	refs map[string]bool // keyid/digest
}

func digestKey(root, digest string) string { return root + "/" + digest }

// index collects the erasures that count: not voided, not on hold.
func (r *replay) index() {
	last, done := map[string]string{}, map[string]bool{}
	for _, e := range r.chain.entries {
		last[e.Plan] = e.Op
		done[e.Plan] = done[e.Plan] || e.Op == opDone
	}
	for _, e := range r.chain.entries {
		if e.Op != opIntent {
			continue
		}
		switch {
		case last[e.Plan] == opVoid && !done[e.Plan]:
			continue
		case last[e.Plan] == opHold && !done[e.Plan]:
			r.report.Held++
			continue
		case !done[e.Plan]:
			r.report.Open++
		}
		r.report.Entries++
		r.add(e)
	}
}

func (r *replay) add(e entry) {
	at, err := e.time()
	if err != nil {
		return // parseEntry has checked it
	}
	for _, digest := range append([]string{e.Person}, e.Aliases...) {
		k := digestKey(e.KeyID, digest)
		known := r.digests[k]
		if known.refs == nil {
			known.refs = map[string]bool{}
		}
		if at.After(known.at) {
			known.at = at
		}
		for _, ref := range e.Refs {
			known.refs[digestKey(e.KeyID, ref)] = true
		}
		r.digests[k] = known
	}
}

// keys lists root/digest of input under every root.
func (d *Desk) keys(ctx context.Context, input []byte) ([]string, error) {
	roots, digests, err := d.cfg.Ledger.digests.all(ctx, labelDigest, input)
	if err != nil {
		return nil, err
	}
	list := make([]string, len(roots))
	for i, root := range roots {
		list[i] = digestKey(entryKeyID(root), b64(digests[i]))
	}
	return list, nil
}

// match looks every person of the stores up in the ledger.
func (r *replay) match(ctx context.Context) error {
	seen, listed := map[datastore.Person]bool{}, false
	for _, store := range r.d.cfg.Stores {
		people, ok := store.(datastore.People)
		if !ok {
			continue
		}
		listed = true
		for person, err := range people.People(ctx) {
			if err != nil {
				return &StoreError{store.Name(), "people", err}
			}
			if seen[person] {
				continue
			}
			seen[person] = true
			if err := r.look(ctx, person); err != nil {
				return err
			}
		}
	}
	if !listed {
		return ErrNoPeople
	}
	r.report.People = len(seen)
	return r.matchMore(ctx, seen)
}

// matchMore looks up whom the stores may not list any more, after they were
// asked: what another process has noted meanwhile is not missed.
func (r *replay) matchMore(ctx context.Context, seen map[datastore.Person]bool) error {
	var err error
	if r.pending, err = r.d.pending(ctx); err != nil {
		return err
	}
	for _, person := range r.pending {
		r.unfinished = append(r.unfinished, person.Tenant)
	}
	begun, err := r.begun(ctx)
	if err != nil {
		return err
	}
	for _, person := range slices.Concat(r.pending, begun) {
		if seen[person] {
			continue
		}
		seen[person] = true
		if err := r.look(ctx, person); err != nil {
			return err
		}
	}
	return nil
}

func (r *replay) look(ctx context.Context, person datastore.Person) error {
	keys, err := r.d.keys(ctx, personInput(person.Tenant, person.ID))
	if err != nil {
		return err
	}
	t := target{person: person, refs: map[string]bool{}}
	for _, k := range keys {
		if e, ok := r.digests[k]; ok {
			if e.at.After(t.at) {
				t.at = e.at
			}
			for ref := range e.refs {
				t.refs[ref] = true
			}
		}
	}
	if !t.at.IsZero() {
		r.targets = append(r.targets, t)
	}
	return nil
}

func (r *replay) scope(t target) datastore.Scope {
	return datastore.Scope{Tenant: t.person.Tenant, Person: t.person.ID, Before: t.at, Now: r.d.now()}
}

// known prepares Scope.Known: the rows without an earlier creation time that
// the intent names. It is computed from found rows, so that no store needs the keys.
func (r *replay) known(ctx context.Context, t target, rows []datastore.Row) (func(table, key string) bool, error) {
	type ref struct{ table, key string }
	refs := map[ref]bool{}
	for _, row := range rows {
		if row.Key == "" || (!row.Created.IsZero() && row.Created.Before(t.at)) {
			continue
		}
		keys, err := r.d.keys(ctx, refInput(t.person.Tenant, row.Table, row.Key))
		if err != nil {
			return nil, err
		}
		refs[ref{row.Table, row.Key}] = slices.ContainsFunc(keys, func(k string) bool { return t.refs[k] })
	}
	return func(table, key string) bool { return refs[ref{table, key}] }, nil
}

// locate runs a fresh search for every matched person and sorts the rows.
func (r *replay) locate(ctx context.Context) error {
	for i := range r.targets {
		t := &r.targets[i]
		all := r.scope(*t)
		all.Before = time.Time{}
		rows, err := r.d.find(ctx, all, []string{t.person.ID})
		if err != nil {
			return err
		}
		scope := r.scope(*t)
		if scope.Known, err = r.known(ctx, *t, rows); err != nil {
			return err
		}
		for _, row := range rows {
			switch {
			case row.Clean:
			case row.Key == "", scope.Covers(row):
				t.rows = append(t.rows, row)
			case row.Created.IsZero():
				r.report.Undated = append(r.report.Undated, row)
			default:
				r.report.Newer = append(r.report.Newer, row)
			}
		}
	}
	return nil
}

func (r *replay) limit(ctx context.Context) error {
	erase := 0
	for _, t := range r.targets {
		if r.back(t) {
			erase++
		}
	}
	if erase <= max(10, r.report.People/100) {
		return nil
	}
	if r.d.cfg.AllowReplay == nil {
		return ErrReplayLimit
	}
	return r.d.cfg.AllowReplay(ctx, erase, r.report.People)
}

// back reports whether something of the person may have come back.
func (r *replay) back(t target) bool { return len(t.rows) > 0 || r.blind() }

// blind reports whether a store erases what nobody can count: then everyone
// who is matched counts.
func (r *replay) blind() bool {
	return slices.ContainsFunc(r.d.cfg.Stores, func(s datastore.Store) bool {
		f, is := datastore.AsFunc(s)
		return is && f.Remaining == nil
	})
}

// erase erases every matched person again and reads back. Of whom something
// has come back is noted first, until every store is done.
func (r *replay) erase(ctx context.Context) error {
	var counted []datastore.Row
	var noted []datastore.Person
	for _, t := range r.targets {
		if r.back(t) {
			noted = append(noted, t.person)
		}
	}
	if len(noted) > 0 {
		if err := r.d.pend(ctx, noted); err != nil {
			return err
		}
	}
	r.pending = append(r.pending, noted...)
	for _, t := range r.targets {
		scope := r.scope(t)
		var err error
		if scope.Known, err = r.known(ctx, t, t.rows); err != nil {
			return err
		}
		if failed := r.d.eraseAll(ctx, scope, []string{t.person.ID}, t.rows); len(failed) > 0 {
			return errors.Join(slices.Collect(maps.Values(failed))...)
		}
		for _, store := range r.d.cfg.Stores {
			left, err := r.d.left(ctx, store, scope, []string{t.person.ID}, t.rows)
			if err != nil {
				return err
			}
			if left > 0 {
				return &StoreError{store.Name(), "left", ErrReplayLeft}
			}
		}
		if len(t.rows) > 0 {
			r.report.Erased++
			counted = append(counted, t.rows...)
		}
	}
	r.report.Counts = Sum(counted)
	return nil
}

// finish makes restored plans forget whom the ledger has erased, and raises
// the mark.
func (r *replay) finish(ctx context.Context) error {
	plans, err := r.forgotten(ctx)
	if err != nil {
		return err
	}
	r.report.Plans = len(plans)
	h := r.chain.head()
	err = r.d.recorded(ctx, r.tenants(), func(tx *sql.Tx) error {
		if err := r.d.lockMark(ctx, tx); err != nil {
			return err
		}
		for id, state := range plans {
			if err := r.d.scrub(ctx, tx, id, state, nil, nil); err != nil {
				return err
			}
		}
		if err := r.d.unpend(ctx, tx, r.pending); err != nil {
			return err
		}
		if err := r.d.raise(ctx, tx, h); err != nil {
			return err
		}
		for _, tenant := range r.tenants() {
			if err := r.d.recordHead(ctx, tx, h, tenant, "privacy.replay"); err != nil {
				return err
			}
		}
		return nil
	})
	if err == nil {
		r.d.flush(ctx)
	}
	return err
}

// tenants are those in which someone was erased again: now, or by a replay
// before that did not come to its end.
func (r *replay) tenants() []string {
	list := slices.Clone(r.unfinished)
	for _, t := range r.targets {
		if len(t.rows) > 0 {
			list = append(list, t.person.Tenant)
		}
	}
	slices.Sort(list)
	return slices.Compact(list)
}

// forgotten lists the open plans of persons whose erasure is done, and the
// state in which they end: done those of the ledger, cancelled any other.
func (r *replay) forgotten(ctx context.Context) (map[string]string, error) {
	done, plans := map[string]bool{}, map[string]string{}
	for _, e := range r.chain.entries {
		if e.Op == opDone {
			plans[e.Plan] = stateDone
		}
	}
	for _, e := range r.chain.entries {
		if plans[e.Plan] == stateDone {
			for _, digest := range append([]string{e.Person}, e.Aliases...) {
				done[digestKey(e.KeyID, digest)] = true
			}
		}
	}
	rows, err := r.d.openPlans(ctx)
	if err != nil {
		return nil, err
	}
	ended := map[string]string{}
	for _, row := range rows {
		p, err := parsePlan(row.body)
		if err != nil {
			continue
		}
		keys, err := r.d.keys(ctx, personInput(p.Tenant, p.Person))
		if err != nil {
			return nil, err
		}
		if slices.ContainsFunc(keys, func(k string) bool { return done[k] }) {
			ended[row.id] = cmp.Or(plans[row.id], stateCancelled)
		}
	}
	return ended, nil
}
