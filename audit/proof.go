package audit

import (
	"context"
	"database/sql"
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

func (t *Trail) entry(ctx context.Context, id string) (leaf []byte, index sql.NullInt64, err error) {
	found, err := t.one(ctx, t.db, []any{&leaf, &index}, `SELECT leaf, idx FROM crmguard_audit_events WHERE id = ?`, id)
	if err == nil && !found {
		err = ErrNotFound
	}
	return leaf, index, err
}

// Proof returns the proof that an event is in the published log, in the format
// c2sp.org/tlog-proof. It holds for ever, whatever is erased later.
func (t *Trail) Proof(ctx context.Context, id string) ([]byte, error) {
	if err := t.ready(); err != nil {
		return nil, err
	}
	leaf, index, err := t.entry(ctx, id)
	if err != nil {
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
	hashes, err := tlog.ProveRecord(head.N, index.Int64, t.rows(t.db).Reader(ctx, s.Tree))
	if err != nil {
		return nil, err
	}
	if err := tlog.CheckRecord(hashes, head.N, head.Hash, index.Int64, tlog.RecordHash(leaf)); err != nil {
		return nil, fmt.Errorf("%w: entry %d: %w", auditlog.ErrTampered, index.Int64, err)
	}
	return c2sp.FormatProof(index.Int64, hashes, signed), nil
}
