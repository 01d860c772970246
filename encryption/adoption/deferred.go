package adoption

import (
	"context"
	"database/sql"

	"github.com/crmguard/crmguard/internal/sqldb"
)

// undeferred has the triggers and constraints run now that wait for COMMIT: a trigger
// of PostgreSQL that is DEFERRABLE INITIALLY DEFERRED would change the row behind the
// read back, when nobody looks at it any more. What they refuse is a refusal of the
// row then, and not of the whole transaction.
func (l *live) undeferred(ctx context.Context, tx *sql.Tx) error {
	if l.db.Kind != sqldb.Postgres {
		return nil
	}
	_, err := tx.ExecContext(ctx, `SET CONSTRAINTS ALL IMMEDIATE`)
	return waitedFor(sqldb.Safe(err))
}
