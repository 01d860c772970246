package audit

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"fmt"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/crmguard/crmguard/audit/auditlog"
	"github.com/crmguard/crmguard/audit/internal/merkle"
)

// VerifyStore verifies the published log as [auditlog.VerifyLog] does, against the kept
// checkpoint (Config.Kept's where none is given), and compares the database with
// it: each row of an entry, of what it is found by and of who is in it with the
// entry itself, the rows that are not published yet with the tree, each tile, the
// tags of the state row, of the heads, of each surrogate and of each queued row,
// each stub with its entry and the other way, and each opening with its
// commitments. Of entries that went with retention it compares the hashes, the mark with
// what the log says, and that each has its stub. Not compared are when an entry was filed, by which nothing is found
// unless the leaf's own time is far off, and the tags of retries. Call RunOnce
// first: an erasure that is not published yet makes the report Incomplete.
func (t *Trail) VerifyStore(ctx context.Context, kept []byte) (StoreReport, error) {
	for range swaps {
		r, mark, err := t.verifyStore(ctx, kept)
		if r.Verdict == auditlog.OK || r.Verdict == auditlog.Unanchored || err != nil {
			return r, err
		}
		if now, stateErr := t.state(ctx, t.db); stateErr != nil || now.pruned == mark {
			return r, nil
		}
	} // retention went on meanwhile: what is gone may be gone by right
	return StoreReport{Verdict: auditlog.Incomplete}, fmt.Errorf("%w: retention goes on and on: call it again", ErrChanged)
}

// verifyStore does it once, and says what the mark of retention was.
func (t *Trail) verifyStore(ctx context.Context, kept []byte) (StoreReport, int64, error) {
	unread := auditlog.Report{Verdict: auditlog.Incomplete, Log: auditlog.Incomplete, Kept: auditlog.Incomplete}
	c := &comparison{trail: t, ev: newEvidence(), report: StoreReport{Verdict: auditlog.OK, Log: unread, Openings: make(map[OpeningVerdict]int64)}}
	if err := t.ready(); err != nil {
		c.report.Verdict = auditlog.Incomplete
		return c.report, c.state.pruned, err
	}
	if kept == nil && t.config.Kept != nil {
		var err error
		if kept, err = t.config.Kept(ctx); err != nil {
			c.report.Verdict = auditlog.Incomplete
			return c.report, 0, fmt.Errorf("audit: kept checkpoint: %w", err)
		}
	}
	s, err := t.state(ctx, t.db)
	if err != nil && !errors.Is(err, auditlog.ErrTampered) {
		c.report.Verdict = auditlog.Incomplete
		return c.report, c.state.pruned, err
	}
	c.state, c.size = s, s.N
	if err != nil { // what follows from it would all be wrong
		c.state, c.size, c.stateless = state{}, 0, true
		c.fault(auditlog.Tampered, -1, "", stateTable, "the state row is gone or damaged, or not what a sequencer wrote")
	}
	if err := c.readMarks(ctx); err != nil {
		c.report.Verdict = auditlog.Incomplete
		return c.report, c.state.pruned, err
	}
	trust := t.trust()
	trust.Kept = kept
	c.walk = auditlog.Walk{Read: t.config.Sink.ReadFile, Trust: trust, Each: c.published(ctx), Skipped: c.skipped(ctx)}
	c.report.Log, err = c.walk.Verify(ctx)
	c.report.Verdict = auditlog.Worst(c.report.Verdict, c.report.Log.Verdict)
	if errors.Is(err, auditlog.ErrInvalid) {
		err = fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	if err != nil {
		c.report.Verdict = auditlog.Worst(c.report.Verdict, auditlog.Incomplete)
		return c.report, c.state.pruned, err
	}
	steps := []func(context.Context) error{c.queue, c.asides, c.names}
	if c.walk.Opened() { // there is a checkpoint, and it is the log's own
		if !c.stateless {
			steps = append(steps, c.unpublished, c.belowMark, c.stubs, c.heads)
		}
		steps = append(steps, c.openings, c.people)
	}
	for _, step := range steps {
		if err := step(ctx); err != nil {
			c.report.Verdict = auditlog.Worst(c.report.Verdict, auditlog.Incomplete)
			return c.report, c.state.pruned, err
		}
	}
	return c.report, c.state.pruned, nil
}

// comparison is the database against the published log.
type comparison struct {
	trail     *Trail
	report    StoreReport
	ev        *evidence
	walk      auditlog.Walk
	state     state
	size      int64 // entries that the database has
	stateless bool  // the state row is damaged, and nothing is compared with it
	sound     bool  // every row of an entry is what it must be, so that their tree is
	tree      merkle.Builder
	page      []storedRow // rows read ahead
	next      int64       // index after the page
	marks     []headMark
	back      bool        // a bundle that went with retention is in the folder
	before    foundBefore // those that were compared last
}

func (c *comparison) fault(v auditlog.Verdict, index int64, event, table, what string) {
	c.report.add(auditlog.Fault{Verdict: v, Index: index, Event: event, File: table, What: what})
}

const eventsTable = "crmguard_audit_events"

// storedRow is an entry with all that the database says about it.
type storedRow struct {
	entryRow
	stub    sql.NullInt64 // where its event's row says that it is
	emptied sql.NullBool  // that row has no body
	log     sql.NullInt64
	found   [7]sql.NullInt64 // as its columns are
	persons []personIndex
}

type personIndex struct{ k, at int64 }

// at returns the row of an index; rows are asked for in order.
func (c *comparison) at(ctx context.Context, index int64) (*storedRow, error) {
	if index >= c.next {
		if err := c.read(ctx, index); err != nil {
			return nil, err
		}
	}
	for len(c.page) > 0 && c.page[0].idx < index {
		c.page = c.page[1:]
	}
	if len(c.page) == 0 || c.page[0].idx != index {
		return nil, nil
	}
	return &c.page[0], nil
}

func (c *comparison) read(ctx context.Context, index int64) error {
	t := c.trail
	c.page, c.next = nil, index+batch
	by := make(map[int64]int)
	err := t.query(ctx, t.db, func(rows answer) error {
		var r storedRow
		f := &r.found
		err := rows.Scan(&r.idx, &r.id, &r.leaf, &r.at, &r.filed, &r.stub, &r.emptied, &r.log, &f[0], &f[1], &f[2], &f[3], &f[4], &f[5], &f[6])
		by[r.idx] = len(c.page)
		c.page = append(c.page, r)
		return err
	}, `SELECT e.idx, `+upTo(mostID, "e.id")+`, `+upTo(auditlog.MaxLeaf, "e.leaf")+`, e.at, e.filed, v.idx, v.body IS NULL, v.log, f.idx, f.at, f.tenant_k, f.actor_k, f.object_k, f.action_k, f.outcome_k
FROM crmguard_audit_entries e LEFT JOIN crmguard_audit_events v ON v.id = e.id LEFT JOIN crmguard_audit_found f ON f.idx = e.idx
WHERE e.idx >= ? AND e.idx < ? ORDER BY e.idx`, index, index+batch)
	if err != nil {
		return err
	}
	return t.query(ctx, t.db, func(rows answer) error {
		var idx int64
		var p personIndex
		err := rows.Scan(&idx, &p.k, &p.at)
		if at, ok := by[idx]; ok {
			c.page[at].persons = append(c.page[at].persons, p)
		}
		return err
	}, `SELECT idx, k, at FROM crmguard_audit_persons WHERE idx >= ? AND idx < ?`, index, index+batch)
}

// published compares each published entry with its row.
func (c *comparison) published(ctx context.Context) func(int64, []byte, *auditlog.Leaf) error {
	c.sound = true
	return func(index int64, raw []byte, leaf *auditlog.Leaf) error {
		c.ev.add(index, leaf)
		if index < c.state.pruned {
			c.back = true
			return c.add(ctx, tlog.RecordHash(raw))
		}
		r, err := c.at(ctx, index)
		switch {
		case err != nil:
			return err
		case r == nil && index >= c.size:
			return nil // the database is behind, which is reported once
		case r == nil:
			c.sound = false
			c.fault(auditlog.Tampered, index, leaf.ID, entriesTable, "the row is gone")
			return nil
		case !bytes.Equal(r.leaf, raw):
			c.sound = false
			c.fault(auditlog.Tampered, index, leaf.ID, entriesTable, "the row does not hold the published entry")
			return nil
		}
		c.report.Rows++
		c.columns(r, leaf)
		return c.grow(ctx, r)
	}
}

// grow compares the tiles of the database with its entries.
func (c *comparison) grow(ctx context.Context, r *storedRow) error {
	return c.add(ctx, tlog.RecordHash(r.leaf))
}

func (c *comparison) add(ctx context.Context, hash tlog.Hash) error {
	return c.tree.Add(hash, func(tile tlog.Tile, data []byte) error { return c.tile(ctx, tile, data) })
}

func (c *comparison) tile(ctx context.Context, tile tlog.Tile, data []byte) error {
	if !c.sound {
		return nil
	}
	var there []byte
	_, err := c.trail.one(ctx, c.trail.db, []any{&there}, `SELECT `+upTo(mostTile, "data")+` FROM crmguard_audit_tiles WHERE level = ? AND n = ?`, tile.L, tile.N)
	if err == nil && !bytes.Equal(there, data) {
		c.fault(auditlog.Tampered, -1, "", "crmguard_audit_tiles", "a tile is not that of the entries: RebuildTiles")
	}
	return err
}

// unpublished compares the rows that are sequenced but not under the published
// checkpoint yet: together they give the root of the database's tree.
func (c *comparison) unpublished(ctx context.Context) error {
	s := c.state
	size := c.report.Log.Size
	if s.N < size {
		c.fault(auditlog.RolledBack, -1, "", stateTable, "the database is behind the published log: call CatchUp")
		return nil
	}
	for index := size; index < s.N; index++ {
		r, err := c.at(ctx, index)
		if err != nil {
			return err
		}
		if r == nil {
			c.fault(auditlog.Tampered, index, "", entriesTable, "the row is gone before it was published")
			return nil
		}
		c.walk.Push(tlog.RecordHash(r.leaf))
		if err := c.grow(ctx, r); err != nil {
			return err
		}
		leaf, err := auditlog.ParseLeaf(r.leaf)
		if err != nil {
			c.fault(auditlog.Tampered, index, "", entriesTable, "the row holds no leaf")
			continue
		}
		c.columns(r, &leaf)
		c.ev.add(-1, &leaf)
	}
	return c.tiles(ctx, s)
}

// tiles compares the tree of the database with its rows and the published root.
func (c *comparison) tiles(ctx context.Context, s state) error {
	if root, ok := c.walk.Root(); ok && c.report.Log.Log == auditlog.OK && root != s.Hash {
		c.fault(auditlog.Tampered, -1, "", stateTable, "the root is not that of the rows")
	}
	if s.N == 0 {
		return nil
	}
	if err := c.tree.Finish(func(tile tlog.Tile, data []byte) error { return c.tile(ctx, tile, data) }); err != nil {
		return err
	}
	root, err := tlog.TreeHash(c.report.Log.Size, c.trail.rows(c.trail.db).Reader(ctx, s.Tree))
	if err != nil && !errors.Is(err, auditlog.ErrTampered) {
		return err
	}
	if err != nil || (c.report.Log.Size > 0 && root != tlog.Hash(c.report.Log.Root)) {
		c.fault(auditlog.Tampered, -1, "", "crmguard_audit_tiles", "the tree does not hold the published one")
	}
	return nil
}
