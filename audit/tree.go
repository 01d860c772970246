package audit

import (
	"context"
	"fmt"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/crmguard/crmguard/audit/auditlog"
	"github.com/crmguard/crmguard/audit/internal/merkle"
	"github.com/crmguard/crmguard/internal/sqldb"
)

// rows is the tiles of the database.
func (t *Trail) rows(q sqldb.Querier) merkle.Source {
	return func(ctx context.Context, tile tlog.Tile) ([]byte, error) {
		var data []byte
		if _, err := t.one(ctx, q, []any{&data}, `SELECT `+upTo(mostTile, "data")+` FROM crmguard_audit_tiles WHERE level = ? AND n = ?`, tile.L, tile.N); err != nil {
			return nil, err
		}
		if len(data) < tile.W*tlog.HashSize || len(data) > mostTile {
			return nil, fmt.Errorf("%w: a tile of the database is short, or longer than any can be", auditlog.ErrTampered)
		}
		return data[:tile.W*tlog.HashSize], nil
	}
}

// save writes tiles.
func (t *Trail) save(ctx context.Context, tx Tx, tiles []merkle.TileData) error {
	rows := make([][]any, 0, len(tiles))
	for _, tile := range tiles {
		rows = append(rows, []any{tile.L, tile.N, tile.Data})
	}
	return t.add(ctx, tx, tilesOf, rows...)
}
