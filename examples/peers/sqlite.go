package main

import (
	"context"
	"database/sql"
	"path/filepath"

	_ "modernc.org/sqlite" // the driver of every database here
)

// database opens a new SQLite file, safe against power cuts as a CRM wants it.
func (p *bench) database(ctx context.Context, name string, statements ...string) (*sql.DB, error) {
	dir, err := p.folder(name)
	if err != nil {
		return nil, err
	}
	return p.opened(ctx, filepath.Join(dir, name+".db"), statements...)
}

// opened opens a SQLite file, and makes it where it is absent.
func (p *bench) opened(ctx context.Context, file string, statements ...string) (*sql.DB, error) {
	db, err := sql.Open("sqlite", "file:"+file+"?_pragma=journal_mode(WAL)&_pragma=synchronous(FULL)&_pragma=busy_timeout(5000)&_pragma=secure_delete(1)&_pragma=foreign_keys(1)&_txlock=immediate")
	if err != nil {
		return nil, err
	}
	p.atEnd(db.Close)
	for _, statement := range statements {
		if _, err := db.ExecContext(ctx, statement); err != nil {
			return nil, err
		}
	}
	return db, nil
}

// within runs f in one transaction.
func within(ctx context.Context, db *sql.DB, f func(tx *sql.Tx) error) error {
	tx, err := db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	if err := f(tx); err != nil {
		_ = tx.Rollback()
		return err
	}
	return tx.Commit()
}

// one reads a single value.
func one[T any](ctx context.Context, db *sql.DB, query string, args ...any) (T, error) {
	var v T
	err := db.QueryRowContext(ctx, query, args...).Scan(&v)
	return v, err
}
