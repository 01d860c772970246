package leakage

import (
	"context"
	"database/sql"
	"fmt"
	"iter"
	"strconv"

	"github.com/crmguard/crmguard/internal/sqldb"
)

// Plain reads a column that is not sealed yet, row by row, as text: table and
// column as they are named in the database, which is any that the package
// encryption knows. NULL is left out. It is one SELECT, which on PostgreSQL holds up
// VACUUM as long as it runs: hand Measure a sequence of your own for a table where
// that matters. An error is the last answer.
func Plain(ctx context.Context, db *sql.DB, table, column string) iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		stop := false
		err := plain(ctx, db, table, column, func(value string) bool {
			stop = !yield(value, nil)
			return !stop
		})
		if err != nil && !stop {
			yield("", fmt.Errorf("leakage: read %s.%s: %w", table, column, err))
		}
	}
}

func plain(ctx context.Context, handle *sql.DB, table, column string, yield func(string) bool) error {
	db, err := sqldb.Open(ctx, handle)
	if err != nil {
		return err
	}
	name, err := db.Quote(table)
	if err != nil {
		return err
	}
	columns, err := db.Columns(ctx, db, table, column)
	if err != nil {
		return err
	}
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	return sqldb.Each(ctx, db, func(rows *sql.Rows) error {
		var raw any
		if err := rows.Scan(&raw); err != nil {
			return err
		}
		more := true
		switch v := columns[0].Read(raw).(type) {
		case string:
			more = yield(v)
		case []byte:
			more = yield(string(v))
		case int64:
			more = yield(strconv.FormatInt(v, 10))
		case float64:
			more = yield(strconv.FormatFloat(v, 'g', -1, 64))
		}
		if !more {
			return context.Canceled
		}
		return nil
	}, `SELECT `+db.Text(columns[0])+` FROM `+name)
}
