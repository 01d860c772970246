package sqldb

import (
	"context"
	"errors"
	"fmt"
	"strings"
)

// ErrStandby says that the connection leads to a copy of the database that
// follows another one, late by an unknown time. What stands there may be an
// older state: keys that are destroyed, an erasure that has not come through.
var ErrStandby = errors.New("the database is a standby or read-only replica")

// standbyError adds the remedy that fits the database.
func standbyError(kind Kind) error {
	if kind == Postgres {
		return fmt.Errorf("sqldb: %w, whose state may be an old one: connect to the primary (with several hosts in the data source name, add target_session_attrs=read-write)", ErrStandby)
	}
	return fmt.Errorf("sqldb: %w (read_only is set), whose state may be an old one: connect to the primary, or set read_only to 0 if this is it", ErrStandby)
}

// Primary refuses a server that follows another one with [ErrStandby]. Every
// transaction of [DB.Write] and [DB.Snapshot] asks it on its own connection: a
// pool whose data source name lists several hosts may reach the standby with
// its next one.
//
// PostgreSQL knows whether it is in recovery. MariaDB and MySQL know it only
// with rights that no application has; what everybody may read is read_only,
// which replicas have set, because one that takes writes diverges. A replica
// without it cannot be told from one of two primaries, so it is not refused
// ([DB.Health] has a notice where MariaDB says that it applies the changes of
// another server). A subscriber of logical replication, and a file of SQLite
// that another tool keeps up to date, cannot be told from the original at all.
func (d Dialect) Primary(ctx context.Context, q Querier) error {
	var question string
	switch d.Kind {
	case Postgres:
		question = `SELECT pg_is_in_recovery()`
	case MariaDB, MySQL:
		question = `SELECT @@global.read_only`
	default:
		return nil
	}
	var answer string
	if err := One(ctx, q, []any{&answer}, question); err != nil {
		return fmt.Errorf("sqldb: ask whether the database is a primary: %w", err)
	}
	switch strings.ToLower(answer) {
	case "false", "f", "0", "off":
		return nil
	}
	return standbyError(d.Kind)
}

// refused says of a refused write that a standby refused it: lib/pq cannot even
// begin there, and a primary may become read-only in the middle.
func (db *DB) refused(ctx context.Context, err error) error {
	if errors.Is(err, ErrStandby) {
		return err
	}
	switch codeOf(err) {
	case "0A000", "25006", "mysql 1290", "mysql 1836": // not supported in recovery, read-only
		if standby := db.Primary(ctx, db); errors.Is(standby, ErrStandby) {
			return errors.Join(standby, err)
		}
	}
	return err
}
