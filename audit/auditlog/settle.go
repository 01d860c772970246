package auditlog

import (
	"context"
	"errors"
	"slices"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/crmguard/crmguard/audit/internal/c2sp"
	"github.com/crmguard/crmguard/audit/internal/merkle"
)

// Where entries and the tile of their hashes differ, the signed root tells which of
// them was changed, by way of the tiles above: no sound entry is accused for the sake
// of a forged tile. Where those tiles prove neither, because they were forged, too, or
// cannot be read, or both were changed, the bundle is named and no entry.

// errUnproven stands in for a tile that the signed root does not prove.
var errUnproven = errors.New("the signed root does not prove this tile")

const undecided = "entries of this bundle or their hashes were changed, or both: nothing that can be read proves which"

// settle decides about a bundle whose entries differ from their hashes.
func (w *walker) settle(ctx context.Context, b *bundle) error {
	c := &checker{hasher: merkle.NewHasher(), listened: w.each != nil, hashesOnly: w.hashesOnly}
	tile := b.tile
	b.tile = hashTile{err: errUnproven}
	c.check(b)
	sound := len(b.hashes) == b.width*tlog.HashSize && proves(ctx, w.read, w.head, b.n, b.hashes)
	b.tile = tile // the one that differs is told of with the tiles
	if sound || ctx.Err() != nil {
		return ctx.Err()
	}
	c.check(b)
	if proves(ctx, w.read, w.head, b.n, tile.hashes(b.width)) || ctx.Err() != nil {
		return ctx.Err()
	}
	told := false
	b.found = slices.DeleteFunc(b.found, func(f finding) bool {
		again := f.hash && told
		told = told || f.hash
		return again
	})
	for i := range b.found {
		if b.found[i].hash {
			b.found[i].what = undecided
		}
	}
	return nil
}

// proves says whether the signed root proves the hashes of a bundle's entries, by way of
// the published tiles above.
func proves(ctx context.Context, read merkle.Files, head tlog.Tree, n int64, hashes []byte) bool {
	source := merkle.Source(func(ctx context.Context, tile tlog.Tile) ([]byte, error) {
		if tile.L == 0 && tile.N == n && tile.W*tlog.HashSize <= len(hashes) {
			return hashes[:tile.W*tlog.HashSize], nil
		}
		return read.Hashes(ctx, tile)
	})
	_, err := source.Reader(ctx, head).ReadHashes([]int64{tlog.StoredHashIndex(0, n*c2sp.TileWidth)})
	return err == nil
}
