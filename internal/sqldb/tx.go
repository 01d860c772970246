package sqldb

import (
	"cmp"
	"context"
	"crypto/rand"
	"database/sql"
	"errors"
	"fmt"
	"time"
)

// A DB is a database whose dialect is known.
type DB struct {
	Dialect
	*sql.DB
	strict bool   // what stands outside of transactions of ours may fail for others
	whole  bool   // a policy that hides rows is an error
	lock   string // the table of SQLite that a writer begins with, "" for the library's own
}

// Open asks the database what it is. It does not take it over: whoever opened
// it closes it.
func Open(ctx context.Context, db *sql.DB) (*DB, error) {
	if db == nil {
		return nil, errors.New("sqldb: no database was handed in")
	}
	d, err := Ask(ctx, db)
	if err != nil {
		return nil, err
	}
	strict, err := isStrict(ctx, d, db)
	if err != nil {
		return nil, fmt.Errorf("sqldb: ask for the isolation of transactions: %w", err)
	}
	return &DB{Dialect: d, DB: db, strict: strict}, nil
}

// attempts bounds how often a transaction is tried that the database ended in
// favour of others. With the pauses between them it is about three seconds.
const attempts = 10

// Write runs f in a transaction of a primary ([ErrStandby]) that is durable
// when Write returns nil, as far as the server is set up for it ([DB.Health]),
// and sees what was committed before each of its statements. Where the database
// ends it for the sake of another transaction, f is called again, so f must
// leave nothing behind but what it wrote through tx.
//
// On PostgreSQL a process that says nothing for a minute inside the transaction
// is ended by the server, unless the application has set another bound
// (idle_in_transaction_session_timeout): what it has locked, all others wait
// for. MariaDB and MySQL have such a bound for sessions only, which belong to
// the application.
//
// The isolation is stated, because an application may have set another
// default: stricter ones fail more often, and MariaDB's default holds up
// insertions of others by its gap locks.
func (db *DB) Write(ctx context.Context, f func(tx *sql.Tx) error) error {
	return db.write(ctx, sql.LevelReadCommitted, f)
}

func (db *DB) write(ctx context.Context, level sql.IsolationLevel, f func(tx *sql.Tx) error) error {
	options := &sql.TxOptions{Isolation: level}
	if db.Kind == SQLite {
		options = nil // serial as it is
	}
	return retry(ctx, func() error {
		return db.refused(ctx, db.inTx(ctx, options, func(tx *sql.Tx) error {
			if err := db.begun(ctx, tx); err != nil {
				return err
			}
			return f(tx)
		}))
	})
}

// begun prepares a transaction that will write.
func (db *DB) begun(ctx context.Context, tx *sql.Tx) error {
	switch db.Kind {
	case Postgres:
		// One question is one way to the server. The application may run without
		// synchronous commits. A default of read-only is how a database is frozen,
		// and lib/pq begins in spite of it. A process that stands still in the
		// transaction holds locks that others wait for: the server ends it. What
		// policies hide is no part of this question unless the caller needs all rows.
		var durable, frozen, idle, rows string
		var standby bool
		security := `''`
		if db.whole {
			security = unfiltered
		}
		err := One(ctx, tx, []any{&durable, &standby, &frozen, &idle, &rows}, `SELECT set_config('synchronous_commit', 'on', true), pg_is_in_recovery(), current_setting('default_transaction_read_only'),
			set_config('idle_in_transaction_session_timeout', COALESCE(NULLIF(current_setting('idle_in_transaction_session_timeout'), '0'), '1min'), true), `+security)
		switch {
		case err != nil:
			return err
		case standby:
			return standbyError(db.Kind)
		case frozen == "on":
			return &DriverError{Code: "25006", said: readOnly}
		}
		return nil
	case SQLite: // takes the write lock, which a read before the first write could lose
		_, err := tx.ExecContext(ctx, `DELETE FROM `+cmp.Or(db.lock, "crmguard_schema")+` WHERE 0`)
		return Safe(err)
	case MariaDB, MySQL: // the rights of some accounts let them write where read_only is set
	}
	return db.Primary(ctx, tx)
}

// Snapshot runs f, once, over one unchanging view of a primary ([ErrStandby]).
// No database ends a transaction that only reads for the sake of another one.
func (db *DB) Snapshot(ctx context.Context, f func(tx *sql.Tx) error) error {
	options := &sql.TxOptions{Isolation: sql.LevelRepeatableRead, ReadOnly: true}
	if db.Kind == SQLite {
		options = nil // a reader of a write-ahead log sees one state; ReadOnly would need a connection of that kind
	}
	return db.inTx(ctx, options, func(tx *sql.Tx) error {
		if err := db.view(ctx, tx); err != nil {
			return err
		}
		return f(tx)
	})
}

func (db *DB) inTx(ctx context.Context, options *sql.TxOptions, f func(tx *sql.Tx) error) error {
	tx, err := db.BeginTx(ctx, options)
	if err != nil {
		return fmt.Errorf("begin: %w", Safe(err))
	}
	if err := f(tx); err != nil {
		if rollback := tx.Rollback(); rollback != nil && !errors.Is(rollback, sql.ErrTxDone) {
			return errors.Join(err, Safe(rollback))
		}
		return err
	}
	if err := tx.Commit(); err != nil {
		return fmt.Errorf("commit: %w", Safe(err))
	}
	return nil
}

func retry(ctx context.Context, f func() error) error {
	pause := 5 * time.Millisecond
	for attempt := 1; ; attempt++ {
		err := f()
		if err == nil || !passing(err) || attempt == attempts {
			return err
		}
		if wait(ctx, pause) != nil {
			return err
		}
		pause = min(2*pause, 500*time.Millisecond)
	}
}

// wait takes between a half and the whole of d, so that those who collided do
// not meet again.
func wait(ctx context.Context, d time.Duration) error {
	var chance [1]byte
	_, _ = rand.Read(chance[:]) // never fails, and the pause needs no secret
	timer := time.NewTimer(d/2 + d/2*time.Duration(chance[0])/256)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}
