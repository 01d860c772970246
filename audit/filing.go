package audit

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/crmguard/crmguard/internal/sqldb"
)

// Filing gives verified rows their place, set by set: few statements for many
// rows, all of them under the lock of the state row. The row of a sale becomes a
// stub that says where its event is; leaf and openings go where nobody updates
// them any more.

const (
	entriesTable    = "crmguard_audit_entries"
	openingsTable   = "crmguard_audit_openings"
	surrogatesTable = "crmguard_audit_surrogates"
)

var (
	entriesOf = sqldb.Insert{
		Table: entriesTable, Columns: []string{"idx", "id", "leaf", "at", "filed"}, Key: []string{"idx"},
		Types: []string{sqldb.Bigint, sqldb.Bytea, sqldb.Bytea, sqldb.Bigint, sqldb.Bigint},
	}
	openingsOf = sqldb.Insert{
		Table: openingsTable, Columns: []string{"idx", "owner", "sealed"}, Key: []string{"idx", "owner"},
		Types: []string{sqldb.Bigint, sqldb.Bytea, sqldb.Bytea},
	}
)

// taken locks rows that still wait, and says which of them are not to be had: gone,
// filed by somebody else, or held by a sale that is retrying its event. That one
// the sequencer does not wait for.
func (t *Trail) taken(ctx context.Context, tx HandoverTx, rows []checked) (missing map[int64]bool, err error) {
	missing = make(map[int64]bool, len(rows))
	for i := range rows {
		missing[rows[i].seq] = true
	}
	lock := ` FOR UPDATE SKIP LOCKED`
	if t.db.Kind == sqldb.SQLite {
		lock = ""
	}
	for part := range slices.Chunk(rows, rowsAStatement) {
		of, args := t.ofSeqs(part)
		err := t.query(ctx, tx, func(found answer) error {
			var seq int64
			err := found.Scan(&seq)
			delete(missing, seq)
			return err
		}, `SELECT seq FROM crmguard_audit_events WHERE `+of+` AND idx IS NULL AND body IS NOT NULL`+lock, args...)
		if err != nil {
			return nil, err
		}
	}
	return missing, nil
}

// rowsAStatement is how many rows one statement writes at most, and statementBytes
// about how much of openings: PostgreSQL takes no message above 1 GiB, which 500
// large ones are.
const (
	rowsAStatement = 500
	statementBytes = 1 << 20
)

// whole says that rows are a run of numbers without a hole, which one comparison
// names.
func whole(rows []checked) bool {
	return len(rows) > 1 && rows[len(rows)-1].seq-rows[0].seq == int64(len(rows)-1)
}

// ofSeqs is the condition of being one of the rows: between both ends of a run, or
// one of the numbers.
func (t *Trail) ofSeqs(rows []checked) (condition string, args []any) {
	if whole(rows) {
		return `seq BETWEEN ? AND ?`, []any{rows[0].seq, rows[len(rows)-1].seq}
	}
	seqs := make([]int64, len(rows))
	for i := range rows {
		seqs[i] = rows[i].seq
	}
	if t.db.Kind == sqldb.Postgres {
		return `seq = ANY (CAST(? AS bigint[]))`, []any{sqldb.Bigints(seqs)}
	}
	for _, seq := range seqs {
		args = append(args, seq)
	}
	return `seq IN (` + sqldb.Marks(len(seqs)) + `)`, args
}

// enter writes rows into the log, from the place first on. It is called under the
// lock, with rows that taken has found to wait, in the order of their numbers.
func (t *Trail) enter(ctx context.Context, tx HandoverTx, rows []checked, first int64, now time.Time, gone *dropping) error {
	entries, openings := make([][]any, len(rows)), [][]any(nil)
	var size int
	before, err := t.foundBefore(ctx, tx, first)
	if err != nil {
		return err
	}
	for i := range rows {
		c, idx := &rows[i], first+int64(i)
		c.at = before.file(&c.leaf, now)
		entries[i] = []any{idx, c.id[:], c.raw, c.at, now.UnixMicro()}
		for _, f := range c.frames {
			if gone.drops(c.leaf.Tenant, f.Owner) {
				continue
			}
			if size += len(f.Body); size > statementBytes {
				if err := t.insertNew(ctx, tx, openingsOf, openings); err != nil {
					return err
				}
				openings, size = nil, len(f.Body)
			}
			openings = append(openings, []any{idx, f.Owner[:], f.Body})
		}
	}
	if err := t.insertNew(ctx, tx, entriesOf, entries); err != nil {
		return err
	}
	if err := t.insertNew(ctx, tx, openingsOf, openings); err != nil {
		return err
	}
	if err := t.stub(ctx, tx, rows, first); err != nil {
		return err
	}
	return t.forget(ctx, tx, rows, gone)
}

// insertNew inserts rows that cannot be there yet, not more in a statement than it
// takes by bytes.
func (t *Trail) insertNew(ctx context.Context, tx HandoverTx, in sqldb.Insert, rows [][]any) error {
	in.New, in.Ends = true, true
	for len(rows) > 0 {
		n, size := 0, 0
		for ; n < len(rows) && (n == 0 || size < statementBytes); n++ {
			for _, v := range rows[n] {
				if b, ok := v.([]byte); ok {
					size += len(b)
				}
			}
		}
		if err := t.add(ctx, tx, in, rows[:n]...); err != nil {
			return err
		}
		rows = rows[n:]
	}
	return nil
}

// emptied says of a row that it waits no more: nothing of what it holds stays, nor of
// which transaction it was.
func (t *Trail) emptied() string {
	if t.db.Kind == sqldb.Postgres {
		return "body = NULL, tx = NULL"
	}
	return "body = NULL"
}

// stub makes stubs of rows: where each is, and nothing of what it says.
func (t *Trail) stub(ctx context.Context, tx HandoverTx, rows []checked, first int64) error {
	empty := t.emptied()
	var single []checked // of no run that is worth a statement
	var places []int64
	flush := func() error {
		defer func() { single, places = single[:0], places[:0] }()
		return t.stubSingle(ctx, tx, single, places, empty)
	}
	for at := 0; at < len(rows); {
		n := 1
		for at+n < len(rows) && rows[at+n].seq == rows[at].seq+int64(n) {
			n++
		}
		if n < 8 {
			for i := range n {
				single, places = append(single, rows[at+i]), append(places, first+int64(at+i))
				if len(single) == rowsAStatement {
					if err := flush(); err != nil {
						return err
					}
				}
			}
		} else {
			done, err := t.exec(ctx, tx, `UPDATE crmguard_audit_events SET idx = seq - ?, `+empty+` WHERE seq BETWEEN ? AND ? AND idx IS NULL`,
				rows[at].seq-first-int64(at), rows[at].seq, rows[at+n-1].seq)
			if err == nil && done != int64(n) {
				err = errMoved
			}
			if err != nil {
				return err
			}
		}
		at += n
	}
	return flush()
}

// stubSingle makes stubs of rows whose numbers have holes.
func (t *Trail) stubSingle(ctx context.Context, tx HandoverTx, rows []checked, places []int64, empty string) error {
	if len(rows) == 0 {
		return nil
	}
	var (
		query string
		args  []any
	)
	switch t.db.Kind {
	case sqldb.MariaDB, sqldb.MySQL:
		place := `CASE seq` + strings.Repeat(` WHEN ? THEN ?`, len(rows)) + ` END`
		for i := range rows {
			args = append(args, rows[i].seq, places[i])
		}
		for i := range rows {
			args = append(args, rows[i].seq)
		}
		query = `UPDATE crmguard_audit_events SET idx = ` + place + `, ` + empty + ` WHERE seq IN (` + sqldb.Marks(len(rows)) + `) AND idx IS NULL`
	case sqldb.Postgres:
		seqs := make([]int64, len(rows))
		for i := range rows {
			seqs[i] = rows[i].seq
		}
		args = []any{sqldb.Bigints(seqs), sqldb.Bigints(places)}
		query = `UPDATE crmguard_audit_events SET idx = v.idx, ` + empty + ` FROM unnest(CAST(? AS bigint[]), CAST(? AS bigint[])) AS v (seq, idx) WHERE crmguard_audit_events.seq = v.seq AND crmguard_audit_events.idx IS NULL`
	case sqldb.SQLite:
		for i := range rows {
			args = append(args, rows[i].seq, places[i])
		}
		values := strings.TrimSuffix(strings.Repeat(`(?, ?), `, len(rows)), ", ")
		query = `WITH v (seq, idx) AS (VALUES ` + values + `) UPDATE crmguard_audit_events SET idx = v.idx, ` + empty + ` FROM v WHERE crmguard_audit_events.seq = v.seq AND crmguard_audit_events.idx IS NULL`
	}
	done, err := t.exec(ctx, tx, query, args...)
	if err == nil && done != int64(len(rows)) {
		err = errMoved
	}
	return err
}

// forget takes the retry tags away of events about somebody who was erased: they
// are made of values.
func (t *Trail) forget(ctx context.Context, tx HandoverTx, rows []checked, gone *dropping) error {
	var seqs []any
	for i := range rows {
		if gone.about(rows[i].leaf.Tenant, rows[i].persons) {
			seqs = append(seqs, rows[i].seq)
		}
	}
	for part := range slices.Chunk(seqs, rowsAStatement) {
		if _, err := t.exec(ctx, tx, `UPDATE crmguard_audit_events SET retry = `+t.noRetry()+` WHERE seq IN (`+sqldb.Marks(len(part))+`)`, part...); err != nil {
			return err
		}
	}
	return nil
}

// noRetry is the tag that equals none.
func (t *Trail) noRetry() string {
	if t.db.Kind == sqldb.Postgres {
		return `''`
	}
	return `x''`
}

// stubOf is the row of an entry that no sale has written.
func (t *Trail) stubOf(ctx context.Context, tx HandoverTx, id [16]byte, idx int64) error {
	columns, row := []string{"id", "log", "retry", "body", "idx"}, []any{id[:], logRow, []byte{}, nil, idx}
	if t.db.Kind == sqldb.Postgres {
		columns, row = append(columns, "tx"), append(row, nil)
	}
	if err := t.insertNew(ctx, tx, sqldb.Insert{Table: eventsTable, Columns: columns}, [][]any{row}); err != nil {
		return fmt.Errorf("audit: an entry of the trail's own: %w", err)
	}
	return nil
}
