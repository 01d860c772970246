package c2sp

import (
	"io/fs"
	"math"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/mod/sumdb/tlog"
)

// Each tile has one name, and what is like it names nothing.
func TestOnlyNamesOfTilesAreRead(t *testing.T) {
	for _, tile := range []tlog.Tile{
		Tile(-1, 0, 1), Tile(-1, 0, TileWidth), Tile(0, 999, 255), Tile(0, 1000, 1), Tile(0, 1234067, 8), Tile(7, 0, 1),
		Tile(63, 0, 1), Tile(0, math.MaxInt64, 255), Tile(-1, math.MaxInt64, TileWidth),
	} {
		read, ok := ParseTilePath(TilePath(tile))
		require.True(t, ok, TilePath(tile))
		require.Equal(t, tile, read)
	}
	for _, name := range []string{
		"", "tile", "tile/", "tile/0", "tile/0/", "tile/0/0", "tile/0/0000", "tile/0/x000", "tile/0/x000/000", "tile/0/1000",
		"tile/0/000/", "/tile/0/000", "./tile/0/000", "tile//0/000", "tile/./0/000", "tile/0/../0/000", "tile/0/001/000", "tile/0/X001/000",
		"tile/00/000", "tile/-1/000", "tile/+1/000", "tile/64/000", "tile/0x1/000", "tile/ 0/000", "tile/0/-01", "tile/0/+01", "tile/0/ 01",
		"tile/0/000.p", "tile/0/000.p/", "tile/0/000.p/0", "tile/0/000.p/256", "tile/0/000.p/01", "tile/0/000.p/+1", "tile/0/000.p/-1", "tile/0/000.p/1/",
		"tile/0/000.p/1/2", "tile/0/.p/1", "tile/data/000", "tile/8/0/000", "tile/8/data/000", "tile/entries", "tile/entries/", "tile/entries/entries/000",
		"tile/entries/000\x00", "tile/entries/000\n", "tile/entries/٠٠٠", "tile/entries/000 ", "TILE/0/000", `tile\0\000`, "tile/0/%30%30%30",
		"tile/0/x009/x223/x372/x036/x854/x775/808", "tile/0/" + strings.Repeat("x000/", 40) + "000", "tile/0/" + strings.Repeat("x999/", 7) + "999",
		"checkpoint", "tile/checkpoint", "tile/0/.lock",
	} {
		_, ok := ParseTilePath(name)
		require.False(t, ok, "%q", name)
	}
}

// What a tree has is told as package tlog lists it: full tiles, and the partial
// ones at its edge in each width up to the present one.
func TestATreeHasTheseTiles(t *testing.T) {
	for _, size := range []int64{0, 1, 255, 256, 257, 65535, 65536, 65537, 70000} {
		widest := map[tlog.Tile]int{}
		for _, tile := range tlog.NewTiles(TileHeight, 0, size) {
			widest[tlog.Tile{L: tile.L, N: tile.N}] = tile.W
		}
		for level := range 4 {
			for n := range size/TileWidth + 3 {
				for _, width := range []int{1, 2, 16, 17, 18, 111, 112, 113, 255, 256} {
					has := widest[tlog.Tile{L: level, N: n}] >= width
					require.Equal(t, has, Within(Tile(level, n, width), size), "%d entries, level %d, tile %d, width %d", size, level, n, width)
					if level == 0 {
						require.Equal(t, has, Within(Tile(-1, n, width), size), "bundles lie as tiles of level 0 do")
					}
				}
			}
		}
	}
	for level := range 64 {
		require.Equal(t, level < 8, Within(Tile(level, 0, 1), MaxSize), "level %d", level)
		require.False(t, Within(Tile(level, math.MaxInt64, TileWidth), MaxSize))
		require.False(t, Within(Tile(level, math.MaxInt64, 1), MaxSize))
	}
}

func FuzzTilePath(f *testing.F) {
	for _, name := range []string{"tile/0/x001/x234/067.p/8", "tile/entries/000", "tile/63/000.p/1", "tile/8/data/000", "tile/0/../000"} {
		f.Add(name)
	}
	f.Fuzz(func(t *testing.T, name string) {
		tile, ok := ParseTilePath(name)
		if !ok {
			return
		}
		require.True(t, fs.ValidPath(name), "it leads nowhere else")
		require.Equal(t, name, TilePath(tile))
		require.Equal(t, TileHeight, tile.H)
		require.True(t, tile.L >= -1 && tile.L < 64 && tile.N >= 0 && tile.W > 0 && tile.W <= TileWidth, "%+v", tile)
		Within(tile, MaxSize)
	})
}
