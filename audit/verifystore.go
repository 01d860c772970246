package audit

import (
	"bytes"
	"context"
	"errors"
	"fmt"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/crmguard/crmguard/audit/auditlog"
)

// VerifyStore verifies the published log as [auditlog.VerifyLog] does, against the kept
// checkpoint (Config.Kept's where none is given), and compares the database with
// it: each row with its entry, the rows that are not published yet with the tree,
// the tags of the state row and of each queued row, and each opening with its
// commitments. Call RunOnce first:
// an erasure that is not published yet makes the report Incomplete.
func (t *Trail) VerifyStore(ctx context.Context, kept []byte) (StoreReport, error) {
	c := &comparison{trail: t, ev: newEvidence(), report: StoreReport{Verdict: auditlog.OK, Openings: make(map[OpeningVerdict]int64)}}
	if err := t.ready(); err != nil {
		c.report.Verdict = auditlog.Incomplete
		return c.report, err
	}
	if kept == nil && t.config.Kept != nil {
		var err error
		if kept, err = t.config.Kept(ctx); err != nil {
			c.report.Verdict = auditlog.Incomplete
			return c.report, fmt.Errorf("audit: kept checkpoint: %w", err)
		}
	}
	s, err := t.state(ctx, t.db)
	if err != nil && !errors.Is(err, auditlog.ErrTampered) {
		c.report.Verdict = auditlog.Incomplete
		return c.report, err
	}
	c.size = s.N
	if err != nil {
		c.fault(auditlog.Tampered, -1, "", stateTable, "the state row is gone or damaged, or not what a sequencer wrote")
	}
	trust := t.trust()
	trust.Kept = kept
	c.walk = auditlog.Walk{Read: t.config.Sink.ReadFile, Trust: trust, Each: c.published(ctx)}
	c.report.Log, err = c.walk.Verify(ctx)
	c.report.Verdict = auditlog.Worst(c.report.Verdict, c.report.Log.Verdict)
	if errors.Is(err, auditlog.ErrInvalid) {
		err = fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	if err != nil {
		c.report.Verdict = auditlog.Worst(c.report.Verdict, auditlog.Incomplete)
		return c.report, err
	}
	steps := []func(context.Context) error{c.queue, c.orphans}
	if c.walk.Opened() { // there is a checkpoint, and it is the log's own
		steps = append(steps, func(ctx context.Context) error { return c.unpublished(ctx, s) }, func(ctx context.Context) error { return c.openings(ctx) })
	}
	for _, step := range steps {
		if err := step(ctx); err != nil {
			c.report.Verdict = auditlog.Worst(c.report.Verdict, auditlog.Incomplete)
			return c.report, err
		}
	}
	return c.report, nil
}

// comparison is the database against the published log.
type comparison struct {
	trail  *Trail
	report StoreReport
	ev     *evidence
	walk   auditlog.Walk
	size   int64 // entries that the database has
	page   []row // rows read ahead
	next   int64 // index after the page
}

type row struct {
	index                         int64
	id, tenant, kind, object, oid string
	leaf                          []byte
}

func (c *comparison) fault(v auditlog.Verdict, index int64, event, table, what string) {
	c.report.add(auditlog.Fault{Verdict: v, Index: index, Event: event, File: table, What: what})
}

const eventsTable = "crmguard_audit_events"

// at returns the row of an index; rows are asked for in order.
func (c *comparison) at(ctx context.Context, index int64) (*row, error) {
	if index >= c.next {
		c.page = c.page[:0]
		err := c.trail.query(ctx, c.trail.db, func(rows answer) error {
			var r row
			err := rows.Scan(&r.index, &r.id, &r.tenant, &r.kind, &r.object, &r.oid, &r.leaf)
			c.page = append(c.page, r)
			return err
		}, `SELECT idx, id, tenant, kind, object_kind, object_id, leaf FROM crmguard_audit_events WHERE idx >= ? AND idx < ? ORDER BY idx`, index, index+batch)
		if err != nil {
			return nil, err
		}
		c.next = index + batch
	}
	for len(c.page) > 0 && c.page[0].index < index {
		c.page = c.page[1:]
	}
	if len(c.page) == 0 || c.page[0].index != index {
		return nil, nil
	}
	return &c.page[0], nil
}

// published compares each published entry with its row.
func (c *comparison) published(ctx context.Context) func(int64, []byte, *auditlog.Leaf) error {
	return func(index int64, raw []byte, leaf *auditlog.Leaf) error {
		c.ev.add(index, leaf)
		r, err := c.at(ctx, index)
		switch {
		case err != nil:
			return err
		case r == nil && index >= c.size:
			return nil // the database is behind, which is reported once
		case r == nil:
			c.fault(auditlog.Tampered, index, leaf.ID, eventsTable, "the row is gone")
			return nil
		case !bytes.Equal(r.leaf, raw):
			c.fault(auditlog.Tampered, index, leaf.ID, eventsTable, "the row does not hold the published entry")
			return nil
		}
		c.report.Rows++
		c.columns(r, leaf)
		return nil
	}
}

func (c *comparison) columns(r *row, leaf *auditlog.Leaf) {
	if r.id != leaf.ID || r.tenant != leaf.Tenant || r.kind != leaf.Kind || r.object != leaf.Object.Kind || r.oid != leaf.Object.ID {
		c.fault(auditlog.Tampered, r.index, leaf.ID, eventsTable, "the columns of the row do not say what its entry says")
	}
}

// unpublished compares the rows that are sequenced but not under the published
// checkpoint yet: together they give the root of the database's tree.
func (c *comparison) unpublished(ctx context.Context, s state) error {
	var extra int64
	if _, err := c.trail.one(ctx, c.trail.db, []any{&extra}, `SELECT COUNT(*) FROM crmguard_audit_events WHERE idx >= ? OR idx < 0`, s.N); err != nil {
		return err
	}
	if extra > 0 {
		c.fault(auditlog.Tampered, s.N, "", eventsTable, "rows have an index beyond the log")
	}
	size := c.report.Log.Size
	if s.N < size {
		c.fault(auditlog.RolledBack, -1, "", "crmguard_audit_state", "the database is behind the published log: call CatchUp")
		return nil
	}
	for index := size; index < s.N; index++ {
		r, err := c.at(ctx, index)
		if err != nil {
			return err
		}
		if r == nil {
			c.fault(auditlog.Tampered, index, "", eventsTable, "the row is gone before it was published")
			return nil
		}
		c.walk.Push(tlog.RecordHash(r.leaf))
		if leaf, err := auditlog.ParseLeaf(r.leaf); err == nil {
			c.columns(r, &leaf)
			c.ev.add(-1, &leaf)
		}
	}
	return c.tiles(ctx, s)
}

// tiles compares the tree of the database with its rows and the published root.
func (c *comparison) tiles(ctx context.Context, s state) error {
	if root, ok := c.walk.Root(); ok && c.report.Log.Log == auditlog.OK && root != s.Hash {
		c.fault(auditlog.Tampered, -1, "", "crmguard_audit_state", "the root is not that of the rows")
	}
	if s.N == 0 {
		return nil
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

// queue checks the tags of the rows that wait.
func (c *comparison) queue(ctx context.Context) error {
	var cursor int64
	for {
		var r Result
		good, seen, err := c.trail.waiting(ctx, &cursor, &r)
		if err != nil {
			return err
		}
		c.report.Waiting += int64(len(good))
		c.report.Refused += int64(len(r.Refused))
		for _, refused := range r.Refused {
			c.fault(auditlog.Tampered, -1, refused.Event, eventsTable, "a queued row: "+refused.What)
		}
		for _, q := range good {
			if leaf, err := auditlog.ParseLeaf(q.leaf); err == nil {
				c.ev.add(-1, &leaf)
			}
		}
		if seen < batch {
			return nil
		}
	}
}

// orphans looks for openings without an event.
func (c *comparison) orphans(ctx context.Context) error {
	return c.trail.query(ctx, c.trail.db, func(rows answer) error {
		var event string
		err := rows.Scan(&event)
		c.fault(auditlog.Tampered, -1, event, "crmguard_audit_openings", "an opening without an event")
		return err
	}, `SELECT event FROM crmguard_audit_openings WHERE NOT EXISTS (SELECT 1 FROM crmguard_audit_events WHERE crmguard_audit_events.id = crmguard_audit_openings.event) ORDER BY event LIMIT ?`, batch)
}

// openings judges the opening of each (event, owner) that the published
// entries commit to.
func (c *comparison) openings(ctx context.Context) error {
	for e, err := range auditlog.EntriesOf(ctx, c.trail.config.Sink.ReadFile, 0, c.report.Log.Size, c.report.Log.Size) {
		if err != nil {
			return ctx.Err() // the walk has reported it
		}
		leaf, err := auditlog.ParseLeaf(e.Leaf)
		if err != nil || len(leaf.Changes) == 0 || e.Index >= c.size {
			continue
		}
		sealed, err := c.trail.sealed(ctx, &leaf)
		if err != nil {
			return err
		}
		for _, owner := range leaf.Owners() {
			j, err := c.trail.judge(ctx, c.ev, e.Index, &leaf, owner, sealed[owner])
			if err != nil {
				return err
			}
			delete(sealed, owner)
			c.count(e.Index, leaf.ID, j)
		}
		if len(sealed) > 0 {
			c.fault(auditlog.Tampered, e.Index, leaf.ID, "crmguard_audit_openings", "an opening of someone whom the event does not name")
		}
	}
	return c.returned(ctx)
}

func (c *comparison) count(index int64, event string, j judged) {
	c.report.Openings[j.verdict]++
	verdict := auditlog.OK
	switch j.verdict {
	case OpeningMissing, OpeningAltered:
		verdict = auditlog.Tampered
	case OpeningReturned:
		verdict = auditlog.RolledBack
	case OpeningPending:
		verdict = auditlog.Incomplete
	case OpeningOK, OpeningErased, OpeningLost:
	}
	if verdict != auditlog.OK {
		c.fault(verdict, index, event, "crmguard_audit_openings", "opening "+string(j.verdict)+": "+j.why)
	}
}

// returned looks for surrogates that an erasure names and that are back.
func (c *comparison) returned(ctx context.Context) error {
	for key, index := range c.ev.erased {
		var n int64
		if _, err := c.trail.one(ctx, c.trail.db, []any{&n}, `SELECT COUNT(*) FROM crmguard_audit_surrogates WHERE tenant = ? AND surrogate = ?`, key[0], key[1]); err != nil {
			return err
		}
		if n > 0 {
			c.fault(auditlog.RolledBack, index, "", "crmguard_audit_surrogates", "an erased surrogate is back: replay the erasures")
		}
	}
	return nil
}

// sealed reads the openings of an event by owner.
func (t *Trail) sealed(ctx context.Context, leaf *auditlog.Leaf) (map[string][]byte, error) {
	out := make(map[string][]byte)
	err := t.query(ctx, t.db, func(rows answer) error {
		var (
			owner, tenant string
			sealed        []byte
		)
		err := rows.Scan(&owner, &tenant, &sealed)
		if tenant == leaf.Tenant {
			out[owner] = sealed
		}
		return err
	}, `SELECT owner, tenant, sealed FROM crmguard_audit_openings WHERE event = ?`, leaf.ID)
	return out, err
}
