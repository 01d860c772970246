package audit

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"reflect"
	"slices"

	"github.com/crmguard/crmguard/internal/sqldb"
)

// inTransaction refuses what is no transaction: there each statement would
// commit by itself, and the event without the business change. What has a
// Commit is one, unless a database is embedded in it, also behind an interface: it
// may not have begun. What can begin one, and cannot commit, is a database or a
// connection: libraries give their Begin other results than database/sql does, so
// the name counts and not the signature. Of the others the database knows, if it can
// be asked without a trace.
func (t *Trail) inTransaction(ctx context.Context, tx Tx) error {
	if plain, ok := tx.(*sql.Tx); ok && plain != nil {
		return nil
	}
	handle := reflect.TypeOf(tx)
	if handle == nil {
		return ErrNoTransaction
	}
	known, looked := t.handles.Load(handle)
	if !looked {
		known, _ = t.handles.LoadOrStore(handle, handleOf(handle))
	}
	kind, _ := known.(handleKind)
	switch {
	case kind.mayBeNil && embedsNil(tx), kind.begins:
		return ErrNoTransaction
	case kind.commits && (!kind.mayHold || !holdsDatabase(reflect.ValueOf(tx), deepest)):
		return nil
	}
	return t.askTransaction(ctx, tx)
}

// handleKind is what the type of a handle says, looked at once a type. One that neither
// commits nor begins, or may do both, says nothing.
type handleKind struct{ mayBeNil, commits, mayHold, begins bool }

func handleOf(handle reflect.Type) (k handleKind) {
	k.mayBeNil = handle.Kind() != reflect.Struct || slices.ContainsFunc(slices.Collect(handle.Fields()), func(f reflect.StructField) bool { return f.Anonymous })
	if commits(handle) {
		k.commits, k.mayHold = !embedsDatabase(handle, deepest), embedsInterface(handle, deepest)
		return k
	}
	k.begins = begins(handle)
	return k
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
