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
func (t *Trail) findAll(ctx context.Context, limit int) error {
	for done := 0; done < limit; {
		n, err := t.findStep(ctx)
		if err != nil || n == 0 {
			return err
		}
		done += n
	}
	return nil
}

// findStep files the query keys of the next entries, and says of how many.
func (t *Trail) findStep(ctx context.Context) (n int, err error) {
	began := time.Now() // of the lock
	err = t.advance(ctx, t.memory.recall, func(s state) (state, func(tx HandoverTx) error, error) {
		n = 0
		if s.found >= s.N {
			return s, nil, nil
		}
		rows, err := t.entryRows(ctx, t.db, max(s.found, s.pruned), s.N, t.finding.rows())
		if err != nil || len(rows) == 0 {
			return s, nil, err
		}
		found, persons := make([][]any, 0, len(rows)), [][]any(nil)
		for i := range rows {
			f, p := findRows(&rows[i])
			found, persons = append(found, f...), append(persons, p...)
		}
		n, s.found = len(rows), rows[len(rows)-1].idx+1
		return s, func(tx HandoverTx) error {
			began = time.Now()
			if err := t.add(ctx, tx, sqldb.Insert{Table: "crmguard_audit_found", Columns: foundOf, Key: []string{"idx"}}, found...); err != nil {
				return err
			}
			return t.add(ctx, tx, sqldb.Insert{Table: "crmguard_audit_persons", Columns: personsOf, Key: []string{"idx", "k"}}, persons...)
		}, nil
	})
	t.finding.took(n, time.Since(began))
	return n, err
}

// findRows are the rows by which an entry is found. One that cannot be read, which
// somebody changed since it was filed, has none: VerifyStore says so.
func findRows(e *entryRow) (found, persons [][]any) {
	leaf, err := auditlog.ParseLeaf(e.leaf)
	if err != nil {
		return nil, nil
	}
	if persons, err = personRows(e.idx, e.at, &leaf); err != nil {
		return nil, nil
	}
	return [][]any{foundRow(e.idx, e.at, &leaf)}, persons
}
