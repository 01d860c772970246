package audit

import (
	"context"
	"slices"

	"github.com/crmguard/crmguard/internal/sqldb"
)

// A sale that repeats an event has the lock of its row until it ends, and one that
// stands still never ends: nobody who holds the state row, or an erasure, waits for
// it. Who takes retry tags away takes those that are to be had, and comes again.

// forgetRetries takes the retry tags of events away, and says of which it could not.
func (t *Trail) forgetRetries(ctx context.Context, tx HandoverTx, ids []any) (held map[[16]byte]bool, err error) {
	held = make(map[[16]byte]bool)
	each := func(query string, args []any, with func(id [16]byte)) error {
		return t.query(ctx, tx, func(found answer) error {
			var id []byte
			err := found.Scan(&id)
			with([16]byte(append(id, make([]byte, 16)...)))
			return err
		}, query, args...)
	}
	for part := range slices.Chunk(ids, rowsAStatement) {
		query := `SELECT id FROM crmguard_audit_events WHERE id IN (` + sqldb.Marks(len(part)) + `) AND LENGTH(retry) > 0`
		if err := each(query, part, func(id [16]byte) { held[id] = true }); err != nil {
			return nil, err
		}
		mine := part
		if t.db.Kind != sqldb.SQLite { // where there is one writer, which is this one
			mine = nil
			if err := each(query+` FOR UPDATE SKIP LOCKED`, part, func(id [16]byte) {
				mine = append(mine, id[:])
			}); err != nil {
				return nil, err
			}
		}
		if len(mine) == 0 {
			continue
		}
		if _, err := t.exec(ctx, tx, `UPDATE crmguard_audit_events SET retry = `+t.noRetry()+` WHERE id IN (`+sqldb.Marks(len(mine))+`) AND LENGTH(retry) > 0`, mine...); err != nil {
			return nil, err
		}
		for _, id := range mine {
			if b, ok := id.([]byte); ok && len(b) == 16 {
				delete(held, [16]byte(b))
			}
		}
	}
	return held, nil
}
