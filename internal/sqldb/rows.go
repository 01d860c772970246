package sqldb

import (
	"context"
	"database/sql"
	"fmt"
	"slices"
	"strings"
)

// An Execer executes: *sql.DB, *sql.Conn and *sql.Tx are one.
type Execer interface {
	ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error)
}

// An Insert writes rows by primary key.
type Insert struct {
	Table   string
	Columns []string
	// Key is the primary key. A row that is there already under it is left as
	// it is. Where it is empty, so is a row that shares any unique key with one
	// that is there.
	Key []string
	// Replace takes the new row instead of the one that is there.
	Replace bool
	// Once are columns that Replace leaves as they are: of a table in which not
	// every column may be changed.
	Once []string
}

// Rows are written in statements of this many at most: longer ones gain
// nothing and hold the locks of more rows for longer.
const rowsAStatement = 500

// Insert writes the rows, each the values of in.Columns in their order, in as
// few statements as the limit of placeholders allows. Names are taken as they
// stand: they are the library's own, or quoted. With Replace no two rows of
// one call may share a key.
func (d Dialect) Insert(ctx context.Context, e Execer, in Insert, rows [][]any) error {
	for len(rows) > 0 {
		n := min(len(rows), rowsAStatement, d.placeholders()/len(in.Columns))
		args := make([]any, 0, n*len(in.Columns))
		for _, row := range rows[:n] {
			if len(row) != len(in.Columns) {
				return fmt.Errorf("sqldb: a row of %s has %d values for %d columns", in.Table, len(row), len(in.Columns))
			}
			args = append(args, row...)
		}
		if _, err := e.ExecContext(ctx, d.Bind(d.insertText(in, n)), args...); err != nil {
			return Safe(err)
		}
		rows = rows[n:]
	}
	return nil
}

// placeholders is how many a statement may have.
func (d Dialect) placeholders() int {
	if d.Kind == SQLite {
		return 32766 // SQLITE_MAX_VARIABLE_NUMBER since 3.32
	}
	return 65535 // a 16-bit count in both protocols
}

func (d Dialect) insertText(in Insert, rows int) string {
	var b strings.Builder
	b.WriteString("INSERT INTO " + in.Table + " (" + strings.Join(in.Columns, ", ") + ") VALUES ")
	row := "(" + Marks(len(in.Columns)) + ")"
	b.WriteString(strings.TrimSuffix(strings.Repeat(row+", ", rows), ", "))
	set := []string{}
	for _, column := range in.Columns {
		if in.Replace && !slices.Contains(in.Key, column) && !slices.Contains(in.Once, column) {
			set = append(set, column+" = "+d.inserted(column))
		}
	}
	switch {
	case d.mysql():
		if len(set) == 0 { // INSERT IGNORE would hide every other fault, too
			same := append(slices.Clone(in.Key), in.Columns...)[0]
			set = []string{same + " = " + in.Table + "." + same}
		}
		b.WriteString(" ON DUPLICATE KEY UPDATE " + strings.Join(set, ", "))
	case len(in.Key) == 0:
		b.WriteString(" ON CONFLICT DO NOTHING")
	case len(set) == 0:
		b.WriteString(" ON CONFLICT (" + strings.Join(in.Key, ", ") + ") DO NOTHING")
	default:
		b.WriteString(" ON CONFLICT (" + strings.Join(in.Key, ", ") + ") DO UPDATE SET " + strings.Join(set, ", "))
	}
	return b.String()
}

// inserted is the value that a conflicting row would have brought.
func (d Dialect) inserted(column string) string {
	if d.mysql() {
		return "VALUES(" + column + ")"
	}
	return "excluded." + column
}

// Delete deletes rows by their key, each the values of the key's columns in
// their order.
func (d Dialect) Delete(ctx context.Context, e Execer, table string, key []string, rows [][]any) error {
	for len(rows) > 0 {
		n := min(len(rows), rowsAStatement, d.placeholders()/len(key))
		args := make([]any, 0, n*len(key))
		for _, row := range rows[:n] {
			args = append(args, row...)
		}
		list := strings.TrimSuffix(strings.Repeat("("+Marks(len(key))+"), ", n), ", ")
		if d.Kind == SQLite { // takes row values from a query only
			list = "VALUES " + list
		}
		query := "DELETE FROM " + table + " WHERE (" + strings.Join(key, ", ") + ") IN (" + list + ")"
		if _, err := e.ExecContext(ctx, d.Bind(query), args...); err != nil {
			return Safe(err)
		}
		rows = rows[n:]
	}
	return nil
}
