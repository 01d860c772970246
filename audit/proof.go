package audit

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/crmguard/crmguard/audit/auditlog"
	"github.com/crmguard/crmguard/audit/internal/c2sp"
)

// Leaf returns the exact bytes of a recorded event: what [auditlog.Verify] takes. Where
// Config.From names a tenant it is an event of that tenant, or [ErrNotFound].
// Config.Allow is not asked: the bytes show no values, and no person but under a
// surrogate.
func (t *Trail) Leaf(ctx context.Context, id string) ([]byte, error) {
	if err := t.ready(); err != nil {
		return nil, err
	}
	leaf, _, err := t.entry(ctx, id)
	if err != nil {
		return nil, err
	}
	return leaf, nil
}

// entry reads an event by its id, and its place where it has one. One that waits
// must be what the sequencer would take, and an entry the one of this event: the stub
// says only where it is.
func (t *Trail) entry(ctx context.Context, id string) (leaf []byte, index sql.NullInt64, err error) {
	key, err := parseID(id)
	if err != nil {
		return nil, index, ErrNotFound
	}
	w := waiting{id: key[:]}
	found, err := t.one(ctx, t.db, []any{&w.seq, &w.body, &index, &leaf}, `SELECT v.seq, `+upTo(mostBody, "v.body")+`, v.idx, `+upTo(auditlog.MaxLeaf, "e.leaf")+` FROM crmguard_audit_events v LEFT JOIN crmguard_audit_entries e ON e.idx = v.idx WHERE v.id = ?`, key[:])
	switch {
	case err != nil:
		return nil, index, err
	case !found || index.Valid && index.Int64 < 0:
		return nil, index, ErrNotFound
	case index.Valid && leaf == nil:
		return nil, index, t.goneAt(ctx, index.Int64)
	case index.Valid:
		l, err := auditlog.ParseLeaf(leaf)
		if err != nil {
			return nil, index, fmt.Errorf("%w: entry %d: %w", auditlog.ErrTampered, index.Int64, err)
		}
		return leaf, index, t.answers(ctx, &l, id)
	}
	keys := newPassKeys()
	defer keys.wipe()
	good, _, err := t.verify(ctx, []waiting{w}, keys)
	if err == nil && len(good) == 0 {
		err = fmt.Errorf("%w: the row of a waiting event", auditlog.ErrTampered)
	}
	if err != nil {
		return nil, index, err
	}
	return good[0].raw, index, t.answers(ctx, &good[0].leaf, id)
}

// answers says whether a leaf is that of the event that was asked for, and whether
// whoever asks may be told of it.
func (t *Trail) answers(ctx context.Context, l *auditlog.Leaf, id string) error {
	if l.ID != id {
		return fmt.Errorf("%w: the entry of an event is another event's", auditlog.ErrTampered)
	}
	if tenant := t.caller(ctx).Tenant; tenant != "" && tenant != l.Tenant {
		return ErrNotFound
	}
	return nil
}

// Proof returns the proof that an event is in the published log, in the format
// c2sp.org/tlog-proof. It holds for ever, whatever is erased or pruned later, and is
// given for an event whose entry went with retention, too, whatever the tenant: for who
// kept the leaf. Of other tenants' events it is as [Trail.Leaf].
func (t *Trail) Proof(ctx context.Context, id string) ([]byte, error) {
	if err := t.ready(); err != nil {
		return nil, err
	}
	leaf, index, err := t.entry(ctx, id)
	pruned := errors.Is(err, ErrPruned)
	if err != nil && !pruned {
		return nil, err
	}
	signed, head, _, err := t.checkpoint(ctx)
	if err != nil {
		return nil, err
	}
	if !index.Valid || index.Int64 >= head.N {
		return nil, ErrNotPublished
	}
	s, err := t.state(ctx, t.db)
	if err != nil {
		return nil, err
	}
	if err := t.guard(ctx, s, head); err != nil {
		return nil, err
	}
	reader := t.rows(t.db).Reader(ctx, s.Tree)
	hashes, err := tlog.ProveRecord(head.N, index.Int64, reader)
	if err != nil {
		return nil, err
	}
	of := tlog.RecordHash(leaf)
	if pruned {
		if of, err = hashAt(reader, index.Int64); err != nil {
			return nil, err
		}
	}
	if err := tlog.CheckRecord(hashes, head.N, head.Hash, index.Int64, of); err != nil {
		return nil, fmt.Errorf("%w: entry %d: %w", auditlog.ErrTampered, index.Int64, err)
	}
	return c2sp.FormatProof(index.Int64, hashes, signed), nil
}
