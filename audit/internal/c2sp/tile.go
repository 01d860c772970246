// Package c2sp writes and reads the published formats of a transparency log,
// as c2sp.org specifies them: tlog-tiles, tlog-checkpoint and tlog-proof. It
// adds to golang.org/x/mod/sumdb what that does not have, and computes no hash
// and checks no signature itself. Its readers take each number and hash in the
// one form in which its writers write it.
package c2sp

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"math/bits"
	"strings"

	"golang.org/x/mod/sumdb/tlog"
)

// A tile holds 256 hashes: eight levels of the tree.
const (
	TileHeight = 8
	TileWidth  = 1 << TileHeight
)

// Tile names a tile or, on level -1, an entry bundle; width is how many of
// its 256 places are taken.
func Tile(level int, n int64, width int) tlog.Tile {
	return tlog.Tile{H: TileHeight, L: level, N: n, W: width}
}

// TilePath is where a tile lies below the root of a log. The sum database of
// Go, whose paths package tlog makes, writes the height into the path and
// calls entries data.
func TilePath(t tlog.Tile) string {
	path := strings.TrimPrefix(t.Path(), "tile/8/")
	if entries, ok := strings.CutPrefix(path, "data/"); ok {
		path = "entries/" + entries
	}
	return "tile/" + path
}

// AppendEntry adds an entry to a bundle: two bytes of length, then the bytes.
func AppendEntry(bundle, entry []byte) ([]byte, error) {
	if len(entry) > math.MaxUint16 {
		return nil, fmt.Errorf("an entry of %d bytes does not fit into a bundle", len(entry))
	}
	bundle = binary.BigEndian.AppendUint16(bundle, uint16(len(entry)))
	return append(bundle, entry...), nil
}

// ReadEntry takes the first entry off a bundle.
func ReadEntry(bundle []byte) (entry, rest []byte, err error) {
	if len(bundle) < 2 {
		return nil, nil, errShort
	}
	end := 2 + int(binary.BigEndian.Uint16(bundle))
	if len(bundle) < end {
		return nil, nil, errShort
	}
	return bundle[2:end], bundle[end:], nil
}

var errShort = errors.New("the bundle ends too early")

// RightEdge lists the stored hashes of the perfect subtrees that make up a
// tree of n entries, the largest first. Whoever has them can add entries.
func RightEdge(n int64) []int64 {
	var edge []int64
	for done := int64(0); done < n; {
		level := bits.Len64(uint64(n-done)) - 1
		edge = append(edge, tlog.StoredHashIndex(level, done>>level))
		done += 1 << level
	}
	return edge
}
