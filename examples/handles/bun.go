package main

import (
	"context"

	"github.com/uptrace/bun"
)

// withBun takes a *bun.DB, or a bun.Tx for a savepoint.
func (c *crm) withBun(ctx context.Context, db bun.IDB, id, email string, rest func() error) error {
	return db.RunInTx(ctx, nil, func(ctx context.Context, tx bun.Tx) error {
		before := Contact{ID: id}
		if err := tx.NewSelect().Model(&before).WherePK().Scan(ctx); err != nil {
			return err
		}
		after := before
		after.Email = email
		if _, err := tx.NewUpdate().Model(&after).WherePK().Exec(ctx); err != nil {
			return err
		}
		if _, err := c.trail.Record(ctx, tx.Tx, c.moved(&before, &after)); err != nil {
			return err
		}
		return rest()
	})
}

// withBunNested does it in a savepoint.
func (c *crm) withBunNested(ctx context.Context, db *bun.DB, id, email string, rest func() error) error {
	return db.RunInTx(ctx, nil, func(ctx context.Context, tx bun.Tx) error { return c.withBun(ctx, tx, id, email, rest) })
}
