package audit

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/crmguard/crmguard/audit/internal/decided"
	"github.com/crmguard/crmguard/internal/sqldb"
)

// What a policy decides becomes events: a denial one of its own, what it allows one
// a minute with a number. Both are for what has no business change of its own, such
// as reading.

// dueMost is how many counts one request writes; a pass writes all.
const dueMost = 8

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
	id := decided.ID{Tenant: c.Tenant, Actor: c.Actor, Action: action, Outcome: OutcomeAllowed}
	switch {
	case decision != nil && ctx.Err() != nil && errors.Is(decision, ctx.Err()):
		return decision // nothing was decided
	case decision != nil:
		id.Outcome = OutcomeDenied
	}
	e := decisionEvent(id)
	if err := e.check(); err != nil {
		return errors.Join(decision, fmt.Errorf("audit: decisions: %w", err))
	}
	now := t.config.Now()
	ended := ctx.Err() != nil // whoever hangs up was denied all the same, and is counted
	due, alone := t.decided.Add(id, t.decidedPerson(resource), resource, now, ended)
	var err error
	if alone {
		e.why(decision)
		t.object(ctx, &e, resource)
		_, err = t.Note(ctx, e)
	}
	if due && !ended && t.writeDecisions(ctx, now, dueMost) != nil {
		t.observe(ctx, "audit.decisions.failed", float64(t.decided.Number()))
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
	return errors.Join(t.writeDecisions(ctx, t.config.Now().Add(2*decided.CountFor), 0), t.writeGaps(ctx))
}

func decisionEvent(id decided.ID) Event {
	return Event{Tenant: id.Tenant, Actor: id.Actor, Action: id.Action, Outcome: id.Outcome}
}

// decidedPerson is the person that a resource names, "" for none.
func (t *Trail) decidedPerson(resource string) string {
	kind, id, _ := strings.Cut(resource, "/")
	if id != "" && t.isPersonKind(kind) {
		return id
	}
	return ""
}

// writeDecisions records the counts that have had their minute, most of them at most
// (0: all). A request, which writes a few, tries no more behind one that failed: what
// is away may be away for all.
func (t *Trail) writeDecisions(ctx context.Context, now time.Time, most int) error {
	counts, err := t.decided.Take(now, most, NewID)
	if err != nil {
		return err
	}
	var failed []error
	for _, one := range counts {
		if most > 0 && len(failed) > 0 {
			t.decided.Back(one)
			continue
		}
		if err := t.writeDecision(ctx, one); err != nil && !errors.Is(err, ErrConflict) { // the id is ours: it was written
			t.decided.Back(one)
			failed = append(failed, err)
		}
	}
	if err := errors.Join(failed...); err != nil {
		return fmt.Errorf("audit: decisions: %w", err)
	}
	return nil
}

func (t *Trail) writeDecision(ctx context.Context, one *decided.Count) error {
	e := decisionEvent(one.ID)
	e.ID = one.Event
	e.Changes = []Change{{Path: "count", Old: Absent{}, New: one.N}}
	var err error
	if e.Persons, err = t.known(ctx, one.Tenant, slices.Sorted(maps.Keys(one.Persons))); err != nil {
		return err
	}
	if one.Resource != "" {
		t.object(ctx, &e, one.Resource)
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
