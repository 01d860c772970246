package main

import (
	"context"
	"database/sql"
	"database/sql/driver"

	"github.com/jackc/pgx/v5"
)

// handle is a transaction of pgx for a trail. It has Commit, by which the trail
// sees what it is.
type handle struct{ pgx.Tx }

// ExecContext is all that recording needs.
func (h handle) ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error) {
	tag, err := h.Exec(ctx, query, args...)
	return driver.RowsAffected(tag.RowsAffected()), err
}

// beginner is a *pgx.Conn, a *pgxpool.Pool, or a pgx.Tx for a savepoint.
type beginner interface {
	Begin(ctx context.Context) (pgx.Tx, error)
}

func (c *crm) withPgx(ctx context.Context, db beginner, id, email string, rest func() error) error {
	return pgx.BeginFunc(ctx, db, func(tx pgx.Tx) error {
		rows, err := tx.Query(ctx, `SELECT id, email, notes FROM contacts WHERE id = $1`, id)
		if err != nil {
			return err
		}
		before, err := pgx.CollectExactlyOneRow(rows, pgx.RowToStructByName[Contact])
		if err != nil {
			return err
		}
		after := before
		after.Email = email
		if _, err := tx.Exec(ctx, `UPDATE contacts SET email = $1 WHERE id = $2`, email, id); err != nil {
			return err
		}
		if _, err := c.trail.Record(ctx, handle{tx}, c.moved(&before, &after)); err != nil {
			return err
		}
		return rest()
	})
}

// withPgxNested does it in a savepoint.
func (c *crm) withPgxNested(ctx context.Context, db beginner, id, email string, rest func() error) error {
	return pgx.BeginFunc(ctx, db, func(tx pgx.Tx) error { return c.withPgx(ctx, tx, id, email, rest) })
}
