package audit

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"github.com/crmguard/crmguard/internal/sqldb"
)

// within runs fn in a transaction of the trail's own, of READ COMMITTED and
// durable when within returns nil. Where the database ends it in favour of
// another one fn is called again.
func (t *Trail) within(ctx context.Context, fn func(tx HandoverTx) error) error {
	var own error
	err := t.db.Write(ctx, func(tx *sql.Tx) error {
		own = fn(tx)
		return own
	})
	if err != nil && (own == nil || !errors.Is(err, own)) {
		return fmt.Errorf("audit: %w", err)
	}
	return err
}

func (t *Trail) exec(ctx context.Context, tx sqldb.Execer, query string, args ...any) (int64, error) {
	result, err := tx.ExecContext(ctx, t.db.Bind(query), args...)
	if err != nil {
		return 0, fmt.Errorf("audit: write: %w", sqldb.Safe(err))
	}
	n, err := result.RowsAffected()
	if err != nil {
		return 0, fmt.Errorf("audit: write: %w", sqldb.Safe(err))
	}
	return n, nil
}

// add inserts rows unless they are there, or in their place. Whether a row was
// there already is not told, because MariaDB and MySQL do not tell: by a
// setting of the caller's connection both are one row affected.
func (t *Trail) add(ctx context.Context, tx sqldb.Execer, in sqldb.Insert, rows ...[]any) error {
	if err := t.db.Insert(ctx, tx, in, rows); err != nil {
		return fmt.Errorf("audit: write: %w", err)
	}
	return nil
}

// An answer holds values that no error shows.
type answer struct{ rows *sql.Rows }

// Scan is [sql.Rows.Scan], whose own error quotes what it cannot convert.
func (a answer) Scan(dest ...any) error { return sqldb.Safe(a.rows.Scan(dest...)) }

// query reads all rows before it returns, so that no connection is held while
// the caller works.
func (t *Trail) query(ctx context.Context, q sqldb.Querier, scan func(rows answer) error, query string, args ...any) error {
	return t.read(ctx, q, scan, t.db.Bind(query), args...)
}

// page reads the rows of a page.
func (t *Trail) page(ctx context.Context, q sqldb.Querier, scan func(rows answer) error, p sqldb.Page) error {
	query, args := t.db.Page(p)
	return t.read(ctx, q, scan, query, args...)
}

func (t *Trail) read(ctx context.Context, q sqldb.Querier, scan func(rows answer) error, bound string, args ...any) (err error) {
	if db, ok := q.(*sqldb.DB); ok { // outside of any transaction
		return db.Read(ctx, func(q sqldb.Querier) error { return t.read(ctx, q, scan, bound, args...) })
	}
	rows, err := q.QueryContext(ctx, bound, args...)
	if err != nil {
		return fmt.Errorf("audit: read: %w", sqldb.Safe(err))
	}
	defer func() {
		if closed := rows.Close(); err == nil && closed != nil {
			err = fmt.Errorf("audit: read: %w", sqldb.Safe(closed))
		}
	}()
	for rows.Next() {
		if err := scan(answer{rows}); err != nil {
			return fmt.Errorf("audit: read: %w", err)
		}
	}
	if err := rows.Err(); err != nil {
		return fmt.Errorf("audit: read: %w", sqldb.Safe(err))
	}
	return nil
}

// one reads one row into dest and reports whether there was any.
func (t *Trail) one(ctx context.Context, q sqldb.Querier, dest []any, query string, args ...any) (bool, error) {
	err := sqldb.One(ctx, q, dest, t.db.Bind(query), args...)
	if errors.Is(err, sql.ErrNoRows) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("audit: read: %w", err)
	}
	return true, nil
}

// any says whether a question has an answer.
func (t *Trail) any(ctx context.Context, q sqldb.Querier, query string, args ...any) (bool, error) {
	var one int64
	return t.one(ctx, q, []any{&one}, query+" LIMIT 1", args...)
}
