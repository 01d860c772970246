package audit

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/crmguard/crmguard/audit/auditlog"
	"github.com/crmguard/crmguard/audit/internal/c2sp"
)

// pruneAction is the action of the entry that tells of retention.
const pruneAction = "audit.prune"

// retention is the reason that it gives.
const retention = "retention"

// PruneReport is what [Trail.Prune] did.
type PruneReport struct {
	Pruned int64  // the first entry that is there now: all before it are gone
	New    int64  // of those, how many went with this call
	Rows   int64  // rows of entries that were deleted: those too that a call before had left behind
	Held   string // tenant whose hold (Config.Hold) ends it, "" where none does
}

// Prune drops the oldest entries of the log, those that were under a signed
// checkpoint before a moment: leaves, openings and indexes in the database, bundles
// of entries in Sink, Copies and Mirror. Hash tiles stay, and so does every proof;
// stubs stay, so that no id is recorded twice ([Trail.Event] says [ErrPruned], a
// late retry is a [ConflictError]). What the log says in them about itself (who was
// erased, or merged, what a restore lost, which key was revoked) it says again. What goes are whole
// bundles of 256 entries.
//
// It needs a kept checkpoint that covers what goes (Config.Kept, else
// [ErrUnanchored]): without one nobody could tell retention from a rewrite. No
// entry of a tenant with a hold (Config.Hold) goes, nor any behind it. Only what the
// tree proves goes: [auditlog.ErrTampered] where an entry was changed. When entries
// were signed the database knows from the tags of signed heads, not from columns
// that others can write; it keeps an hour apart for a month, then a day. The moment
// lies at least Config.RetryFor before now, and the clock is at most a day away
// from that of the newest signature, or it is refused: call [Trail.Beat] where
// nothing happened for so long.
//
// The log tells of it before anything goes, in an entry of kind prune that is
// published first; then the state row has the mark, and from then on everything
// below it counts as gone. Rows are deleted a few at a time, beside which sales go
// on. Where it is stopped, or a sink fails, the next call goes on; a hold that was
// set in between is kept to, by each repair, too. A backup of before is pruned by
// [Trail.CatchUp]. A process without Config.Mirror leaves that to the rounds of those
// which have it.
//
// The role needs the rights of prune-postgres.sql or prune-mysql.sql of
// sqltrail.Grants. A sink that is no [Remover] is refused.
func (t *Trail) Prune(ctx context.Context, before time.Time) (r PruneReport, err error) {
	if err := t.ready(); err != nil {
		return r, err
	}
	for range swaps { // as often as another process prunes meanwhile
		if err = t.prune(ctx, before, &r); !errors.Is(err, errMoved) {
			break
		}
	}
	if err != nil {
		return r, fmt.Errorf("audit: prune: %w", err)
	}
	return r, nil
}

func (t *Trail) prune(ctx context.Context, before time.Time, r *PruneReport) error {
	if err := cmp.Or(t.removers(), t.longAgo(before)); err != nil {
		return err
	}
	kept, err := t.keptTree(ctx)
	if err != nil {
		return err
	}
	old, err := t.signedBefore(ctx, before) // before a pass signs something under this clock
	if err == nil {
		err = t.passed(ctx) // what a call before told is filed now
	}
	if err != nil {
		return err
	}
	v, err := t.look(ctx, true)
	if err != nil {
		return err
	}
	r.Pruned = v.state.pruned
	told, err := t.lastTold(ctx, v.state)
	if err != nil {
		return err
	}
	if err := t.clockAgrees(old, max(told, v.state.pruned)); err != nil {
		return err
	}
	goal := min(max(told, old.size), kept.N, v.head.N) / c2sp.TileWidth * c2sp.TileWidth
	span, err := t.unheld(ctx, v.state, goal)
	if err != nil {
		return err
	}
	r.Held = span.held
	if span.to != told && (span.to > v.state.pruned || told > v.state.pruned) {
		if err := t.tell(ctx, span); err != nil {
			return err
		}
	}
	if err := t.markPruned(ctx, span.to, t.memory.recall); err != nil {
		return err
	}
	r.New, r.Pruned = max(0, span.to-v.state.pruned), max(span.to, v.state.pruned)
	return t.clear(ctx, r)
}

// longAgo refuses a moment that is too young: a retry could still come.
func (t *Trail) longAgo(before time.Time) error {
	if apart := cmp.Or(t.config.RetryFor, retryKept); before.After(t.now().Add(-apart)) {
		return invalid("prune: entries younger than %s stay: retries of them are still compared", apart)
	}
	return nil
}

// passed makes a pass, which files and publishes what waits. A beat that is left
// out holds up nothing.
func (t *Trail) passed(ctx context.Context) error {
	_, err := t.RunOnce(ctx)
	if errors.Is(err, ErrHead) {
		return nil
	}
	return err
}

// clockDay is how far the clock may be from the newest signature.
const clockDay = 24 * time.Hour

// signedPart is what was under signed checkpoints before a moment.
type signedPart struct {
	size   int64
	newest int64 // when the newest of all was signed, microseconds
}

// signedBefore is how many entries were under a signed checkpoint before a moment,
// and all before them, too. Heads whose tags are wrong say nothing, and taking heads
// away makes it no more.
func (t *Trail) signedBefore(ctx context.Context, before time.Time) (out signedPart, err error) {
	limit := before.UnixMicro()
	for last, younger := int64(-1), false; ; {
		page, err := t.headRows(ctx, t.db, last)
		if err != nil {
			return out, err
		}
		for i := range page {
			h := &page[i]
			last = h.tree.N
			right, err := t.headTagged(ctx, h)
			if err != nil {
				return out, err
			}
			if !right {
				continue
			}
			out.newest = h.at
			if younger = younger || h.at >= limit; !younger {
				out.size = h.tree.N
			}
		}
		if len(page) == 0 {
			return out, nil
		}
	}
}

// clockAgrees refuses to take more than known under a clock that is far from that of
// the newest signature.
func (t *Trail) clockAgrees(old signedPart, known int64) error {
	now, newest := t.now(), time.UnixMicro(old.newest)
	if old.size > known && (now.Sub(newest) > clockDay || newest.Sub(now) > clockAhead) {
		return invalid("prune: the clock of this process is more than a day ahead of the newest signature, or behind it: is it right? Then call Beat first")
	}
	return nil
}

// span is what may go: entries up to one, and what the log says in them about itself.
type span struct {
	to   int64
	held string
	again
}

// unheld reads all that is to go, as the tree proves it, up to the first bundle that
// has an entry of a tenant with a hold.
func (t *Trail) unheld(ctx context.Context, s state, goal int64) (span, error) {
	out := span{to: s.pruned}
	reader := t.rows(t.db).Reader(ctx, s.Tree)
	free := make(map[string]bool) // tenants without a hold
	for n := s.pruned / c2sp.TileWidth; n*c2sp.TileWidth < goal; n++ {
		data, err := t.bundle(ctx, c2sp.Tile(-1, n, c2sp.TileWidth), reader)
		if err != nil {
			return out, t.unlessPruned(ctx, s, err, errMoved)
		}
		leaves := make([]auditlog.Leaf, 0, c2sp.TileWidth)
		for len(data) > 0 {
			var raw []byte
			if raw, data, err = c2sp.ReadEntry(data); err != nil {
				return out, err
			}
			leaf, err := auditlog.ParseLeaf(raw)
			if err != nil {
				return out, err
			}
			leaves = append(leaves, leaf)
		}
		for i := range leaves {
			if out.held, err = t.held(ctx, leaves[i].Tenant, free); err != nil || out.held != "" {
				return out, err
			}
		}
		for i := range leaves {
			out.take(&leaves[i])
		}
		out.to = (n + 1) * c2sp.TileWidth
	}
	return out, nil
}

// held is the tenant if it has a hold.
func (t *Trail) held(ctx context.Context, tenant string, free map[string]bool) (string, error) {
	if tenant == "" || t.config.Hold == nil || free[tenant] {
		return "", nil
	}
	until, err := t.config.Hold(ctx, tenant)
	switch {
	case err != nil:
		return "", fmt.Errorf("hold: %w", err)
	case until.After(t.now()):
		return tenant, nil
	}
	free[tenant] = true
	return "", nil
}

// tell records what is to go, and returns when that is published. What the log says
// in it about itself it says again before.
func (t *Trail) tell(ctx context.Context, s span) error {
	leaf, err := t.ownLeaf(ctx, auditlog.KindPrune, t.config.Tenant, pruneAction)
	if err != nil {
		return err
	}
	leaf.Object, leaf.Reason = auditlog.PruneObject(auditlog.PruneEntries, s.to), retention
	leaves, err := t.sayAgain(&s.again, leaf.ID)
	if err != nil {
		return err
	}
	return t.tellAll(ctx, append(leaves, leaf))
}

// tellAll records leaves of the trail's own, the last of them when all others are
// there, and returns when they are published.
func (t *Trail) tellAll(ctx context.Context, leaves []*auditlog.Leaf) error {
	for _, leaf := range leaves {
		row, err := t.own(ctx, leaf)
		if err == nil {
			err = t.within(ctx, func(tx HandoverTx) error { return t.putRow(ctx, tx, row) })
		}
		if err != nil {
			return err
		}
	}
	for pause := 10 * time.Millisecond; ; pause *= 2 { // another process may have them in hand
		if err := t.passed(ctx); err != nil {
			return err
		}
		err := t.publishedAll(ctx, leaves)
		if !errors.Is(err, ErrNotPublished) || pause > time.Second {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(pause):
		}
	}
}

// publishedAll says whether leaves are under the published checkpoint.
func (t *Trail) publishedAll(ctx context.Context, leaves []*auditlog.Leaf) error {
	head, err := t.head(ctx)
	if err != nil {
		return err
	}
	for _, leaf := range leaves {
		id, err := auditlog.ParseID(leaf.ID)
		if err != nil {
			return err
		}
		var index int64
		found, err := t.one(ctx, t.db, []any{&index}, `SELECT idx FROM crmguard_audit_events WHERE id = ? AND idx IS NOT NULL`, id[:])
		if err != nil {
			return err
		}
		if !found || index < 0 || index >= head.N {
			return fmt.Errorf("%w: an entry that tells of it: call it again", ErrNotPublished)
		}
	}
	return nil
}

// markPruned moves the mark, never back. From then on all below it is gone, whether
// its rows are there or not.
func (t *Trail) markPruned(ctx context.Context, to int64, known func() tlog.Tree) error {
	return t.advance(ctx, known, func(s state) (state, func(tx HandoverTx) error, error) {
		if s.pruned >= to {
			return s, nil, nil
		}
		if to > s.N {
			return s, nil, fmt.Errorf("%w: retention goes beyond the log", auditlog.ErrTampered)
		}
		s.pruned, s.found = to, max(s.found, to) // what nothing finds yet below it nothing has to find
		return s, func(HandoverTx) error { return nil }, nil
	})
}

// mayPrune says whether a leaf may be of kind prune, before it is parsed.
func mayPrune(raw []byte) bool { return bytes.Contains(raw, []byte(`"`+auditlog.KindPrune+`"`)) }

// hashAt is the hash of an entry, as the tree proves it.
func hashAt(reader tlog.HashReader, index int64) (tlog.Hash, error) {
	hashes, err := reader.ReadHashes([]int64{tlog.StoredHashIndex(0, index)})
	if err != nil {
		return tlog.Hash{}, err
	}
	return hashes[0], nil
}
