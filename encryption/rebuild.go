package encryption

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
)

const rebuildBatch = 200

// RebuildReport says what Rebuild did.
type RebuildReport struct {
	Rows       int          // rows read in the last pass
	Corrected  int          // index values corrected
	Unreadable int          // indexed cells that do not open: their index columns stay as they are
	Listed     []Unreadable // the first 100 of them
}

// RebuildIndexes is [SealedTable.Rebuild] in the shape that the steps of a restore
// take.
func (t *SealedTable) RebuildIndexes(db *sql.DB, tenant string) func(ctx context.Context) error {
	return func(ctx context.Context) error {
		_, err := t.Rebuild(ctx, db, tenant)
		return err
	}
}

// Rebuild fills every index column of the table from the sealed columns, until a
// whole pass finds nothing to correct; then versions that were fenced before
// (FenceOldWriters) become live and are searched. It runs after a restore
// (snapshots carry no index columns), for an index that was added, and at any
// other time: writers may go on. What belongs to an erased person, or to a
// destroyed key version, loses its index value. A cell that does not open for
// another reason stops nothing: its index value stays as it is, and the report
// counts and lists it. Where such a cell is mended, a search finds it after the
// next Rebuild.
func (t *SealedTable) Rebuild(ctx context.Context, db *sql.DB, tenant string) (RebuildReport, error) {
	var report RebuildReport
	if err := checkTenant(tenant); err != nil {
		return report, err
	}
	s, err := t.counted(ctx, db, tenant)
	if err != nil {
		return report, err
	}
	if len(t.indexes) == 0 {
		return report, nil
	}
	fenced, err := t.fenced(ctx, tenant) // before the first row is read
	if err != nil {
		return report, err
	}
	for range conflictTries {
		pass, err := s.rebuildPass(ctx, tenant)
		report.Rows, report.Unreadable, report.Listed = pass.Rows, pass.Unreadable, pass.Listed
		report.Corrected += pass.Corrected
		if err != nil {
			return report, err
		}
		if pass.Corrected == 0 {
			return report, t.promote(ctx, tenant, fenced)
		}
	}
	return report, fmt.Errorf("encryption: rebuild indexes of %s: rows change faster than they are corrected; try again", t.def.Name)
}

func (s *storedTable) rebuildPass(ctx context.Context, tenant string) (pass RebuildReport, err error) {
	nameless, err := s.nameless(ctx, tenant)
	if err != nil {
		return pass, err
	}
	pass.Unreadable, pass.Listed = len(nameless), nameless[:min(len(nameless), maxListed)]
	var after []any
	for {
		rows, err := s.page(ctx, tenant, after, "", nil, rebuildBatch)
		if err != nil || len(rows) == 0 {
			return pass, err
		}
		if err := s.rebuildRows(ctx, tenant, rows, &pass); err != nil {
			return pass, err
		}
		after = rows[len(rows)-1].cursor
		pass.Rows += len(rows)
		s.vault.cfg.Observe(ctx, "encryption.index.rows", float64(len(rows)), slog.String("table", s.def.Name))
	}
}

func (s *storedTable) rebuildRows(ctx context.Context, tenant string, rows []dataRow, pass *RebuildReport) error {
	keys, err := s.tenantIndexes(ctx, tenant)
	if err != nil {
		return err
	}
	if _, _, err := s.vault.lookup(ctx, tenant, s.ownersOf(rows), true); err != nil {
		return err // one key query for the batch
	}
	var wrong []indexFix
	for _, row := range rows {
		seen := map[int]error{} // cells that do not open
		for i, index := range s.SealedTable.indexes {
			want, err := s.wantedIndex(ctx, tenant, keys, i, row)
			if err != nil && aboutOneValue(err) {
				seen[index.column] = err
				continue
			}
			if err != nil {
				return err
			}
			if !sameIndex(row.values[i], want) {
				wrong = append(wrong, indexFix{row, i, want})
			}
		}
		for column, err := range seen {
			pass.Unreadable++
			if len(pass.Listed) < maxListed {
				pass.Listed = append(pass.Listed, s.unreadable(row, column, err))
			}
		}
	}
	pass.Corrected += len(wrong)
	if len(wrong) == 0 {
		return nil
	}
	return s.write(ctx, func(tx *sql.Tx) error {
		for _, fix := range wrong {
			if err := s.fixIndex(ctx, tx, tenant, fix); err != nil {
				return err
			}
		}
		return nil
	})
}

// indexFix is one index column to correct, as long as its sealed column holds
// what the value was computed from.
type indexFix struct {
	row   dataRow
	index int
	want  IndexValue
}

// wantedIndex computes what an index column should hold: NULL where there is
// no value, or none that will ever be read again.
func (s *storedTable) wantedIndex(ctx context.Context, tenant string, keys *tenantIndexes, i int, row dataRow) (IndexValue, error) {
	column := s.SealedTable.indexes[i].column
	col, cell := &s.def.Columns[column], row.cells[column]
	if cell.sealed == nil || cell.err != nil {
		return IndexValue{}, nil
	}
	value, err := s.openCell(ctx, tenant, row.id, col, s.ownerOf(col, row.owner), cell.sealed)
	if errors.Is(err, ErrErased) || errors.Is(err, ErrDestroyed) {
		return IndexValue{}, nil
	}
	if err != nil {
		return IndexValue{}, err
	}
	if col.Pad != 0 {
		if value, err = unpad(value); err != nil {
			return IndexValue{}, &KeyError{Op: "open: padding", Err: ErrOpen}
		}
	}
	return keys.rebuilt(s.SealedTable, i, string(value))
}

// sameIndex compares with what a column holds: a database may give an integer as
// its digits.
func sameIndex(stored any, want IndexValue) bool {
	switch s := stored.(type) {
	case nil:
		return want.IsNull()
	case int64:
		n, ok := want.Int64()
		return ok && n == s
	case string:
		have, is := integerOf(s)
		n, ok := want.Int64()
		return is && ok && n == have
	case []byte:
		return want.Bytes() != nil && bytes.Equal(s, want.Bytes())
	}
	return false
}

func (s *storedTable) fixIndex(ctx context.Context, tx *sql.Tx, tenant string, fix indexFix) error {
	column := s.SealedTable.indexes[fix.index].column
	source := cellChange{column: s.cells[column], old: fix.row.cells[column].stored}
	where, args := s.unchanged(tenant, fix.row, []cellChange{source})
	_, err := tx.ExecContext(ctx, s.db.Bind(`UPDATE `+s.sql+` SET `+s.indexes[fix.index].Name+` = ? WHERE `+where), append([]any{fix.want}, args...)...)
	if err != nil {
		return s.failed("rebuild indexes of", err)
	}
	return nil
}
