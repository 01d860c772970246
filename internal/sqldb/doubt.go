package sqldb

import (
	"context"
	"database/sql"
	"strings"
)

// RefusesRow says of the answer to an UPDATE of these columns whether it is about
// one of its rows, so that another row may pass: it is [Refused], or [Doubtful], and
// the same change of no row passes. The names are as in a statement. Without
// columns, as for what COMMIT answered, a doubt is taken for a refusal.
//
// It is asked behind the transaction that failed, on a connection of its own.
func (db *DB) RefusesRow(ctx context.Context, err error, table string, columns ...string) bool {
	if err == nil {
		return false
	}
	if _, refused := Refused(err); refused || !Doubtful(err) {
		return refused
	}
	if len(columns) == 0 {
		return true
	}
	return db.ChangeNoRow(ctx, table, columns...) == nil
}

// ChangeNoRow is an UPDATE of columns of no row: what it answers is about the
// statement, or the table, and about none of its rows.
func (db *DB) ChangeNoRow(ctx context.Context, table string, columns ...string) error {
	same := make([]string, len(columns))
	for i, c := range columns {
		same[i] = c + " = " + c
	}
	return db.Write(ctx, func(tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, `UPDATE `+table+` SET `+strings.Join(same, ", ")+` WHERE 1 = 0`)
		return Safe(err)
	})
}
