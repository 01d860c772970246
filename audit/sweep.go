package audit

import (
	"cmp"
	"context"
	"time"

	"github.com/crmguard/crmguard/internal/sqldb"
)

const (
	// sweepPages bounds the work of one pass, so that an import of the day before
	// does not keep new entries from being published.
	sweepPages = 20
	// sweepRows is how many rows one step touches: on SQLite every sale waits for it.
	sweepRows = 1000
)

// sweep drops what has served its time, a few rows at a time, also on a log where
// nothing happens.
func (t *Trail) sweep(ctx context.Context) error {
	for range sweepPages {
		n, err := t.sweepRetries(ctx)
		if err != nil {
			return err
		}
		if n == 0 {
			break
		}
	}
	return t.thinHeads(ctx)
}

// sweepRetries drops the retry tags of the next entries that are older than a retry
// may be: they are made of values. The state row says how far it has come, so that
// no index is needed for it.
func (t *Trail) sweepRetries(ctx context.Context) (n int, err error) {
	err = t.advance(ctx, t.memory.recall, func(s state) (state, func(tx HandoverTx) error, error) {
		n = 0
		ids, err := t.retriesDone(ctx, s)
		if err != nil || len(ids) == 0 {
			return s, nil, err
		}
		n, s.swept = len(ids), max(s.swept, s.pruned)+int64(len(ids))
		return s, func(tx HandoverTx) error {
			for len(ids) > 0 {
				part := ids[:min(len(ids), rowsAStatement)]
				if _, err := t.exec(ctx, tx, `UPDATE crmguard_audit_events SET retry = `+t.noRetry()+` WHERE id IN (`+sqldb.Marks(len(part))+`)`, part...); err != nil {
					return err
				}
				ids = ids[len(part):]
			}
			return nil
		}, nil
	})
	return n, err
}

// retriesDone are the ids of the next entries whose retries nobody compares any
// more, in their order and without a hole: those that were filed long enough ago,
// and those before one that was. Entries are filed in their order, so that a
// sequencer whose clock was years ahead keeps no tag for years.
func (t *Trail) retriesDone(ctx context.Context, s state) (ids []any, err error) {
	end := t.now().Add(-cmp.Or(t.config.RetryFor, retryKept)).UnixMicro()
	from := max(s.swept, s.pruned)
	var read []any
	ahead := true // by a clock of a sequencer that was in the future
	err = t.query(ctx, t.db, func(found answer) error {
		var idx, filed int64
		var id []byte
		if err := found.Scan(&idx, &id, &filed); err != nil {
			return err
		}
		if idx != from+int64(len(read)) {
			return errEnough
		}
		if read = append(read, id); filed < end {
			ids = read // what was filed before it, too, by whatever clock
		}
		ahead = ahead && filed > t.now().Add(clockAhead).UnixMicro()
		return nil
	}, `SELECT idx, `+upTo(mostID, "id")+`, filed FROM crmguard_audit_entries WHERE idx >= ? AND idx < ? ORDER BY idx`, from, min(from+sweepRows, s.N))
	if err = enough(err); err != nil || !ahead || len(read) < sweepRows {
		return ids, err
	}
	later, err := t.any(ctx, t.db, `SELECT 1 FROM crmguard_audit_entries WHERE idx >= ? AND idx < ? AND filed < ?`, from+sweepRows, from+sweepPages*sweepRows, end)
	if later {
		ids = read
	}
	return ids, err
}

// retryKept is how long after its filing a retry can still be compared, unless
// Config.RetryFor says otherwise.
const retryKept = 24 * time.Hour
