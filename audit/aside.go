package audit

import (
	"context"
	"fmt"
	"slices"

	"github.com/crmguard/crmguard/audit/auditlog"
	"github.com/crmguard/crmguard/internal/sqldb"
)

// A row that can never enter the log (its key is known and its tag is wrong) is
// set aside, once, so that it is not looked at in every pass and stands in
// nobody's way. Nothing of it is lost: its bytes lie in crmguard_audit_aside, its
// id stays taken, and Status raises an alarm until somebody decides. What a later
// key could make right, a tag of a key that is not known here, is never set aside.

var asideOf = []string{"id", "body", "why", "at"}

// asidesAPass bounds the work that forged rows make, beside good ones.
const asidesAPass = 1000

// setAside moves definite refusals away, and says how many.
func (t *Trail) setAside(ctx context.Context, rows []refusal) (moved int, err error) {
	slices.SortFunc(rows, func(a, b refusal) int { return int(a.seq - b.seq) })
	for part := range slices.Chunk(rows, rowsAStatement) {
		n := 0
		if err := t.within(ctx, func(tx HandoverTx) error {
			n = 0 // of an attempt that the database ended
			var err error
			n, err = t.setAsideIn(ctx, tx, part)
			return err
		}); err != nil {
			return moved, err
		}
		moved += n
	}
	return moved, nil
}

func (t *Trail) setAsideIn(ctx context.Context, tx HandoverTx, part []refusal) (int, error) {
	var seqs []any
	for i := range part {
		seqs = append(seqs, part[i].seq)
	}
	lock := ` FOR UPDATE SKIP LOCKED`
	if t.db.Kind == sqldb.SQLite {
		lock = ""
	}
	mine := make(map[int64]bool)
	err := t.query(ctx, tx, func(found answer) error {
		var seq int64
		err := found.Scan(&seq)
		mine[seq] = true
		return err
	}, `SELECT seq FROM crmguard_audit_events WHERE seq IN (`+sqldb.Marks(len(seqs))+`) AND idx IS NULL`+lock, seqs...)
	if err != nil || len(mine) == 0 {
		return 0, err
	}
	var rows [][]any
	seqs = seqs[:0]
	now := t.now().UnixMicro()
	for i := range part {
		if r := &part[i]; mine[r.seq] {
			seqs = append(seqs, r.seq)
			rows = append(rows, []any{r.id, append([]byte{}, r.body...), r.why, now})
		}
	}
	if err := t.insertNew(ctx, tx, "crmguard_audit_aside", asideOf, rows); err != nil {
		return 0, err
	}
	_, err = t.exec(ctx, tx, `UPDATE crmguard_audit_events SET idx = -1, body = NULL WHERE seq IN (`+sqldb.Marks(len(seqs))+`)`, seqs...)
	return len(rows), err
}

// asideRow is a row that was set aside.
type asideRow struct {
	n    int64
	id   []byte
	body []byte
}

// asides reads those that nobody has dismissed, behind n.
func (t *Trail) asides(ctx context.Context, q sqldb.Querier, after int64) (rows []asideRow, err error) {
	size := 0
	err = t.page(ctx, q, func(found answer) error {
		var a asideRow
		err := found.Scan(&a.n, &a.id, &a.body)
		if rows, size = append(rows, a), size+len(a.body); err == nil && size > queueBytes {
			err = errEnough
		}
		return err
	}, sqldb.Page{
		Table: "crmguard_audit_aside", Columns: []string{"n", upTo(64, "id"), upTo(mostBody, "body")}, Key: []string{"n"},
		Where: "LENGTH(body) > 0", After: []any{after}, Limit: rowsAStatement,
	})
	return rows, enough(err)
}

// Readmit puts back what the sequencer has set aside, to be looked at again by the
// next pass: after a mistake in the configuration, or with a version of this
// library that knows more. What is still wrong is set aside again. It says how
// many rows it put back.
func (t *Trail) Readmit(ctx context.Context) (n int, err error) {
	if err := t.ready(); err != nil {
		return 0, err
	}
	for {
		rows, err := t.asides(ctx, t.db, 0)
		if err != nil || len(rows) == 0 {
			return n, err
		}
		back := 0
		err = t.advance(ctx, t.memory.recall, func(s state) (state, func(tx HandoverTx) error, error) {
			first, err := t.firstOf(ctx, rows)
			s.drained = min(s.drained, first-1)
			return s, func(tx HandoverTx) error {
				back = 0
				for _, a := range rows {
					done, err := t.exec(ctx, tx, `UPDATE crmguard_audit_events SET idx = NULL, body = ? WHERE id = ? AND idx = -1`, a.body, a.id)
					if err != nil {
						return err
					}
					back += int(done)
					if _, err := t.exec(ctx, tx, `DELETE FROM crmguard_audit_aside WHERE n = ?`, a.n); err != nil {
						return err
					}
				}
				return nil
			}, err
		})
		if err != nil {
			return n, fmt.Errorf("audit: readmit: %w", err)
		}
		n += back
	}
}

// firstOf is the lowest number of the rows of asides.
func (t *Trail) firstOf(ctx context.Context, rows []asideRow) (first int64, err error) {
	args := make([]any, len(rows))
	for i := range rows {
		args[i] = rows[i].id
	}
	_, err = t.one(ctx, t.db, []any{&first}, `SELECT COALESCE(MIN(seq), 1) FROM crmguard_audit_events WHERE id IN (`+sqldb.Marks(len(args))+`)`, args...)
	return first, err
}

// Dismiss drops what the sequencer has set aside, when somebody has looked at it:
// it was forged. The log says how many rows that were; their ids stay taken.
func (t *Trail) Dismiss(ctx context.Context) (n int, err error) {
	if err := t.ready(); err != nil {
		return 0, err
	}
	for {
		rows, err := t.asides(ctx, t.db, 0)
		if err != nil || len(rows) == 0 {
			return n, err
		}
		leaf, err := t.ownLeaf(ctx, auditlog.KindEvent, t.config.Tenant, "audit.dismiss")
		if err != nil {
			return n, err
		}
		leaf.Object = auditlog.Object{Kind: "aside", ID: fmt.Sprint(len(rows))}
		own, err := t.own(ctx, leaf)
		if err != nil {
			return n, err
		}
		err = t.within(ctx, func(tx HandoverTx) error {
			for _, a := range rows {
				done, err := t.exec(ctx, tx, `UPDATE crmguard_audit_aside SET body = `+t.noRetry()+` WHERE n = ? AND LENGTH(body) > 0`, a.n)
				if err == nil && done != 1 {
					err = errMoved
				}
				if err != nil {
					return err
				}
			}
			return t.putRow(ctx, tx, own)
		})
		if err != nil {
			return n, fmt.Errorf("audit: dismiss: %w", err)
		}
		n += len(rows)
	}
}
