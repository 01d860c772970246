package audit

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"reflect"

	"github.com/crmguard/crmguard/audit/internal/handle"
	"github.com/crmguard/crmguard/internal/sqldb"
)

// inTransaction refuses what is no transaction: there each statement would
// commit by itself, and the event without the business change. The type of a handle
// says it ([handle.Of]), looked at once a type, but for what is embedded behind an
// interface; of those that say nothing the database knows, if it can be asked without
// a trace.
func (t *Trail) inTransaction(ctx context.Context, tx Tx) error {
	if plain, ok := tx.(*sql.Tx); ok && plain != nil {
		return nil
	}
	of := reflect.TypeOf(tx)
	if of == nil {
		return ErrNoTransaction
	}
	known, looked := t.handles.Load(of)
	if !looked {
		known, _ = t.handles.LoadOrStore(of, handle.Of(of))
	}
	kind, _ := known.(handle.Kind)
	switch {
	case kind.MayBeNil && handle.EmbedsNil(tx), kind.Begins:
		return ErrNoTransaction
	case kind.Commits && !kind.HoldsDatabase(tx):
		return nil
	}
	return t.askTransaction(ctx, tx)
}

// askTransaction asks the database whether a transaction is open on what this
// handle leads to: a savepoint is refused outside of one, or is gone as soon as it
// is set, and leaves nothing within one. SQLite's would begin a transaction.
func (t *Trail) askTransaction(ctx context.Context, tx Tx) error {
	if t.db.Kind == sqldb.SQLite {
		return fmt.Errorf("%w: the methods of a %T do not say whether it is one, and SQLite cannot be asked: hand in the transaction itself, or what has Commit and no database", ErrNoTransaction, tx)
	}
	err := say(ctx, tx, savepoint)
	if err == nil {
		err = say(ctx, tx, keepEvent)
	}
	var driver *sqldb.DriverError
	if errors.As(err, &driver) && (driver.Code == "25P01" || driver.Code == "mysql 1305") {
		return ErrNoTransaction
	}
	return err
}
