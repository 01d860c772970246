package audit

import (
	"context"
	"errors"
	"fmt"
	"io/fs"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/crmguard/crmguard/audit/internal/c2sp"
	"github.com/crmguard/crmguard/internal/sqldb"
)

// tileSource reads one tile, or the part of it that a tree of some size has.
type tileSource func(ctx context.Context, tile tlog.Tile) ([]byte, error)

// tileReader makes a tileSource a [tlog.TileReader] for one call.
type tileReader struct {
	read  func(tlog.Tile) ([]byte, error)
	cause error // what kept a tile from being read
}

// Height is the one height of all our tiles.
func (r *tileReader) Height() int { return c2sp.TileHeight }

// ReadTiles reads tiles one by one.
func (r *tileReader) ReadTiles(tiles []tlog.Tile) ([][]byte, error) {
	out := make([][]byte, len(tiles))
	for i, tile := range tiles {
		if out[i], r.cause = r.read(tile); r.cause != nil {
			return nil, r.cause
		}
	}
	return out, nil
}

// SaveTiles does nothing: what was proved is not kept.
func (r *tileReader) SaveTiles([]tlog.Tile, [][]byte) {}

// reader reads hashes of a tree and proves each against its root. Tiles that
// do not give the root are ErrTampered; what kept a tile from being read stays
// what it was.
func (f tileSource) reader(ctx context.Context, tree tlog.Tree) tlog.HashReader {
	return tlog.HashReaderFunc(func(indexes []int64) ([]tlog.Hash, error) {
		if len(indexes) == 0 {
			return nil, nil
		}
		tiles := &tileReader{read: func(tile tlog.Tile) ([]byte, error) { return f(ctx, tile) }}
		hashes, err := tlog.TileHashReader(tree, tiles).ReadHashes(indexes)
		if err != nil && tiles.cause == nil {
			err = fmt.Errorf("%w: %w", ErrTampered, err)
		}
		return hashes, err
	})
}

// rows is the tiles of the database.
func (t *Trail) rows(q sqldb.Querier) tileSource {
	return func(ctx context.Context, tile tlog.Tile) ([]byte, error) {
		var data []byte
		if _, err := t.one(ctx, q, []any{&data}, `SELECT data FROM crmguard_audit_tiles WHERE level = ? AND n = ?`, tile.L, tile.N); err != nil {
			return nil, err
		}
		if len(data) < tile.W*tlog.HashSize {
			return nil, fmt.Errorf("%w: a tile of the database is short", ErrTampered)
		}
		return data[:tile.W*tlog.HashSize], nil
	}
}

// readFunc reads a published file.
type readFunc func(ctx context.Context, name string) ([]byte, error)

// published reads a tile or entry bundle; where the partial file is gone the
// full one, which begins with the same bytes, stands for it.
func (read readFunc) tile(ctx context.Context, tile tlog.Tile) ([]byte, string, error) {
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

// hashes is the hash tiles of a published log.
func (read readFunc) hashes(ctx context.Context, tile tlog.Tile) ([]byte, error) {
	data, name, err := read.tile(ctx, tile)
	if err != nil {
		return nil, err
	}
	if len(data) < tile.W*tlog.HashSize {
		return nil, fmt.Errorf("%w: %s is short", ErrTampered, name)
	}
	return data[:tile.W*tlog.HashSize], nil
}

// growth is a tree while entries are added to it.
type growth struct {
	old   int64
	size  int64
	fresh map[int64]tlog.Hash // right edge of the old tree, and everything new
	base  tlog.HashReader
}

func grow(ctx context.Context, source tileSource, s state) (*growth, error) {
	g := &growth{old: s.N, size: s.N, fresh: make(map[int64]tlog.Hash), base: source.reader(ctx, s.Tree)}
	edge := c2sp.RightEdge(s.N)
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
func (g *growth) ReadHashes(indexes []int64) ([]tlog.Hash, error) {
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

func (g *growth) append(h tlog.Hash) error {
	hashes, err := tlog.StoredHashesForRecordHash(g.size, h, g)
	if err != nil {
		return err
	}
	first := tlog.StoredHashIndex(0, g.size)
	for i, h := range hashes {
		g.fresh[first+int64(i)] = h
	}
	g.size++
	return nil
}

// tiles are the rows of the tiles that changed, and the tree that they give.
func (g *growth) tiles() (rows [][]any, tree tlog.Tree, err error) {
	root, err := tlog.TreeHash(g.size, g)
	if err != nil {
		return nil, tree, err
	}
	for _, tile := range tlog.NewTiles(c2sp.TileHeight, g.old, g.size) {
		data, err := tlog.ReadTileData(tile, g)
		if err != nil {
			return nil, tree, err
		}
		rows = append(rows, []any{tile.L, tile.N, data})
	}
	return rows, tlog.Tree{N: g.size, Hash: root}, nil
}

// save writes rows of tiles.
func (t *Trail) save(ctx context.Context, tx Tx, tiles [][]any) error {
	return t.add(ctx, tx, tilesOf, tiles...)
}
