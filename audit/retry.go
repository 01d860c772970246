package audit

import (
	"context"

	"github.com/crmguard/crmguard/internal/sqldb"
)

// A retry writes nothing, in particular no surrogate: one that is made for a
// person who was erased meanwhile would tie the person to the log again.

// retried answers a retry before anything is written. An event whose id the
// caller did not choose is none.
func (t *Trail) retried(ctx context.Context, tx Tx, d *draft) (bool, error) {
	if !d.chosen {
		return false, nil
	}
	// Where nothing was written yet a look would be the first statement, and SQLite
	// refuses to let a transaction write that read what another one has changed
	// since: the write lock comes first, and nobody records or erases meanwhile.
	if t.db.Kind == sqldb.SQLite {
		if _, err := t.exec(ctx, tx, `UPDATE crmguard_audit_state SET drains = drains WHERE 0`); err != nil {
			return false, err
		}
	}
	found, _, err := t.queuedHere(ctx, tx, d.leaf.ID)
	if err != nil || !found {
		return false, err
	}
	return true, t.same(ctx, tx, d)
}

// unmake takes back the surrogates that a call made which then found that
// another transaction had recorded its event in between. No event of this
// transaction names them, and no other transaction has seen them.
func (t *Trail) unmake(ctx context.Context, tx Tx, tenant string, made []string) error {
	if len(made) == 0 {
		return nil
	}
	args := []any{tenant}
	for _, surrogate := range made {
		args = append(args, surrogate)
	}
	_, err := t.exec(ctx, tx, `DELETE FROM crmguard_audit_surrogates WHERE tenant = ? AND surrogate IN (`+sqldb.Marks(len(made))+`)`, args...)
	return err
}
