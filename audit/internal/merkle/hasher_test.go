package merkle_test

import (
	"bytes"
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/crmguard/crmguard/audit/internal/c2sp"
	"github.com/crmguard/crmguard/audit/internal/merkle"
)

// What a leaf hash is, x/mod says.
func TestLeafHashesAreThoseOfTlog(t *testing.T) {
	h := merkle.NewHasher()
	for n := range 1000 {
		data := bytes.Repeat([]byte{byte(n)}, n)
		require.Equal(t, tlog.RecordHash(data), h.Leaf(data), "%d bytes", n)
	}
	longest := make([]byte, 65535)
	require.Equal(t, tlog.RecordHash(longest), h.Leaf(longest))
	require.Equal(t, tlog.RecordHash(nil), h.Leaf(nil), "nothing is left of the leaf before")
	require.Zero(t, testing.AllocsPerRun(100, func() { h.Leaf(longest) }))
}

func FuzzLeafHash(f *testing.F) {
	h := merkle.NewHasher()
	f.Add([]byte("x"))
	f.Fuzz(func(t *testing.T, data []byte) { require.Equal(t, tlog.RecordHash(data), h.Leaf(data)) })
}

// built are the tiles and roots that a tree has at each of its sizes.
type built struct {
	tiles map[tlog.Tile]string
	b     merkle.Builder
}

func (b *built) keep(tile tlog.Tile, data []byte) error {
	b.tiles[tile] = string(data)
	return nil
}

// A tree that grows by whole tiles is the one that grows by leaves, and both are
// that of x/mod.
func TestWholeTilesGiveTheTreeOfTheirLeaves(t *testing.T) {
	const tiles, more = 260, 7 // a tile of the third level begins
	single, whole := &built{tiles: make(map[tlog.Tile]string)}, &built{tiles: make(map[tlog.Tile]string)}
	var tile []byte
	leaves := make([]tlog.Hash, 0, tiles*c2sp.TileWidth+more)
	for n := range tiles*c2sp.TileWidth + more {
		h := tlog.RecordHash(fmt.Append(nil, n))
		leaves = append(leaves, h)
		require.NoError(t, single.b.Add(h, single.keep))
		if n >= tiles*c2sp.TileWidth {
			require.NoError(t, whole.b.Add(h, whole.keep))
			continue
		}
		if tile = append(tile, h[:]...); len(tile) == c2sp.TileWidth*tlog.HashSize {
			require.NoError(t, whole.b.AddTile(tile, merkle.TileRoot(tile), whole.keep))
			tile = tile[:0]
			require.Equal(t, single.b.Edge, whole.b.Edge)
		}
	}
	require.NoError(t, single.b.Finish(single.keep))
	require.NoError(t, whole.b.Finish(whole.keep))
	require.Equal(t, single.tiles, whole.tiles)
	require.Equal(t, single.b.Edge, whole.b.Edge)

	// x/mod reads its tiles out of the hashes that it stores itself.
	var stored []tlog.Hash
	reader := tlog.HashReaderFunc(func(indexes []int64) ([]tlog.Hash, error) {
		out := make([]tlog.Hash, len(indexes))
		for i, index := range indexes {
			out[i] = stored[index]
		}
		return out, nil
	})
	for n, h := range leaves {
		add, err := tlog.StoredHashesForRecordHash(int64(n), h, reader)
		require.NoError(t, err)
		stored = append(stored, add...)
	}
	want, err := tlog.TreeHash(int64(len(leaves)), reader)
	require.NoError(t, err)
	got, ok := whole.b.Edge.Root()
	require.True(t, ok)
	require.Equal(t, want, got)
	published := tlog.NewTiles(c2sp.TileHeight, 0, int64(len(leaves)))
	require.Len(t, whole.tiles, len(published))
	for _, tile := range published {
		data, err := tlog.ReadTileData(tile, reader)
		require.NoError(t, err)
		require.Equal(t, string(data), whole.tiles[tile], "%v", tile)
	}
}
