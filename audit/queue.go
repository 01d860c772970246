package audit

import (
	"context"
	"encoding/hex"
	"errors"
	"math"

	"github.com/google/uuid"

	"github.com/crmguard/crmguard/internal/sqldb"
)

// What waits is read by the absence of a place, from the lowest number on: a mark
// of the highest one seen would lose rows for ever whose transaction committed
// late. On SQLite there is one writer at a time, so that the order of numbers is
// the order of commits: there the trail remembers up to where nothing waits, and
// a sale pays for no index. What somebody puts below that mark by hand is found by
// a look at all that a process takes when it begins, and by VerifyStore.

// firstSeq is before every number, also one that no database gives.
const firstSeq int64 = math.MinInt64

// queueBytes bounds what one look at the queue takes into memory.
const queueBytes = 8 << 20

var errEnough = errors.New("audit: enough")

// queued reads rows that wait, behind seq after, limit of them at most.
func (t *Trail) queued(ctx context.Context, after int64, limit int) (rows []waiting, more bool, err error) {
	size := 0
	err = t.page(ctx, t.db, func(found answer) error {
		if size > queueBytes {
			return errEnough
		}
		var w waiting
		err := found.Scan(&w.seq, &w.id, &w.body)
		rows, size = append(rows, w), size+len(w.body)
		return err
	}, sqldb.Page{
		Table: eventsTable, Columns: []string{"seq", upTo(64, "id"), upTo(mostBody, "body")}, Key: []string{"seq"},
		Where: "idx IS NULL", After: []any{after}, Limit: limit,
	})
	if errors.Is(err, errEnough) {
		return rows, true, nil
	}
	return rows, len(rows) == limit, err
}

// spent is a number that no queue comes to. Once somebody has written such a one
// SQLite gives out numbers in no order, and MariaDB none.
const spent int64 = 1 << 62

// mark is, on SQLite, up to where a pass has found nothing that waits.
type mark struct {
	on       bool  // only there
	last     int64 // up to here all was looked at
	seen     int64 // the mark of the state, as this pass knows it
	disorder bool  // numbers are in no order
}

// from is where a pass begins to read.
func (t *Trail) from(ctx context.Context, s state) (mark, int64, error) {
	m := mark{on: t.db.Kind == sqldb.SQLite, seen: s.drained}
	if !m.on {
		return m, firstSeq, nil
	}
	// Where the last number was taken by hand the others are given out at random,
	// and no mark says anything.
	disorder, err := t.any(ctx, t.db, `SELECT 1 FROM crmguard_audit_events WHERE seq >= ?`, spent)
	if err != nil {
		return m, firstSeq, err
	}
	m.disorder = disorder
	if t.lookedAtAll.CompareAndSwap(false, true) || disorder {
		return m, firstSeq, nil
	}
	// Rows taken away by hand leave numbers that are given out again, from the
	// highest that is left: then the last one looked at is not there, or waits.
	again, err := t.any(ctx, t.db, `SELECT 1 WHERE COALESCE((SELECT MAX(seq) FROM crmguard_audit_events), 0) < ? OR EXISTS (SELECT 1 FROM crmguard_audit_events WHERE seq = ? AND idx IS NULL)`, s.drained, s.drained)
	if err != nil || again {
		return m, firstSeq, err
	}
	m.last = s.drained
	return m, s.drained, nil
}

// move is the mark after a batch. One that somebody else has set back stays, and
// where numbers are in no order there is none.
func (m *mark) move(s *state) {
	if !m.on || s.drained < m.seen || m.disorder || m.last >= spent {
		return
	}
	s.drained = m.last
}

// eventName is the id of a row for reports, whatever its bytes are.
func eventName(id []byte) string {
	if len(id) == 16 {
		return uuid.UUID(id).String()
	}
	return hex.EncodeToString(id[:min(len(id), 64)])
}
