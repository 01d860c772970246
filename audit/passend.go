package audit

import (
	"context"
	"database/sql"

	"github.com/crmguard/crmguard/internal/sqldb"
)

// A pass files what waited when it began, and what came meanwhile is of the next
// one: where sales are faster than the sequencer, a pass that went on to the end of
// the queue would never come to publish, and neither to what else a pass does. And
// where very much waits, after an import or an outage, a pass publishes on its way.

// publishEach is how many events a pass files between two checkpoints.
const publishEach = 1 << 14

// lastWaiting is the highest number of what may wait now.
func (t *Trail) lastWaiting(ctx context.Context) (int64, error) {
	query := `SELECT MAX(seq) FROM crmguard_audit_events WHERE idx IS NULL`
	if t.db.Kind == sqldb.SQLite { // which has no index of the queue
		query = `SELECT MAX(seq) FROM crmguard_audit_events`
	}
	var last sql.NullInt64
	if _, err := t.one(ctx, t.db, []any{&last}, query); err != nil || !last.Valid {
		return firstSeq, err
	}
	return last.Int64, nil
}
