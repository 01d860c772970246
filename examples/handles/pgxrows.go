package main

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"io"

	"github.com/jackc/pgx/v5"
)

// A trail reads within the transaction, too, and reads rows of database/sql. pgx
// makes none of its own, so the result of a query goes through a database of one
// result. Where Tx of package audit asks for ExecContext alone, this file goes
// and the rest stays as it is.

// QueryContext runs the query in the transaction.
func (h handle) QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error) {
	db := sql.OpenDB(oneQuery{h.Tx})
	defer db.Close()                            // its connection lives on as long as the rows
	return db.QueryContext(ctx, query, args...) //nolint:sqlclosecheck // handed on
}

// QueryRowContext runs the query in the transaction.
func (h handle) QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row {
	db := sql.OpenDB(oneQuery{h.Tx})
	defer db.Close()
	return db.QueryRowContext(ctx, query, args...)
}

// oneQuery is a connector, a driver and a connection at once, over a transaction
// that is open and that it never ends.
type oneQuery struct{ tx pgx.Tx }

var errOneQuery = errors.New("a handle of pgx runs single queries only")

func (q oneQuery) Connect(context.Context) (driver.Conn, error) { return q, nil }
func (q oneQuery) Driver() driver.Driver                        { return q }
func (q oneQuery) Open(string) (driver.Conn, error)             { return nil, errOneQuery }
func (q oneQuery) Prepare(string) (driver.Stmt, error)          { return nil, errOneQuery }
func (q oneQuery) Begin() (driver.Tx, error)                    { return nil, errOneQuery }
func (q oneQuery) Close() error                                 { return nil }

// QueryContext reads all rows, so that the connection is free for what comes next.
func (q oneQuery) QueryContext(ctx context.Context, query string, args []driver.NamedValue) (driver.Rows, error) {
	values := make([]any, len(args))
	for i, a := range args {
		values[i] = a.Value
	}
	rows, err := q.tx.Query(ctx, query, values...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	out := &readRows{}
	for rows.Next() {
		row, err := rows.Values()
		if err != nil {
			return nil, err
		}
		out.rows = append(out.rows, row)
	}
	for _, column := range rows.FieldDescriptions() {
		out.columns = append(out.columns, column.Name)
	}
	return out, rows.Err()
}

// readRows are rows that were read.
type readRows struct {
	columns []string
	rows    [][]any
}

func (r *readRows) Columns() []string { return r.columns }
func (r *readRows) Close() error      { return nil }

func (r *readRows) Next(dest []driver.Value) error {
	if len(r.rows) == 0 {
		return io.EOF
	}
	for i, v := range r.rows[0] {
		dest[i] = v
		switch n := v.(type) { // integers have one size there
		case int16:
			dest[i] = int64(n)
		case int32:
			dest[i] = int64(n)
		}
	}
	r.rows = r.rows[1:]
	return nil
}
