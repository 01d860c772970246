package audit

import (
	"cmp"
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
// Counts are written by the next call a minute later, by [Trail.RunOnce], and by
// [Trail.Flush] where a process ends; one that is killed takes a minute of them
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
	case decision != nil && ctx.Err() != nil:
		return decision // nothing was decided
	case decision != nil:
		id.outcome = OutcomeDenied
	}
	e := id.event()
	if err := e.check(); err != nil {
		return errors.Join(decision, fmt.Errorf("audit: decisions: %w", err))
	}
	now := t.config.Now()
	due, alone := t.decided.add(id, t.decidedPerson(resource), resource, now)
	var err error
	if alone {
		e.why(decision)
		t.object(ctx, &e, resource)
		_, err = t.Note(ctx, e)
	}
	if due && t.writeDecisions(ctx, now) != nil {
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
	return errors.Join(t.writeDecisions(ctx, t.config.Now().Add(2*countFor)), t.writeGaps(ctx))
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
func (d *decisions) add(id decisionID, person, resource string, now time.Time) (due, alone bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	one := d.by[id]
	if one == nil {
		if d.by == nil {
			d.by = make(map[decisionID]*decisionCount)
		}
		one = &decisionCount{decisionID: id, since: now, resource: resource, persons: make(map[string]bool)}
		d.by[id] = one
	}
	if id.outcome == OutcomeDenied && one.singly < deniedMost {
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

// due says whether a count has had its minute, or there are too many.
func (d *decisions) due(now time.Time) bool {
	if len(d.by) > countsMost || len(d.tried) > 0 && now.Sub(d.last) >= countFor {
		return true
	}
	for _, one := range d.by {
		if one.over(now) {
			return true
		}
	}
	return false
}

// over says that the minute of a count has passed; a clock that went back ends it.
func (c *decisionCount) over(now time.Time) bool {
	return now.Sub(c.since) >= countFor || now.Before(c.since)
}

// take hands out what has had its minute.
func (d *decisions) take(now time.Time) ([]*decisionCount, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	all := len(d.by) > countsMost
	for id, one := range d.by {
		if !all && !one.over(now) {
			continue
		}
		if one.n > 0 {
			event, err := NewID()
			if err != nil {
				return nil, err
			}
			one.event = event
			d.tried = append(d.tried, one)
		}
		delete(d.by, id)
	}
	out := d.tried
	d.tried, d.last = nil, now
	slices.SortFunc(out, func(a, b *decisionCount) int { return cmp.Compare(a.event, b.event) })
	return out, nil
}

// back takes up again what could not be written.
func (d *decisions) back(one *decisionCount) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.tried = append(d.tried, one)
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

// writeDecisions records the counts that have had their minute.
func (t *Trail) writeDecisions(ctx context.Context, now time.Time) error {
	counts, err := t.decided.take(now)
	if err != nil {
		return err
	}
	var failed []error
	for _, one := range counts {
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
