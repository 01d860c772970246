package sqldb

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

// WaitForWriters returns when every transaction has ended that held a write lock
// on the table when it was called: what is read afterwards shows what they wrote,
// and none of them commits anything later. Transactions that only read are not
// waited for, nor those that begin to write meanwhile. Nobody is held up for
// longer than a second at a time, on SQLite and PostgreSQL not at all.
//
// table is its name as it stands in a statement. Whoever is waited for has no
// bound but the context, whose end says how many there are and, on PostgreSQL,
// which processes. told is called when their number changes, where the database
// counts them, and once where it does not; nil is silence.
//
// PostgreSQL is asked who holds locks, as CREATE INDEX CONCURRENTLY does:
// partitions and heirs count, and so do prepared transactions, and statements
// that still wait for the lock. Where pg_locks is not to be read, MariaDB and
// MySQL included, a lock of the table that writers exclude is taken for a moment,
// in tries of a fraction of a second or of one, with pauses between them of up to
// five. On MariaDB and MySQL that is InnoDB's own lock of the table besides, which a
// prepared transaction keeps when its connection or the server has ended: those of
// other tables are not waited for. On SQLite there is one writer at a time.
//
// A transaction is seen on the server that it runs on: where several servers take
// writes to one table (Galera, Group Replication, logical replication), those of
// the others are not.
func (db *DB) WaitForWriters(ctx context.Context, table string, told func(open int)) error {
	if err := db.Primary(ctx, db); err != nil {
		return err
	}
	if told == nil {
		told = func(int) {}
	}
	switch db.Kind {
	case Postgres:
		return db.postgresWriters(ctx, table, told)
	case SQLite:
		return db.between(ctx, table, told, 100*time.Millisecond, db.sqliteMoment) // nobody is held up by the tries
	default:
		return db.mysqlWriters(ctx, table, told)
	}
}

// writeModes are the locks of whoever has written rows, or may. SHARE UPDATE
// EXCLUSIVE is left out: those who only have that one, such as VACUUM, write none.
const writeModes = `('RowExclusiveLock', 'ShareRowExclusiveLock', 'ExclusiveLock', 'AccessExclusiveLock')`

// A writer is a transaction as pg_locks names it; a prepared one has no process.
type writer struct {
	transaction string
	process     sql.NullInt64
}

func (db *DB) postgresWriters(ctx context.Context, table string, told func(int)) error {
	if err := db.ordinary(ctx, table); err != nil {
		return err
	}
	now, err := db.writers(ctx, table)
	if codeOf(err) == "42501" { // pg_locks is for the administrator alone
		return db.between(ctx, table, told, 5*time.Second, db.postgresMoment)
	}
	if err != nil {
		return err
	}
	now, err = db.gone(ctx, table, now, now, told)
	if err != nil {
		return err
	}
	// Who prepared meanwhile what it had written is another transaction now, of
	// another name, and cannot change its name once more.
	prepared := slices.DeleteFunc(slices.Clone(now), func(w writer) bool { return w.process.Valid })
	_, err = db.gone(ctx, table, prepared, now, told)
	return err
}

// gone waits until none of the writers is among those that there are, and returns
// who is there then. now is who is there at first.
func (db *DB) gone(ctx context.Context, table string, writers, now []writer, told func(int)) ([]writer, error) {
	last := 0
	for pause := firstPause; ; pause = min(2*pause, time.Second) {
		writers = slices.DeleteFunc(slices.Clone(writers), func(w writer) bool { return !slices.Contains(now, w) })
		if len(writers) != last {
			last = len(writers)
			told(last)
		}
		if last == 0 {
			return now, nil
		}
		err := wait(ctx, pause)
		if err == nil {
			now, err = db.writers(ctx, table)
		}
		if ctx.Err() != nil {
			return nil, stillWriting(ctx, table, writers)
		}
		if err != nil {
			return nil, err
		}
	}
}

const firstPause = 5 * time.Millisecond

// stillWriting names the processes, so that an operator finds who stands still.
func stillWriting(ctx context.Context, table string, writers []writer) error {
	var processes []int64
	prepared := 0
	for _, w := range writers {
		if w.process.Valid {
			processes = append(processes, w.process.Int64)
		} else {
			prepared++
		}
	}
	return fmt.Errorf("sqldb: %d transactions that write to %s have not ended (processes %v, and %d prepared): %w", len(writers), table, processes, prepared, ctx.Err())
}

// ordinary refuses what holds no rows of its own: the lock on a view says nothing
// about who writes to the table below it.
func (db *DB) ordinary(ctx context.Context, table string) error {
	var kind sql.NullString
	err := One(ctx, db, []any{&kind}, `SELECT (SELECT CAST(c.relkind AS text) FROM pg_catalog.pg_class c WHERE c.oid = to_regclass($1))`, table)
	switch {
	case err != nil:
		return err
	case !kind.Valid:
		return &KeyError{Table: table, Why: "there is no such table, or this user may not see it"}
	case kind.String != "r" && kind.String != "p":
		return &KeyError{Table: table, Why: "it is no table but a view, or stands on another server: name the table that holds the rows"}
	}
	return nil
}

// writers lists who has a write lock on the table, its partitions and heirs, or
// waits for one: its value may have been sealed long ago.
func (db *DB) writers(ctx context.Context, table string) (out []writer, err error) {
	err = Each(ctx, db, func(rows *sql.Rows) error {
		var w writer
		err := rows.Scan(&w.transaction, &w.process)
		out = append(out, w)
		return Safe(err)
	}, `WITH RECURSIVE tree (oid) AS (
			SELECT to_regclass($1)::oid UNION
			SELECT i.inhrelid FROM pg_catalog.pg_inherits i JOIN tree ON i.inhparent = tree.oid)
		SELECT DISTINCT l.virtualtransaction, l.pid FROM pg_catalog.pg_locks l JOIN tree ON l.relation = tree.oid
		WHERE l.locktype = 'relation' AND l.mode IN `+writeModes+` AND l.database = (SELECT d.oid FROM pg_catalog.pg_database d WHERE d.datname = current_database())`, table)
	return out, err
}

// between waits for a moment in which nobody writes to the table, with pauses
// that grow to the longest.
func (db *DB) between(ctx context.Context, table string, told func(int), longest time.Duration, moment func(ctx context.Context, table string) error) error {
	for pause := firstPause; ; pause = min(2*pause, longest) {
		err := moment(ctx, table)
		if err == nil {
			if pause > firstPause {
				told(0)
			}
			return nil
		}
		if ctx.Err() == nil && !passing(err) {
			return err
		}
		if pause == firstPause {
			told(1) // at least
		}
		if wait(ctx, pause) != nil {
			return fmt.Errorf("sqldb: transactions that write to %s have not ended: %w", table, ctx.Err())
		}
	}
}

// postgresMoment takes the lock that every write lock excludes.
func (db *DB) postgresMoment(ctx context.Context, table string) error {
	return db.inTx(ctx, &sql.TxOptions{Isolation: sql.LevelReadCommitted}, func(tx *sql.Tx) error {
		for _, statement := range []string{`SET LOCAL lock_timeout = '200ms'`, `LOCK TABLE ` + table + ` IN SHARE MODE`} {
			if _, err := tx.ExecContext(ctx, statement); err != nil {
				if codeOf(err) == "42501" {
					return fmt.Errorf("sqldb: see who writes to %s: grant SELECT on pg_catalog.pg_locks, or UPDATE on the table: %w", table, Safe(err))
				}
				return Safe(err)
			}
		}
		return nil
	})
}

// sqliteMoment is when this connection may write. The application's time-out,
// in which SQLite hears of no context, is put aside for it.
func (db *DB) sqliteMoment(ctx context.Context, _ string) error {
	return db.onOne(ctx, func(conn *sql.Conn) error {
		var timeout int
		if err := One(ctx, conn, []any{&timeout}, `PRAGMA busy_timeout`); err != nil {
			return err
		}
		set := func(ctx context.Context, timeout int) error {
			_, err := conn.ExecContext(ctx, fmt.Sprint(`PRAGMA busy_timeout = `, timeout))
			return Safe(err)
		}
		err := set(ctx, min(timeout, 50))
		if err == nil {
			if _, err = conn.ExecContext(ctx, `BEGIN IMMEDIATE`); err == nil {
				err = rollback(ctx, conn)
			}
		}
		return errors.Join(Safe(err), set(context.WithoutCancel(ctx), timeout))
	})
}

// mysqlWriters says, when the wait is over, what may have stood in the way for ever:
// the server does not tell whose a prepared transaction is, nor what it wrote.
func (db *DB) mysqlWriters(ctx context.Context, table string, told func(int)) error {
	err := db.between(ctx, table, told, 5*time.Second, db.mysqlMoment)
	if err == nil || ctx.Err() == nil {
		return err
	}
	late, stop := context.WithTimeout(context.WithoutCancel(ctx), 2*time.Second)
	defer stop()
	if prepared, _ := db.prepared(late); len(prepared) > 0 { // which needs a right on MySQL
		return fmt.Errorf("%w; these transactions of the server are prepared and wait for somebody to end them, one of them perhaps this table's: %s", err, strings.Join(prepared, "; "))
	}
	return err
}

// mysqlMoment takes the locks that writers exclude, and readers do not: that of the
// server, and without autocommit that of InnoDB. The connection has other settings
// then, and is thrown away.
func (db *DB) mysqlMoment(ctx context.Context, table string) error {
	conn, err := db.Conn(ctx)
	if err != nil {
		return Safe(err)
	}
	for _, statement := range []string{`SET SESSION lock_wait_timeout = 1, SESSION innodb_lock_wait_timeout = 1, SESSION innodb_table_locks = ON, SESSION autocommit = 0`, `LOCK TABLES ` + table + ` READ`} {
		if _, err = conn.ExecContext(ctx, statement); err != nil {
			err = Safe(err)
			break
		}
	}
	if code := codeOf(err); code == "mysql 1044" || code == "mysql 1142" {
		err = fmt.Errorf("sqldb: see whether somebody writes to %s: GRANT LOCK TABLES on its database, and SELECT on it: %w", table, err)
	}
	return errors.Join(err, discard(conn))
}

// prepared lists the statements that roll back what is prepared on the server.
func (db *DB) prepared(ctx context.Context) (out []string, err error) {
	err = Each(ctx, db, func(rows *sql.Rows) error {
		var format, global, branch int64
		var data []byte
		if err := rows.Scan(&format, &global, &branch, &data); err != nil {
			return Safe(err)
		}
		global = min(global, int64(len(data)))
		out = append(out, fmt.Sprintf("XA ROLLBACK X'%x',X'%x',%d", data[:global], data[global:], format))
		return nil
	}, `XA RECOVER`)
	return out, err
}
