// Package sqltrail is the database of an audit trail over database/sql.
//
// It installs and checks the tables; the trail itself, with all that it does on
// them, is [github.com/crmguard/crmguard/audit.Trail]. Tables:
//
//	crmguard_audit_events      the one row of a sale: all of an event while it waits, afterwards where it is
//	crmguard_audit_entries     the log: leaves in their order, written once and never changed
//	crmguard_audit_found       what an entry is found by
//	crmguard_audit_persons     which surrogate is in which entry
//	crmguard_audit_openings    sealed values, by entry and owner
//	crmguard_audit_surrogates  whose a surrogate is, and the sealed key of all that is sealed about the person
//	crmguard_audit_tiles       the tree
//	crmguard_audit_state       how far it is; its row is the lock of sequencers
//	crmguard_audit_heads       signed checkpoints
//	crmguard_audit_aside       rows that were refused for good, until somebody decides
//	crmguard_audit_log         which log these tables hold, for who records
//
// What belongs to a person is in openings and surrogates, and while an event waits
// in events; a row that was set aside may hold sealed values, too. An erasure
// reaches all four. A database that was copied without surrogates opens nothing.
//
// # Promises
//
// The whole work of a trail is done on SQLite, PostgreSQL (under any collation,
// with any driver of database/sql) and MariaDB; the judge of package audittest
// runs on each. MySQL speaks as MariaDB does and is not run. The tables belong to
// the schema that is first in the search path, or to the database that the
// connection names, and several may hold them side by side, each for a log of
// its own. A connection of SQLite without secure_delete is refused, because a
// deleted opening would stay on its page.
//
// # Not promised
//
// On MariaDB all openings of an event are together at most as large as
// max_allowed_packet lets a statement be, 16 MiB unless it was set, and an event with
// more is [audit.ErrTooLarge]; where
// binlog_format is STATEMENT (MIXED is its default) each recording warns that the
// table has two unique keys. MariaDB before 10.6 and MySQL before 8.0.1 cannot skip
// the row of a sale that is retrying, and are refused. On SQLite only one connection of the
// pool is asked, so put all pragmas into the data source name, busy_timeout
// among them, without which writers that meet fail, and secure_delete there
// before the first row:
//
//	file:crm.db?_pragma=journal_mode(WAL)&_pragma=synchronous(FULL)&_pragma=busy_timeout(5000)&_pragma=secure_delete(1)
//
// Behind pgbouncer in transaction mode pgx needs default_query_exec_mode=exec in
// the data source name, and lib/pq binary_parameters=yes. With several hosts in
// it, let the driver look for the primary: target_session_attrs=read-write.
//
// # Which call first
//
// [Install] at every start, or [Migrations] with a tool of your own, then
// [Open], whose Store audit.Open takes.
//
// # Concurrency
//
// A [Store] is safe for concurrent use, in several processes. It does not
// close the database.
//
// # No partitions
//
// The tables are not partitioned, and audit.Trail.Prune deletes rows: on PostgreSQL a
// page of an answer took 2.1 ms without partitions of entries and openings, 2.8 ms
// over 12 of them, 7.0 ms over 64 and 172 ms over 256, because each statement looks at
// them all; and 100,000 entries with their openings were deleted in 0.37 s, where
// dropping their partitions took 0.28 s. A sale touches events alone, from which
// nothing is deleted.
//
// # Errors
//
//	ErrSecureDelete   permanent   open SQLite with secure_delete(1)
//	ErrSession        permanent   open MariaDB or MySQL without the setting that it names
//	ErrStandby        permanent   connect to the primary
//	audit.ErrSchema   permanent   call Install, or apply Migrations
//	fs.ErrPermission  permanent   a right is missing: see Grants
//
// All others are the driver's, told without the values that they quote.
//
// # Format and compatibility
//
// Migrations are numbered, only ever added, and the tables only grow.
// Settling: tables and Go API may change until v0.1.0.
package sqltrail

import (
	"context"
	"database/sql"
	"embed"
	"errors"
	"fmt"
	"io/fs"

	"github.com/crmguard/crmguard/audit"
	"github.com/crmguard/crmguard/internal/sqldb"
)

//go:embed migrations grants
var files embed.FS

// Names of the erasable tables: of an event that has its place, all that belongs to
// a person is in them.
const (
	OpeningsTable   = "crmguard_audit_openings"
	SurrogatesTable = "crmguard_audit_surrogates"
)

// ErrSecureDelete says that the SQLite connection would leave deleted openings
// in free pages.
var ErrSecureDelete = errors.New("sqltrail: SQLite is opened without secure_delete: add _pragma=secure_delete(1) to the data source name")

// ErrStandby says that the connection leads to a standby or read-only replica,
// whose log may be an older one: connect to the primary.
var ErrStandby = sqldb.ErrStandby

var errNoDatabase = errors.New("sqltrail: no database was handed in")

// Store is a database with the tables of a trail.
type Store struct{ db *sqldb.DB }

var _ audit.Store = (*Store)(nil)

// Migrations returns the numbered migrations, in the folders sqlite, postgres
// and mysql (MariaDB's, too), for goose, golang-migrate, psql or mysql.
func Migrations() fs.FS {
	return sqldb.Folder(files, "migrations")
}

// Grants returns the GRANT statements for the application's role, crm_app in
// them, as postgres.sql and mysql.sql (MariaDB's, too). [Install] and the
// migrations are for the owner of the tables; all else works as that role,
// which can neither delete an event or an entry nor change what one says: a job that
// prunes needs prune-postgres.sql or prune-mysql.sql besides, for a role of its own. Where
// processes record that do not sequence, sale-postgres.sql and sale-mysql.sql are
// enough for theirs: such a role cannot read what was recorded either.
func Grants() fs.FS { return sqldb.Folder(files, "grants") }

func set() sqldb.Schema { return sqldb.Schema{Package: "audit", Migrations: Migrations()} }

// Install applies the migrations that are missing; it may be called at every
// start.
func Install(ctx context.Context, db *sql.DB) error {
	if _, err := open(ctx, db); err != nil {
		return err
	}
	return set().Install(ctx, db)
}

// Open checks the connection ([ErrSecureDelete]) and the tables of db; too old
// a version is an [audit.ErrSchema].
func Open(ctx context.Context, db *sql.DB) (*Store, error) {
	asked, err := open(ctx, db)
	if err != nil {
		return nil, err
	}
	s := &Store{db: asked}
	return s, s.Check(ctx)
}

// open asks what the database is, on SQLite whether it forgets, and on MariaDB and
// MySQL whether its sessions say what is asked of them.
func open(ctx context.Context, db *sql.DB) (*sqldb.DB, error) {
	if db == nil {
		return nil, errNoDatabase
	}
	asked, err := sqldb.Open(ctx, db)
	if err != nil {
		return nil, fmt.Errorf("sqltrail: %w", err)
	}
	switch asked.Kind {
	case sqldb.SQLite:
		err = checkSecureDelete(ctx, asked)
	case sqldb.MariaDB, sqldb.MySQL:
		err = checkSession(ctx, asked)
	case sqldb.Postgres:
	}
	return asked, err
}

func checkSecureDelete(ctx context.Context, db *sqldb.DB) error {
	var on int
	if err := db.QueryRowContext(ctx, `PRAGMA secure_delete`).Scan(&on); err != nil {
		return fmt.Errorf("sqltrail: read secure_delete: %w", sqldb.Safe(err))
	}
	if on != 1 {
		return ErrSecureDelete
	}
	return nil
}

// Check reports whether the tables are recent enough.
func (s *Store) Check(ctx context.Context) error {
	if s == nil || s.db == nil {
		return errNoDatabase
	}
	return set().Check(ctx, s.db)
}

// DB is the database that [Open] was given.
func (s *Store) DB() *sql.DB { return s.db.DB }
