package sqldb

import (
	"context"
	"errors"
	"fmt"
)

// ErrRowSecurity says that policies of PostgreSQL show this role only some of the
// rows of a table, where all of them are needed.
var ErrRowSecurity = errors.New("row security hides rows from this role")

const hidesRows = "row security hides rows from this role: use one with BYPASSRLS, or the owner of the tables"

// unfiltered makes the rest of a transaction fail at each statement that would see
// or change some rows only.
const unfiltered = `set_config('row_security', 'off', true)`

// Whole is the database for transactions that must see all rows of the tables that
// they touch, because they decide by what is not there: on PostgreSQL each
// statement of [DB.Write] and [DB.Snapshot] that a policy would keep rows from is
// [ErrRowSecurity]. The server itself says so, with each statement anew: also
// where a policy has come since the last one, or another connection of the pool has
// another role. It costs no way to the server. Statements outside of transactions
// are as they were.
func (db *DB) Whole() *DB {
	other := *db
	other.whole = true
	return &other
}

// view prepares a transaction that will read one unchanging view.
func (db *DB) view(ctx context.Context, q Querier) error {
	if !db.whole || db.Kind != Postgres {
		return db.Primary(ctx, q)
	}
	var standby bool
	var off string
	if err := One(ctx, q, []any{&standby, &off}, `SELECT pg_is_in_recovery(), `+unfiltered); err != nil {
		return fmt.Errorf("sqldb: ask whether the database is a primary: %w", err)
	}
	if standby {
		return standbyError(db.Kind)
	}
	return nil
}
