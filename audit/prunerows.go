package audit

import (
	"context"
	"errors"
	"fmt"
	"time"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/crmguard/crmguard/audit/internal/c2sp"
	"github.com/crmguard/crmguard/audit/internal/merkle"
	"github.com/crmguard/crmguard/internal/sqldb"
)

// What lies below the mark is taken away in the order in which it is of least use:
// files first, then rows. Each step may be repeated by anyone, and is, by each call:
// what a sequencer that stood still, or a copy that was away, has brought back goes
// with the next one.

// removers refuses sinks that cannot forget.
func (t *Trail) removers() error {
	for _, s := range t.forgetful() {
		if _, ok := s.sink.(Remover); !ok {
			return invalid("prune: %s has no RemoveAll (Remover): what it has would stay", s.name)
		}
	}
	return nil
}

// namedSink is a sink that has to forget.
type namedSink struct {
	name, prefix string
	sink         Sink
}

func (t *Trail) forgetful() []namedSink {
	out := []namedSink{{"Sink", bundlePrefix, t.config.Sink}}
	if t.config.Mirror != nil {
		out = append(out, namedSink{"Mirror", mirroredOpenings, t.config.Mirror})
	}
	for _, c := range t.copies {
		out = append(out, namedSink{c.name, bundlePrefix, c.sink})
	}
	return out
}

const (
	bundlePrefix  = "tile/entries/"
	folderBundles = 1000 // in a folder of the log
)

// clear takes away what lies below the mark. Where a sink fails, the others and the
// rows go all the same.
func (t *Trail) clear(ctx context.Context, r *PruneReport) error {
	s, err := t.state(ctx, t.db)
	if err != nil || s.pruned == 0 {
		return err
	}
	r.Pruned = max(r.Pruned, s.pruned) // another process may have taken more
	var failed []error
	for _, sink := range t.forgetful() {
		if err := dropBundles(ctx, sink, s.pruned/c2sp.TileWidth); err != nil {
			failed = append(failed, fmt.Errorf("%w: %s: %w", errKeeps, sink.name, err))
		}
	}
	n, err := t.clearRows(ctx, s)
	r.Rows += n
	if err != nil {
		failed = append(failed, err)
	}
	return errors.Join(failed...)
}

// prunedSince removes what retention took of the published log while it was made
// anew.
func (t *Trail) prunedSince(ctx context.Context, mark int64) error {
	s, err := t.state(ctx, t.db)
	if err != nil || s.pruned <= mark {
		return err
	}
	return dropBundles(ctx, t.forgetful()[0], s.pruned/c2sp.TileWidth)
}

// dropBundles removes the first n bundles, a folder of a thousand at a time where
// all of it goes.
func dropBundles(ctx context.Context, s namedSink, n int64) error {
	sink := timed{Sink: s.sink, back: func() {}}
	for b := int64(0); b < n; {
		if err := ctx.Err(); err != nil {
			return err
		}
		name := mirrorName(s.prefix, b)
		whole := b%folderBundles == 0 && b > 0 && b+folderBundles <= n
		if whole { // x001/000 is in x001, with all that goes
			name = name[:len(name)-len("/000")]
		}
		err := sink.RemoveAll(ctx, name)
		if err == nil && !whole { // of a pass that ended before it was full
			err = sink.RemoveAll(ctx, name+".p")
		}
		if err != nil {
			return err
		}
		if b++; whole {
			b += folderBundles - 1
		}
	}
	return nil
}

// clearRows deletes the rows below the mark, few at a time: on SQLite a sale waits
// for each time.
func (t *Trail) clearRows(ctx context.Context, s state) (gone int64, err error) {
	for from := int64(0); from < s.pruned; {
		rows, err := t.entryRows(ctx, t.db, from, s.pruned, t.pruning.rows())
		if err != nil {
			return gone, err
		}
		if len(rows) == 0 {
			break
		}
		end := rows[len(rows)-1].idx + 1
		n, err := t.clearPage(ctx, rows, from, end)
		gone += n
		if err != nil {
			return gone, err
		}
		from = end
	}
	return gone, t.clearOrphans(ctx, s.pruned)
}

// clearPage deletes rows of entries, and all that is kept about them: the retry tags
// of stubs, too, which are made of values.
func (t *Trail) clearPage(ctx context.Context, rows []entryRow, from, end int64) (gone int64, err error) {
	ids := make([]any, len(rows))
	for i := range rows {
		ids[i] = rows[i].id
	}
	began := time.Now() // of the lock
	err = t.within(ctx, func(tx HandoverTx) error {
		began = time.Now()
		for rest := ids; len(rest) > 0; {
			n := min(len(rest), rowsAStatement)
			if _, err := t.exec(ctx, tx, `UPDATE crmguard_audit_events SET retry = `+t.noRetry()+` WHERE id IN (`+sqldb.Marks(n)+`) AND idx < ? AND LENGTH(retry) > 0`, append(rest[:n:n], end)...); err != nil {
				return err
			}
			rest = rest[n:]
		}
		for _, table := range prunedTables {
			var err error
			if gone, err = t.exec(ctx, tx, `DELETE FROM `+table+` WHERE idx >= ? AND idx < ?`, from, end); err != nil {
				return err
			}
		}
		return nil
	})
	t.pruning.took(len(rows), time.Since(began))
	return gone, err
}

// prunedTables have rows by entry; the entries themselves come last.
var prunedTables = []string{openingsTable, "crmguard_audit_persons", "crmguard_audit_found", entriesTable}

// clearOrphans deletes what is left of entries that have no row any more.
func (t *Trail) clearOrphans(ctx context.Context, pruned int64) error {
	for _, table := range prunedTables {
		for {
			var first *int64
			if _, err := t.one(ctx, t.db, []any{&first}, `SELECT MIN(idx) FROM `+table+` WHERE idx < ?`, pruned); err != nil {
				return err
			}
			if first == nil {
				break
			}
			end := min(pruned, *first+int64(t.pruning.rows()))
			if err := t.within(ctx, func(tx HandoverTx) error {
				_, err := t.exec(ctx, tx, `DELETE FROM `+table+` WHERE idx >= ? AND idx < ?`, *first, end)
				return err
			}); err != nil {
				return err
			}
		}
	}
	return nil
}

// prunedHashes are those of the entries that went with retention.
type prunedHashes struct {
	below int64
	of    func(n int64) ([]tlog.Hash, error) // of a bundle
}

// gone are the hashes of entries below the mark, where published is a tree that the
// published log has.
func (t *Trail) gone(ctx context.Context, below int64, published tlog.Tree) prunedHashes {
	var reader tlog.HashReader
	if published.N >= below {
		reader = merkle.Source(merkle.Files(t.config.Sink.ReadFile).Hashes).Reader(ctx, published)
	}
	return prunedHashes{below, func(n int64) ([]tlog.Hash, error) { return t.bundleHashes(ctx, reader, n) }}
}

// each hands out what a tree of a size has of them, a bundle at a time.
func (p prunedHashes) each(size int64, do func(first int64, hashes []tlog.Hash) error) error {
	for n := int64(0); n*c2sp.TileWidth < min(p.below, size); n++ {
		hashes, err := p.of(n)
		if err == nil {
			err = do(n*c2sp.TileWidth, hashes[:min(int64(len(hashes)), size-n*c2sp.TileWidth)])
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// bundleHashes are the hashes of the entries of a bundle that went with retention:
// the published log proves them to its head, and otherwise the tile of the database
// has them, which the root of the whole tree proves or does not.
func (t *Trail) bundleHashes(ctx context.Context, published tlog.HashReader, n int64) ([]tlog.Hash, error) {
	indexes := make([]int64, c2sp.TileWidth)
	for i := range indexes {
		indexes[i] = tlog.StoredHashIndex(0, n*c2sp.TileWidth+int64(i))
	}
	if published != nil {
		if hashes, err := published.ReadHashes(indexes); err == nil || ctx.Err() != nil {
			return hashes, err
		}
	}
	data, err := t.rows(t.db)(ctx, c2sp.Tile(0, n, c2sp.TileWidth))
	if err != nil {
		return nil, fmt.Errorf("the hashes of pruned entries: %w", err)
	}
	out := make([]tlog.Hash, c2sp.TileWidth)
	for i := range out {
		out[i] = tlog.Hash(data[i*tlog.HashSize:])
	}
	return out, nil
}
