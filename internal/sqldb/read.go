package sqldb

import (
	"context"
	"database/sql"
	"errors"
)

// Read runs f, which only reads, on a connection of its own or on that of a
// transaction. Where transactions of PostgreSQL are serializable, or repeatable,
// unless something else is said, a question outside of any may fail for the sake
// of other transactions, also when it is alone in what it asks: then Read states
// READ COMMITTED.
func (db *DB) Read(ctx context.Context, f func(q Querier) error) error {
	if !db.strict {
		return f(db.DB)
	}
	return db.inTx(ctx, &sql.TxOptions{Isolation: sql.LevelReadCommitted, ReadOnly: true}, func(tx *sql.Tx) error { return f(tx) })
}

// ReadCatalog is Read for questions about the database's own tables. PostgreSQL takes
// what is asked by way of a table and all its partitions for so expensive that it
// compiles the question first, which takes half a second and never pays.
func (db *DB) ReadCatalog(ctx context.Context, f func(q Querier) error) error {
	if db.Kind != Postgres {
		return db.Read(ctx, f)
	}
	return db.inTx(ctx, &sql.TxOptions{Isolation: sql.LevelReadCommitted, ReadOnly: true}, func(tx *sql.Tx) error {
		var jit string
		if err := One(ctx, tx, []any{&jit}, `SELECT set_config('jit', 'off', true)`); err != nil {
			return err
		}
		return f(tx)
	})
}

// Each hands the rows of a question to scan, one by one; what scan answers ends
// it. From a *DB it reads as [DB.Read] does.
func Each(ctx context.Context, q Querier, scan func(rows *sql.Rows) error, query string, args ...any) (err error) {
	if db, ok := q.(*DB); ok {
		return db.Read(ctx, func(q Querier) error { return Each(ctx, q, scan, query, args...) })
	}
	rows, err := q.QueryContext(ctx, query, args...)
	if err != nil {
		return Safe(err)
	}
	defer func() { err = errors.Join(err, Safe(rows.Close())) }()
	for rows.Next() {
		if err := scan(rows); err != nil {
			return err
		}
	}
	return Safe(rows.Err())
}

// isStrict asks for what is said when nothing is said.
func isStrict(ctx context.Context, d Dialect, q Querier) (bool, error) {
	if d.Kind != Postgres {
		return false, nil // MariaDB and MySQL read without locks and failures where a question is its own transaction
	}
	var level string
	err := One(ctx, q, []any{&level}, `SELECT current_setting('default_transaction_isolation')`)
	return level != "read committed" && level != "read uncommitted", err
}
