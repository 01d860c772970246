package sqldb

import (
	"context"
	"database/sql"
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

// isStrict asks for what is said when nothing is said.
func isStrict(ctx context.Context, d Dialect, q Querier) (bool, error) {
	if d.Kind != Postgres {
		return false, nil // MariaDB and MySQL read without locks and failures where a question is its own transaction
	}
	var level string
	err := One(ctx, q, []any{&level}, `SELECT current_setting('default_transaction_isolation')`)
	return level != "read committed" && level != "read uncommitted", err
}
