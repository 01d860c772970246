package audit

import (
	"context"
	"database/sql"
	"fmt"

	"github.com/crmguard/crmguard/audit/auditlog"
)

// Event returns the event with this id, whether it waits or stands in the log,
// with the values that still open: what a row of the application is asked for that
// names the event of its change, or a [ConflictError]. Where Config.From names a
// tenant it is one of that tenant, or [ErrNotFound]. One that went with retention is
// [ErrPruned], whatever the tenant: nothing says any more whose it was. Config.Allow is asked, with
// what the event was about.
func (t *Trail) Event(ctx context.Context, id string) (Entry, error) {
	if err := t.ready(); err != nil {
		return Entry{}, err
	}
	h, r, err := t.lookUp(ctx, id)
	if err != nil {
		return Entry{}, err
	}
	entries, err := t.entriesOf(ctx, h.leaf.Tenant, []hit{*h}, r)
	if err != nil {
		return Entry{}, err
	}
	if err := t.allowed(ctx, "audit.read", entries[0].resource()); err != nil {
		return Entry{}, fmt.Errorf("audit: event: %w", err)
	}
	return entries[0], nil
}

// resource is what an event was about, for Config.Allow.
func (e *Entry) resource() string {
	o := e.Leaf.Object
	if o.Kind == "" {
		return "audit"
	}
	if person, ok := e.Persons[o.ID]; ok {
		return o.Kind + "/" + person
	}
	return o.Kind + "/" + o.ID
}

// lookUp finds an event by its id, and what was sealed about it.
func (t *Trail) lookUp(ctx context.Context, id string) (*hit, *reply, error) {
	key, err := parseID(id)
	if err != nil {
		return nil, nil, ErrNotFound
	}
	w := waiting{id: key[:]}
	h := &hit{late: true, index: -1}
	var index, at, size sql.NullInt64
	found, err := t.one(ctx, t.db, []any{&w.seq, &w.body, &index, &h.raw, &at, &size}, `SELECT v.seq, `+upTo(mostBody, "v.body")+`, v.idx, `+upTo(auditlog.MaxLeaf, "e.leaf")+`, e.at, (SELECT size FROM crmguard_audit_state WHERE id = 1) FROM crmguard_audit_events v LEFT JOIN crmguard_audit_entries e ON e.idx = v.idx WHERE v.id = ?`, key[:])
	if err == nil && (!found || index.Valid && index.Int64 < 0) {
		err = ErrNotFound
	}
	if err != nil {
		return nil, nil, err
	}
	r := &reply{sealed: make(map[int64]map[string][]byte), people: make(map[[16]byte]*personRow)}
	if index.Valid {
		h.index, h.found = index.Int64, at.Int64
		h.place = place{at: at.Int64, n: h.index}
		if h.raw == nil {
			return nil, nil, t.goneAt(ctx, h.index)
		}
		if h.leaf, err = auditlog.ParseLeaf(h.raw); err == nil {
			r.sealed[h.index], err = t.sealedOf(ctx, h.index)
		}
	} else {
		err = t.verifyOne(ctx, w, h)
	}
	h.end = size.Int64 // pages go on behind it
	if err == nil {
		err = t.answers(ctx, &h.leaf, id)
	}
	if err != nil {
		return nil, nil, err
	}
	return h, r, nil
}

// verifyOne takes a row that waits for what the sequencer would take it for.
func (t *Trail) verifyOne(ctx context.Context, w waiting, h *hit) error {
	keys := newPassKeys()
	defer keys.wipe()
	good, refused, err := t.verify(ctx, []waiting{w}, keys)
	switch {
	case err != nil:
	case len(refused) == 1 && keys.by[refused[0].tenant].err != nil:
		err = fmt.Errorf("%w: %w", ErrKeys, keys.by[refused[0].tenant].err)
	case len(refused) == 1 && !refused[0].definite:
		err = fmt.Errorf("%w: the row of a waiting event: %s", ErrKeys, refused[0].why)
	case len(good) == 0:
		err = fmt.Errorf("%w: the row of a waiting event", auditlog.ErrTampered)
	}
	if err != nil {
		return err
	}
	c := &good[0]
	h.raw, h.leaf, h.frames = c.raw, c.leaf, c.frames
	h.place = place{waits: true, at: c.leaf.At.UnixMicro(), id: c.id}
	var order ifFiled
	h.found, err = order.found(ctx, t, c.leaf.At)
	return err
}
