package audit

import (
	"context"
	"database/sql"
	"sync"
	"time"

	"github.com/crmguard/crmguard/internal/sqldb"
)

// On SQLite whoever waits for the one lock asks for it again and again, after pauses
// of 25 ms at first and of 100 ms later. A sequencer that takes it again as soon as
// it has let go of it can be in the way each time. So where sales come it stays away
// between two batches for as long as such a pause: the longest that a sale waits is
// one batch and a little more. Where none come it goes on at once.
const (
	letIn     = 25 * time.Millisecond
	salesGoOn = time.Second // after the last one that was seen
)

// sales is what was seen of those that come while the sequencer works. Its zero
// value is ready.
type sales struct {
	mu     sync.Mutex
	newest int64 // of the rows that waited
	seen   time.Time
}

// upTo notes what waits when a pass begins: those are no sales of now.
func (s *sales) upTo(seq int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.newest = max(s.newest, seq)
}

// come says whether sales go on, where newer rows wait, or none do.
func (s *sales) come(newer sql.NullInt64, now time.Time) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if newer.Valid {
		s.newest, s.seen = max(s.newest, newer.Int64), now
	}
	return !s.seen.IsZero() && now.Sub(s.seen) < salesGoOn
}

// letSalesIn is called between two batches, while nothing is locked.
func (t *Trail) letSalesIn(ctx context.Context) error {
	if t.db.Kind != sqldb.SQLite {
		return nil
	}
	t.sales.mu.Lock()
	after := t.sales.newest
	t.sales.mu.Unlock()
	var newer sql.NullInt64
	if _, err := t.one(ctx, t.db, []any{&newer}, `SELECT MAX(seq) FROM crmguard_audit_events WHERE seq > ? AND idx IS NULL`, after); err != nil {
		return err
	}
	if !t.sales.come(newer, time.Now()) {
		return nil
	}
	timer := time.NewTimer(letIn)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
