package audit

import (
	"context"
	"time"

	"github.com/crmguard/crmguard/internal/sqldb"
)

const (
	// retryKept is how long after sequencing a retry can still be compared.
	retryKept = 24 * time.Hour
	// sweepEvery is how often a process looks for tags that have served their time.
	sweepEvery = time.Minute
	// sweepPages bounds the work of one pass, so that an import of the day before
	// does not keep new entries from being published.
	sweepPages = 20
)

// sweepRetries drops the retry tags that have served their time, also where the
// log is idle: they are made of values. It takes few rows in a transaction of
// their own, because on SQLite every sale waits for it.
func (t *Trail) sweepRetries(ctx context.Context) error {
	end := t.now().Add(-retryKept).UnixMicro()
	from := t.swept.Load()
	if end >= from && end-from < sweepEvery.Microseconds() {
		return nil
	}
	if end < from {
		from = 0 // a clock that was put back
	}
	for range sweepPages {
		var rows []any
		err := t.page(ctx, t.db, func(found answer) error {
			var seq, sequenced int64
			err := found.Scan(&sequenced, &seq)
			rows, from = append(rows, seq), sequenced
			return err
		}, sqldb.Page{
			Table: eventsTable, Columns: []string{"sequenced", "seq"}, Key: []string{"sequenced", "seq"},
			Where: "retry IS NOT NULL AND sequenced >= ? AND sequenced < ?", Args: []any{from, end}, Limit: batch,
		})
		if err != nil {
			return err
		}
		if len(rows) == 0 {
			t.swept.Store(end)
			return nil
		}
		drop := `UPDATE crmguard_audit_events SET retry = NULL WHERE seq IN (` + sqldb.Marks(len(rows)) + `)`
		if err := t.within(ctx, func(tx Tx) error {
			_, err := t.exec(ctx, tx, drop, rows...)
			return err
		}); err != nil {
			return err
		}
	}
	t.swept.Store(from) // the next pass goes on here
	return nil
}
