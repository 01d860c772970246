package auditlog

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"slices"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/crmguard/crmguard/audit/internal/c2sp"
	"github.com/crmguard/crmguard/audit/internal/merkle"
)

// walker reads a published log from the first entry to the last, computes
// every hash tile from the entries and compares it with the published one.
type walker struct {
	read       merkle.Files
	head       tlog.Tree
	report     *Report
	kept       *tlog.Tree
	keys       c2sp.Keys
	revoked    revocations
	each       func(index int64, raw []byte, leaf *Leaf) error // nil: no one listens
	hashesOnly bool
	release    func([]byte) // takes back what read returned; may be nil
	merkle.Builder
	lowest hashTile // the newest of level 0
	broken bool     // from here on no hash is known

	skipped  func(first int64, hashes []byte) error // hears of bundles that are not there; nil: no one listens
	absences []absence
	prunedTo int64 // as the newest entry of kind prune says
}

func (w *walker) run(ctx context.Context) error {
	ahead := w.readAhead()
	defer ahead.stop()
	for !w.broken {
		b, err := ahead.next(ctx)
		if err != nil {
			return err
		}
		if b == nil {
			break
		}
		if err := w.take(ctx, b); err != nil {
			return err
		}
		w.done(b.data)
		ahead.reuse(b)
	}
	if w.broken {
		return nil
	}
	if err := w.Finish(func(tile tlog.Tile, data []byte) error { return w.compare(ctx, tile, data) }); err != nil {
		return err
	}
	if root, ok := w.Edge.Root(); ok && root != w.head.Hash {
		w.fault(Tampered, -1, CheckpointFile, "the entries do not give the signed root")
	}
	return nil
}

// done gives back what was read and is used no more. Who listens may keep it.
func (w *walker) done(data []byte) {
	if w.release != nil && w.each == nil && data != nil {
		w.release(data)
	}
}

func (w *walker) fault(v Verdict, index int64, file, what string) {
	w.report.add(Fault{Verdict: v, Index: index, File: file, What: what})
}

// fetch reads a published hash tile.
func (w *walker) fetch(ctx context.Context, tile tlog.Tile) (out hashTile) {
	out.data, out.name, out.err = w.read.Tile(ctx, tile)
	return out
}

// load reads a bundle and the tile of its hashes.
func (w *walker) load(ctx context.Context, b *bundle, n int64) {
	b.n, b.width = n, int(min(c2sp.TileWidth, w.head.N-n*c2sp.TileWidth))
	tile := c2sp.Tile(-1, n, b.width)
	b.data, b.name, b.err = w.read.Tile(ctx, tile)
	tile.L = 0
	b.tile = w.fetch(ctx, tile)
}

// take takes up a bundle that was checked, after all those before it.
func (w *walker) take(ctx context.Context, b *bundle) error {
	if b.differs {
		if err := w.settle(ctx, b); err != nil {
			return err
		}
	}
	w.done(w.lowest.data)
	w.lowest = b.tile
	if b.err != nil {
		if !w.absent(b) {
			w.fault(Incomplete, b.n*c2sp.TileWidth, b.name, "the entries cannot be read")
		}
		if b.tile.hashes(b.width) == nil {
			w.broken = true
			w.fault(Incomplete, b.n*c2sp.TileWidth, c2sp.TilePath(c2sp.Tile(0, b.n, b.width)), "neither entries nor their hashes can be read; the rest was not checked")
			return nil
		}
		if w.skipped != nil {
			if err := w.skipped(b.n*c2sp.TileWidth, b.tile.hashes(b.width)); err != nil {
				return err
			}
		}
	}
	verified := w.report.Verified
	for i := range b.found {
		f := &b.found[i]
		w.report.Verified = verified + f.index - b.n*c2sp.TileWidth + 1
		if err := w.tell(f, b.name); err != nil {
			return err
		}
	}
	w.report.Verified, w.report.Parsed = verified+int64(b.read), w.report.Parsed+int64(b.parsed)
	if err := w.push(ctx, b); err != nil {
		return err
	}
	if len(b.hashes) < b.width*tlog.HashSize {
		w.broken = true
		return nil
	}
	if b.rest != 0 && b.name == c2sp.TilePath(c2sp.Tile(-1, b.n, b.width)) {
		w.fault(Tampered, -1, b.name, "bytes after the last entry")
	}
	return nil
}

// tell puts into the report what was found at an entry, and hands the entry on.
func (w *walker) tell(f *finding, file string) error {
	if f.key != nil {
		w.keyChange(*f.key)
	}
	if f.beat {
		w.report.Beats++
	}
	if f.prunes {
		w.prunedTo = f.prunedTo
	}
	switch f.what {
	case "":
	case undecided:
		w.fault(Tampered, -1, file, f.what)
	default:
		w.fault(Tampered, f.index, file, f.what)
	}
	if w.each != nil && f.raw != nil {
		return w.each(f.index, f.raw, f.leaf)
	}
	return nil
}

// push adds the hashes of a bundle to the tree and compares each tile that they
// complete.
func (w *walker) push(ctx context.Context, b *bundle) error {
	w.meet(b.hashes)
	compare := func(tile tlog.Tile, data []byte) error { return w.compare(ctx, tile, data) }
	if len(b.hashes) == c2sp.TileWidth*tlog.HashSize {
		return w.AddTile(b.hashes, b.root, compare)
	}
	for hash := range slices.Chunk(b.hashes, tlog.HashSize) {
		if err := w.Add(tlog.Hash(hash), compare); err != nil {
			return err
		}
	}
	return nil
}

// meet compares with the kept checkpoint, where the tree has its size after some of
// the next hashes.
func (w *walker) meet(hashes []byte) {
	if w.kept == nil {
		return
	}
	more := w.kept.N - w.Edge.Size()
	if more < 1 || more > int64(len(hashes)/tlog.HashSize) {
		return
	}
	edge := slices.Clone(w.Edge)
	for hash := range slices.Chunk(hashes[:more*tlog.HashSize], tlog.HashSize) {
		edge.Push(tlog.Hash(hash))
	}
	w.report.Kept = OK
	if root, _ := edge.Root(); root != w.kept.Hash {
		w.report.Kept = Forked
	}
}

// compare compares a published hash tile with the computed one. Those of level 0
// were read together with their entries.
func (w *walker) compare(ctx context.Context, tile tlog.Tile, want []byte) error {
	got := w.lowest
	if tile.L > 0 {
		got = w.fetch(ctx, tile)
		defer w.done(got.data)
	}
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case errors.Is(got.err, fs.ErrNotExist):
		w.fault(Incomplete, -1, got.name, "the hash tile is missing")
	case got.err != nil:
		w.fault(Incomplete, -1, got.name, "the hash tile cannot be read")
	case len(got.data) < len(want) || !bytes.Equal(got.data[:len(want)], want) || (got.name == c2sp.TilePath(tile) && len(got.data) != len(want)):
		w.fault(Tampered, -1, got.name, "the hash tile does not match the entries")
	}
	return nil
}
