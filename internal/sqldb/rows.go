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
	// New says that a row which is there is an error.
	New bool
	// Types are those of the columns on PostgreSQL, [Bigint] or [Bytea]. Where they
	// are said, rows go there as arrays, all in one statement, and values are int64,
	// []byte or nil.
	Types []string
	// Ends says that whatever goes wrong ends the transaction. SQLite keeps then no
	// journal of what a statement of many rows has changed, to undo it alone.
	Ends bool
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
	if d.Kind == Postgres && len(in.Types) > 0 && len(rows) > 0 {
		args, err := arraysOf(in, rows)
		if err != nil {
			return err
		}
		_, err = e.ExecContext(ctx, d.Bind(d.arraysText(in)), args...)
		return Safe(err)
	}
	for len(rows) > 0 {
		n := min(len(rows), rowsAStatement, d.placeholders()/len(in.Columns))
		args := make([]any, 0, n*len(in.Columns))
		for _, row := range rows[:n] {
			if len(row) != len(in.Columns) {
				return wrongRow(in, row)
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

func wrongRow(in Insert, row []any) error {
	return fmt.Errorf("sqldb: a row of %s has %d values for %d columns", in.Table, len(row), len(in.Columns))
}

// placeholders is how many a statement may have.
func (d Dialect) placeholders() int {
	if d.Kind == SQLite {
		return 32766 // SQLITE_MAX_VARIABLE_NUMBER since 3.32
	}
	return 65535 // a 16-bit count in both protocols
}

func (d Dialect) insertText(in Insert, rows int) string {
	row := "(" + Marks(len(in.Columns)) + ")"
	return d.inserting(in) + " VALUES " + strings.TrimSuffix(strings.Repeat(row+", ", rows), ", ") + d.conflict(in)
}

// inserting is how the statement begins.
func (d Dialect) inserting(in Insert) string {
	verb := "INSERT INTO "
	if in.Ends && d.Kind == SQLite {
		verb = "INSERT OR FAIL INTO "
	}
	return verb + in.Table + " (" + strings.Join(in.Columns, ", ") + ")"
}

// conflict says what becomes of rows that are there.
func (d Dialect) conflict(in Insert) string {
	set := []string{}
	for _, column := range in.Columns {
		if in.Replace && !slices.Contains(in.Key, column) && !slices.Contains(in.Once, column) {
			set = append(set, column+" = "+d.inserted(column))
		}
	}
	switch {
	case in.New:
		return ""
	case d.mysql():
		if len(set) == 0 { // INSERT IGNORE would hide every other fault, too
			same := append(slices.Clone(in.Key), in.Columns...)[0]
			set = []string{same + " = " + in.Table + "." + same}
		}
		return " ON DUPLICATE KEY UPDATE " + strings.Join(set, ", ")
	case len(in.Key) == 0:
		return " ON CONFLICT DO NOTHING"
	case len(set) == 0:
		return " ON CONFLICT (" + strings.Join(in.Key, ", ") + ") DO NOTHING"
	default:
		return " ON CONFLICT (" + strings.Join(in.Key, ", ") + ") DO UPDATE SET " + strings.Join(set, ", ")
	}
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
