package main

import (
	"context"
	"database/sql"
	"strings"
)

// withSQL is database/sql; numbered says that placeholders are $1, as those of
// PostgreSQL.
func (c *crm) withSQL(ctx context.Context, db *sql.DB, numbered bool, id, email string, rest func() error) error {
	marks := strings.NewReplacer("?1", "?", "?2", "?")
	if numbered {
		marks = strings.NewReplacer("?1", "$1", "?2", "$2")
	}
	tx, err := db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer func() { _ = tx.Rollback() }() // of what has not committed
	var before Contact
	row := tx.QueryRowContext(ctx, marks.Replace(`SELECT id, email, notes FROM contacts WHERE id = ?1`), id)
	if err := row.Scan(&before.ID, &before.Email, &before.Notes); err != nil {
		return err
	}
	after := before
	after.Email = email
	if _, err := tx.ExecContext(ctx, marks.Replace(`UPDATE contacts SET email = ?1 WHERE id = ?2`), email, id); err != nil {
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
