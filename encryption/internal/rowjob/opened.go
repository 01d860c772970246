package rowjob

import (
	"context"
	"database/sql"
	"slices"
	"strings"
)

// Opened hands out the values of a column, by its position, as
// SealedTable.Opened promises, until yield has enough.
func (t *Table) Opened(ctx context.Context, db *sql.DB, tenant string, column int, yield func(value string) bool) error {
	_, err := t.each(ctx, db, tenant, column, nil, func(row dataRow, value string, there bool) bool { return !there || yield(value) })
	return err
}

// Probe is a value to look for in an index, by its position.
type Probe struct {
	Index int
	Value any
}

// Found is a row that holds one of the values that were looked for in an index.
type Found struct {
	Key, Owner string
	Value      string // opened, where it opens
	Opens      bool
}

// Find hands out the rows that hold one of some values in indexes over one column,
// until yield has enough: more is false then. Narrow indexes collide.
func (t *Table) Find(ctx context.Context, db *sql.DB, tenant string, probes []Probe, yield func(Found) bool) (more bool, err error) {
	return t.each(ctx, db, tenant, t.Indexes[probes[0].Index].Of, probes, func(row dataRow, value string, there bool) bool {
		return yield(Found{Key: row.id, Owner: ownerText(row.stored), Value: value, Opens: there})
	})
}

// each opens a column in rows of a tenant, of those that hold one of the probes or
// of all.
func (t *Table) each(ctx context.Context, db *sql.DB, tenant string, column int, probes []Probe, yield func(row dataRow, value string, there bool) bool) (more bool, err error) {
	s, err := t.counted(ctx, db, tenant)
	if err != nil {
		return false, err
	}
	var listed map[string]bool
	if len(probes) > maxNamed { // a row may hold values of several parts
		listed = map[string]bool{}
	}
	parts := slices.Collect(slices.Chunk(probes, maxNamed))
	if len(parts) == 0 {
		parts = [][]Probe{nil}
	}
	for _, part := range parts {
		more, err = s.eachOf(ctx, tenant, column, part, func(row dataRow, value string, there bool) bool {
			if listed != nil {
				if listed[row.id] {
					return true
				}
				listed[row.id] = true
			}
			return yield(row, value, there)
		})
		if err != nil || !more {
			return false, err
		}
	}
	return true, s.whole(ctx, s.db)
}

func (s *storedTable) eachOf(ctx context.Context, tenant string, column int, probes []Probe, yield func(row dataRow, value string, there bool) bool) (more bool, err error) {
	parts, args := make([]string, len(probes)), make([]any, len(probes))
	for i, p := range probes {
		parts[i], args[i] = s.indexes[p.Index].Name+" = ?", p.Value
	}
	var after []any
	for {
		rows, err := s.page(ctx, tenant, after, strings.Join(parts, " OR "), args, rebuildBatch)
		if err != nil || len(rows) == 0 {
			return err == nil, err
		}
		if _, _, err := s.Vault.Ring.Owners(ctx, tenant, s.ownersOf(rows), true); err != nil {
			return false, err // one key query for the page
		}
		for _, row := range rows {
			value, there, err := s.openedCell(ctx, tenant, column, row)
			if err != nil {
				return false, err
			}
			if !yield(row, value, there) {
				return false, nil
			}
		}
		after = rows[len(rows)-1].cursor
	}
}

// openedCell opens a cell; there is false where there is no value, or none that
// opens.
func (s *storedTable) openedCell(ctx context.Context, tenant string, column int, row dataRow) (value string, there bool, err error) {
	col, cell := &s.Columns[column], row.cells[column]
	if cell.sealed == nil || cell.err != nil {
		return "", false, nil
	}
	raw, err := s.openValue(ctx, tenant, row.id, col, s.ownerOf(col, row.owner), cell.sealed)
	if err != nil && AboutOneValue(err) {
		return "", false, nil
	}
	return string(raw), err == nil, err
}
