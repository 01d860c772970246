package merkle

import (
	"golang.org/x/mod/sumdb/tlog"

	"github.com/crmguard/crmguard/audit/internal/c2sp"
)

// Edge is the right edge of a growing tree: perfect subtrees, largest first.
type Edge []struct {
	size int64
	hash tlog.Hash
}

// Push adds a leaf.
func (e *Edge) Push(h tlog.Hash) {
	*e = append(*e, struct {
		size int64
		hash tlog.Hash
	}{1, h})
	for s := *e; len(s) > 1 && s[len(s)-1].size == s[len(s)-2].size; s = *e {
		last, left := s[len(s)-1], &s[len(s)-2]
		left.size, left.hash = 2*left.size, tlog.NodeHash(left.hash, last.hash)
		*e = s[:len(s)-1]
	}
}

// Root folds the edge; ok is false for the empty tree.
func (e Edge) Root() (h tlog.Hash, ok bool) {
	for i := len(e) - 1; i >= 0; i-- {
		if i == len(e)-1 {
			h = e[i].hash
		} else {
			h = tlog.NodeHash(e[i].hash, h)
		}
	}
	return h, len(e) > 0
}

// Size is the number of leaves.
func (e Edge) Size() (n int64) {
	for _, s := range e {
		n += s.size
	}
	return n
}

// Builder computes every hash tile of a tree from its leaf hashes, and holds
// one unfinished tile of each level.
type Builder struct {
	levels [][]byte
	done   []int64 // finished tiles of each level
	Edge   Edge
}

// Add takes the next leaf hash, and hands out each tile that it completes. The
// tile's bytes are good until each returns.
func (b *Builder) Add(h tlog.Hash, each func(tile tlog.Tile, data []byte) error) error {
	b.Edge.Push(h)
	for level := 0; ; level++ {
		if level == len(b.levels) {
			b.levels, b.done = append(b.levels, nil), append(b.done, 0)
		}
		b.levels[level] = append(b.levels[level], h[:]...)
		data := b.levels[level]
		if len(data) < c2sp.TileWidth*tlog.HashSize {
			return nil
		}
		if err := each(c2sp.Tile(level, b.done[level], c2sp.TileWidth), data); err != nil {
			return err
		}
		var full Edge
		for i := range c2sp.TileWidth {
			full.Push(tlog.Hash(data[i*tlog.HashSize : (i+1)*tlog.HashSize]))
		}
		h, _ = full.Root()
		b.levels[level] = data[:0]
		b.done[level]++
	}
}

// Finish hands out the tiles at the right edge, which are not full.
func (b *Builder) Finish(each func(tile tlog.Tile, data []byte) error) error {
	for level, data := range b.levels {
		if len(data) == 0 {
			continue
		}
		if err := each(c2sp.Tile(level, b.done[level], len(data)/tlog.HashSize), data); err != nil {
			return err
		}
	}
	return nil
}
