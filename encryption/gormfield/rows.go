package gormfield

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"io"
	"reflect"
)

// openedRows is a driver for one result: it reads rows, opens them page by page
// and hands them on as rows, so that whatever scans them, by GORM or by hand,
// finds opened values.
type openedRows struct {
	source  *sql.Rows
	names   []string
	shown   []string // those that are handed on; nil is all of them
	types   []*sql.ColumnType
	groups  []group
	open    func(first int, page [][]any) error // nil opens nothing
	size    int                                 // rows a page; 0 is all of them
	full    func() bool                         // whether the key store may wait for the connection of the source; nil is no
	most    int                                 // rows that are read ahead then
	one     bool                                // no more than one row is wanted
	page    [][]any
	next    int     // in page
	read    int     // rows before page
	ahead   [][]any // rows behind page that were read, and not opened
	drained bool
	err     error
}

// readAhead bounds the rows that are read before the first of them is opened, so
// that their connection is free for the key store.
const readAhead = 1 << 16

// passed hands rows on as they are.
func passed(rows *sql.Rows) (*openedRows, error) {
	names, err := rows.Columns()
	if err != nil {
		return nil, errors.Join(err, rows.Close())
	}
	types, err := rows.ColumnTypes()
	if err != nil {
		return nil, errors.Join(err, rows.Close())
	}
	return &openedRows{source: rows, names: names, types: types, size: 1}, nil
}

// fill opens the next page. Where the pool has no connection left for the key
// store, the rest is read first, which lets that of the rows go.
func (r *openedRows) fill() error {
	r.read += len(r.page)
	r.page, r.next = nil, 0
	err := r.readUpTo(r.size)
	if err == nil && !r.drained && r.full != nil && r.full() {
		err = r.readUpTo(r.most)
	}
	if err != nil {
		return err
	}
	n := len(r.ahead)
	if r.size > 0 {
		n = min(n, r.size)
	}
	r.page, r.ahead = r.ahead[:n:n], r.ahead[n:]
	if n == 0 {
		return io.EOF
	}
	if r.open != nil {
		return r.open(r.read, r.page)
	}
	return nil
}

// readUpTo reads until n rows are there, 0 is all of them, and lets the connection
// go where there are no more.
func (r *openedRows) readUpTo(n int) error {
	for !r.drained && (n == 0 || len(r.ahead) < n) {
		if r.one && len(r.ahead) == 1 || !r.source.Next() {
			r.drained = true
			return errors.Join(r.source.Err(), r.source.Close())
		}
		row := make([]any, len(r.names))
		targets := make([]any, len(row))
		for i := range row {
			targets[i] = &row[i]
		}
		if err := r.source.Scan(targets...); err != nil {
			return err
		}
		r.ahead = append(r.ahead, row)
	}
	return nil
}

// Next hands on one row.
func (r *openedRows) Next(dest []driver.Value) error {
	if r.next == len(r.page) {
		if err := r.fill(); err != nil {
			return err
		}
	}
	for i := range dest {
		dest[i] = r.page[r.next][i]
	}
	r.page[r.next] = nil
	r.next++
	return nil
}

// Columns are the names.
func (r *openedRows) Columns() []string {
	if r.shown != nil {
		return r.shown
	}
	return r.names
}

// Close closes what is read from.
func (r *openedRows) Close() error {
	if r.source == nil {
		return nil
	}
	return r.source.Close()
}

func (r *openedRows) sealed(i int) bool {
	for _, g := range r.groups {
		for _, c := range g.cells {
			if c.at == i {
				return true
			}
		}
	}
	return false
}

// ColumnTypeScanType is text for an opened column.
func (r *openedRows) ColumnTypeScanType(i int) reflect.Type {
	if r.sealed(i) {
		return reflect.TypeFor[string]()
	}
	if t := r.types[i].ScanType(); t != nil {
		return t
	}
	return reflect.TypeFor[any]()
}

// ColumnTypeDatabaseTypeName is that of the database.
func (r *openedRows) ColumnTypeDatabaseTypeName(i int) string { return r.types[i].DatabaseTypeName() }

// ColumnTypeNullable is what the database says.
func (r *openedRows) ColumnTypeNullable(i int) (nullable, ok bool) { return r.types[i].Nullable() }

// ColumnTypeLength is what the database says.
func (r *openedRows) ColumnTypeLength(i int) (int64, bool) { return r.types[i].Length() }

// ColumnTypePrecisionScale is what the database says.
func (r *openedRows) ColumnTypePrecisionScale(i int) (precision, scale int64, ok bool) {
	return r.types[i].DecimalSize()
}

var errOneQuery = errors.New("gormfield: these rows are all there is")

// oneResult is a driver, its connector and its connection; the one query on it
// has one result. It is not openedRows itself, which the sql.DB would close.
type oneResult struct{ rows *openedRows }

func (c oneResult) Connect(context.Context) (driver.Conn, error) { return c, nil }
func (c oneResult) Driver() driver.Driver                        { return c }

func (c oneResult) QueryContext(context.Context, string, []driver.NamedValue) (driver.Rows, error) {
	if c.rows.err != nil {
		return nil, c.rows.err
	}
	return c.rows, nil
}
func (c oneResult) Open(string) (driver.Conn, error)    { return nil, errOneQuery }
func (c oneResult) Prepare(string) (driver.Stmt, error) { return nil, errOneQuery }
func (c oneResult) Begin() (driver.Tx, error)           { return nil, errOneQuery }
func (c oneResult) Close() error                        { return nil }
