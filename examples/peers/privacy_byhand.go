package main

import (
	"context"
	"database/sql"
	"fmt"
	"time"

	"github.com/google/uuid"
)

// requestTables are those of an erasure that is written by hand.
var requestTables = []string{
	`CREATE TABLE requests (id TEXT PRIMARY KEY, person TEXT NOT NULL, reason TEXT NOT NULL, asked_by TEXT NOT NULL, found INTEGER NOT NULL, state TEXT NOT NULL, at INTEGER NOT NULL) STRICT`,
	`CREATE TABLE approvals (request TEXT PRIMARY KEY, approved_by TEXT NOT NULL, at INTEGER NOT NULL) STRICT`,
}

func bareEraser(ctx context.Context, e engine) (*eraser, error) {
	c, err := populate(ctx, e, "bare", bystanders)
	return &eraser{people: c, erase: func(ctx context.Context, person string) error {
		return within(ctx, c.db, func(tx *sql.Tx) error { return c.deletePerson(ctx, tx, person) })
	}}, err
}

func (c *population) deletePerson(ctx context.Context, tx *sql.Tx, person string) error {
	for _, statement := range []string{`DELETE FROM notes WHERE person = ?`, `DELETE FROM activities WHERE person = ?`, `DELETE FROM deals WHERE person = ?`, `DELETE FROM contacts WHERE id = ?`} {
		if err := c.exec(ctx, tx, statement, person); err != nil {
			return err
		}
	}
	return nil
}

// carefulEraser is what a careful programmer writes without a library.
func carefulEraser(ctx context.Context, e engine, emptied bool) (*eraser, error) {
	c, err := populate(ctx, e, "careful", bystanders, requestTables...)
	return &eraser{people: c, erase: func(ctx context.Context, person string) error {
		id, err := c.request(ctx, person)
		if err != nil {
			return err
		}
		if err := within(ctx, c.db, func(tx *sql.Tx) error {
			return c.exec(ctx, tx, `INSERT INTO approvals VALUES (?, 'u2', ?)`, id, time.Now().UnixMicro())
		}); err != nil {
			return err
		}
		if err := c.carryOut(ctx, id); err != nil {
			return err
		}
		if emptied {
			if _, err := c.db.ExecContext(ctx, `PRAGMA wal_checkpoint(TRUNCATE)`); err != nil {
				return err
			}
		}
		left, err := c.found(ctx, person)
		if err == nil && left != 0 {
			err = fmt.Errorf("%d rows are left", left)
		}
		return err
	}}, err
}

func (c *population) request(ctx context.Context, person string) (string, error) {
	found, err := c.found(ctx, person)
	if err != nil {
		return "", err
	}
	id := uuid.NewString()
	return id, within(ctx, c.db, func(tx *sql.Tx) error {
		return c.exec(ctx, tx, `INSERT INTO requests VALUES (?, ?, 'gdpr-17:1', 'u1', ?, 'asked', ?)`, id, person, found, time.Now().UnixMicro())
	})
}

// carryOut erases whom an approved request is about.
func (c *population) carryOut(ctx context.Context, request string) error {
	return within(ctx, c.db, func(tx *sql.Tx) error {
		var person string
		row := tx.QueryRowContext(ctx, c.typed(`SELECT r.person FROM requests r JOIN approvals a ON a.request = r.id WHERE r.id = ? AND r.state = 'asked' AND a.approved_by <> r.asked_by`), request)
		if err := row.Scan(&person); err != nil {
			return err
		}
		if err := c.deletePerson(ctx, tx, person); err != nil {
			return err
		}
		return c.exec(ctx, tx, `UPDATE requests SET state = 'done', person = '' WHERE id = ?`, request)
	})
}
