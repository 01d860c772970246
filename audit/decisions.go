package audit

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/crmguard/crmguard/internal/sqldb"
)

// What a policy decides becomes events: a denial one of its own, what it allows one
// a minute with a number. Both are for what has no business change of its own, such
// as reading.

const (
	countFor    = time.Minute // how long decisions are counted before they are recorded
	deniedMost  = 60          // denials of one actor and action that are events of their own, within that
	personsMost = 100         // persons that a count names
	countsMost  = 10000       // counts in memory
	dueMost     = 8           // counts that one request writes; a pass writes all
)

// decisionID is what decisions are counted by.
type decisionID struct{ tenant, actor, action, outcome string }

// decisionCount is a number of decisions.
type decisionCount struct {
	decisionID
	since    time.Time
	n        int64 // not recorded yet
	singly   int   // denials that were events of their own
	persons  map[string]bool
	resource string // of all of them, "" where there are several
	event    string // id, once it is on its way: it is written once, however often that is tried
}

// decisions are those of a process that no event tells of yet. Its zero value is
// ready.
type decisions struct {
	mu sync.Mutex
	by map[decisionID]*decisionCount
	// tried are counts that may be written or not.
	tried []*decisionCount
	last  time.Time // when they were
	// oldest and newest are when the counts of by began.
	oldest, newest time.Time
}

// Decisions records what a policy has decided, and returns the decision: one line
// where a request is decided, whoever the policy is of.
//
//	return trail.Decisions(ctx, "contact.read", "contact/17", policy.Check(ctx, who, "contact.read", contact))
//
// A decision that is no nil is an event with the outcome denied; of one actor and
// action sixty a minute, the others are counted. What is allowed is counted, by
// tenant, actor and action, and recorded once a minute with the outcome allowed: how
// many there were, and the first hundred persons among them whom the trail knows, so
// that [About] finds who looked at somebody. It says that somebody was let, and not
// that anything was done: a question about an action finds it where it asks for that
// outcome, and never among what was done. Of a list that a policy selected the rows
// ask nobody: call Decisions for each, or [Trail.Note] once with Event.Persons.
// Counts are written by [Trail.RunOnce], by the next calls a minute later, a few each,
// and by [Trail.Flush] where a process ends; one that is killed takes a minute of them
// along.
//
// A decision may say why, and by which policies: what has Why() (reason, policySet
// string), as a *Denied of package accesscontrol, gives a denial that is an event of
// its own Event.Reason and Event.Policy.
//
// Tenant and actor are those of Config.From. resource is "kind/id" or a kind; one
// that may not stand in the log, and a person whom the trail does not know, are left
// out, and where Config.PersonKinds is nil all but "person/<id>". A denial that
// cannot be recorded says so beside the decision; a count that cannot stays in
// memory, is tried again, and observed as audit.decisions.failed.
func (t *Trail) Decisions(ctx context.Context, action, resource string, decision error) error {
	if err := t.ready(); err != nil {
		return errors.Join(decision, err)
	}
	c := t.caller(ctx)
	id := decisionID{c.Tenant, c.Actor, action, OutcomeAllowed}
	switch {
	case decision != nil && ctx.Err() != nil && errors.Is(decision, ctx.Err()):
		return decision // nothing was decided
	case decision != nil:
		id.outcome = OutcomeDenied
	}
	e := id.event()
	if err := e.check(); err != nil {
		return errors.Join(decision, fmt.Errorf("audit: decisions: %w", err))
	}
	now := t.config.Now()
	ended := ctx.Err() != nil // whoever hangs up was denied all the same, and is counted
	due, alone := t.decided.add(id, t.decidedPerson(resource), resource, now, ended)
	var err error
	if alone {
		e.why(decision)
		t.object(ctx, &e, resource)
		_, err = t.Note(ctx, e)
	}
	if due && !ended && t.writeDecisions(ctx, now, dueMost) != nil {
		t.observe(ctx, "audit.decisions.failed", float64(t.decided.number()))
	}
	if err != nil {
		return errors.Join(decision, err)
	}
	return decision
}

// Watch is a func of a policy that records what it decides ([Trail.Decisions]): for
// all that take an Allow.
func (t *Trail) Watch(allow func(ctx context.Context, action, resource string) error) func(ctx context.Context, action, resource string) error {
	return func(ctx context.Context, action, resource string) error {
		return t.Decisions(ctx, action, resource, allow(ctx, action, resource))
	}
}

// Flush records the decisions that are still counted in memory, and the losses: call
// it where a process ends.
func (t *Trail) Flush(ctx context.Context) error {
	if err := t.ready(); err != nil {
		return err
	}
	return errors.Join(t.writeDecisions(ctx, t.config.Now().Add(2*countFor), 0), t.writeGaps(ctx))
}

func (id decisionID) event() Event {
	return Event{Tenant: id.tenant, Actor: id.actor, Action: id.action, Outcome: id.outcome}
}

// decidedPerson is the person that a resource names, "" for none.
func (t *Trail) decidedPerson(resource string) string {
	kind, id, _ := strings.Cut(resource, "/")
	if id != "" && t.isPersonKind(kind) {
		return id
	}
	return ""
}

// add counts a decision. due says that something is to be written by now, alone
// that this one is an event of its own.
func (d *decisions) add(id decisionID, person, resource string, now time.Time, ended bool) (due, alone bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	one := d.by[id]
	if one == nil {
		if d.by == nil {
			d.by = make(map[decisionID]*decisionCount)
		}
		one = &decisionCount{decisionID: id, since: now, resource: resource, persons: make(map[string]bool)}
		d.began(len(d.by) == 0, now)
		d.by[id] = one
	}
	if id.outcome == OutcomeDenied && !ended && one.singly < deniedMost {
		one.singly++
		return d.due(now), true
	}
	if one.n == 0 {
		one.resource = resource
	} else if one.resource != resource {
		one.resource = ""
	}
	one.n++
	if person != "" && len(one.persons) < personsMost {
		one.persons[person] = true
	}
	return d.due(now), false
}

// began takes a count into account that begins; first says that it is the only one.
func (d *decisions) began(first bool, at time.Time) {
	if first || at.Before(d.oldest) {
		d.oldest = at
	}
	if first || at.After(d.newest) {
		d.newest = at
	}
}

// due says whether a count has had its minute, or there are too many. It looks at
// none of them: each decision asks.
func (d *decisions) due(now time.Time) bool {
	if len(d.tried) > 0 { // the database was away, and one request a minute finds out
		return now.Sub(d.last) >= countFor
	}
	return len(d.by) > countsMost || len(d.by) > 0 && (now.Sub(d.oldest) >= countFor || now.Before(d.newest))
}

// over says that the minute of a count has passed; a clock that went back ends it.
func (c *decisionCount) over(now time.Time) bool {
	return now.Sub(c.since) >= countFor || now.Before(c.since)
}

// take hands out what has had its minute, most of it at most (0: all).
func (d *decisions) take(now time.Time, most int) ([]*decisionCount, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if most == 0 {
		most = len(d.by) + len(d.tried)
	}
	n := min(most, len(d.tried))
	out := slices.Clone(d.tried[:n])
	d.tried, d.last = d.tried[n:], now
	all, first := len(d.by) > countsMost, true
	var oldest, newest time.Time
	for id, one := range d.by {
		switch {
		case !all && !one.over(now):
			if first || one.since.Before(oldest) {
				oldest = one.since
			}
			if first || one.since.After(newest) {
				newest = one.since
			}
			first = false
			continue
		case len(out) >= most:
			return out, nil // there are more, and the times stay those of all
		}
		if one.n > 0 {
			event, err := NewID()
			if err != nil {
				d.tried = append(d.tried, out...)
				return nil, err
			}
			one.event = event
			out = append(out, one)
		}
		delete(d.by, id)
	}
	d.oldest, d.newest = oldest, newest
	return out, nil
}

// back takes up again what could not be written.
func (d *decisions) back(one *decisionCount) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.tried = append(d.tried, one) // behind those that nobody has tried since
}

// number is how many decisions no event tells of yet.
func (d *decisions) number() (n int64) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, one := range d.by {
		n += one.n
	}
	for _, one := range d.tried {
		n += one.n
	}
	return n
}

// writeDecisions records the counts that have had their minute, most of them at most
// (0: all). A request, which writes a few, tries no more behind one that failed: what
// is away may be away for all.
func (t *Trail) writeDecisions(ctx context.Context, now time.Time, most int) error {
	counts, err := t.decided.take(now, most)
	if err != nil {
		return err
	}
	var failed []error
	for _, one := range counts {
		if most > 0 && len(failed) > 0 {
			t.decided.back(one)
			continue
		}
		if err := t.writeDecision(ctx, one); err != nil && !errors.Is(err, ErrConflict) { // the id is ours: it was written
			t.decided.back(one)
			failed = append(failed, err)
		}
	}
	if err := errors.Join(failed...); err != nil {
		return fmt.Errorf("audit: decisions: %w", err)
	}
	return nil
}

func (t *Trail) writeDecision(ctx context.Context, one *decisionCount) error {
	e := one.decisionID.event()
	e.ID = one.event
	e.Changes = []Change{{Path: "count", Old: Absent{}, New: one.n}}
	var err error
	if e.Persons, err = t.known(ctx, one.tenant, slices.Sorted(maps.Keys(one.persons))); err != nil {
		return err
	}
	if one.resource != "" {
		t.object(ctx, &e, one.resource)
	}
	_, err = t.Note(ctx, e)
	return err
}

// object names a resource as the object of an event, where it may stand in the log.
// A person whom the trail does not know gets no surrogate by being asked for. Where
// nobody has said which kinds are persons any id may be a person's, and none stands
// there.
func (t *Trail) object(ctx context.Context, e *Event, resource string) {
	kind, id, _ := strings.Cut(resource, "/")
	if id == "" || t.config.PersonKinds == nil && !t.isPersonKind(kind) {
		return
	}
	named := *e
	named.Object = t.byKind(Ref(kind, id))
	if named.Object.Person {
		if known, err := t.known(ctx, e.Tenant, []string{id}); err != nil || len(known) == 0 {
			return
		}
	}
	if named.check() == nil {
		e.Object = named.Object
	}
}

// known are those persons who have a surrogate.
func (t *Trail) known(ctx context.Context, tenant string, persons []string) (out []string, err error) {
	if len(persons) == 0 {
		return nil, nil
	}
	args := []any{tenant}
	for _, p := range persons {
		args = append(args, p)
	}
	return out, t.query(ctx, t.db, func(rows answer) error {
		var person string
		err := rows.Scan(&person)
		out = append(out, person)
		return err
	}, `SELECT person FROM crmguard_audit_surrogates WHERE tenant = ? AND person IN (`+sqldb.Marks(len(persons))+`)`, args...)
}
