package audit

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
)

// querier is what reads: a transaction, or the store outside any.
type querier interface {
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
}

func (t *Trail) exec(ctx context.Context, tx Tx, query string, args ...any) (int64, error) {
	result, err := tx.ExecContext(ctx, t.store.Bind(query), args...)
	if err != nil {
		return 0, fmt.Errorf("audit: write: %w", err)
	}
	n, err := result.RowsAffected()
	if err != nil {
		return 0, fmt.Errorf("audit: write: %w", err)
	}
	return n, nil
}

// query reads all rows before it returns, so that no connection is held while
// the caller works.
func (t *Trail) query(ctx context.Context, q querier, scan func(rows *sql.Rows) error, query string, args ...any) (err error) {
	rows, err := q.QueryContext(ctx, t.store.Bind(query), args...)
	if err != nil {
		return fmt.Errorf("audit: read: %w", err)
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	for rows.Next() {
		if err := scan(rows); err != nil {
			return fmt.Errorf("audit: read: %w", err)
		}
	}
	if err := rows.Err(); err != nil {
		return fmt.Errorf("audit: read: %w", err)
	}
	return nil
}

// one reads one row into dest and reports whether there was any.
func (t *Trail) one(ctx context.Context, q querier, dest []any, query string, args ...any) (bool, error) {
	found := false
	err := t.query(ctx, q, func(rows *sql.Rows) error {
		found = true
		return rows.Scan(dest...)
	}, query, args...)
	return found, err
}

// transaction refuses what can begin a transaction: a *sql.DB or a *sql.Conn,
// and wrappers of these, commit each statement by itself.
func transaction(tx Tx) error {
	if tx == nil {
		return ErrNoTransaction
	}
	if db, ok := tx.(*sql.Tx); ok && db == nil {
		return ErrNoTransaction
	}
	type beginner interface {
		BeginTx(ctx context.Context, opts *sql.TxOptions) (*sql.Tx, error)
	}
	if _, ok := tx.(beginner); ok {
		return ErrNoTransaction
	}
	return nil
}
