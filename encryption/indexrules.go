package encryption

import (
	"context"
	"database/sql"
	"iter"

	"github.com/crmguard/crmguard/encryption/internal/format"
)

// Normalise answers what an index, named by its SQL column, takes of a value: ""
// for nothing. An error that is ErrValue refuses the value, any other says that the
// rule itself is wrong. A measurement of the column needs it (package leakage).
func (t *SealedTable) Normalise(index, value string) (string, error) {
	for _, x := range t.indexes {
		if x.Column == index {
			return x.rule(value)
		}
	}
	return "", t.noIndex(index)
}

// Opened reads a sealed column of a tenant, value by value, in pages: to measure
// what stands there. What has no value (NULL, erased, destroyed) and what does not
// open is left out. An error is the last answer.
func (t *SealedTable) Opened(ctx context.Context, db *sql.DB, tenant, column string) iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		if err := t.opened(ctx, db, tenant, column, func(value string) bool { return yield(value, nil) }); err != nil {
			yield("", err)
		}
	}
}

func (t *SealedTable) opened(ctx context.Context, db *sql.DB, tenant, column string, yield func(value string) bool) error {
	col, err := t.column(column)
	if err != nil {
		return err
	}
	if col.Stream {
		return &KeyError{Op: "the column is a stream:", Table: t.def.Name, Column: column, Err: ErrDefinition}
	}
	s, err := t.counted(ctx, db, tenant)
	if err != nil {
		return err
	}
	var after []any
	for {
		rows, err := s.page(ctx, tenant, after, "", nil, rebuildBatch)
		if err != nil || len(rows) == 0 {
			return err
		}
		if _, _, err := s.vault.ring.Owners(ctx, tenant, s.ownersOf(rows), true); err != nil {
			return err // one key query for the page
		}
		for _, row := range rows {
			value, there, err := s.openedCell(ctx, tenant, col, row)
			if err != nil {
				return err
			}
			if there && !yield(value) {
				return nil
			}
		}
		after = rows[len(rows)-1].cursor
	}
}

func (s *storedTable) openedCell(ctx context.Context, tenant string, col *Column, row dataRow) (value string, there bool, err error) {
	cell := row.cells[s.SealedTable.columns[col.Name]]
	if cell.sealed == nil || cell.err != nil {
		return "", false, nil
	}
	raw, err := s.openCell(ctx, tenant, row.id, col, s.ownerOf(col, row.owner), cell.sealed)
	if err == nil && col.Pad != 0 {
		if raw, err = format.Unpad(raw); err != nil {
			return "", false, nil
		}
	}
	if err != nil && aboutOneValue(err) {
		return "", false, nil
	}
	return string(raw), err == nil, err
}
