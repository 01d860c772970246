package encryption

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"strings"
)

const rebuildBatch = 200

// RebuildIndexes returns a func that fills every index column of the table
// from the sealed columns, until a whole pass finds nothing to correct; then
// building versions become live. It runs after a restore (snapshots carry no
// index columns), for an index that was added, and at any other time: writers
// may go on, and no row with an unreadable value keeps an index value.
func (t *SealedTable) RebuildIndexes(db *sql.DB, tenant string) func(ctx context.Context) error {
	return func(ctx context.Context) error {
		if err := checkDB(ctx, db); err != nil {
			return err
		}
		if err := checkTenant(tenant); err != nil {
			return err
		}
		if len(t.indexes) == 0 {
			return nil
		}
		for range conflictTries {
			corrected, err := t.rebuildPass(ctx, db, tenant)
			if err != nil {
				return err
			}
			if corrected == 0 {
				return t.promote(ctx, tenant)
			}
		}
		return fmt.Errorf("encryption: rebuild indexes of %s: rows change faster than they are corrected; try again", t.def.Name)
	}
}

func (t *SealedTable) rebuildPass(ctx context.Context, db *sql.DB, tenant string) (corrected int, err error) {
	var after any
	for {
		condition, args := "", []any(nil)
		if after != nil {
			condition, args = t.def.Key+" > ?", []any{after}
		}
		rows, err := t.readRows(ctx, db, tenant, condition, args, rebuildBatch)
		if err != nil || len(rows) == 0 {
			return corrected, err
		}
		n, err := t.rebuildRows(ctx, db, tenant, rows)
		if err != nil {
			return corrected, err
		}
		corrected += n
		after = rows[len(rows)-1].key
		t.vault.cfg.Observe(ctx, "encryption.index.rows", float64(len(rows)), slog.String("table", t.def.Name))
	}
}

func (t *SealedTable) rebuildRows(ctx context.Context, db *sql.DB, tenant string, rows []dataRow) (corrected int, err error) {
	keys, err := t.tenantIndexes(ctx, tenant)
	if err != nil {
		return 0, err
	}
	var owners []string
	for _, row := range rows {
		owners = append(owners, row.owner)
	}
	if _, _, err := t.vault.lookup(ctx, tenant, owners, true); err != nil {
		return 0, err // one key query for the batch
	}
	var wrong []indexFix
	for _, row := range rows {
		for i, index := range t.indexes {
			want, err := t.wantedIndex(ctx, tenant, keys, i, row)
			if err != nil {
				return 0, err
			}
			if !sameIndex(row.values[i], want) {
				cell := row.cells[index.column]
				wrong = append(wrong, indexFix{row.key, index.Column, t.def.Columns[index.column].SQL, cell.stored, want})
			}
		}
	}
	if len(wrong) == 0 {
		return 0, nil
	}
	err = inTx(ctx, db, func(tx *sql.Tx) error {
		for _, fix := range wrong {
			if err := t.fixIndex(ctx, tx, tenant, fix); err != nil {
				return err
			}
		}
		return nil
	})
	return len(wrong), err
}

// indexFix is one index column to correct, as long as its sealed column holds
// what the value was computed from.
type indexFix struct {
	key            any
	column, source string
	stored         any
	want           IndexValue
}

// wantedIndex computes what an index column should hold: NULL where there is
// no value, or none that can still be read.
func (t *SealedTable) wantedIndex(ctx context.Context, tenant string, keys *tenantIndexes, i int, row dataRow) (IndexValue, error) {
	col := &t.def.Columns[t.indexes[i].column]
	cell := row.cells[t.indexes[i].column]
	if cell.sealed == nil || cell.err != nil {
		return IndexValue{}, nil
	}
	value, _, err := t.openCell(ctx, tenant, row.id, col, t.ownerOf(col, row.owner), cell.sealed)
	if errors.Is(err, ErrErased) || errors.Is(err, ErrDestroyed) {
		return IndexValue{}, nil
	}
	if err != nil {
		return IndexValue{}, t.detail(err, col.Name)
	}
	if col.Pad != 0 {
		if value, err = unpad(value); err != nil {
			return IndexValue{}, &KeyError{Op: "open: padding", Table: t.def.Name, Column: col.Name, Err: ErrOpen}
		}
	}
	return keys.value(t, i, string(value)), nil
}

func sameIndex(stored any, want IndexValue) bool {
	switch s := stored.(type) {
	case nil:
		return want.IsNull()
	case int64:
		n, ok := want.Int64()
		return ok && n == s
	case []byte:
		return want.wide != nil && bytes.Equal(s, want.wide)
	}
	return false
}

func (t *SealedTable) fixIndex(ctx context.Context, tx *sql.Tx, tenant string, fix indexFix) error {
	where, tenantArgs := t.ofTenant(tenant)
	args := append([]any{fix.want, fix.key}, tenantArgs...)
	condition := " AND " + fix.source + " IS NULL"
	if fix.stored != nil {
		condition = " AND " + fix.source + " = ?"
		args = append(args, fix.stored)
	}
	if _, err := tx.ExecContext(ctx, `UPDATE `+t.def.SQL+` SET `+fix.column+` = ? WHERE `+t.def.Key+` = ? AND `+where+condition, args...); err != nil {
		return fmt.Errorf("encryption: rebuild indexes of %s: %w", t.def.Name, err)
	}
	return nil
}

// promote makes the table's building versions live.
func (t *SealedTable) promote(ctx context.Context, tenant string) error {
	return t.setIndexStates(ctx, tenant, func(rows []IndexRow) ([]IndexRow, error) {
		var put []IndexRow
		for _, row := range rows {
			declared := false
			for _, index := range t.indexes {
				declared = declared || index.Name == row.Index && index.Version == row.Version
			}
			if row.Table == t.def.Name && declared && row.State == IndexBuilding {
				row.State = IndexLive
				put = append(put, row)
			}
		}
		return put, nil
	})
}

// ClearRows returns an eraser for the table: every sealed and index column of
// the person's rows becomes NULL. Erase makes the sealed bytes unreadable;
// this takes the index values away too, which the person's key does not
// protect. Declare the columns nullable, or delete the rows instead.
func (t *SealedTable) ClearRows(db *sql.DB) func(ctx context.Context, tenant, person string) error {
	return func(ctx context.Context, tenant, person string) error {
		if err := checkDB(ctx, db); err != nil {
			return err
		}
		if err := checkTenant(tenant); err != nil {
			return err
		}
		if err := checkPerson(person); err != nil {
			return err
		}
		var set []string
		for _, col := range t.def.Columns {
			if !col.Stream && col.Level != LevelTenant {
				set = append(set, col.SQL+" = NULL")
			}
		}
		for _, index := range t.indexes {
			if t.def.Columns[index.column].Level != LevelTenant {
				set = append(set, index.Column+" = NULL")
			}
		}
		if t.def.Shared || len(set) == 0 {
			return nil
		}
		where, args := t.ofTenant(tenant)
		if _, err := db.ExecContext(ctx, `UPDATE `+t.def.SQL+` SET `+strings.Join(set, ", ")+` WHERE `+where+` AND `+t.def.Owner+` = ?`, append(args, person)...); err != nil {
			return fmt.Errorf("encryption: clear rows of %s: %w", t.def.Name, err)
		}
		return nil
	}
}
