package audit

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/crmguard/crmguard/audit/auditlog"
	"github.com/crmguard/crmguard/internal/sqldb"
)

// A row that may not enter the log is set aside, once, so that it is not looked at
// in every pass and stands in nobody's way. Nothing of it is lost: its bytes lie in
// crmguard_audit_aside, its id stays taken (a retry of it is a conflict, so that nobody
// is told that it is recorded), and Status raises an alarm until somebody decides. What
// a later key could make right, a tag of a key that is not known here, comes back by
// itself.

var asideOf = sqldb.Insert{Table: "crmguard_audit_aside", Columns: []string{"id", "body", "why", "at", "tag"}}

// A pass that has met so many rows that may not enter, or so much of them, goes no
// further: what it has filed is signed before it looks on.
const (
	refusedAPass      = 10_000
	refusedBytesAPass = 64 << 20
)

// setAside moves refused rows away, and says how many.
func (t *Trail) setAside(ctx context.Context, rows []refusal) (moved int, err error) {
	if len(rows) == 0 {
		return 0, nil
	}
	keys, err := t.asideKeys(ctx)
	if err != nil {
		return 0, err
	}
	defer wipe(keys)
	slices.SortFunc(rows, func(a, b refusal) int { return int(a.seq - b.seq) })
	for part := range slices.Chunk(rows, rowsAStatement) {
		n := 0
		if err := t.within(ctx, func(tx HandoverTx) error {
			n = 0 // of an attempt that the database ended
			var err error
			n, err = t.setAsideIn(ctx, tx, part, keys)
			return err
		}); err != nil {
			return moved, err
		}
		moved += n
	}
	return moved, nil
}

func (t *Trail) setAsideIn(ctx context.Context, tx HandoverTx, part []refusal, keys []macKey) (int, error) {
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
	var forged, later []any
	now := t.now().UnixMicro()
	for i := range part {
		if r := &part[i]; mine[r.seq] {
			if r.definite {
				forged = append(forged, r.seq)
			} else {
				later = append(later, r.seq)
			}
			body := r.body
			if len(body) == 0 { // somebody took it: what is empty was dismissed
				body = []byte{0}
			}
			rows = append(rows, []any{r.id, body, r.why, now, asideTag(keys, r.id, body, r.why, now)})
		}
	}
	if err := t.insertNew(ctx, tx, asideOf, rows); err != nil {
		return 0, err
	}
	for gone, seqs := range map[string][]any{", retry = " + t.noRetry(): forged, "": later} { // what comes back can be retried
		if len(seqs) == 0 {
			continue
		}
		if _, err := t.exec(ctx, tx, `UPDATE crmguard_audit_events SET idx = -1, `+t.emptied()+gone+` WHERE seq IN (`+sqldb.Marks(len(seqs))+`)`, seqs...); err != nil {
			return 0, err
		}
	}
	return len(rows), nil
}

// asideRow is a row that was set aside.
type asideRow struct {
	n    int64
	id   []byte
	body []byte
	why  string
	at   int64
	tag  []byte
}

// asides reads those of a condition that nobody has dismissed, behind n.
func (t *Trail) asides(ctx context.Context, q sqldb.Querier, after int64, where string, args ...any) (rows []asideRow, err error) {
	size := 0
	err = t.page(ctx, q, func(found answer) error {
		var a asideRow
		err := found.Scan(&a.n, &a.id, &a.body, &a.why, &a.at, &a.tag)
		if rows, size = append(rows, a), size+len(a.body); err == nil && size > queueBytes {
			err = errEnough
		}
		return err
	}, sqldb.Page{
		Table: "crmguard_audit_aside", Columns: []string{"n", upTo(64, "id"), upTo(mostBody, "body"), "why", "at", upTo(tagSize, "tag")}, Key: []string{"n"},
		Where: where, Args: args, After: []any{after}, Limit: rowsAStatement,
	})
	return rows, enough(err)
}

// ofAll is the condition of all that were set aside and not dismissed.
const ofAll = "LENGTH(body) > 0"

// Readmit puts back what the sequencer has set aside, to be looked at again by the
// next passes: after a mistake in the configuration, or with a version of this
// library that knows more. What is still wrong is set aside again. Rows whose key was
// not known come back by themselves, a few hundred a pass; Readmit brings them all
// at once. What has an id that another event of the log has stays aside. It says how
// many rows it put back.
func (t *Trail) Readmit(ctx context.Context) (n int, err error) {
	if err := t.ready(); err != nil {
		return 0, err
	}
	var last int64 // what is set aside meanwhile is not put back in turn
	if _, err := t.one(ctx, t.db, []any{&last}, `SELECT COALESCE(MAX(n), 0) FROM crmguard_audit_aside`); err != nil {
		return 0, err
	}
	for after := int64(0); ; {
		rows, err := t.asides(ctx, t.db, after, ofAll+" AND n <= ?", last)
		if err != nil || len(rows) == 0 {
			return n, err
		}
		after = rows[len(rows)-1].n
		back, err := t.readmit(ctx, rows)
		if n += back; err != nil {
			return n, fmt.Errorf("audit: readmit: %w", err)
		}
	}
}

// readmit puts rows back into the queue.
func (t *Trail) readmit(ctx context.Context, rows []asideRow) (back int, err error) {
	if len(rows) == 0 {
		return 0, nil
	}
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
				if done == 0 { // its id is that of a published event
					continue
				}
				back++
				if _, err := t.exec(ctx, tx, `DELETE FROM crmguard_audit_aside WHERE n = ?`, a.n); err != nil {
					return err
				}
			}
			return nil
		}, err
	})
	return back, err
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

// lateForADay is how long a row may wait for its key.
const lateForADay = 24 * time.Hour

// Dismiss drops what the sequencer has set aside, when somebody has looked at it:
// it was forged. Rows whose key is not known stay for a day, until every process has
// had the time to learn a new one. The log says how many rows it dropped; their ids
// stay taken.
func (t *Trail) Dismiss(ctx context.Context) (n int, err error) {
	if err := t.ready(); err != nil {
		return 0, err
	}
	keys, err := t.asideKeys(ctx)
	if err != nil {
		return 0, fmt.Errorf("audit: dismiss: %w", err)
	}
	defer wipe(keys)
	old := t.lateBefore()
	for {
		rows, err := t.asides(ctx, t.db, 0, "("+ofTheRefused+" OR "+ofTheLate+" AND at <= ?)", append(slices.Concat(whysLate[:], whysLate[:]), old)...)
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
				done, err := t.exec(ctx, tx, `UPDATE crmguard_audit_aside SET body = `+t.noRetry()+`, tag = ? WHERE n = ? AND LENGTH(body) > 0`, asideTag(keys, a.id, nil, a.why, a.at), a.n)
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
