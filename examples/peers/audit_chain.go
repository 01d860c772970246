package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"database/sql"
	"errors"
	"fmt"
)

// chainJournal is a chain of hashes that grows within the transactions, as
// applications write it: the lock is held until COMMIT, since the next one must
// see the last hash.
func chainJournal(ctx context.Context, s shop, size int) (*journal, error) {
	db, err := s.open(ctx, "chain", `CREATE TABLE events (n bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, id bytea NOT NULL UNIQUE, body bytea NOT NULL, hash bytea NOT NULL)`)
	if err != nil {
		return nil, err
	}
	body := randomBytes(size - 16 - sha256.Size)
	return &journal{
		name: "a chain of hashes under pg_advisory_xact_lock", role: peer, db: db, events: `SELECT COUNT(*) FROM events`, before: nothingBefore,
		note: func(ctx context.Context, tx *sql.Tx, _ string) error {
			id, err := newID()
			if err != nil {
				return err
			}
			if _, err := tx.ExecContext(ctx, `SELECT pg_advisory_xact_lock(1)`); err != nil {
				return err
			}
			var last []byte
			if err := tx.QueryRowContext(ctx, `SELECT hash FROM events ORDER BY n DESC LIMIT 1`).Scan(&last); err != nil && !errors.Is(err, sql.ErrNoRows) {
				return err
			}
			_, err = tx.ExecContext(ctx, `INSERT INTO events (id, body, hash) VALUES ($1, $2, $3)`, id, body, link(last, id, body))
			return err
		},
		sound: func(ctx context.Context) error { return unbroken(ctx, db) },
	}, nil
}

func link(last, id, body []byte) []byte {
	h := sha256.New()
	for _, part := range [][]byte{last, id, body} {
		_, _ = h.Write(part) // never fails
	}
	return h.Sum(nil)
}

func unbroken(ctx context.Context, db *sql.DB) (err error) {
	rows, err := db.QueryContext(ctx, `SELECT n, id, body, hash FROM events ORDER BY n`)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	var last []byte
	for rows.Next() {
		var n int64
		var id, body, hash []byte
		if err := rows.Scan(&n, &id, &body, &hash); err != nil {
			return err
		}
		if last = link(last, id, body); !bytes.Equal(last, hash) {
			return fmt.Errorf("the chain is broken at %d", n)
		}
	}
	return rows.Err()
}
