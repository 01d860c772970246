package main

import (
	"context"

	"github.com/jmoiron/sqlx"
)

func (c *crm) withSQLX(ctx context.Context, db *sqlx.DB, id, email string, rest func() error) error {
	tx, err := db.BeginTxx(ctx, nil)
	if err != nil {
		return err
	}
	defer func() { _ = tx.Rollback() }() // of what has not committed
	var before Contact
	if err := tx.GetContext(ctx, &before, tx.Rebind(`SELECT id, email, notes FROM contacts WHERE id = ?`), id); err != nil {
		return err
	}
	after := before
	after.Email = email
	if _, err := tx.NamedExecContext(ctx, `UPDATE contacts SET email = :email WHERE id = :id`, after); err != nil {
		return err
	}
	if _, err := c.trail.Record(ctx, tx, c.moved(&before, &after)); err != nil {
		return err
	}
	if err := rest(); err != nil {
		return err
	}
	return tx.Commit()
}
