package integrity

import (
	"database/sql"
	"fmt"
	"strings"
)

// SQLiteColumns is the part of a SELECT that reads columns as SQLite holds
// them:
//
//	+`city` AS `city`, +`active` AS `active`
//
// The sign does nothing but keep the driver from making a time of a text, or a
// boolean of a number, because of the declared type of the column: two values
// that SQLite compares as different would come back as one. A column that the
// driver filled from a time.Time is read without it (or such times stored as
// integers), and an option of the driver that makes times of all text, such as
// _texttotime, does not go with it.
func SQLiteColumns(columns []Column) string {
	parts := make([]string, len(columns))
	for i, c := range columns {
		name := "`" + strings.ReplaceAll(c.Name, "`", "``") + "`" // within "…" SQLite takes an unknown name for a text
		parts[i] = "+" + name + " AS " + name
	}
	return strings.Join(parts, ", ")
}

// Cells reads the row at hand of a query into a map, by the names of its
// columns and as the driver gives them: what a [SealedRow] holds as Values. A
// Scan into a string or an int64 would make them alike, the number 1 and the
// bytes of "1", which SQL compares as different.
//
// The first columns of the query go to into instead, in order: pointers to
// string, int64 or []byte, or to any, which takes all. A string and bytes may
// be NULL, which leaves them empty. Anything else than such a value is an error
// that wraps [ErrTampered]; a sweep counts the row as tampered and goes on:
//
//	row.Values, err = integrity.Cells(rows, &row.Ref.Key, &row.Ref.Version, &row.Ref.SchemaID, &row.Seal)
//	if !yield(row, err) {
//
// A key that the table holds as a number goes to an int64, of which Ref.Key is
// the decimal text, as it was for the seal; to a string no row of the table
// would pass:
//
//	row.Values, err = integrity.Cells(rows, &id, &row.Ref.Version, &row.Ref.SchemaID, &row.Seal)
//	row.Ref.Key = strconv.FormatInt(id, 10)
func Cells(rows *sql.Rows, into ...any) (map[string]any, error) {
	if rows == nil {
		return nil, rowErr("cells: no rows")
	}
	names, err := rows.Columns()
	if err != nil {
		return nil, fmt.Errorf("integrity: cells: %w", err)
	}
	if len(into) > len(names) {
		return nil, rowErr("cells: %d values to fill, the query has %d columns", len(into), len(names))
	}
	cells := make([]any, len(names))
	pointers := make([]any, len(names))
	for i := range cells {
		pointers[i] = &cells[i]
	}
	if err := rows.Scan(pointers...); err != nil {
		return nil, fmt.Errorf("integrity: cells: %w", err)
	}
	values := make(map[string]any, len(names))
	for i, name := range names[len(into):] {
		cell := cells[len(into)+i]
		if raw, isBytes := cell.([]byte); isBytes && raw == nil {
			cell = []byte{} // some drivers give an empty blob as nil bytes, and NULL as nil
		}
		values[name] = cell
	}
	if len(values) != len(names)-len(into) {
		return nil, rowErr("cells: two columns of the query have one name")
	}
	for i, pointer := range into {
		if err := assign(pointer, cells[i], names[i]); err != nil {
			return values, err
		}
	}
	return values, nil
}

// assign converts nothing.
func assign(pointer, cell any, name string) error {
	ok := true
	switch p := pointer.(type) {
	case *any:
		*p = cell
	case *string:
		*p, ok = cell.(string)
		ok = ok || cell == nil
	case *[]byte:
		*p, ok = cell.([]byte)
		ok = ok || cell == nil
	case *int64:
		*p, ok = cell.(int64)
	default:
		return rowErr("cells: column %q cannot go to a %T", name, pointer)
	}
	if !ok {
		return &tamperError{column: name, what: fmt.Sprintf("column %q: a %T", name, cell)}
	}
	return nil
}

// TextFromBytes makes a string of each []byte that stands in a column of
// another type than [Bytes], for drivers that hand out text as bytes, such as
// those of MySQL. Use it only where the database keeps to the declared type of
// a column. SQLite does not: a blob in its column of text is no text, and WHERE
// passes it over.
func TextFromBytes(columns []Column, values map[string]any) {
	for _, c := range columns {
		raw, isBytes := values[c.Name].([]byte)
		binary := c.Type == Bytes || c.Type == Sealed && isSealed(raw)
		if isBytes && raw != nil && !binary {
			values[c.Name] = string(raw)
		}
	}
}
