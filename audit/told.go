package audit

import (
	"context"
	"database/sql"
	"maps"
	"slices"
	"strings"

	"github.com/crmguard/crmguard/audit/capture"
)

// A change of which an event of the same transaction tells is not filed a second
// time. Event and captured rows are committed together, so whoever sees the one
// sees the other: they are compared while the event gets its place, and what was
// told of goes in that transaction. Afterwards nothing says any more which
// transaction an event was of, and what is captured by then is untold.

// toldOf is a row of a table in a transaction.
type toldOf struct{ tx, tenant, table, key string }

// tellers are what events tell of, all those together that are about the same row.
type tellers map[toldOf]*capture.Event

// of is what is told of a row, on top of what was told of it before.
func (a tellers) of(row toldOf, before tellers) *capture.Event {
	e := a[row]
	if e == nil {
		e = &capture.Event{Tx: row.tx, Tenant: row.tenant, Table: row.table, Key: row.key, Paths: make(map[string]bool)}
		if earlier := before[row]; earlier != nil {
			maps.Copy(e.Paths, earlier.Paths)
		}
		a[row] = e
	}
	return e
}

// mostPartly is of how many rows a pass remembers what was told of them in part. What
// is forgotten is filed besides.
const mostPartly = 10_000

// told deletes the captured rows of which rows tell that are about to get their
// places. Events of one transaction may stand in two pages of a pass: what the pages
// before have told of in part is handed in, and what is so behind this one, answered.
func (t *Trail) told(ctx context.Context, tx HandoverTx, rows []checked, keys *passKeys, before tellers) (partly tellers, err error) {
	if can, err := t.captures(ctx, tx); err != nil || !can {
		return nil, err
	}
	all := make(tellers)
	for part := range slices.Chunk(rows, rowsAStatement) {
		if err := t.tells(ctx, tx, part, keys, before, all); err != nil {
			return nil, err
		}
	}
	if partly, err = t.dropTold(ctx, tx, all); err != nil {
		return nil, err
	}
	for row, e := range before {
		if partly[row] == nil && len(partly) < mostPartly {
			partly[row] = e
		}
	}
	return partly, nil
}

// capturedTable is the table whose rows are the objects of a kind: the first that is
// captured as such, "" for none.
func (t *Trail) capturedTable(kind string) string {
	for _, table := range t.config.Captured {
		if table.Kind == kind {
			return table.Name
		}
	}
	return ""
}

// tells adds what rows tell of.
func (t *Trail) tells(ctx context.Context, tx HandoverTx, rows []checked, keys *passKeys, before, all tellers) error {
	by := make(map[[16]byte]*checked, len(rows))
	var args []any
	for i := range rows {
		l := &rows[i].leaf
		if t.capturedTable(l.Object.Kind) == "" || l.Outcome != OutcomeOK && l.Outcome != OutcomePartial {
			continue
		}
		var surrogate any
		if s, err := surrogateBytes(l.Object.ID); err == nil {
			surrogate = s[:]
		}
		by[rows[i].id] = &rows[i]
		args = append(args, rows[i].id[:], l.Tenant, surrogate)
	}
	if len(by) == 0 {
		return nil
	}
	return t.query(ctx, tx, func(found answer) error {
		var id []byte
		var of string
		var mark surrogateMark
		var surrogate []byte
		var state sql.NullInt64
		var isPerson bool
		if err := found.Scan(&id, &of, &isPerson, &surrogate, &state, &mark.into, &mark.person, &mark.tag); err != nil {
			return err
		}
		l := &by[[16]byte(id)].leaf
		row := toldOf{of, l.Tenant, t.capturedTable(l.Object.Kind), l.Object.ID}
		if isPerson {
			mark.tenant = l.Tenant
			mark.fill(surrogate, state.Int64)
			if mark.check(keys.by[l.Tenant].surrogates) != tagRight {
				return nil // of nobody who is known
			}
			row.key = mark.whose()
		}
		e := all.of(row, before)
		for i := range l.Changes {
			e.Paths[l.Changes[i].Path] = true
		}
		return nil
	}, `SELECT v.id, left(e.tx, 64), v.surrogate IS NOT NULL, s.surrogate, s.state, s.into_surrogate, s.person, s.tag
		FROM (VALUES `+repeated(`(?::bytea, ?::text, ?::bytea)`, len(by))+`) v (id, tenant, surrogate)
		JOIN crmguard_audit_events e ON e.id = v.id AND e.tx IS NOT NULL
		LEFT JOIN crmguard_audit_surrogates s ON s.tenant = v.tenant AND s.surrogate = v.surrogate`, args...)
}

// repeated is one n times, with commas between.
func repeated(one string, n int) string { return strings.TrimSuffix(strings.Repeat(one+", ", n), ", ") }

// dropTold deletes what events told of. The rule is [capture.Row.ToldBy]; the database
// finds what it could hold for, each row once, however many rows and events one
// transaction has. Of all that is read the numbers alone are kept. It answers
// what is told of a row in part.
func (t *Trail) dropTold(ctx context.Context, tx HandoverTx, all tellers) (partly tellers, err error) {
	partly = make(tellers)
	rows := make(map[[2]string]bool, len(all)) // an event may be about one key in two tables
	for of := range all {
		rows[[2]string{of.tx, of.key}] = true
	}
	total := 0
	for part := range slices.Chunk(slices.Collect(maps.Keys(rows)), rowsAStatement) {
		args := make([]any, 0, 2*len(part))
		for _, row := range part {
			args = append(args, row[0], row[1])
		}
		var drop []int64
		err := t.eachCaptured(ctx, tx, func(row capture.Row) {
			of := toldOf{row.Tx, row.Tenant, row.Table, row.Key}
			switch e := all[of]; {
			case e == nil:
			case row.ToldBy(*e):
				drop = append(drop, row.N)
			case len(partly) < mostPartly:
				partly[of] = e
			}
		}, func(int64) {}, `(tx, key) IN (VALUES `+repeated(`(?::text, ?::text)`, len(part))+`)`, args...)
		if err != nil {
			return nil, err
		}
		there, err := t.takeCaptured(ctx, tx, drop)
		if err != nil {
			return nil, err
		}
		total += len(there)
	}
	t.observe(ctx, "audit.captured.told", float64(total))
	return partly, nil
}
