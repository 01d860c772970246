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

// state is the tree as the database has it.
type state struct {
	tlog.Tree
	published int64 // the largest checkpoint known to be published, for telling a lost log from a new one
	beat      int64 // when the newest beat was made, microseconds
	beatSize  int64 // entries in the log after it
}

// claim writes the origin into empty tables, or compares it.
func (t *Trail) claim(ctx context.Context) error {
	read := func() (origin string, found bool, err error) {
		found, err = t.one(ctx, t.db, []any{&origin}, `SELECT origin FROM crmguard_audit_state WHERE id = 1`)
		return origin, found, err
	}
	origin, found, err := read()
	if err != nil {
		return err
	}
	if !found {
		root, err := tlog.TreeHash(0, nil)
		if err != nil {
			return err
		}
		err = t.within(ctx, func(tx Tx) error {
			return t.add(ctx, tx, sqldb.Insert{
				Table:   "crmguard_audit_state",
				Columns: []string{"id", "origin", "size", "root", "published", "beat", "beat_size", "drains"}, Key: []string{"id"},
			}, []any{1, t.origin, 0, root[:], 0, 0, 0, 0})
		})
		if err != nil {
			return err
		}
		if origin, _, err = read(); err != nil {
			return err
		}
	}
	if origin != t.origin {
		return fmt.Errorf("%w: the tables hold %q, this log is %q", ErrOrigin, origin, t.origin)
	}
	return nil
}

func (t *Trail) state(ctx context.Context, q sqldb.Querier) (state, error) {
	var (
		s    state
		root []byte
	)
	found, err := t.one(ctx, q, []any{&s.N, &root, &s.published, &s.beat, &s.beatSize}, `SELECT size, root, published, beat, beat_size FROM crmguard_audit_state WHERE id = 1`)
	if err != nil {
		return s, err
	}
	if !found || len(root) != tlog.HashSize || s.N < 0 || s.N > c2sp.MaxSize {
		return s, fmt.Errorf("%w: the state row is gone or damaged", ErrTampered)
	}
	s.Hash = tlog.Hash(root)
	return s, nil
}

// locked runs fn in a transaction that excludes every other one like it: an
// UPDATE of the one state row is a lock in every database, and the first
// statement, so that SQLite never has to turn a read into a write.
func (t *Trail) locked(ctx context.Context, fn func(tx Tx, s state) error) error {
	return t.within(ctx, func(tx Tx) error {
		if _, err := t.exec(ctx, tx, `UPDATE crmguard_audit_state SET drains = drains + 1 WHERE id = 1`); err != nil {
			return err
		}
		s, err := t.state(ctx, tx)
		if err != nil {
			return err
		}
		return fn(tx, s)
	})
}

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

// save writes the changed tiles and the new root.
func (t *Trail) save(ctx context.Context, tx Tx, g *growth) error {
	root, err := tlog.TreeHash(g.size, g)
	if err != nil {
		return err
	}
	var rows [][]any
	for _, tile := range tlog.NewTiles(c2sp.TileHeight, g.old, g.size) {
		data, err := tlog.ReadTileData(tile, g)
		if err != nil {
			return err
		}
		rows = append(rows, []any{tile.L, tile.N, data})
	}
	if err := t.add(ctx, tx, tilesOf, rows...); err != nil {
		return err
	}
	_, err = t.exec(ctx, tx, `UPDATE crmguard_audit_state SET size = ?, root = ? WHERE id = 1`, g.size, root[:])
	return err
}
