package c2sp

import (
	"strings"

	"golang.org/x/mod/sumdb/tlog"
)

// maxLevel is the highest level that a name can have.
const maxLevel = 63

// ParseTilePath reads the names that [TilePath] writes, those of entry bundles
// included, and no other: for each tile there is one name.
func ParseTilePath(name string) (tlog.Tile, bool) {
	rest, ok := strings.CutPrefix(name, "tile/")
	if !ok {
		return tlog.Tile{}, false
	}
	if entries, ok := strings.CutPrefix(rest, "entries/"); ok {
		rest = "data/" + entries
	}
	tile, err := tlog.ParseTilePath("tile/8/" + rest)
	if err != nil || tile.L > maxLevel || TilePath(tile) != name {
		return tlog.Tile{}, false
	}
	return tile, true
}

// Within says whether a tree of size entries has this tile, at least as wide as
// it is here.
func Within(t tlog.Tile, size int64) bool {
	hashes := size >> (TileHeight * max(t.L, 0)) // of this level
	return t.N < hashes/TileWidth || t.N == hashes/TileWidth && int64(t.W) <= hashes%TileWidth
}
