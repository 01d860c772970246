package sqldb

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"time"
)

// alone runs f while no other process runs it on the same database. On SQLite
// and PostgreSQL all of f is one transaction; on MariaDB and MySQL, where DDL
// commits by itself, each statement is one.
func (db *DB) alone(ctx context.Context, f func(conn *sql.Conn) error) error {
	return retry(ctx, func() error {
		conn, err := db.Conn(ctx)
		if err != nil {
			return Safe(err)
		}
		err = db.aloneOn(ctx, conn, f)
		if closed := conn.Close(); !errors.Is(closed, sql.ErrConnDone) { // it was thrown away
			err = errors.Join(err, Safe(closed))
		}
		return err
	})
}

func (db *DB) aloneOn(ctx context.Context, conn *sql.Conn, f func(conn *sql.Conn) error) error {
	if db.mysql() {
		return named(ctx, conn, f)
	}
	begin := []string{`BEGIN IMMEDIATE`}
	if db.Kind == Postgres {
		// The lock belongs to the transaction, so it works behind a pooler that
		// gives every transaction another connection. The number is ours: the
		// first eight bytes of "crmguard". Who stands still with it, or with a
		// table that a step needs, is waited for for as long as on MariaDB.
		begin = []string{
			`BEGIN ISOLATION LEVEL READ COMMITTED`,
			`SELECT set_config('lock_timeout', '60s', true) WHERE current_setting('lock_timeout') = '0'`,
			`SELECT pg_advisory_xact_lock(7165910248218260068)`,
		}
	}
	for i, statement := range begin {
		if _, err := conn.ExecContext(ctx, statement); err != nil {
			if codeOf(err) == "55P03" && i == len(begin)-1 {
				return errors.Join(errInstalling, rollback(ctx, conn))
			}
			return errors.Join(Safe(err), rollback(ctx, conn))
		}
	}
	if err := f(conn); err != nil {
		return errors.Join(err, rollback(ctx, conn))
	}
	if _, err := conn.ExecContext(ctx, `COMMIT`); err != nil {
		return errors.Join(fmt.Errorf("commit: %w", Safe(err)), rollback(ctx, conn))
	}
	return nil
}

// rollback ends whatever transaction the connection is in. The caller's
// context may be over already; what cannot be rolled back is thrown away.
func rollback(ctx context.Context, conn *sql.Conn) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), pauseForRollback)
	defer cancel()
	if _, err := conn.ExecContext(ctx, `ROLLBACK`); err != nil {
		return discard(conn)
	}
	return nil
}

// errInstalling is not tried again: the minute was spent on waiting.
var errInstalling = errors.New("another process has been installing tables for as long as is waited for it, a minute where nothing else is set: see whether it stands still")

// named holds MySQL's lock of a name for as long as f runs. The name stands for
// the database: such locks are of the whole server.
func named(ctx context.Context, conn *sql.Conn, f func(conn *sql.Conn) error) error {
	var got sql.NullInt64
	if err := conn.QueryRowContext(ctx, `SELECT GET_LOCK(CONCAT('crmguard ', SHA1(DATABASE())), 60)`).Scan(&got); err != nil {
		return Safe(err)
	}
	if got.Int64 != 1 {
		return errInstalling
	}
	err := f(conn)
	cleanup, cancel := context.WithTimeout(context.WithoutCancel(ctx), pauseForRollback)
	defer cancel()
	if _, release := conn.ExecContext(cleanup, `DO RELEASE_LOCK(CONCAT('crmguard ', SHA1(DATABASE())))`); release != nil {
		return errors.Join(err, discard(conn)) // a lock goes with its connection
	}
	return err
}

// pauseForRollback bounds the cleaning up after a context that is over.
const pauseForRollback = 5 * time.Second

// discard keeps a connection in an unknown state out of the pool.
func discard(conn *sql.Conn) error {
	err := conn.Raw(func(any) error { return driver.ErrBadConn })
	if errors.Is(err, driver.ErrBadConn) {
		return nil
	}
	return Safe(err)
}
