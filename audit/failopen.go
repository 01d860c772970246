package audit

import (
	"context"
	"fmt"

	"github.com/crmguard/crmguard/internal/sqldb"
)

// putOpen inserts the row of an event that may be lost: behind a savepoint, so
// that a statement that failed takes nothing along of the business change.
func (t *Trail) putOpen(ctx context.Context, tx sqldb.Execer, row *queuedRow) (lost bool, err error) {
	if err := say(ctx, tx, savepoint); err != nil {
		return false, err
	}
	if err = t.putRow(ctx, tx, row); err == nil {
		err = say(ctx, tx, keepEvent)
	}
	if err == nil {
		return false, nil
	}
	if say(ctx, tx, withoutIt) != nil || say(ctx, tx, keepEvent) != nil {
		return false, err // the transaction is over
	}
	if !mayBeLost(ctx, err) || endsAll(err) {
		return false, err
	}
	return true, nil
}

// say executes what affects no rows.
func say(ctx context.Context, tx sqldb.Execer, statement string) error {
	if _, err := tx.ExecContext(ctx, statement); err != nil {
		return fmt.Errorf("audit: write: %w", sqldb.Safe(err))
	}
	return nil
}
