package sqlstore

import (
	"cmp"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/crmguard/crmguard/internal/sqldb"
	"github.com/crmguard/crmguard/privacy/datamap"
	"github.com/crmguard/crmguard/privacy/datastore"
)

// lockWait is how long a rehearsal waits for a lock unless Config says otherwise.
const lockWait = 3 * time.Second

// Rehearse carries an erasure out, with its checks and the redactions of joint
// records, and takes it back. Constraints that the schema defers to the end of a
// transaction are checked; on SQLite foreign keys alone can be deferred. It waits
// for a lock no longer than Config.LockWait, on SQLite as long as the connection
// does. Nothing that it writes is ever seen by anybody. It answers the rows that it
// has found.
func (s *Store) Rehearse(ctx context.Context, scopes []datastore.Scope) (rows []datastore.Row, err error) {
	seekers, p, err := s.prepare(ctx, scopes)
	if err != nil {
		return nil, err
	}
	err = s.write(ctx, func(tx *sql.Tx) (err error) {
		restore, err := s.impatient(ctx, tx)
		if err != nil {
			return dbError("rehearse", "(transaction)", err)
		}
		defer func() { err = errors.Join(err, restore()) }()
		before, err := s.deferred(ctx, tx)
		if err != nil {
			return err
		}
		e := &erasure{s: s, tx: tx, seekers: seekers, prepared: p, noted: map[string]bool{}}
		if err := e.run(ctx); err != nil {
			return err
		}
		if err := s.immediate(ctx, tx, before); err != nil {
			return err
		}
		rows = e.rows()
		return errRehearsed
	})
	if errors.Is(err, errRehearsed) {
		return rows, nil
	}
	return nil, err
}

// impatient bounds the waits for locks within the transaction; restore gives the
// connection of MariaDB and MySQL its own bound back.
func (s *Store) impatient(ctx context.Context, tx *sql.Tx) (restore func() error, err error) {
	wait := cmp.Or(s.cfg.LockWait, lockWait)
	restore = func() error { return nil }
	switch s.db.Kind {
	case sqldb.Postgres:
		err = s.exec(ctx, tx, fmt.Sprintf("SET LOCAL lock_timeout = %d", max(wait.Milliseconds(), 1)))
	case sqldb.MariaDB, sqldb.MySQL:
		var own int
		if err = sqldb.One(ctx, tx, []any{&own}, `SELECT @@SESSION.innodb_lock_wait_timeout`); err == nil {
			err = s.exec(ctx, tx, fmt.Sprintf("SET SESSION innodb_lock_wait_timeout = %d", max(int(wait.Seconds()), 1)))
			restore = func() error {
				return sqldb.Safe(s.exec(context.WithoutCancel(ctx), tx, fmt.Sprintf("SET SESSION innodb_lock_wait_timeout = %d", own)))
			}
		}
	case sqldb.SQLite:
	}
	return restore, err
}

// deferred counts the violations that SQLite's tables have beforehand.
func (s *Store) deferred(ctx context.Context, tx *sql.Tx) (map[string]int, error) {
	if !s.sqlite() {
		return nil, nil
	}
	violations := map[string]int{}
	err := sqldb.Each(ctx, tx, func(rows *sql.Rows) error {
		var child string
		err := rows.Scan(&child)
		violations[child] = 0
		return err
	}, `SELECT name FROM sqlite_master WHERE type = 'table' AND (SELECT foreign_keys FROM pragma_foreign_keys) AND upper(sql) LIKE '%DEFERRED%'`)
	if err != nil {
		return nil, dbError("rehearse", "(schema)", err)
	}
	for child := range violations {
		if violations[child], err = s.violations(ctx, tx, child); err != nil {
			return nil, err
		}
	}
	return violations, nil
}

func (s *Store) violations(ctx context.Context, tx *sql.Tx, table string) (n int, err error) {
	err = sqldb.One(ctx, tx, []any{&n}, `SELECT COUNT(*) FROM pragma_foreign_key_check(?, 'main')`, table)
	return n, dbError("rehearse", table, err)
}

// DeferredError says that a row of a table would name one that is gone when the
// transaction of an erasure ends. Permanent: let an edge of the map empty its
// column, or delete it.
type DeferredError struct {
	Table string // whose row names the one that is gone
}

// Error names the table.
func (e *DeferredError) Error() string {
	return fmt.Sprintf("sqlstore: rehearse: rows of table %s would name rows that are gone (a deferred foreign key): say Unlink in an edge of the map", e.Table)
}

// Is makes errors.Is(err, datamap.ErrMap) true.
func (e *DeferredError) Is(target error) bool { return target == datamap.ErrMap }

// immediate checks what the schema defers.
func (s *Store) immediate(ctx context.Context, tx *sql.Tx, before map[string]int) error {
	if s.db.Kind == sqldb.Postgres {
		return dbError("rehearse", "(deferred constraints)", s.exec(ctx, tx, `SET CONSTRAINTS ALL IMMEDIATE`))
	}
	for table, known := range before {
		n, err := s.violations(ctx, tx, table)
		if err != nil {
			return err
		}
		if n > known {
			return &DeferredError{strings.ToLower(table)}
		}
	}
	return nil
}
