package merkle

import (
	"context"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/crmguard/crmguard/audit/internal/c2sp"
)

// Growth is a tree while entries are added to it.
type Growth struct {
	Old   int64 // entries before
	Size  int64 // and now
	fresh map[int64]tlog.Hash
	base  tlog.HashReader
}

// Grow begins with a tree whose tiles source reads.
func Grow(ctx context.Context, source Source, tree tlog.Tree) (*Growth, error) {
	g := &Growth{Old: tree.N, Size: tree.N, fresh: make(map[int64]tlog.Hash), base: source.Reader(ctx, tree)}
	edge := c2sp.RightEdge(tree.N)
	hashes, err := g.base.ReadHashes(edge)
	if err != nil {
		return nil, err
	}
	for i, index := range edge {
		g.fresh[index] = hashes[i]
	}
	return g, nil
}

// ReadHashes reads what is new from memory and the rest, proved, from below.
func (g *Growth) ReadHashes(indexes []int64) ([]tlog.Hash, error) {
	out := make([]tlog.Hash, len(indexes))
	var missing []int64
	var at []int
	for i, index := range indexes {
		h, ok := g.fresh[index]
		if !ok {
			missing, at = append(missing, index), append(at, i)
		}
		out[i] = h
	}
	below, err := g.base.ReadHashes(missing)
	if err != nil {
		return nil, err
	}
	for i, h := range below {
		out[at[i]] = h
	}
	return out, nil
}

// Append adds the hash of the next entry.
func (g *Growth) Append(h tlog.Hash) error {
	hashes, err := tlog.StoredHashesForRecordHash(g.Size, h, g)
	if err != nil {
		return err
	}
	first := tlog.StoredHashIndex(0, g.Size)
	for i, h := range hashes {
		g.fresh[first+int64(i)] = h
	}
	g.Size++
	return nil
}

// TileData is a tile and its hashes.
type TileData struct {
	tlog.Tile
	Data []byte
}

// Tiles are those that changed, and the tree that they give.
func (g *Growth) Tiles() (changed []TileData, tree tlog.Tree, err error) {
	root, err := tlog.TreeHash(g.Size, g)
	if err != nil {
		return nil, tree, err
	}
	for _, tile := range tlog.NewTiles(c2sp.TileHeight, g.Old, g.Size) {
		data, err := tlog.ReadTileData(tile, g)
		if err != nil {
			return nil, tree, err
		}
		changed = append(changed, TileData{tile, data})
	}
	return changed, tlog.Tree{N: g.Size, Hash: root}, nil
}
