package sqldb

import (
	"context"
	"crypto/rand"
	"database/sql"
	bytesof "encoding/binary" // binary is a kind of column here
	"errors"
	"fmt"
	"os"
	"time"
)

// patience bounds SameServer: it has connections of two pools at a time, and
// somebody who has one and wants the other must not wait for long.
const patience = 5 * time.Second

// SameServer says whether what befalls the files of one database befalls the
// other: whether both are in one PostgreSQL cluster, on one MariaDB or MySQL
// server, or in one SQLite file. It needs no right. A server is known by a lock
// that one session takes and the other one sees, so that no address, name or
// proxy between them matters, and two servers that were copied from one are
// two. A standby of PostgreSQL is known by the identifier of its cluster, where
// the user may read that.
//
// What it cannot see: replicas of MariaDB and MySQL, other nodes of a Galera
// cluster, and servers that share a disk or a snapshot of it.
func (db *DB) SameServer(ctx context.Context, other *DB) (bool, error) {
	if db.DB == other.DB {
		return true, nil
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	same, err := false, error(nil)
	switch {
	case db.Kind == SQLite || other.Kind == SQLite:
		if db.Kind == other.Kind {
			same, err = db.sameFile(ctx, other)
		}
	case db.Kind == Postgres || other.Kind == Postgres:
		if db.Kind == other.Kind {
			same, err = db.sameCluster(ctx, other)
		}
	default:
		same, err = db.sameMySQL(ctx, other)
	}
	if err != nil {
		return false, fmt.Errorf("sqldb: ask whether two databases are on one server: %w", Safe(err))
	}
	return same, nil
}

// sameFile compares files, not names: there are links.
func (db *DB) sameFile(ctx context.Context, other *DB) (bool, error) {
	ours, err := db.files(ctx)
	if err != nil {
		return false, err
	}
	theirs, err := other.files(ctx)
	if err != nil {
		return false, err
	}
	for _, a := range ours {
		for _, b := range theirs {
			if a == b {
				return true, nil
			}
			// A file that this process cannot look at, as one of another file system
			// of SQLite's, is compared by name only.
			is, err := os.Stat(a)
			if err != nil {
				continue
			}
			if as, err := os.Stat(b); err == nil && os.SameFile(is, as) {
				return true, nil
			}
		}
	}
	return false, nil
}

// files are those of the connection, attached ones included; what is in memory
// has none.
func (db *DB) files(ctx context.Context) (out []string, err error) {
	err = Each(ctx, db, func(rows *sql.Rows) error {
		var number int
		var name, file string
		if err := rows.Scan(&number, &name, &file); err != nil {
			return err
		}
		if file != "" {
			out = append(out, file)
		}
		return nil
	}, `SELECT seq, name, COALESCE(file, '') FROM pragma_database_list`)
	return out, err
}

func (db *DB) sameCluster(ctx context.Context, other *DB) (same bool, err error) {
	high, low := randomLock()
	tx, err := db.BeginTx(ctx, &sql.TxOptions{ReadOnly: true})
	if err != nil {
		return false, err
	}
	defer func() { err = errors.Join(err, tx.Rollback()) }()
	var taken bool
	if err := One(ctx, tx, []any{&taken}, `SELECT pg_try_advisory_xact_lock($1::bigint)`, high<<32|low); err != nil {
		return false, err
	}
	if !taken {
		return false, errors.New("a lock under a random number is taken")
	}
	var seen int
	if err := One(ctx, other, []any{&seen}, `SELECT COUNT(*) FROM pg_locks
		WHERE locktype = 'advisory' AND classid::bigint = $1 AND objid::bigint = $2 AND objsubid = 1`, high, low); err != nil {
		return false, err
	}
	if seen > 0 {
		return true, nil
	}
	ours, err := clusterOf(ctx, tx)
	if err != nil {
		return false, err
	}
	theirs, err := clusterOf(ctx, other)
	if err != nil || ours.id == "" {
		return false, err
	}
	return ours.id == theirs.id && (ours.standby || theirs.standby), nil
}

// randomLock draws the two halves of the number of an advisory lock.
func randomLock() (high, low int64) {
	var b [8]byte
	_, _ = rand.Read(b[:]) // it never fails
	return int64(bytesof.BigEndian.Uint32(b[:4]) >> 1), int64(bytesof.BigEndian.Uint32(b[4:]))
}

// cluster is what a session says of its cluster; the id is "" where the user may
// not read it.
type cluster struct {
	id      string
	standby bool
}

func clusterOf(ctx context.Context, q Querier) (c cluster, err error) {
	var may bool
	if err := One(ctx, q, []any{&c.standby, &may}, `SELECT pg_is_in_recovery(), has_function_privilege('pg_control_system()', 'EXECUTE')`); err != nil || !may {
		return c, err
	}
	return c, One(ctx, q, []any{&c.id}, `SELECT system_identifier::text FROM pg_control_system()`)
}

func (db *DB) sameMySQL(ctx context.Context, other *DB) (same bool, err error) {
	name := "crmguard " + rand.Text()
	conn, err := db.Conn(ctx)
	if err != nil {
		return false, err
	}
	defer func() {
		// A connection that is thrown away takes its lock along.
		var released sql.NullInt64
		if One(ctx, conn, []any{&released}, `SELECT RELEASE_LOCK(?)`, name) != nil {
			err = errors.Join(err, discard(conn))
			return
		}
		err = errors.Join(err, conn.Close())
	}()
	var taken sql.NullInt64
	if err := One(ctx, conn, []any{&taken}, `SELECT GET_LOCK(?, 0)`, name); err != nil {
		return false, err
	}
	if taken.Int64 != 1 {
		return false, errors.New("a lock under a random name is taken")
	}
	var holder sql.NullInt64
	if err := One(ctx, other, []any{&holder}, `SELECT IS_USED_LOCK(?)`, name); err != nil {
		return false, err
	}
	return holder.Valid, nil
}
