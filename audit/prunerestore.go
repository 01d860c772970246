package audit

import (
	"context"
	"errors"
	"fmt"
	"io/fs"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/crmguard/crmguard/audit/auditlog"
	"github.com/crmguard/crmguard/audit/internal/c2sp"
	"github.com/crmguard/crmguard/audit/internal/merkle"
)

// A backup from before a prune has what went with it, and may lack entries that the
// published log does not have any more. What it has goes again; over what neither has
// the tree is brought by its hashes alone.

// toldLog is what published entries say of retention.
type toldLog struct {
	to     int64 // as the newest says
	rules  []openingRule
	behind bool // the database lacks them
}

// toldInLog is what the published entries from one to another, of size, say of
// retention: each is proved. Bundles that are not there are passed by.
func (t *Trail) toldInLog(ctx context.Context, read merkle.Files, reader tlog.HashReader, from, until, size int64) (told toldLog, err error) {
	for n := from / c2sp.TileWidth; n*c2sp.TileWidth < until; n++ {
		data, name, err := read.Tile(ctx, c2sp.Tile(-1, n, int(min(c2sp.TileWidth, size-n*c2sp.TileWidth))))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return told, fmt.Errorf("%s: %w", name, err)
		}
		if !mayPrune(data) {
			continue
		}
		for index := n * c2sp.TileWidth; index < min(until, (n+1)*c2sp.TileWidth); index++ {
			var raw []byte
			if raw, data, err = c2sp.ReadEntry(data); err != nil {
				return told, malformed("entries: " + name + " ends too early")
			}
			if !mayPrune(raw) {
				continue
			}
			hash, err := hashAt(reader, index)
			if err != nil {
				return told, err
			}
			leaf, err := auditlog.ParseLeaf(raw)
			if err != nil || hash != tlog.RecordHash(raw) {
				return told, fmt.Errorf("%w: published entry %d", auditlog.ErrTampered, index)
			}
			if to, ok := prunedTo(index, raw); ok {
				told.to = to
			}
			if rule, ok := ruleOf(index, &leaf); ok {
				told.rules = append(told.rules, rule)
			}
		}
	}
	return told, nil
}

// over brings a database over entries that it lacks and that are gone with retention: by
// their hashes, which the signed root proves. What waits and is one of them gets its
// place; the stubs of all others nobody can bring back.
func (t *Trail) over(ctx context.Context, reader tlog.HashReader, s state, to int64) (state, error) {
	if s.N >= to {
		return s, nil
	}
	leaf, err := t.ownLeaf(ctx, auditlog.KindRecover, t.config.Tenant, "audit.recover")
	if err != nil {
		return s, err
	}
	leaf.Object, leaf.Reason = auditlog.Object(recovered(s.N, to)), retention
	recovery, err := t.own(ctx, leaf)
	if err != nil {
		return s, err
	}
	waiting, err := t.waitingHashes(ctx)
	if err != nil {
		return s, err
	}
	for s.N < to {
		if err := t.overStep(ctx, reader, s.N, min(to, s.N+batch), waiting, recovery); err != nil {
			return s, err
		}
		recovery = nil
		if s, err = t.state(ctx, t.db); err != nil {
			return s, err
		}
	}
	return s, nil
}

// overStep brings it over entries from one to another.
func (t *Trail) overStep(ctx context.Context, reader tlog.HashReader, from, to int64, waiting map[tlog.Hash]int64, recovery *queuedRow) error {
	indexes := make([]int64, 0, to-from)
	for i := from; i < to; i++ {
		indexes = append(indexes, tlog.StoredHashIndex(0, i))
	}
	hashes, err := reader.ReadHashes(indexes)
	if err != nil {
		return err
	}
	return t.advance(ctx, olderOne, func(s state) (state, func(tx HandoverTx) error, error) {
		if s.N != from {
			return s, nil, nil // another process is catching up too
		}
		g, err := merkle.Grow(ctx, t.rows(t.db), s.Tree)
		if err != nil {
			return s, nil, err
		}
		for _, h := range hashes {
			if err := g.Append(h); err != nil {
				return s, nil, err
			}
		}
		tiles, tree, err := g.Tiles()
		next := s
		next.Tree, next.published, next.drained = tree, to, 0
		next.pruned, next.found = to, max(s.found, to)
		return next, func(tx HandoverTx) error {
			for i, h := range hashes {
				seq, waits := waiting[h]
				if !waits {
					continue
				}
				if _, err := t.exec(ctx, tx, `UPDATE crmguard_audit_events SET idx = ?, `+t.emptied()+`, retry = `+t.noRetry()+` WHERE seq = ? AND idx IS NULL`, from+int64(i), seq); err != nil {
					return err
				}
			}
			if err := t.save(ctx, tx, tiles); err != nil || recovery == nil {
				return err
			}
			return t.putRow(ctx, tx, recovery)
		}, err
	})
}

// waitingHashes are the rows that wait, by the hash that their entries would have.
func (t *Trail) waitingHashes(ctx context.Context) (map[tlog.Hash]int64, error) {
	out := make(map[tlog.Hash]int64)
	for after := firstSeq; ; {
		rows, more, err := t.queued(ctx, after, batch)
		if err != nil {
			return nil, err
		}
		for _, w := range rows {
			after = w.seq
			if b, err := auditlog.ParseRowBody(w.body); err == nil {
				out[tlog.RecordHash(b.Leaf)] = w.seq
			}
		}
		if !more {
			return out, nil
		}
	}
}

// leftBelow says whether rows below the mark are there.
func (t *Trail) leftBelow(ctx context.Context, mark int64) (bool, error) {
	if mark == 0 {
		return false, nil
	}
	for _, table := range prunedTables {
		if left, err := t.any(ctx, t.db, `SELECT 1 FROM `+table+` WHERE idx < ?`, mark); err != nil || left {
			return left, err
		}
	}
	return false, nil
}
