package audit

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/crmguard/crmguard/audit/auditlog"
	"github.com/crmguard/crmguard/audit/internal/merkle"
)

// Result is what one pass of the sequencer did.
type Result struct {
	Sequenced int       // events that got their place in the log
	Captured  int       // captured rows that did, behind them (Config.Captured)
	Refused   []Refused // queued rows without a valid tag
	Aside     int       // how many were set aside; the others were so before, wait for a key, and were looked at again
	Beat      bool      // a beat was added
	Size      int64     // entries in the log
	Published int64     // entries under the newest published checkpoint

	ahead  *findAhead // what the entries of this pass are found by
	partly tellers    // what its events have told of in part
	more   bool       // it met so many rows that may not enter that it went no further
}

// Refused is a queued row that the sequencer did not let into the log: it was
// changed or inserted by someone without the key of the tags.
type Refused struct {
	Event string // its id column, as found
	What  string // why
}

// RunOnce gives every event that waits its place in the log and publishes it; what
// is recorded while it runs may be left to the next pass. It
// may run in several processes at once; each event gets one place. A pass that
// was interrupted anywhere is completed by the next.
func (t *Trail) RunOnce(ctx context.Context) (r Result, err error) {
	if err := t.ready(); err != nil {
		return r, err
	}
	end := t.passes.Begins(t.now())
	r.ahead = &findAhead{}
	defer func() {
		end()
		r.ahead, r.partly = nil, nil
		t.report(ctx, r)
		t.passes.Took(err, t.now())
	}()
	t.tickets.sweep(t.config.Now(), t.prepared())
	v, err := t.look(ctx, t.keptDue())
	if err != nil {
		return r, err
	}
	if t.writeGaps(ctx) != nil { // they stay counted
		t.observe(ctx, "audit.gap.failed", 1)
	}
	if t.writeDecisions(ctx, t.config.Now(), 0) != nil {
		t.observe(ctx, "audit.decisions.failed", 1)
	}
	if err := t.announceKey(ctx); err != nil {
		return r, err
	}
	back, err := t.comeBack(ctx, &r)
	if err == nil && back > 0 {
		v, err = t.look(ctx, false) // the state says from where on the queue is read
	}
	if err != nil {
		return r, err
	}
	beatErr := t.drain(ctx, v.state, v.head, &r)
	if beatErr != nil && !errors.Is(beatErr, ErrHead) {
		return r, beatErr
	}
	_, capturedErr := t.fileCaptured(ctx, v.head, nil, &r)
	if capturedErr != nil { // said when all that concerns events is done
		t.observe(ctx, "audit.captured.failed", 1)
	}
	if err := t.publish(ctx, &r); err != nil {
		return r, err
	}
	if err := t.findAll(ctx, findAPass, r.ahead); err != nil {
		return r, err
	}
	// What fails from here on keeps nothing else from being done, and is said last.
	resumeErr, sweepErr := t.resume(ctx), t.sweep(ctx)
	t.mirrorRest(ctx)
	t.copyAll(ctx)
	return r, cmp.Or(beatErr, capturedErr, resumeErr, sweepErr)
}

// findAPass bounds how many entries a pass files query keys of, so that a sequencer
// which has much to catch up with goes on signing.
const findAPass = 20_000

func (t *Trail) report(ctx context.Context, r Result) {
	t.observe(ctx, "audit.sequenced", float64(r.Sequenced))
	t.observe(ctx, "audit.refused", float64(len(r.Refused)))
	t.observe(ctx, "audit.published", float64(r.Published))
}

// drain walks the queue once, up to what waits when it begins.
func (t *Trail) drain(ctx context.Context, s state, head tlog.Tree, r *Result) error {
	keys := newPassKeys()
	defer keys.wipe()
	m, cursor, err := t.from(ctx, s)
	if err != nil {
		return err
	}
	last, err := t.lastWaiting(ctx)
	if err != nil {
		return err
	}
	t.sales.upTo(last)
	var beatErr error
	budget, unpublished := refusals{rows: refusedAPass, bytes: refusedBytesAPass}, 0
	for {
		limit := t.filing.rows()
		rows, more, err := t.queued(ctx, cursor, limit)
		if err != nil {
			return err
		}
		good, refused, err := t.verify(ctx, rows, keys)
		if err != nil {
			return err
		}
		if err := t.refuse(ctx, refused, &budget, r); err != nil {
			return err
		}
		if len(rows) > 0 {
			cursor = rows[len(rows)-1].seq
			m.last = max(m.last, cursor)
		}
		due := !r.Beat && beatErr == nil && t.beatDue(s, len(good)+r.Sequenced)
		if len(good) > 0 || due {
			var b *beat
			if due {
				var heads *auditlog.LeafHeads
				if heads, beatErr = t.heads(ctx); beatErr == nil {
					b = &beat{heads: *heads}
				}
			}
			if err := t.sequence(ctx, head, good, b, &m, keys, r); err != nil {
				return err
			}
		}
		if r.more = more && budget.spent(); !more || r.more || cursor >= last {
			return beatErr
		}
		if unpublished += len(good); unpublished >= t.publishEach {
			if unpublished, err = 0, t.publish(ctx, r); err != nil {
				return err
			}
		}
		if err := t.letSalesIn(ctx); err != nil {
			return err
		}
	}
}

// refusals are what a pass still has to do with rows that may not enter.
type refusals struct{ rows, bytes int }

func (b *refusals) spent() bool { return b.rows <= 0 || b.bytes <= 0 }

// refuse reports rows that may not enter, and moves them away.
func (t *Trail) refuse(ctx context.Context, refused []refusal, budget *refusals, r *Result) error {
	size := 0
	for i := range refused {
		t.refused(ctx, &refused[i], r)
		size += len(refused[i].body)
	}
	n, err := t.setAside(ctx, refused)
	r.Aside += n
	if n > 0 { // whoever holds them locked keeps no pass from what stands behind them
		budget.rows -= n
		budget.bytes -= size
	}
	return err
}

// sequence appends verified rows, and a beat if one is given and still due, in one
// transaction under the lock.
func (t *Trail) sequence(ctx context.Context, head tlog.Tree, rows []checked, b *beat, m *mark, keys *passKeys, r *Result) error {
	var (
		now    = t.now()
		gone   = make(map[int64]bool) // rows that another sequencer took, or that a sale holds
		added  []checked
		own    *auditlog.Leaf // the beat
		drop   *dropping
		partly tellers // behind this page
		tree   tlog.Tree
		next   state
		began  = time.Now() // of the lock
	)
	err := t.advance(ctx, t.memory.recall, func(s state) (state, func(tx HandoverTx) error, error) {
		tree = tlog.Tree{} // of a plan that came to nothing
		if s.N < head.N {
			return s, nil, &BehindError{Database: s.N, Published: head.N}
		}
		g, err := merkle.Grow(ctx, t.rows(t.db), s.Tree)
		if err != nil {
			return s, nil, err
		}
		added = slices.DeleteFunc(slices.Clone(rows), func(c checked) bool { return gone[c.seq] })
		for i := range added {
			if err := g.Append(added[i].hash); err != nil {
				return s, nil, err
			}
		}
		next = s
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
		if m != nil {
			m.move(&next)
		}
		tiles, grown, err := g.Tiles()
		next.Tree, tree = grown, grown
		return next, func(tx HandoverTx) error {
			began = time.Now()
			missing, err := t.taken(ctx, tx, added)
			if err != nil {
				return err
			}
			if len(missing) > 0 { // the plan is another one
				for seq := range missing {
					gone[seq] = true
				}
				return errMoved
			}
			if drop, err = t.became(ctx, tx, added, keys); err != nil {
				return err
			}
			if partly, err = t.told(ctx, tx, added, keys, r.partly); err != nil {
				return err
			}
			if err := t.enter(ctx, tx, added, s.N, now, drop); err != nil {
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
	t.filing.took(len(rows), time.Since(began))
	if m != nil && next.drained > 0 {
		m.seen = next.drained
	}
	if drop != nil {
		t.dropped(ctx, drop)
	}
	if len(added) > 0 {
		r.partly = partly
	}
	r.ahead.addAll(next.N, added, own, now)
	r.Sequenced += len(added)
	r.Beat = r.Beat || own != nil
	return nil
}

// dropped tells what filing found about surrogates.
func (t *Trail) dropped(ctx context.Context, d *dropping) {
	for name, n := range map[string]int{"audit.dropped": len(d.erased), "audit.surrogate.forged": len(d.forged), "audit.surrogate.lost": len(d.absent)} {
		if n > 0 {
			t.observe(ctx, name, float64(n))
		}
	}
}

// beatOn adds a beat at the end of a tree.
func beatOn(g *merkle.Growth, heads auditlog.LeafHeads, now time.Time) (*auditlog.Leaf, []byte, error) {
	id, err := NewID()
	if err != nil {
		return nil, nil, err
	}
	leaf := &auditlog.Leaf{ID: id, Kind: auditlog.KindBeat, At: now, Size: g.Size, Heads: heads}
	data, err := auditlog.AppendLeaf(nil, leaf)
	if err != nil {
		return nil, nil, err
	}
	return leaf, data, g.Append(tlog.RecordHash(data))
}

// insertBeat writes the rows of a beat.
func (t *Trail) insertBeat(ctx context.Context, tx HandoverTx, leaf *auditlog.Leaf, data []byte, now time.Time) error {
	id, err := auditlog.ParseID(leaf.ID)
	if err != nil {
		return err
	}
	row := []any{leaf.Size, id[:], data, now.UnixMicro(), now.UnixMicro()}
	if err := t.insertNew(ctx, tx, entriesOf, [][]any{row}); err != nil {
		return err
	}
	return t.stubOf(ctx, tx, id, leaf.Size)
}
