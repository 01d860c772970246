package auditlog

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/crmguard/crmguard/audit/internal/c2sp"
	"github.com/crmguard/crmguard/audit/internal/merkle"
)

// walker reads a published log from the first entry to the last, computes
// every hash tile from the entries and compares it with the published one.
type walker struct {
	read   merkle.Files
	head   tlog.Tree
	report *Report
	kept   *tlog.Tree
	each   func(index int64, raw []byte, leaf *Leaf) error // nil: no one listens
	merkle.Builder
	broken bool // from here on no hash is known
}

func (w *walker) run(ctx context.Context) error {
	for n := int64(0); n*c2sp.TileWidth < w.head.N && !w.broken; n++ {
		width := int(min(c2sp.TileWidth, w.head.N-n*c2sp.TileWidth))
		if err := w.bundle(ctx, n, width); err != nil {
			return err
		}
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

func (w *walker) fault(v Verdict, index int64, file, what string) {
	w.report.add(Fault{Verdict: v, Index: index, File: file, What: what})
}

// bundle reads the entries of one bundle; where they are missing or damaged
// the hash tile stands in, so that one hole does not hide the rest.
func (w *walker) bundle(ctx context.Context, n int64, width int) error {
	tile := c2sp.Tile(-1, n, width)
	data, name, err := w.read.Tile(ctx, tile)
	if ctx.Err() != nil {
		return ctx.Err()
	}
	exact, missing := name == c2sp.TilePath(tile), err != nil
	if missing {
		w.fault(Incomplete, n*c2sp.TileWidth, name, "the entries cannot be read")
	}
	tile.L = 0
	hashes, hashErr := w.read.Hashes(ctx, tile)
	if missing && hashErr != nil {
		w.broken = true
		w.fault(Incomplete, n*c2sp.TileWidth, c2sp.TilePath(tile), "neither entries nor their hashes can be read; the rest was not checked")
		return nil
	}
	for i := range width {
		index := n*c2sp.TileWidth + int64(i)
		var known *tlog.Hash
		if hashErr == nil {
			h := tlog.Hash(hashes[i*tlog.HashSize : (i+1)*tlog.HashSize])
			known = &h
		}
		if !missing {
			var raw []byte
			if raw, data, err = c2sp.ReadEntry(data); err != nil {
				w.fault(Tampered, index, name, "the bundle ends too early")
				missing = true
			} else if known, err = w.entry(index, name, raw, known); err != nil {
				return err
			}
		}
		if known == nil {
			w.broken = true
			return nil
		}
		if err := w.push(ctx, *known); err != nil {
			return err
		}
	}
	if !missing && exact && len(data) != 0 {
		w.fault(Tampered, -1, name, "bytes after the last entry")
	}
	return nil
}

// entry checks one entry and returns the hash to go on with: the tile's, where
// they differ, so that the root tells which of them was changed.
func (w *walker) entry(index int64, file string, raw []byte, known *tlog.Hash) (*tlog.Hash, error) {
	h := tlog.RecordHash(raw)
	w.report.Verified++
	if known != nil && *known != h {
		w.fault(Tampered, index, file, "the entry does not match its hash")
		return known, nil
	}
	leaf, err := ParseLeaf(raw)
	if err != nil {
		w.fault(Tampered, index, file, "the entry is no leaf: "+err.Error())
		return &h, nil
	}
	w.keyEntry(index, &leaf)
	if leaf.Kind == KindBeat {
		w.report.Beats++
		if leaf.Size != index {
			w.fault(Tampered, index, file, fmt.Sprintf("the beat was made after %d entries", leaf.Size))
		}
	}
	if w.each != nil {
		return &h, w.each(index, raw, &leaf)
	}
	return &h, nil
}

// push adds a leaf hash to the tree and compares each tile that it completes.
func (w *walker) push(ctx context.Context, h tlog.Hash) error {
	err := w.Add(h, func(tile tlog.Tile, data []byte) error { return w.compare(ctx, tile, data) })
	if w.kept != nil && w.kept.N == w.Edge.Size() {
		root, _ := w.Edge.Root()
		w.report.Kept = OK
		if root != w.kept.Hash {
			w.report.Kept = Forked
		}
	}
	return err
}

// compare reads a published hash tile and compares it with the computed one.
func (w *walker) compare(ctx context.Context, tile tlog.Tile, want []byte) error {
	got, name, err := w.read.Tile(ctx, tile)
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case errors.Is(err, fs.ErrNotExist):
		w.fault(Incomplete, -1, name, "the hash tile is missing")
	case err != nil:
		w.fault(Incomplete, -1, name, "the hash tile cannot be read")
	case len(got) < len(want) || !bytes.Equal(got[:len(want)], want) || (name == c2sp.TilePath(tile) && len(got) != len(want)):
		w.fault(Tampered, -1, name, "the hash tile does not match the entries")
	}
	return nil
}
