package sqldb

import (
	"context"
	"database/sql"
)

// WriteStill is Write for a transaction that must count rows before and after:
// all its statements see one state, but for what it writes itself. A row that
// another transaction has changed meanwhile ends it on PostgreSQL, and it is
// tried again. On MariaDB and MySQL it holds gaps between the rows that it
// locks, so that insertions of others wait: use it where nothing else will do.
func (db *DB) WriteStill(ctx context.Context, f func(tx *sql.Tx) error) error {
	return db.write(ctx, sql.LevelRepeatableRead, f)
}
