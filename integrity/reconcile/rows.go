package reconcile

import (
	"database/sql"
	"fmt"
	"iter"
	"slices"

	"github.com/crmguard/crmguard/integrity"
)

// FromRows reads the rows of a query as their database holds them, for [Diff],
// and closes them. key are the columns of the key in their order, such as
// {Name: "id", Type: integrity.Integer}: the same types on both sides, so that the
// keys compare. columns are what is compared; a column of the key may be among
// them. [integrity.Reader.FromRows] says what is refused.
//
//	a := reconcile.FromRows(crm, rows, key, columns)
//	for difference, err := range reconcile.Diff(ctx, a, b, reconcile.Options{Columns: columns}) {
func FromRows(reader *integrity.Reader, rows *sql.Rows, key, columns []integrity.Column) iter.Seq2[Row, error] {
	return func(yield func(Row, error) bool) {
		for values, err := range reader.FromRows(rows, both(key, columns)...) {
			if err != nil {
				yield(Row{}, fmt.Errorf("integrity/reconcile: %w", err))
				return
			}
			row := Row{Key: make([]any, len(key)), Values: make(map[string]any, len(columns))}
			for i, c := range key {
				row.Key[i] = values[c.Name]
			}
			for _, c := range columns {
				row.Values[c.Name] = values[c.Name]
			}
			if !yield(row, nil) {
				return
			}
		}
	}
}

// both are the columns of the key and those to compare, each once.
func both(key, columns []integrity.Column) []integrity.Column {
	out := append([]integrity.Column{}, key...)
	for _, c := range columns {
		if !slices.Contains(key, c) {
			out = append(out, c)
		}
	}
	return out
}
