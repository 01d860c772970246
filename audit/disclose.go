package audit

import (
	"context"
	"errors"
	"fmt"

	"github.com/crmguard/crmguard/audit/auditlog"
)

// ErrClosed says that a value does not open any more: it was erased, lost or
// changed; [Trail.Event] says which.
var ErrClosed = errors.New("audit: the value does not open")

// Disclose shows one value of one event to an outsider: canonical JSON with the
// entry, its proof, the value and what opens this value alone, for
// [auditlog.CheckDisclosure]. path is the true name of the field; who is the id of
// the person whom the value is about, "" for nobody; side is [auditlog.SideOld] or
// [auditlog.SideNew]. The event must be published ([ErrNotPublished]).
//
// Config.Allow is asked, and where Config.From names an actor the disclosure is an
// event of its own, "audit.disclose", before anything is handed out.
func (t *Trail) Disclose(ctx context.Context, id, path, who string, side byte) ([]byte, error) {
	if err := t.ready(); err != nil {
		return nil, err
	}
	h, r, err := t.lookUp(ctx, id)
	if err != nil {
		return nil, err
	}
	defer r.wipe()
	if err := t.peopleOf(ctx, h.leaf.Tenant, []hit{*h}, r.people); err != nil {
		return nil, err
	}
	e := Entry{Leaf: h.leaf, Persons: r.persons(&h.leaf)}
	if err := t.allowed(ctx, "audit.disclose", e.resource()); err != nil {
		return nil, fmt.Errorf("audit: disclose: %w", err)
	}
	proof, err := t.Proof(ctx, id)
	if err != nil {
		return nil, err
	}
	j, owner, err := t.judgeOwner(ctx, h, r, who)
	if err != nil {
		return nil, err
	}
	data, err := auditlog.Disclose(h.raw, proof, j.opening, owner, path, side)
	if errors.Is(err, auditlog.ErrInvalid) {
		return nil, invalid("disclose: the event has no such field of this person: who is the person of the change, and path its true name")
	}
	if err != nil {
		return nil, err
	}
	if err := t.disclosed(ctx, &e, who); err != nil {
		return nil, err
	}
	return data, nil
}

// judgeOwner opens what an event says about one person.
func (t *Trail) judgeOwner(ctx context.Context, h *hit, r *reply, who string) (j judged, owner string, err error) {
	ev, err := t.evidenceOf(ctx, h.leaf.Tenant, r.people)
	if err != nil {
		return j, "", err
	}
	if h.index < 0 {
		return j, "", ErrNotPublished
	}
	by, err := t.judgeAll(ctx, h, r.people, r.sealed[h.index], ev)
	if err != nil {
		return j, "", err
	}
	for name, one := range by {
		if (name == auditlog.Nobody) == (who == "") && one.person == who {
			j, owner = one, name
		}
	}
	switch {
	case owner == "" && who != "":
		return j, "", fmt.Errorf("%w: the event has no value about this person, or they were erased", ErrClosed)
	case owner == "":
		return j, "", invalid("disclose: the event has no value about nobody: who is the person of the change")
	case j.verdict != OpeningOK:
		return j, "", fmt.Errorf("%w: %s", ErrClosed, j.verdict)
	}
	return j, owner, nil
}

// disclosed records a disclosure on behalf of the caller.
func (t *Trail) disclosed(ctx context.Context, e *Entry, who string) error {
	event := Event{Tenant: e.Leaf.Tenant, Action: "audit.disclose", For: e.Leaf.ID}
	if who != "" {
		event.Persons = []string{who}
	}
	return t.selfNote(ctx, event)
}

// selfNote records what the caller does to the trail itself, where Config.From says
// who that is.
func (t *Trail) selfNote(ctx context.Context, e Event) error {
	if t.caller(ctx).Actor == "" {
		return nil
	}
	_, err := t.Note(ctx, e)
	return err
}
