package audit

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"time"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/crmguard/crmguard/audit/auditlog"
	"github.com/crmguard/crmguard/audit/capture"
	"github.com/crmguard/crmguard/audit/internal/merkle"
	"github.com/crmguard/crmguard/internal/sqldb"
)

// Rows that the triggers of package capture wrote are filed behind the events of a
// pass, and few at a time: whoever may write their table can write as many as he
// likes, and no event waits for them. A row of whose change an event told never
// gets here: it went when that event got its place, see told.

// capturedAPass is how many captured rows a pass files at most.
const capturedAPass = 1000

// captured is a captured row on its way into the log.
type captured struct {
	n int64
	checked
}

// declareCaptured looks at Config.Captured, when the database is known.
func (t *Trail) declareCaptured(ctx context.Context) error {
	tables := t.config.Captured
	switch {
	case len(tables) == 0:
		return nil
	case t.db.Kind != sqldb.Postgres:
		return invalid("open: Captured is for PostgreSQL: elsewhere no triggers are written")
	case t.config.PersonKinds == nil:
		return invalid("open: Captured needs PersonKinds, empty where no kind is one of persons: without it the key of a person's row would stand in the log for ever")
	}
	if _, _, err := capture.Pack(tables...); err != nil {
		return invalid("open: Captured: %w", err)
	}
	return t.checkTx(ctx)
}

// checkTx refuses tables of events that a version before the first release has made:
// no captured row could be held against an event.
func (t *Trail) checkTx(ctx context.Context) error {
	var is string
	found, err := t.one(ctx, t.db, []any{&is}, `SELECT format_type(a.atttypid, NULL) FROM pg_attribute a WHERE a.attrelid = to_regclass('crmguard_audit_events') AND a.attname = 'tx' AND NOT a.attisdropped`)
	switch {
	case err != nil:
		return fmt.Errorf("audit: open: %w", err)
	case !found || is != "text":
		return fmt.Errorf("audit: open: %w", &ErrSchema{Package: "audit", Have: 1, Want: 1, Found: "the column tx of crmguard_audit_events is not of type text, as a version before the first release made it: " +
			"where nothing waits, give it the type, the collation and the default that migration 1 has"})
	}
	return nil
}

// captures says whether captured rows can be read and deleted. Where they cannot,
// events go on without them, and Status says so. A row is locked before it is
// deleted, for which PostgreSQL wants a right to update some column.
func (t *Trail) captures(ctx context.Context, q sqldb.Querier) (can bool, err error) {
	if len(t.config.Captured) == 0 {
		return false, nil
	}
	var as bool
	_, err = t.one(ctx, q, []any{&can, &as}, `SELECT COALESCE(has_table_privilege(c.rel, 'SELECT') AND has_table_privilege(c.rel, 'DELETE') AND has_any_column_privilege(c.rel, 'UPDATE'), false), `+capturedAsMade+`
		FROM (SELECT to_regclass('crmguard_audit_captured')::oid AS rel) c`)
	return can && as, err
}

// capturedAsMade says whether the table c.rel is one that a pack made, and one whose rows
// this role sees: what somebody made of it keeps no event from its place.
const capturedAsMade = `COALESCE((SELECT p.relkind = 'r' AND NOT row_security_active(p.oid) FROM pg_class p WHERE p.oid = c.rel), false)
	AND NOT EXISTS (SELECT FROM (VALUES ('n', 'bigint'), ('id', 'uuid'), ('tx', 'text'), ('at', 'bigint'), ('tab', 'text'), ('kind', 'text'), ('tenant', 'text'), ('key', 'text'), ('person', 'text'), ('op', 'text'),
		('cols', 'text[]'), ('who', 'text'), ('actor', 'text')) w (name, type)
		WHERE NOT EXISTS (SELECT FROM pg_attribute a WHERE a.attrelid = c.rel AND a.attname = w.name AND format_type(a.atttypid, NULL) = w.type))`

// rowNumber is the number of a row, and whether it was read: any may be, also 0.
type rowNumber struct {
	to   *int64
	read bool
}

// Scan takes the number.
func (r *rowNumber) Scan(v any) error {
	n, ok := v.(int64)
	if !ok {
		return fmt.Errorf("audit: a captured row has a number of type %T", v)
	}
	*r.to, r.read = n, true
	return nil
}

// capturedRows reads rows. Of one that no trigger wrote there is the number alone.
func (t *Trail) capturedRows(ctx context.Context, q sqldb.Querier, where string, limit int, args ...any) (rows []capture.Row, forged []int64, err error) {
	err = t.eachCaptured(ctx, q, func(row capture.Row) { rows = append(rows, row) }, func(n int64) { forged = append(forged, n) },
		where+` ORDER BY n LIMIT ?`, append(args, limit)...)
	return rows, forged, err
}

// eachCaptured reads rows one by one.
func (t *Trail) eachCaptured(ctx context.Context, q sqldb.Querier, take func(capture.Row), forged func(n int64), where string, args ...any) error {
	return t.query(ctx, q, func(found answer) error {
		var number rowNumber
		row, err := capture.Scan(func(dest ...any) error {
			if at, ok := dest[0].(*int64); ok {
				number.to, dest[0] = at, &number
			}
			return found.Scan(dest...)
		})
		switch {
		case err == nil:
			take(row)
		case number.read: // what cannot be read now cannot be read tomorrow
			forged(*number.to)
		default:
			return err
		}
		return nil
	}, `SELECT `+capture.Columns+` FROM crmguard_audit_captured c WHERE `+where, args...)
}

// untold leaves out what an event may tell of that waits for its place.
const untold = `NOT EXISTS (SELECT FROM crmguard_audit_events e WHERE e.idx IS NULL AND e.tx = c.tx)`

// fileCaptured files captured rows that no event told of, capturedAPass at most,
// and answers how many went: about a person alone, where one is named.
func (t *Trail) fileCaptured(ctx context.Context, head tlog.Tree, about *aboutPerson, r *Result) (gone int, err error) {
	if can, err := t.captures(ctx, t.db); err != nil || !can {
		return 0, err
	}
	where, args := untold, []any(nil)
	if about != nil {
		where, args = where+` AND `+about.where(), about.args()
	}
	keys := newPassKeys()
	defer keys.wipe()
	rows, forged, err := t.readCaptured(ctx, where, args, keys)
	if err != nil || len(rows)+len(forged) == 0 {
		return 0, err
	}
	filing := capture.Filing{Log: t.config.Name, Tenant: t.config.Tenant, Opaque: func(id string) bool { return checkOpaque("id", id) == nil }}
	f := capturedFiling{trail: t, filing: filing, rows: rows, keys: keys, skip: make(map[int64]bool)}
	if err := f.file(ctx, head); err != nil {
		return 0, fmt.Errorf("audit: captured rows: %w", err)
	}
	forged = append(forged, f.forged...)
	gone, err = t.dropCaptured(ctx, append(f.known, forged...))
	r.Captured += len(f.added)
	t.observe(ctx, "audit.captured", float64(len(f.added)))
	for _, what := range slices.Sorted(maps.Keys(f.left)) {
		t.observe(ctx, "audit.captured.left", float64(f.left[what]), slog.String("what", string(what)))
	}
	if len(forged) > 0 {
		t.capturedForged.took(len(forged), t.now())
		t.observe(ctx, "audit.captured.forged", float64(len(forged)))
	}
	return gone + len(f.added), err
}

// dropCaptured deletes rows, but for those that somebody holds, whom nobody waits
// for.
func (t *Trail) dropCaptured(ctx context.Context, rows []int64) (n int, err error) {
	if len(rows) == 0 {
		return 0, nil
	}
	err = t.within(ctx, func(tx HandoverTx) error {
		there, err := t.takeCaptured(ctx, tx, rows)
		n = len(there)
		return err
	})
	return n, err
}

// takeCaptured deletes rows and answers which were there.
func (t *Trail) takeCaptured(ctx context.Context, tx HandoverTx, rows []int64) (there map[int64]bool, err error) {
	there = make(map[int64]bool, len(rows))
	for part := range slices.Chunk(rows, rowsAStatement) {
		args := make([]any, len(part))
		for i := range part {
			args[i] = part[i]
		}
		err := t.query(ctx, tx, func(found answer) error {
			var n int64
			err := found.Scan(&n)
			there[n] = true
			return err
		}, `DELETE FROM crmguard_audit_captured WHERE n IN (SELECT n FROM crmguard_audit_captured WHERE n IN (`+sqldb.Marks(len(part))+`) FOR UPDATE SKIP LOCKED) RETURNING n`, args...)
		if err != nil {
			return nil, err
		}
	}
	return there, nil
}

// capturedFiling is the filing of one page.
type capturedFiling struct {
	trail  *Trail
	filing capture.Filing
	rows   []capture.Row
	keys   *passKeys
	skip   map[int64]bool // by number: gone, forged, or in the log

	added  []captured
	left   map[capture.Left]int // what leaves do not say
	forged []int64
	known  []int64 // rows whose entry stands in the log: a database that was restored has them again
}

// file gives the page its places, in one transaction with its deletion: a row is
// either a row or an entry.
func (f *capturedFiling) file(ctx context.Context, head tlog.Tree) error {
	t := f.trail
	var tree tlog.Tree
	err := t.advance(ctx, t.memory.recall, func(s state) (state, func(tx HandoverTx) error, error) {
		tree = tlog.Tree{}
		if s.N < head.N {
			return s, nil, &BehindError{Database: s.N, Published: head.N}
		}
		people, err := t.capturedPeople(ctx, t.db, f.rows, f.keys)
		if err != nil {
			return s, nil, err
		}
		g, err := merkle.Grow(ctx, t.rows(t.db), s.Tree)
		if err != nil {
			return s, nil, err
		}
		if err := f.leaves(people, g); err != nil || len(f.added) == 0 {
			return s, nil, err
		}
		next := s
		tiles, grown, err := g.Tiles()
		next.Tree, tree = grown, grown
		return next, func(tx HandoverTx) error {
			if err := f.enter(ctx, tx, people, s.N); err != nil {
				return err
			}
			return t.save(ctx, tx, tiles)
		}, err
	})
	if err == nil {
		t.memory.remember(tree, head)
	}
	return err
}

// leaves makes the leaves of the rows that are left.
func (f *capturedFiling) leaves(people map[personID][16]byte, g *merkle.Growth) error {
	f.added, f.left = nil, make(map[capture.Left]int)
	filing := f.filing
	filing.Surrogate = f.trail.capturedSurrogate(people)
	drawn := make(map[string]bool, len(f.rows))
	for _, row := range f.rows {
		if f.skip[row.N] {
			continue
		}
		if drawn[row.ID] { // it was drawn for another row
			f.forged, f.skip[row.N] = append(f.forged, row.N), true
			continue
		}
		drawn[row.ID] = true
		l, err := filing.Leaf(row)
		if errors.Is(err, capture.ErrRow) {
			f.forged, f.skip[row.N] = append(f.forged, row.N), true
			continue
		}
		if err != nil {
			return err
		}
		c := captured{n: row.N}
		if c.fill(&l) != nil { // the log has no words for it
			f.forged, f.skip[row.N] = append(f.forged, row.N), true
			continue
		}
		if err := g.Append(c.hash); err != nil {
			return err
		}
		for _, what := range l.Left {
			f.left[what]++
		}
		f.added = append(f.added, c)
	}
	return nil
}

// fill makes the entry of a captured row.
func (c *captured) fill(l *capture.Leaf) (err error) {
	c.leaf = auditlog.Leaf{
		ID: l.ID, Kind: auditlog.KindCapture, At: l.At, Tenant: l.Tenant, Actor: l.Actor, Action: l.Action, Outcome: OutcomeOK,
		Object: auditlog.Object{Kind: l.Object.Kind, ID: l.Object.ID}, Persons: l.Persons,
		Capture: &auditlog.LeafCapture{Table: l.Table, Op: l.Op, Columns: l.Cols, Claimed: l.Claimed},
	}
	if c.id, err = auditlog.ParseID(l.ID); err != nil {
		return err
	}
	if c.raw, err = auditlog.AppendLeaf(nil, &c.leaf); err != nil {
		return err
	}
	c.hash = tlog.RecordHash(c.raw)
	return nil
}

// enter writes the entries, if all is still as it was found.
func (f *capturedFiling) enter(ctx context.Context, tx HandoverTx, people map[personID][16]byte, first int64) error {
	t, now := f.trail, f.trail.now()
	numbers := make([]int64, len(f.added))
	entries, stubs := make([][]any, len(f.added)), make([][]any, len(f.added))
	before, err := t.foundBefore(ctx, tx, first)
	if err != nil {
		return err
	}
	for i := range f.added {
		c, idx := &f.added[i], first+int64(i)
		numbers[i] = c.n
		entries[i] = []any{idx, c.id[:], c.raw, before.file(&c.leaf, now), now.UnixMicro()}
		stubs[i] = []any{c.id[:], logRow, []byte{}, nil, idx, nil}
	}
	there, err := t.takeCaptured(ctx, tx, numbers)
	if err != nil {
		return err
	}
	moved := false
	for _, n := range numbers {
		if !there[n] {
			f.skip[n], moved = true, true
		}
	}
	taken, err := f.inTheLog(ctx, tx)
	if err != nil {
		return err
	}
	for n, same := range taken {
		if f.skip[n], moved = true, true; same {
			f.known = append(f.known, n)
		} else {
			f.forged = append(f.forged, n)
		}
	}
	// Who was erased meanwhile is not named any more: an erasure has the same lock.
	today, err := t.capturedPeople(ctx, tx, f.rows, f.keys)
	if err != nil {
		return err
	}
	if moved || !maps.Equal(today, people) {
		return errMoved
	}
	if err := t.insertNew(ctx, tx, entriesOf, entries); err != nil {
		return err
	}
	return t.insertNew(ctx, tx, sqldb.Insert{Table: eventsTable, Columns: []string{"id", "log", "retry", "body", "idx", "tx"}}, stubs)
}

// forgedRows remembers that rows were there that no trigger had written.
type forgedRows struct {
	mu sync.Mutex
	n  int
	at time.Time // the last time
}

func (f *forgedRows) took(n int, at time.Time) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.n, f.at = f.n+n, at
}

func (f *forgedRows) lately(now time.Time) (int, time.Time) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.n == 0 || away(now, f.at) > capturedLate {
		return 0, time.Time{}
	}
	return f.n, f.at
}
