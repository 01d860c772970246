package merkle

import (
	"context"
	"errors"
	"fmt"
	"io/fs"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/crmguard/crmguard/audit/internal/c2sp"
)

// ErrTampered says that stored bytes do not match what was signed. It is handed
// out as auditlog.ErrTampered.
var ErrTampered = errors.New("auditlog: log does not match its checkpoint")

// Source reads one tile, or the part of it that a tree of some size has.
type Source func(ctx context.Context, tile tlog.Tile) ([]byte, error)

// tiles makes a Source a [tlog.TileReader] for one call.
type tiles struct {
	read  func(tlog.Tile) ([]byte, error)
	cause error // what kept a tile from being read
}

// Height is the one height of all our tiles.
func (r *tiles) Height() int { return c2sp.TileHeight }

// ReadTiles reads tiles one by one.
func (r *tiles) ReadTiles(tiles []tlog.Tile) ([][]byte, error) {
	out := make([][]byte, len(tiles))
	for i, tile := range tiles {
		if out[i], r.cause = r.read(tile); r.cause != nil {
			return nil, r.cause
		}
	}
	return out, nil
}

// SaveTiles does nothing: what was proved is not kept.
func (r *tiles) SaveTiles([]tlog.Tile, [][]byte) {}

// Reader reads hashes of a tree and proves each against its root. Tiles that
// do not give the root are ErrTampered; what kept a tile from being read stays
// what it was.
func (f Source) Reader(ctx context.Context, tree tlog.Tree) tlog.HashReader {
	return tlog.HashReaderFunc(func(indexes []int64) ([]tlog.Hash, error) {
		if len(indexes) == 0 {
			return nil, nil
		}
		tiles := &tiles{read: func(tile tlog.Tile) ([]byte, error) { return f(ctx, tile) }}
		hashes, err := tlog.TileHashReader(tree, tiles).ReadHashes(indexes)
		if err != nil && tiles.cause == nil {
			err = fmt.Errorf("%w: %w", ErrTampered, err)
		}
		return hashes, err
	})
}

// Files reads a file of a published log by its name.
type Files func(ctx context.Context, name string) ([]byte, error)

// Tile reads a tile or entry bundle; where the partial file is gone the full
// one, which begins with the same bytes, stands for it.
func (read Files) Tile(ctx context.Context, tile tlog.Tile) ([]byte, string, error) {
	name := c2sp.TilePath(tile)
	data, err := read(ctx, name)
	if errors.Is(err, fs.ErrNotExist) && tile.W < c2sp.TileWidth {
		tile.W = c2sp.TileWidth
		if full, err := read(ctx, c2sp.TilePath(tile)); err == nil {
			return full, c2sp.TilePath(tile), nil
		}
	}
	return data, name, err
}

// Hashes is the hash tiles of a published log: a [Source].
func (read Files) Hashes(ctx context.Context, tile tlog.Tile) ([]byte, error) {
	data, name, err := read.Tile(ctx, tile)
	if err != nil {
		return nil, err
	}
	if len(data) < tile.W*tlog.HashSize {
		return nil, fmt.Errorf("%w: %s is short", ErrTampered, name)
	}
	return data[:tile.W*tlog.HashSize], nil
}
