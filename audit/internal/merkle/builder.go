package merkle

import (
	"math/bits"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/crmguard/crmguard/audit/internal/c2sp"
)

// Edge is the right edge of a growing tree: perfect subtrees, largest first.
type Edge []struct {
	size int64
	hash tlog.Hash
}

// Push adds a leaf.
func (e *Edge) Push(h tlog.Hash) { e.push(1, h, func(int64, tlog.Hash) {}) }

// push adds a perfect subtree, of a size to which the tree has grown in whole
// multiples, and says of each subtree that it is or completes what its root is.
func (e *Edge) push(size int64, h tlog.Hash, whole func(size int64, root tlog.Hash)) {
	s := *e
	for whole(size, h); len(s) > 0 && s[len(s)-1].size == size; whole(size, h) {
		size, h = 2*size, tlog.NodeHash(s[len(s)-1].hash, h)
		s = s[:len(s)-1]
	}
	*e = append(s, struct {
		size int64
		hash tlog.Hash
	}{size, h})
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
	return b.grow(1, h, nil, each)
}

// AddTile takes the hashes of the next 256 leaves, and what [TileRoot] computes of
// them. The leaves before it must fill tiles, too.
func (b *Builder) AddTile(data []byte, root tlog.Hash, each func(tile tlog.Tile, data []byte) error) error {
	return b.grow(c2sp.TileWidth, root, data, each)
}

// grow adds a leaf, or a whole tile of leaves.
func (b *Builder) grow(size int64, h tlog.Hash, tile []byte, each func(tile tlog.Tile, data []byte) error) error {
	var roots [maxLevels]tlog.Hash // of the subtrees that are complete now, by level
	b.Edge.push(size, h, func(size int64, root tlog.Hash) {
		if level := bits.TrailingZeros64(uint64(size)); level%c2sp.TileHeight == 0 {
			roots[level/c2sp.TileHeight] = root
		}
	})
	for level := 0; ; level++ {
		if level == len(b.levels) {
			b.levels, b.done = append(b.levels, nil), append(b.done, 0)
		}
		data := tile
		if level > 0 || tile == nil {
			b.levels[level] = append(b.levels[level], roots[level][:]...)
			data = b.levels[level]
		}
		if len(data) < c2sp.TileWidth*tlog.HashSize {
			return nil
		}
		if err := each(c2sp.Tile(level, b.done[level], c2sp.TileWidth), data); err != nil {
			return err
		}
		b.levels[level] = b.levels[level][:0]
		b.done[level]++
	}
}

// maxLevels is how many levels of tiles the largest tree has that there can be.
const maxLevels = 64 / c2sp.TileHeight

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
