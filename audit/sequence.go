package audit

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/crmguard/crmguard/audit/auditlog"
	"github.com/crmguard/crmguard/audit/internal/merkle"
	"github.com/crmguard/crmguard/internal/sqldb"
)

// Result is what one pass of the sequencer did.
type Result struct {
	Sequenced int       // events that got their place in the log
	Refused   []Refused // queued rows without a valid tag; they stay where they are
	Beat      bool      // a beat was added
	Size      int64     // entries in the log
	Published int64     // entries under the newest published checkpoint
}

// Refused is a queued row that the sequencer did not let into the log: it was
// changed or inserted by someone without the key of the tags.
type Refused struct {
	Event string // its id column, as found
	What  string // why
}

// batch is the most rows that one transaction sequences.
const batch = 1000

// noTag is the tag of a row that has its place: from then on the tag of the state
// row vouches for it. Whoever may write the tables could otherwise take the
// place away, and have the sequencer give it another one.
var noTag = []byte{}

// queued is a row that waits for its place.
type queued struct {
	seq        int64
	id, tenant string
	leaf, tag  []byte
}

// RunOnce gives every queued event its place in the log and publishes it. It
// may run in several processes at once; each event gets one place. A pass that
// was interrupted anywhere is completed by the next.
func (t *Trail) RunOnce(ctx context.Context) (r Result, err error) {
	if err := t.ready(); err != nil {
		return r, err
	}
	defer func() {
		t.report(ctx, r)
		t.passes.took(r, err, t.now())
	}()
	v, err := t.look(ctx, t.keptDue())
	if err != nil {
		return r, err
	}
	if err := t.announceKey(ctx); err != nil {
		return r, err
	}
	beatErr := t.drain(ctx, v.state, v.head, &r)
	if beatErr != nil && !errors.Is(beatErr, ErrHead) {
		return r, beatErr
	}
	if err := t.sweepRetries(ctx); err != nil {
		return r, err
	}
	if err := t.publish(ctx, &r); err != nil {
		return r, err
	}
	t.copyAll(ctx)
	return r, beatErr
}

func (t *Trail) report(ctx context.Context, r Result) {
	t.observe(ctx, "audit.sequenced", float64(r.Sequenced))
	t.observe(ctx, "audit.refused", float64(len(r.Refused)))
	t.observe(ctx, "audit.published", float64(r.Published))
}

// drain walks the queue once. It looks for rows without an index, from the
// lowest on: a mark of the highest one seen would lose rows for ever whose
// transaction committed late.
func (t *Trail) drain(ctx context.Context, s state, head tlog.Tree, r *Result) error {
	var (
		cursor  int64
		beatErr error
	)
	for {
		rows, seen, err := t.waiting(ctx, &cursor, r)
		if err != nil {
			return err
		}
		due := !r.Beat && beatErr == nil && t.beatDue(s, len(rows)+r.Sequenced)
		if len(rows) > 0 || due {
			var b *beat
			if due {
				var heads *auditlog.LeafHeads
				if heads, beatErr = t.heads(ctx); beatErr == nil {
					b = &beat{heads: *heads}
				}
			}
			if err := t.sequence(ctx, head, rows, b, r); err != nil {
				return err
			}
		}
		if seen < batch {
			return beatErr
		}
	}
}

// waiting reads the next queued rows and checks their tags, outside any
// transaction: the key of the tags may need a connection.
func (t *Trail) waiting(ctx context.Context, cursor *int64, r *Result) (good []queued, seen int, err error) {
	var all []queued
	err = t.page(ctx, t.db, func(rows answer) error {
		var q queued
		err := rows.Scan(&q.seq, &q.id, &q.tenant, &q.leaf, &q.tag)
		all = append(all, q)
		return err
	}, sqldb.Page{
		Table: eventsTable, Columns: []string{"seq", "id", "tenant", "leaf", "tag"}, Key: []string{"seq"},
		Where: "idx IS NULL", After: []any{*cursor}, Limit: batch,
	})
	if err != nil {
		return nil, 0, err
	}
	for _, q := range all {
		*cursor = q.seq
		what := t.refusal(ctx, q)
		if err := ctx.Err(); err != nil {
			return nil, 0, err
		}
		if what == "" {
			good = append(good, q)
			continue
		}
		r.Refused = append(r.Refused, Refused{Event: q.id, What: what})
		t.observe(ctx, "audit.refused.row", 1, slog.String("why", what))
	}
	return good, len(all), nil
}

// refusal says why a queued row may not enter the log, "" if it may.
func (t *Trail) refusal(ctx context.Context, q queued) string {
	if t.config.Tag.Verify(ctx, q.tenant, queueData(q.tenant, q.leaf), q.tag) != nil {
		return "no valid tag"
	}
	leaf, err := auditlog.ParseLeaf(q.leaf)
	switch {
	case err != nil:
		return "leaf is malformed"
	case leaf.Kind == auditlog.KindBeat:
		return "beats are never queued"
	case leaf.ID != q.id || leaf.Tenant != q.tenant:
		return "leaf of another row"
	}
	return ""
}

// sequence appends verified rows, and a beat if one is given and still due, in one
// transaction under the lock.
func (t *Trail) sequence(ctx context.Context, head tlog.Tree, rows []queued, b *beat, r *Result) error {
	var (
		now   = t.now()
		gone  = make(map[int64]bool) // rows that another sequencer took, or that were changed since their tags were checked
		added []queued
		own   *auditlog.Leaf // the beat
		tree  tlog.Tree
	)
	err := t.advance(ctx, t.memory.recall, func(s state) (state, func(tx Tx) error, error) {
		tree = tlog.Tree{} // of a plan that came to nothing
		if s.N < head.N {
			return s, nil, &BehindError{Database: s.N, Published: head.N}
		}
		g, err := merkle.Grow(ctx, t.rows(t.db), s.Tree)
		if err != nil {
			return s, nil, err
		}
		added = slices.DeleteFunc(slices.Clone(rows), func(q queued) bool { return gone[q.seq] })
		for _, q := range added {
			if err := g.Append(tlog.RecordHash(q.leaf)); err != nil {
				return s, nil, err
			}
		}
		next, first := s, s.N
		var data []byte
		if own = nil; b != nil && (b.forced || t.beatDue(s, len(added))) {
			if own, data, err = beatOn(g, b.heads, now); err != nil {
				return s, nil, err
			}
			next.beat, next.beatSize = now.UnixMicro(), g.Size
		}
		if g.Size == g.Old {
			return s, nil, nil
		}
		tiles, grown, err := g.Tiles()
		next.Tree, tree = grown, grown
		return next, func(tx Tx) error {
			if err := t.place(ctx, tx, added, first, now, gone); err != nil {
				return err
			}
			if own != nil {
				if err := t.insertBeat(ctx, tx, own, data, now); err != nil {
					return err
				}
			}
			return t.save(ctx, tx, tiles)
		}, err
	})
	if err != nil {
		return fmt.Errorf("audit: sequence: %w", err)
	}
	t.memory.remember(tree, head)
	r.Sequenced += len(added)
	r.Beat = r.Beat || own != nil
	return nil
}

// place gives rows their indexes, from first on. Those that are not what they were
// are gone, and the plan is another one.
func (t *Trail) place(ctx context.Context, tx Tx, rows []queued, first int64, now time.Time, gone map[int64]bool) error {
	whole := true
	for i, q := range rows {
		n, err := t.exec(ctx, tx, `UPDATE crmguard_audit_events SET idx = ?, sequenced = ?, tag = ? WHERE seq = ? AND idx IS NULL AND id = ? AND tenant = ? AND leaf = ?`,
			first+int64(i), now.UnixMicro(), noTag, q.seq, q.id, q.tenant, q.leaf)
		if err != nil {
			return err
		}
		if n == 0 {
			gone[q.seq], whole = true, false
		}
	}
	if !whole {
		return errMoved
	}
	return nil
}

// beatOn adds a beat at the end of a tree.
func beatOn(g *merkle.Growth, heads auditlog.LeafHeads, now time.Time) (*auditlog.Leaf, []byte, error) {
	id, err := NewID()
	if err != nil {
		return nil, nil, err
	}
	leaf := &auditlog.Leaf{ID: id, Kind: auditlog.KindBeat, At: now, Size: g.Size, Heads: heads}
	data, err := encodeLeaf(leaf)
	if err != nil {
		return nil, nil, err
	}
	return leaf, data, g.Append(tlog.RecordHash(data))
}

// insertBeat writes the row of a beat.
func (t *Trail) insertBeat(ctx context.Context, tx Tx, leaf *auditlog.Leaf, data []byte, now time.Time) error {
	_, err := t.exec(ctx, tx, `INSERT INTO crmguard_audit_events (id, tenant, kind, object_kind, object_id, recorded, leaf, tag, idx, sequenced) VALUES (?, '', ?, '', '', ?, ?, ?, ?, ?)`,
		leaf.ID, auditlog.KindBeat, now.UnixMicro(), data, noTag, leaf.Size, now.UnixMicro())
	return err
}
