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

// Leaf returns the exact bytes of a recorded event: what [auditlog.Verify] takes.
func (t *Trail) Leaf(ctx context.Context, id string) ([]byte, error) {
	if err := t.ready(); err != nil {
		return nil, err
	}
	leaf, _, err := t.entry(ctx, id)
	return leaf, err
}

// entry reads an event by its id, and its place where it has one. One that waits
// must be what the sequencer would take.
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
		return leaf, index, nil
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
	return good[0].raw, index, nil
}

// Proof returns the proof that an event is in the published log, in the format
// c2sp.org/tlog-proof. It holds for ever, whatever is erased or pruned later, and is
// given for an event whose entry went with retention, too: for who kept the leaf.
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
