package audit

import (
	"context"
	"errors"
	"fmt"
	"io/fs"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/crmguard/crmguard/audit/auditlog"
	"github.com/crmguard/crmguard/audit/internal/c2sp"
)

// errAbsent says that the published log has no file of that name.
var errAbsent = fmt.Errorf("audit: published: no such file: %w", fs.ErrNotExist)

// Published returns a file of the published log, such as "checkpoint",
// "tile/0/000" or "tile/entries/000.p/7", made from the database: what a process
// serves that has no folder, and what a new copy is filled from. It is what the
// newest published checkpoint proves, byte for byte what stands in the folder, or
// an error: [auditlog.ErrTampered] where the database was changed, [ErrBehind] where an
// older one took its place, fs.ErrNotExist where the log has no such file, which is
// [ErrPruned], too, where retention took it. What
// is sequenced and not yet under a published checkpoint is not there. Partial
// tiles of earlier checkpoints are there, too, also where the folder has the full
// ones only.
func (t *Trail) Published(ctx context.Context, name string) ([]byte, error) {
	if err := t.ready(); err != nil {
		return nil, err
	}
	tile, isTile := c2sp.ParseTilePath(name)
	if !isTile && name != auditlog.CheckpointFile {
		return nil, errAbsent
	}
	signed, tree, found, err := t.checkpoint(ctx)
	switch {
	case err != nil:
		return nil, err
	case !found, isTile && !c2sp.Within(tile, tree.N):
		return nil, errAbsent
	case !isTile:
		return signed, nil
	}
	data, err := t.publishedTile(ctx, tree, tile)
	if err == nil {
		return data, nil
	}
	if errors.Is(err, auditlog.ErrTampered) { // or was never there
		if s, err := t.state(ctx, t.db); err == nil && s.bundlePruned(tile) {
			return nil, absentFile(s.pruned)
		}
		if s, err := t.stored(ctx, t.db); err == nil && s.N < tree.N {
			return nil, &BehindError{Database: s.N, Published: tree.N}
		}
	}
	return nil, err
}

// publishedTile is a tile or an entry bundle of a tree, proved against its root.
func (t *Trail) publishedTile(ctx context.Context, tree tlog.Tree, tile tlog.Tile) ([]byte, error) {
	reader := t.rows(t.db).Reader(ctx, tree)
	if tile.L < 0 {
		return t.bundle(ctx, tile, reader)
	}
	return tlog.ReadTileData(tile, reader)
}
