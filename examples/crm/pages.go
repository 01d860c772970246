package main

import (
	"context"
	"database/sql"
	"iter"
	"strings"
)

// pageSize is how many rows are held at once: a table is never in memory as a
// whole.
const pageSize = 500

// sealedCells are sealed columns of one row.
type sealedCells struct {
	id, owner string
	cells     [][]byte
}

// pages reads sealed columns of a table by its key.
func pages(ctx context.Context, db *sql.DB, table, owner string, columns []string) iter.Seq2[[]sealedCells, error] {
	query := `SELECT id, ` + owner + `, ` + strings.Join(columns, ", ") + ` FROM ` + table + ` WHERE tenant = ? AND id > ? ORDER BY id LIMIT ?`
	return paged(func(after string) ([]sealedCells, string, error) {
		rows, err := db.QueryContext(ctx, query, tenant, after, pageSize)
		if err != nil {
			return nil, "", err
		}
		defer rows.Close()
		var page []sealedCells
		for rows.Next() {
			r := sealedCells{cells: make([][]byte, len(columns))}
			into := []any{&r.id, &r.owner}
			for i := range r.cells {
				into = append(into, &r.cells[i])
			}
			if err := rows.Scan(into...); err != nil {
				return nil, "", err
			}
			page, after = append(page, r), r.id
		}
		return page, after, rows.Err()
	})
}

// contactPages reads all contacts of a database.
func contactPages(ctx context.Context, db *sql.DB) iter.Seq2[[]*contact, error] {
	return paged(func(after string) ([]*contact, string, error) {
		page, err := collect(contactsWhere(ctx, db, "c.tenant = ? AND c.id > ? ORDER BY c.id LIMIT ?", tenant, after, pageSize))
		if len(page) > 0 {
			after = page[len(page)-1].id
		}
		return page, after, err
	})
}

func paged[T any](next func(after string) ([]T, string, error)) iter.Seq2[[]T, error] {
	return func(yield func([]T, error) bool) {
		for after := ""; ; {
			page, last, err := next(after)
			if err == nil && len(page) == 0 {
				return
			}
			if !yield(page, err) || err != nil {
				return
			}
			after = last
		}
	}
}
