package audit

import (
	"context"
	"errors"
	"time"

	"github.com/crmguard/crmguard/audit/auditlog"
	"github.com/crmguard/crmguard/internal/sqldb"
)

// What an entry is found by is filed in a step of its own, when the entry is
// signed already: it takes longer than all else, and nothing that is promised
// about the log waits for it. How far it has come is in the state row.

// entryRow is an entry as the database has it.
type entryRow struct {
	idx, at, filed int64
	id, leaf       []byte
}

func enough(err error) error {
	if errors.Is(err, errEnough) {
		return nil
	}
	return err
}

// stored entries from one on, limit of them at most.
func (t *Trail) entryRows(ctx context.Context, q sqldb.Querier, from, to int64, limit int) (rows []entryRow, err error) {
	size := 0
	err = t.page(ctx, q, func(found answer) error {
		var e entryRow
		err := found.Scan(&e.idx, &e.id, &e.leaf, &e.at, &e.filed)
		if rows, size = append(rows, e), size+len(e.leaf); err == nil && size > queueBytes {
			err = errEnough
		}
		return err
	}, sqldb.Page{
		Table: entriesTable, Columns: []string{"idx", upTo(mostID, "id"), upTo(auditlog.MaxLeaf, "leaf"), "at", "filed"}, Key: []string{"idx"},
		Where: "idx < ?", Args: []any{to}, After: []any{from - 1}, Limit: limit,
	})
	return rows, enough(err)
}

// findAll files query keys up to the size of the log, and up to limit entries.
func (t *Trail) findAll(ctx context.Context, limit int, ahead *findAhead) error {
	for done := 0; done < limit; {
		whole := t.finding.rows()
		n, err := t.findStep(ctx, ahead)
		if err != nil || n == 0 {
			return err
		}
		done += n
		if n < whole { // the last ones
			continue
		}
		if err := t.letSalesIn(ctx); err != nil {
			return err
		}
	}
	return nil
}

// findStep files the query keys of the next entries, and says of how many.
func (t *Trail) findStep(ctx context.Context, ahead *findAhead) (n int, err error) {
	began := time.Now() // of the lock
	err = t.advance(ctx, t.memory.recall, func(s state) (state, func(tx HandoverTx) error, error) {
		n = 0
		if s.found >= s.N {
			return s, nil, nil
		}
		rows, next, err := t.nextFound(ctx, s, ahead)
		if err != nil || len(rows) == 0 {
			return s, nil, err
		}
		found, persons := make([][]any, 0, len(rows)), make([][]any, 0, len(rows))
		for i := range rows {
			found, persons = append(found, rows[i].found...), append(persons, rows[i].persons...)
		}
		n, s.found = len(rows), next
		return s, func(tx HandoverTx) error {
			began = time.Now()
			if err := t.add(ctx, tx, foundOf, found...); err != nil {
				return err
			}
			return t.add(ctx, tx, personsOf, persons...)
		}, nil
	})
	t.finding.took(n, time.Since(began))
	return n, err
}

// nextFound are the rows by which the next entries are found, and the place behind
// them. The tree of the state extends that of what this pass has filed: those are
// the same entries. One that cannot be read, which somebody changed since it was
// filed, has no rows: VerifyStore says so.
func (t *Trail) nextFound(ctx context.Context, s state, ahead *findAhead) (out []foundRows, next int64, err error) {
	from, limit := max(s.found, s.pruned), t.finding.rows()
	if out = ahead.from(from, limit); len(out) > 0 {
		return out, from + int64(len(out)), nil
	}
	rows, err := t.entryRows(ctx, t.db, from, s.N, limit)
	if err != nil || len(rows) == 0 {
		return nil, 0, err
	}
	out = make([]foundRows, len(rows))
	for i := range rows {
		if leaf, err := auditlog.ParseLeaf(rows[i].leaf); err == nil {
			out[i] = findRows(rows[i].idx, rows[i].at, &leaf)
		}
	}
	return out, rows[len(rows)-1].idx + 1, nil
}
