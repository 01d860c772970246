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

// slowWalk is the verification as it was first: one entry after another, each
// hash by x/mod, each tile read when it is compared. It says what the verdicts
// are; the fast way must say the same.
type slowWalk struct {
	read   merkle.Files
	head   tlog.Tree
	report *Report
	kept   *tlog.Tree
	each   func(index int64, raw []byte, leaf *Leaf) error
	edge   slowEdge
	levels [][]byte
	filled []int64 // finished tiles of each level
	broken bool
	gone   []int64 // whole bundles that are not there, while their hashes are
	pruned int64   // up to where the newest entry of kind prune says that they went
	end    *walker // what is said at the end, and of keys
	unsure bool    // nothing proves the entries of this bundle, nor their hashes
	told   bool
}

func slowVerify(ctx context.Context, v *Walk) (Report, error) {
	key, kept, err := v.Trust.resolve()
	if err != nil {
		return unmade(), err
	}
	r := Report{Log: OK, Kept: Unanchored, Origin: key.Name()}
	if kept != nil {
		r.Kept, r.KeptSize = Incomplete, kept.N
	}
	signed, err := v.Read(ctx, CheckpointFile)
	if err != nil {
		what := "the checkpoint cannot be read"
		if errors.Is(err, fs.ErrNotExist) {
			what = "there is no checkpoint: nothing was published yet, or this is not the folder of a log"
		}
		r.add(Fault{Verdict: Incomplete, Index: -1, File: CheckpointFile, What: what})
		r.Verdict = Worst(r.Log, r.Kept)
		return r, ctx.Err()
	}
	head, err := openCheckpoint(key, signed)
	if err != nil {
		r.add(unopened(err))
		r.Verdict = Worst(r.Log, r.Kept)
		return r, nil
	}
	r.Size, r.Root = head.N, head.Hash
	end := &walker{head: head, report: &r, kept: kept, keys: key}
	w := &slowWalk{read: v.Read, head: head, report: &r, kept: kept, each: v.Each, end: end}
	if err = w.run(ctx); err != nil {
		r.add(Fault{Verdict: Incomplete, Index: r.Verified, What: "the verification was interrupted"})
	}
	end.signedByRevoked(signed)
	end.anchor()
	for _, n := range w.gone {
		if (n+1)*c2sp.TileWidth <= w.pruned {
			r.Pruned += c2sp.TileWidth
			continue
		}
		w.fault(Incomplete, n*c2sp.TileWidth, c2sp.TilePath(c2sp.Tile(-1, n, c2sp.TileWidth)), "the entries cannot be read")
	}
	if r.Pruned > 0 && r.Kept == OK && kept.N < w.pruned {
		r.Kept = Unanchored
	}
	r.Verdict = Worst(r.Log, r.Kept)
	return r, err
}

func (w *slowWalk) run(ctx context.Context) error {
	for n := int64(0); n*c2sp.TileWidth < w.head.N && !w.broken; n++ {
		width := int(min(c2sp.TileWidth, w.head.N-n*c2sp.TileWidth))
		if err := w.bundle(ctx, n, width); err != nil {
			return err
		}
	}
	if w.broken {
		return nil
	}
	for level, data := range w.levels {
		if len(data) == 0 {
			continue
		}
		if err := w.compare(ctx, c2sp.Tile(level, w.filled[level], len(data)/tlog.HashSize), data); err != nil {
			return err
		}
	}
	if root, ok := w.edge.root(); ok && root != w.head.Hash {
		w.fault(Tampered, -1, CheckpointFile, "the entries do not give the signed root")
	}
	return nil
}

func (w *slowWalk) fault(v Verdict, index int64, file, what string) {
	w.report.add(Fault{Verdict: v, Index: index, File: file, What: what})
}

func (w *slowWalk) bundle(ctx context.Context, n int64, width int) error {
	tile := c2sp.Tile(-1, n, width)
	data, name, err := w.read.Tile(ctx, tile)
	if ctx.Err() != nil {
		return ctx.Err()
	}
	exact, missing := name == c2sp.TilePath(tile), err != nil
	tile.L = 0
	hashes, hashErr := w.read.Hashes(ctx, tile)
	w.unsure, w.told = false, false
	if !missing && hashErr == nil {
		mine, differ := hashesOf(data, hashes, width)
		switch {
		case !differ:
		case len(mine) == len(hashes) && proves(ctx, w.read, w.head, n, mine):
			hashErr = errUnproven
		default:
			w.unsure = !proves(ctx, w.read, w.head, n, hashes)
		}
	}
	if missing && errors.Is(err, fs.ErrNotExist) && width == c2sp.TileWidth && hashErr == nil {
		w.gone = append(w.gone, n)
	} else if missing {
		w.fault(Incomplete, n*c2sp.TileWidth, name, "the entries cannot be read")
	}
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

// hashesOf are the hashes of a bundle's entries, as far as there are any, and whether
// one is another than a tile says.
func hashesOf(data, hashes []byte, width int) (out []byte, differ bool) {
	for i := range width {
		raw, rest, err := c2sp.ReadEntry(data)
		if err != nil {
			break
		}
		h := tlog.RecordHash(raw)
		differ = differ || !bytes.Equal(h[:], hashes[i*tlog.HashSize:(i+1)*tlog.HashSize])
		out, data = append(out, h[:]...), rest
	}
	return out, differ
}

func (w *slowWalk) entry(index int64, file string, raw []byte, known *tlog.Hash) (*tlog.Hash, error) {
	h := tlog.RecordHash(raw)
	w.report.Verified++
	if known != nil && *known != h {
		switch {
		case !w.unsure:
			w.fault(Tampered, index, file, "the entry does not match its hash")
		case !w.told:
			w.fault(Tampered, -1, file, undecided)
		}
		w.told = true
		return known, nil
	}
	w.report.Parsed++
	leaf, err := ParseLeaf(raw)
	if err != nil {
		w.fault(Tampered, index, file, "the entry is no leaf: "+err.Error())
		return &h, nil
	}
	if leaf.Kind == KindKey {
		w.end.keyChange(KeyChange{index, leaf.Object.ID, leaf.Reason == ReasonRevoked})
	}
	if what, to, ok := leaf.Pruned(); ok && what == PruneEntries && to <= index {
		w.pruned = to
	}
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

func (w *slowWalk) push(ctx context.Context, h tlog.Hash) error {
	w.edge.push(h)
	err := w.fill(ctx, h)
	if w.kept != nil && w.kept.N == w.edge.size() {
		root, _ := w.edge.root()
		w.report.Kept = OK
		if root != w.kept.Hash {
			w.report.Kept = Forked
		}
	}
	return err
}

func (w *slowWalk) fill(ctx context.Context, h tlog.Hash) error {
	for level := 0; ; level++ {
		if level == len(w.levels) {
			w.levels, w.filled = append(w.levels, nil), append(w.filled, 0)
		}
		w.levels[level] = append(w.levels[level], h[:]...)
		data := w.levels[level]
		if len(data) < c2sp.TileWidth*tlog.HashSize {
			return nil
		}
		if err := w.compare(ctx, c2sp.Tile(level, w.filled[level], c2sp.TileWidth), data); err != nil {
			return err
		}
		var full slowEdge
		for i := range c2sp.TileWidth {
			full.push(tlog.Hash(data[i*tlog.HashSize : (i+1)*tlog.HashSize]))
		}
		h, _ = full.root()
		w.levels[level] = data[:0]
		w.filled[level]++
	}
}

func (w *slowWalk) compare(ctx context.Context, tile tlog.Tile, want []byte) error {
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

// slowEdge is the right edge of a tree: perfect subtrees, the largest first.
type slowEdge []slowTree

type slowTree struct {
	size int64
	hash tlog.Hash
}

func (e *slowEdge) push(h tlog.Hash) {
	*e = append(*e, slowTree{1, h})
	for s := *e; len(s) > 1 && s[len(s)-1].size == s[len(s)-2].size; s = *e {
		left, right := s[len(s)-2], s[len(s)-1]
		*e = append(s[:len(s)-2], slowTree{2 * left.size, tlog.NodeHash(left.hash, right.hash)})
	}
}

func (e slowEdge) root() (h tlog.Hash, ok bool) {
	for i := len(e) - 1; i >= 0; i-- {
		if i == len(e)-1 {
			h = e[i].hash
		} else {
			h = tlog.NodeHash(e[i].hash, h)
		}
	}
	return h, len(e) > 0
}

func (e slowEdge) size() (n int64) {
	for _, s := range e {
		n += s.size
	}
	return n
}
