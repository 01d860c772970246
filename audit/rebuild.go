package audit

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"sync"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/crmguard/crmguard/audit/auditlog"
	"github.com/crmguard/crmguard/audit/internal/merkle"
	"github.com/crmguard/crmguard/internal/sqldb"
)

// RebuildTiles computes the tree of the database anew from its entries, and
// writes the rows of tiles that are gone or damaged. A state row that is gone,
// changed or an older one is made anew before it, of the newest checkpoint that the
// entries continue; entries that no checkpoint proves then are an error, for the
// lost row alone vouched for them.
//
// It needs a kept checkpoint (Config.Kept, else [ErrUnanchored]), and proves
// before it writes that the entries give the root of the database's state, and
// continue what was kept and what is published: auditlog.ErrRolledBack, ErrBehind and
// auditlog.ErrForked as for [Trail.Republish], auditlog.ErrTampered where an entry itself was
// changed or is gone, which the tiles cannot bring back: restore the database
// and call [Trail.CatchUp]. It reads every entry twice. Whatever is written
// leaves an event audit.rebuild. It can be interrupted and repeated.
func (t *Trail) RebuildTiles(ctx context.Context) (r Repair, err error) {
	if err := t.ready(); err != nil {
		return r, err
	}
	record := sync.OnceValue(func() error { return t.recordRepair(ctx, "audit.rebuild", &r) })
	for range swaps {
		if err = t.rebuild(ctx, &r, record); !errors.Is(err, errGrown) {
			break
		}
	}
	if err != nil {
		return r, fmt.Errorf("audit: rebuild tiles: %w", err)
	}
	return r, nil
}

// errGrown says that entries were sequenced while the tree was computed, so
// that its right edge is another one.
var errGrown = errors.New("the log grew meanwhile, again and again: stop the sequencers")

func (t *Trail) rebuild(ctx context.Context, r *Repair, record func() error) error {
	seen := t.memory.recall()
	kept, err := t.keptTree(ctx)
	if err != nil {
		return err
	}
	_, head, _, err := t.standing(ctx)
	if err != nil {
		return err
	}
	s, err := t.state(ctx, t.db)
	proven := largest(kept, head, seen)
	lost, errLost := t.lost(ctx, s, err, proven)
	if errLost != nil {
		return errLost
	}
	if lost {
		r.Kept, r.Size = kept.N, proven.N
		if s, err = t.stateBack(ctx, proven, []tlog.Tree{kept, head, seen}, record); err == nil {
			r.Written++
		}
	}
	if err != nil {
		return err
	}
	r.Kept, r.Size, r.Checked = kept.N, s.N, 0
	if err := s.notRewound(kept, head, seen); err != nil {
		return err
	}
	roots := map[int64]tlog.Hash{kept.N: {}, head.N: {}, seen.N: {}, s.N: {}}
	nothing := func(tlog.Tile, []byte) error { return nil }
	if err := t.regrow(ctx, s.N, roots, nothing, nothing); err != nil {
		return err
	}
	if roots[s.N] != s.Hash {
		return fmt.Errorf("%w: the entries of the database do not give the root of its state", auditlog.ErrTampered)
	}
	if err := s.proves(kept, head, seen, func(n int64) (tlog.Hash, error) { return roots[n], nil }); err != nil {
		return err
	}
	edge := make(map[tlog.Tile][]byte)
	err = t.regrow(ctx, s.N, nil, func(tile tlog.Tile, data []byte) error {
		return t.mendTile(ctx, tile, data, r, func(row []any) error {
			if err := record(); err != nil {
				return err
			}
			if err := t.within(ctx, func(tx HandoverTx) error { return t.add(ctx, tx, tilesOf, row) }); err != nil {
				return err
			}
			r.Written++
			return nil
		})
	}, func(tile tlog.Tile, data []byte) error {
		edge[tile] = bytes.Clone(data)
		return nil
	})
	if err != nil {
		return err
	}
	return t.mendEdge(ctx, s, edge, r, record)
}

// tilesOf are the rows of tiles, in place of those that are there.
var tilesOf = sqldb.Insert{Table: "crmguard_audit_tiles", Columns: []string{"level", "n", "data"}, Key: []string{"level", "n"}, Replace: true}

// regrow computes the tiles of a tree from the entries of the database, hands
// out the full ones and then those at its edge, and fills in the roots that are
// asked for.
func (t *Trail) regrow(ctx context.Context, size int64, roots map[int64]tlog.Hash, full, edge func(tlog.Tile, []byte) error) error {
	var b merkle.Builder
	for first := int64(0); first < size; first += batch {
		end, next := min(first+batch, size), first
		var hashes []tlog.Hash
		err := t.query(ctx, t.db, func(rows answer) error {
			var (
				index int64
				leaf  []byte
			)
			if err := rows.Scan(&index, &leaf); err != nil {
				return err
			}
			if index != next {
				return nil // a gap: told below
			}
			next++
			hashes = append(hashes, tlog.RecordHash(leaf))
			return nil
		}, `SELECT idx, `+upTo(auditlog.MaxLeaf, "leaf")+` FROM crmguard_audit_entries WHERE idx >= ? AND idx < ? ORDER BY idx`, first, end)
		if err != nil {
			return err
		}
		if next != end {
			return fmt.Errorf("%w: entry %d is gone from the database", auditlog.ErrTampered, next)
		}
		for i, h := range hashes {
			if err := b.Add(h, full); err != nil {
				return err
			}
			if n := first + int64(i) + 1; roots != nil {
				if _, asked := roots[n]; asked {
					roots[n], _ = b.Edge.Root()
				}
			}
		}
	}
	return b.Finish(edge)
}

// mendTile compares a row of tiles with what it must hold, and has it written
// where it does not.
func (t *Trail) mendTile(ctx context.Context, tile tlog.Tile, data []byte, r *Repair, write func(row []any) error) error {
	var there []byte
	if _, err := t.one(ctx, t.db, []any{&there}, `SELECT `+upTo(mostTile, "data")+` FROM crmguard_audit_tiles WHERE level = ? AND n = ?`, tile.L, tile.N); err != nil {
		return err
	}
	r.Checked++
	if bytes.Equal(there, data) {
		return nil
	}
	return write([]any{tile.L, tile.N, data})
}

// mendEdge writes the tiles that are not full under the lock, because sequencers
// write them, too.
func (t *Trail) mendEdge(ctx context.Context, s state, edge map[tlog.Tile][]byte, r *Repair, record func() error) error {
	var wrong [][]any
	for tile, data := range edge {
		if err := t.mendTile(ctx, tile, data, r, func(row []any) error {
			wrong = append(wrong, row)
			return nil
		}); err != nil {
			return err
		}
	}
	if len(wrong) == 0 {
		return nil
	}
	now, err := t.state(ctx, t.db)
	if err == nil && now.Tree != s.Tree {
		err = errGrown // no wonder that they differ
	}
	if err == nil {
		err = record()
	}
	if err != nil {
		return err
	}
	err = t.exclusive(ctx, func(tx HandoverTx) error {
		now, err := t.stored(ctx, tx)
		if err == nil && now.Tree != s.Tree {
			err = errGrown
		}
		if err != nil {
			return err
		}
		return t.add(ctx, tx, tilesOf, wrong...)
	})
	if err == nil {
		r.Written += int64(len(wrong))
	}
	return err
}
