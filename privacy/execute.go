package privacy

import (
	"cmp"
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"log/slog"
	"slices"
	"time"

	"github.com/crmguard/crmguard/privacy/datastore"
	"github.com/google/uuid"
)

// State says how far an erasure is.
type State string

// The states of an [Outcome].
const (
	Done    State = "done"    // erased, read back, lease over, certified
	Partial State = "partial" // something is left, or gone that should stay: see Stores, and execute again
	Waiting State = "waiting" // nothing is known to be left; execute again at Until
)

// StoreOutcome is what one store answered.
type StoreOutcome struct {
	Store   string          `json:"store"`
	Left    int             `json:"left"`              // found by keys or by a fresh search after erasing
	Missing []datastore.Row `json:"missing,omitempty"` // should have been kept and are gone: bring them back and execute again, or plan anew
	Err     error           `json:"-"`                 // *StoreError, nil where the store answered
}

// Outcome is what became of an execution.
type Outcome struct {
	State       State
	Plan        string
	Stores      []StoreOutcome
	Counts      []Count   // as planned: classes under their true names
	Until       time.Time // when Waiting: not to be executed again before
	Certificate []byte    // DSSE envelope, once Done
	Salt        []byte    // opens the certificate's subject; given once, to be handed to the person, kept by nobody
	NotCovered  []string
}

// execution carries one Execute from step to step.
type execution struct {
	d       *Desk
	row     planRow
	plan    *Plan
	chain   *chain
	outcome Outcome
}

// Execute carries out an approved plan: the intent goes to the ledger first,
// then every store erases and is read back; after the lease it is certified.
// It may be called again after any interruption, until the outcome is Done;
// afterwards it answers the same certificate (without salt).
//
// A Partial or Waiting outcome comes with a nil error. An error means that
// this call did not get through; the next one continues.
func (d *Desk) Execute(ctx context.Context, planID string) (Outcome, error) {
	d.executing.Lock()
	defer d.executing.Unlock()
	row, err := d.loadPlan(ctx, planID)
	if err != nil {
		return Outcome{}, err
	}
	switch row.state {
	case stateDone:
		return d.doneOutcome(row)
	case stateCancelled:
		return Outcome{}, ErrCancelled
	}
	x := &execution{d: d, row: row}
	if x.plan, err = d.open(ctx, row); err != nil {
		return Outcome{}, err
	}
	switch {
	case x.plan.ApprovedBy == "":
		return Outcome{}, ErrNotApproved
	case d.now().Before(x.plan.NotBefore):
		return Outcome{}, ErrTooEarly
	}
	if err := d.allow(ctx, "privacy.execute", x.plan.Person); err != nil {
		return Outcome{}, err
	}
	x.outcome = Outcome{Plan: planID, Counts: x.plan.Counts, NotCovered: append(d.notCovered(x.plan.Counts), x.unshown()...)}
	if err := x.intend(ctx); err != nil {
		return Outcome{}, err
	}
	if err := x.erase(ctx); err != nil {
		return Outcome{}, err
	}
	return x.conclude(ctx)
}

// doneOutcome answers for a plan that is done. After the restore of an older
// database the ledger knows that it is; counts and certificate are not here.
func (d *Desk) doneOutcome(row planRow) (Outcome, error) {
	var p Plan
	err := row.stays(&p)
	return Outcome{State: Done, Plan: row.id, Counts: p.Counts, Certificate: row.certificate, NotCovered: d.notCovered(p.Counts)}, err
}

// intend writes the intent, unless an earlier call did.
func (x *execution) intend(ctx context.Context) error {
	m, _, err := x.d.loadMark(ctx)
	if err != nil {
		return err
	}
	begun := func(c *chain) bool {
		return slices.ContainsFunc(c.plan(x.plan.ID), func(e entry) bool { return e.Op == opIntent })
	}
	x.chain, err = x.d.cfg.Ledger.read(ctx, m.named())
	if err != nil {
		return err
	}
	if !begun(x.chain) {
		if err := x.unchanged(ctx); err != nil {
			return err
		}
	}
	now := x.d.now()
	x.chain, err = x.d.cfg.Ledger.append(ctx, now, m.named(), func(c *chain) (entry, bool, error) {
		if err := x.d.behind(ctx, c, m, x.plan.ID); err != nil || begun(c) {
			return entry{}, false, err
		}
		if row, err := x.d.loadPlan(ctx, x.plan.ID); err != nil || row.state == stateCancelled {
			return entry{}, false, cmp.Or(err, ErrCancelled) // Cancel holds the same lock
		}
		if err := x.d.capped(c); err != nil {
			return entry{}, false, err
		}
		e, err := x.intent(ctx, now)
		return e, err == nil, err
	})
	if err != nil {
		return err
	}
	return x.d.recorded(ctx, []string{x.plan.Tenant}, func(tx *sql.Tx) error {
		n, err := x.d.exec(ctx, tx, "storing the plan's state", `UPDATE crmguard_privacy_plan SET state = ?, changed = ? WHERE id = ? AND state = ?`,
			stateRunning, x.d.now().UnixMicro(), x.plan.ID, stateApproved)
		// The mark follows once the stores have erased: a snapshot taken before
		// that must be found behind the ledger.
		if err != nil || n == 0 {
			return err // running already
		}
		return x.d.recordHead(ctx, tx, x.chain.head(), x.plan.Tenant, "privacy.erase.begin", planAttr(x.plan.ID))
	})
}

func (x *execution) persons() []string { return append([]string{x.plan.Person}, x.plan.Aliases...) }

func (x *execution) scope() datastore.Scope {
	return datastore.Scope{Tenant: x.plan.Tenant, Now: x.d.now()}
}

// unchanged compares the plan with a fresh search.
func (x *execution) unchanged(ctx context.Context) error {
	persons, err := x.d.persons(ctx, x.plan.Tenant, x.plan.Person)
	if err != nil {
		return err
	}
	if !slices.Equal(persons, x.persons()) {
		return ErrPlanChanged
	}
	rows, err := x.d.find(ctx, x.scope(), persons)
	if err != nil {
		return err
	}
	if !slices.Equal(content(rows), content(x.plan.rows)) {
		return ErrPlanChanged
	}
	return nil
}

// capped refuses more intents in 24 hours than allowed.
func (d *Desk) capped(c *chain) error {
	limit := d.cfg.perDay()
	if limit < 0 {
		return nil
	}
	since := stamp(d.now().Add(-24 * time.Hour))
	for _, e := range c.entries {
		if e.Op == opIntent && e.At > since {
			limit--
		}
	}
	if limit <= 0 {
		return ErrTooMany
	}
	return nil
}

// intent is the entry that begins the erasure: digests under the newest root.
// It names rows that a replay could not date: joint ones and those without an
// earlier creation time.
func (x *execution) intent(ctx context.Context, now time.Time) (entry, error) {
	e := entry{Op: opIntent, Plan: x.plan.ID}
	digests := x.d.cfg.Ledger.digests
	var root uint32
	one := func(input []byte) (string, error) {
		roots, all, err := digests.all(ctx, labelDigest, input)
		if err != nil {
			return "", err
		}
		root = roots[0]
		return b64(all[0]), nil
	}
	var err error
	if e.Tenant, err = one(digestInput(kindTenant, x.plan.Tenant, []byte(x.plan.Tenant))); err != nil {
		return entry{}, err
	}
	if e.Person, err = one(personInput(x.plan.Tenant, x.plan.Person)); err != nil {
		return entry{}, err
	}
	for _, alias := range x.plan.Aliases {
		digest, err := one(personInput(x.plan.Tenant, alias))
		if err != nil {
			return entry{}, err
		}
		e.Aliases = append(e.Aliases, digest)
	}
	for _, r := range x.plan.rows {
		if r.Key == "" || (!r.Others && !r.Created.IsZero() && r.Created.Before(now)) {
			continue
		}
		digest, err := one(refInput(x.plan.Tenant, r.Table, r.Key))
		if err != nil {
			return entry{}, err
		}
		e.Refs = append(e.Refs, digest)
	}
	slices.Sort(e.Aliases)
	slices.Sort(e.Refs)
	e.Refs = slices.Compact(e.Refs)
	e.KeyID = entryKeyID(root)
	return e, nil
}

// follow is an entry about the same person and plan as the intent.
func (x *execution) follow(op, cert string) entry {
	for _, e := range x.chain.plan(x.plan.ID) {
		if e.Op == opIntent {
			return entry{Op: op, Plan: e.Plan, Person: e.Person, Tenant: e.Tenant, KeyID: e.KeyID, Cert: cert}
		}
	}
	return entry{Op: op, Plan: x.plan.ID, Cert: cert}
}

// erase asks every store to erase, then reads every store back.
func (x *execution) erase(ctx context.Context) error {
	failed := x.d.eraseAll(ctx, x.scope(), x.persons(), x.plan.rows)
	for _, store := range x.d.cfg.Stores {
		o := StoreOutcome{Store: store.Name(), Err: failed[store.Name()]}
		var left, kept error
		o.Left, left = x.d.left(ctx, store, x.scope(), x.persons(), x.plan.rows)
		o.Missing, kept = x.missing(ctx, store)
		o.Err = cmp.Or(o.Err, left, kept)
		x.outcome.Stores = append(x.outcome.Stores, o)
	}
	return ctx.Err()
}

// eraseAll erases the persons in every store and flushes it. One store that
// fails does not keep the others from erasing.
func (d *Desk) eraseAll(ctx context.Context, scope datastore.Scope, persons []string, found []datastore.Row) map[string]error {
	failed := map[string]error{}
	for _, store := range d.cfg.Stores {
		own := rowsOf(found, store)
		for _, person := range persons {
			scope.Person = person
			if err := store.Erase(ctx, scope, own); err != nil {
				failed[store.Name()] = &StoreError{store.Name(), "erase", err}
			}
		}
		if f, ok := store.(datastore.Flusher); ok && failed[store.Name()] == nil {
			if err := f.Flush(ctx); err != nil {
				failed[store.Name()] = &StoreError{store.Name(), "flush", err}
			}
		}
	}
	return failed
}

// rowsOf are those of the rows that stand in a store.
func rowsOf(rows []datastore.Row, store datastore.Store) (own []datastore.Row) {
	for _, r := range rows {
		if r.Store == store.Name() {
			own = append(own, r)
		}
	}
	return own
}

// left reads one store back, by the keys found before and by a fresh search.
func (d *Desk) left(ctx context.Context, store datastore.Store, scope datastore.Scope, persons []string, found []datastore.Row) (int, error) {
	own := rowsOf(found, store)
	total := 0
	for i, person := range persons {
		scope.Person = person
		if i > 0 {
			own = nil // the keys are asked for once
		}
		n, err := store.Remaining(ctx, scope, own)
		if err != nil {
			return total, &StoreError{store.Name(), "left", err}
		}
		total += n
	}
	return total, nil
}

// conclude decides between Partial, Waiting and Done.
func (x *execution) conclude(ctx context.Context) (Outcome, error) {
	later := false
	for _, s := range x.outcome.Stores {
		switch {
		case s.Left > 0, len(s.Missing) > 0, s.Err != nil && !errors.Is(s.Err, datastore.ErrLater):
			return x.partial(ctx)
		case s.Err != nil:
			later = true
		}
	}
	if !later && !x.row.erased.Valid {
		x.row.erased = sql.NullInt64{Int64: x.d.now().UnixMicro(), Valid: true}
	}
	err := x.d.inTx(ctx, func(tx *sql.Tx) error {
		if err := x.d.lockMark(ctx, tx); err != nil {
			return err
		}
		if err := x.d.setErased(ctx, tx, x.plan.ID, x.row.erased); err != nil {
			return err
		}
		return x.d.settle(ctx, tx, x.chain, x.plan.ID)
	})
	if err == nil {
		err = x.catchUp(ctx)
	}
	if err != nil {
		return Outcome{}, err
	}
	if later {
		x.outcome.State, x.outcome.Until = Waiting, x.d.now()
		return x.outcome, nil
	}
	unreadable := time.UnixMicro(x.row.erased.Int64).UTC().Add(x.d.cfg.lease())
	if x.d.now().Before(unreadable) {
		x.outcome.State, x.outcome.Until = Waiting, unreadable
		return x.outcome, nil
	}
	return x.done(ctx, unreadable)
}

// partial says so in the ledger, once in a row. It does not raise the mark:
// what is left now may be erased later without another entry, and a copy of
// the database taken before that must be found behind the ledger.
func (x *execution) partial(ctx context.Context) (Outcome, error) {
	x.outcome.State = Partial
	m, _, err := x.d.loadMark(ctx)
	if err != nil {
		return Outcome{}, err
	}
	entries := x.chain.plan(x.plan.ID)
	last := entries[len(entries)-1]
	said := last.Op == opPartial && m.head.N < last.N
	if !said {
		if err := x.enter(ctx, x.follow(opPartial, "")); err != nil {
			return Outcome{}, err
		}
	}
	err = x.d.recorded(ctx, []string{x.plan.Tenant}, func(tx *sql.Tx) error {
		// The lease begins anew when nothing is left.
		if err := x.d.setErased(ctx, tx, x.plan.ID, sql.NullInt64{}); err != nil || said {
			return err
		}
		return x.d.recordHead(ctx, tx, x.chain.head(), x.plan.Tenant, "privacy.erase.partial", planAttr(x.plan.ID), slog.String("outcome", "partial"))
	})
	if err != nil {
		return Outcome{}, err
	}
	if !said {
		x.d.observe(ctx, "privacy.partial", 1)
	}
	return x.outcome, nil
}

// enter appends an entry about this plan to the ledger.
func (x *execution) enter(ctx context.Context, e entry) error {
	m, _, err := x.d.loadMark(ctx)
	if err != nil {
		return err
	}
	x.chain, err = x.d.cfg.Ledger.append(ctx, x.d.now(), m.named(), func(c *chain) (entry, bool, error) {
		return e, true, x.d.behind(ctx, c, m, x.plan.ID)
	})
	return err
}

// done certifies, closes the ledger entry, and takes the person out of every
// plan in the database.
func (x *execution) done(ctx context.Context, unreadable time.Time) (Outcome, error) {
	event, err := uuid.NewV7()
	if err != nil {
		return Outcome{}, mute("drawing an id", err)
	}
	eventID := ""
	if x.d.cfg.Record != nil {
		eventID = event.String()
	}
	n := x.chain.head().N
	for _, e := range x.chain.plan(x.plan.ID) {
		if e.Op == opIntent {
			n = e.N
		}
	}
	cert, err := x.d.certify(ctx, x.plan, x.outcome, n, unreadable, eventID)
	if err != nil {
		return Outcome{}, err
	}
	if err := x.enter(ctx, x.follow(opDone, b64(cert.digest))); err != nil {
		return Outcome{}, err
	}
	stays, err := json.Marshal(remains{ApprovedBy: x.plan.ApprovedBy, By: x.plan.By, Counts: x.plan.Counts, Reason: x.plan.Reason})
	if err != nil {
		return Outcome{}, mute("encoding the outcome", err)
	}
	others, err := x.d.plansOf(ctx, x.plan.Tenant, x.persons())
	if err != nil {
		return Outcome{}, err
	}
	err = x.d.recorded(ctx, []string{x.plan.Tenant}, func(tx *sql.Tx) error {
		if err := x.d.lockMark(ctx, tx); err != nil {
			return err
		}
		for _, id := range others {
			err := cmp.Or(x.d.setErased(ctx, tx, id, x.row.erased), x.d.scrub(ctx, tx, id, stateCancelled, nil, nil))
			if err != nil {
				return err
			}
		}
		if err := x.d.scrub(ctx, tx, x.plan.ID, stateDone, stays, cert.envelope); err != nil {
			return err
		}
		if err := x.d.settle(ctx, tx, x.chain, x.plan.ID); err != nil {
			return err
		}
		if err := x.d.recordAs(ctx, tx, eventID, x.plan.Tenant, "privacy.erase.done", planAttr(x.plan.ID), slog.String("digest", b64(cert.digest))); err != nil {
			return err
		}
		return x.d.recordHead(ctx, tx, x.chain.head(), x.plan.Tenant, "privacy.ledger", planAttr(x.plan.ID))
	})
	if err != nil {
		return Outcome{}, err
	}
	_ = x.catchUp(ctx) // what it would have raised the next one raises, and a certificate is given once
	x.d.flush(ctx)
	x.d.observe(ctx, "privacy.erased", 1)
	x.outcome.State, x.outcome.Certificate, x.outcome.Salt = Done, cert.envelope, cert.salt
	return x.outcome, nil
}

// flush lets the stores truncate what still shows the plan's random person id
// (a write-ahead log). Where readers are in the way, the next one does it.
func (d *Desk) flush(ctx context.Context) {
	for _, store := range d.cfg.Stores {
		if f, ok := store.(datastore.Flusher); ok && f.Flush(ctx) != nil {
			d.observe(ctx, "privacy.unflushed", 1, slog.String("store", store.Name()))
		}
	}
}
