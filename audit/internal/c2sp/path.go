package c2sp

import (
	"math"
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

const (
	// MaxCheckpoint is the longest checkpoint: package note opens none that is
	// longer.
	MaxCheckpoint = 1_000_000
	// MaxBundle is the longest entry bundle.
	MaxBundle = TileWidth * (math.MaxUint16 + 2)
)

// MaxFile is how long a file of a published log can be. Whoever reads one asks for
// one byte more, by which a longer one shows, and takes no memory for the rest: a
// file of holes is as long as somebody likes, and costs nobody a disk.
func MaxFile(name string) int {
	switch {
	case strings.HasPrefix(name, "tile/entries/"):
		return MaxBundle
	case strings.HasPrefix(name, "tile/"):
		return TileWidth * tlog.HashSize
	case name == "checkpoint":
		return MaxCheckpoint
	}
	return MaxBundle
}

// Within says whether a tree of size entries has this tile, at least as wide as
// it is here.
func Within(t tlog.Tile, size int64) bool {
	hashes := size >> (TileHeight * max(t.L, 0)) // of this level
	return t.N < hashes/TileWidth || t.N == hashes/TileWidth && int64(t.W) <= hashes%TileWidth
}
