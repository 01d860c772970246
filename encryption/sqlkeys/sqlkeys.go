// Package sqlkeys keeps the keys of package encryption in a SQL database:
// SQLite, PostgreSQL or MariaDB, through any driver of database/sql.
//
// Give it a database of its own, better a server of its own: key copies,
// restores and the erasure of keys follow other rules than the data that the
// keys protect, and the physical backups of a server hold deleted keys until
// the epoch is closed.
//
// SQLite must be opened with secure_delete before the first row, because a
// deleted key must not stay in a free page, and with synchronous FULL or EXTRA,
// because a key that a power cut takes back takes what it has sealed with it.
// Install and Open refuse other files, and each change is refused on a
// connection that was set otherwise since. A file that must exist is opened with
// mode=rw, so that a lost key file is an error and not a new, empty database:
//
//	file:keys.db?mode=rw&_pragma=journal_mode(WAL)&_pragma=synchronous(FULL)&_pragma=busy_timeout(5000)&_pragma=secure_delete(1)
//
// On PostgreSQL and MariaDB a deleted key stays in dead rows, in the write-ahead
// log, the binary log and on replicas for as long as the server keeps them.
// Nothing here can hasten that: closing the epoch makes them worthless.
//
// A Store is safe for concurrent use and for several processes. Keys of new
// owners are created side by side; every other change is alone and raises the
// sequence. What keeps them apart is a lock that lasts as long as a transaction
// and whose waiters queue: the table of the state row on PostgreSQL (LOCK TABLE,
// which needs the right to UPDATE it), that row on MariaDB, the one writer on
// SQLite. So whoever stands still inside of a transaction stops all, on
// PostgreSQL for a minute, or as long as the application has set
// (idle_in_transaction_session_timeout); on MariaDB let the server end it
// (idle_transaction_timeout), or it lasts as long as the session.
// Each change is durable when it returns, whatever the application has set. One
// whose answer was lost may have been made: call again, which is safe.
//
// # Rights
//
// The application works as a role with the rights of [Grants] and no others.
// The tables are made by whoever owns them: [Install], or the [Migrations] with
// a tool of your own; each of their files may be applied again.
//
// # Errors
//
//	ErrSchema              permanent   call Install, or apply Migrations
//	ErrSecureDelete        permanent   open SQLite with secure_delete(1)
//	ErrSynchronous         permanent   open SQLite with synchronous(FULL)
//	ErrStandby             temporary   ask the primary: see below
//	ErrRowSecurity         permanent   use a role with BYPASSRLS, or the owner of the tables: see below
//	errors.ErrUnsupported  permanent   the error names the database that was found
//	fs.ErrPermission       permanent   a right is missing: see Grants
//
// Where the data source name lists several hosts, let the driver look for the
// primary (target_session_attrs=read-write): a key is asked for without a
// question whether this is one, which is asked once a lease. Behind pgbouncer in
// transaction mode pgx needs default_query_exec_mode=exec, and lib/pq
// binary_parameters=yes.
//
// A policy of PostgreSQL (row security) that hides rows of these tables is refused
// at Open, and later by each call that it would hide a row from, whether the policy
// is new or another connection of the pool has another role: no key copy leaves
// out, no epoch and no key version ends over, and no key is made anew for what is
// hidden.
//
// All others are what the database or its driver answered, without the values
// that they quote: the code, table and constraint stay, and the driver's error
// stays behind errors.As.
//
// Stability: settling; tables may change until v0.1.0.
package sqlkeys

import (
	"context"
	"database/sql"
	"embed"
	"errors"
	"fmt"
	"io/fs"

	"github.com/crmguard/crmguard/encryption/keystore"
	"github.com/crmguard/crmguard/internal/sqldb"
)

//go:embed migrations grants
var files embed.FS

// ErrSchema is returned by Open when the tables are older than the library
// needs: call Install, or apply Migrations.
// Its fields: Package; Have and Want, the versions; Found, what stands elsewhere
// or is missing.
type ErrSchema = sqldb.SchemaError //nolint:errname // every storing package calls it so

// ErrStandby says that the connection leads to a standby or read-only replica,
// whose keys and erasures may be of an older state: connect to the primary.
var ErrStandby = sqldb.ErrStandby

// ErrRowSecurity says that policies of PostgreSQL hide rows of these tables from
// the role of the connection. What is not there is erased, unknown or to be made:
// so a store that is shown some of its rows only is not worked with at all.
var ErrRowSecurity = sqldb.ErrRowSecurity

// ErrSecureDelete says that the SQLite connection would leave deleted keys in
// free pages.
var ErrSecureDelete = errors.New("sqlkeys: SQLite is opened without secure_delete: add _pragma=secure_delete(1) to the data source name")

// ErrSynchronous says that the SQLite connection would lose keys that were
// committed when the power fails, and with them what they have sealed.
var ErrSynchronous = errors.New("sqlkeys: SQLite is opened with synchronous below FULL: put _pragma=synchronous(FULL) into the data source name")

// Migrations returns the numbered migrations, in the folders sqlite, postgres
// and mysql (MariaDB's, too), for goose, golang-migrate, psql or mysql.
func Migrations() fs.FS {
	return sqldb.Folder(files, "migrations")
}

// Grants returns the GRANT statements for the application's role, crm_app in
// them, as postgres.sql and mysql.sql (MariaDB's, too). [Install] and the
// migrations are for the owner of the tables; all else works as that role.
func Grants() fs.FS { return sqldb.Folder(files, "grants") }

func schema() sqldb.Schema {
	return sqldb.Schema{Package: "encryption", Migrations: Migrations()}
}

// Install creates the tables that are missing. It may be called at every start,
// by any number of processes at once.
func Install(ctx context.Context, db *sql.DB) error {
	if _, err := open(ctx, db); err != nil {
		return err
	}
	return schema().Install(ctx, db)
}

// Store is a key store in a SQL database.
type Store struct{ db *sqldb.DB }

// Open checks the tables and returns the store. It writes nothing.
func Open(ctx context.Context, db *sql.DB) (*Store, error) {
	asked, err := open(ctx, db)
	if err != nil {
		return nil, err
	}
	if err := schema().Check(ctx, asked); err != nil {
		return nil, err
	}
	store := &Store{db: asked.Whole()}
	if err := store.whole(ctx); err != nil {
		return nil, err
	}
	return store, nil
}

// open asks what the database is, and on SQLite whether it forgets what is
// deleted and keeps what is committed.
func open(ctx context.Context, db *sql.DB) (*sqldb.DB, error) {
	asked, err := sqldb.Open(ctx, db)
	if err != nil {
		return nil, fmt.Errorf("sqlkeys: %w", err)
	}
	return asked, checkPragmas(ctx, asked.Dialect, asked)
}

// checkPragmas refuses what a connection of SQLite is set to: pragmas belong to
// connections, so each change asks its own.
func checkPragmas(ctx context.Context, d sqldb.Dialect, q sqldb.Querier) error {
	if d.Kind != sqldb.SQLite {
		return nil
	}
	var secure, synchronous int
	if err := sqldb.One(ctx, q, []any{&secure, &synchronous}, `SELECT d.secure_delete, s.synchronous FROM pragma_secure_delete d, pragma_synchronous s`); err != nil {
		return fmt.Errorf("sqlkeys: read secure_delete and synchronous: %w", err)
	}
	const full = 2
	switch {
	case secure != 1:
		return ErrSecureDelete
	case synchronous < full:
		return ErrSynchronous
	}
	return nil
}

// State reads the state row, of a primary: what a lease is granted on must not
// be the old state of a standby ([ErrStandby]).
func (s *Store) State(ctx context.Context) (state keystore.State, err error) {
	err = s.Snapshot(ctx, func(tx keystore.Tx) (err error) {
		state, err = tx.State(ctx)
		return err
	})
	return state, err
}

// Tenant returns keysets, key versions and index versions of one tenant.
func (s *Store) Tenant(ctx context.Context, tenant string) (keystore.Rows, error) {
	var out keystore.Rows
	// Three statements must see one state.
	err := s.Snapshot(ctx, func(tx keystore.Tx) (err error) {
		out, err = tx.Tenant(ctx, tenant)
		return err
	})
	return out, err
}

// Owners returns owner rows, key rows and aliases of the owners in one query.
func (s *Store) Owners(ctx context.Context, tenant string, owners []string) (out keystore.Rows, err error) {
	err = s.db.Read(ctx, func(q sqldb.Querier) (err error) {
		out, err = readOwners(ctx, s.db.Dialect, q, tenant, owners)
		return err
	})
	return out, err
}

// Snapshot runs f over one unchanging view.
func (s *Store) Snapshot(ctx context.Context, f func(keystore.Tx) error) error {
	var inside error
	err := s.db.Snapshot(ctx, func(tx *sql.Tx) error {
		inside = f(&keyTx{tx: tx, dialect: s.db.Dialect})
		return inside
	})
	return failed(err, inside)
}

// failed says whose an error of a transaction is: what came of its inside says so
// itself, or is the caller's own.
func failed(err, inside error) error {
	if err == nil || inside != nil && errors.Is(err, inside) {
		return err
	}
	return fmt.Errorf("sqlkeys: %w", err)
}

// Scrub empties SQLite's write-ahead log, where deleted keys would otherwise
// stay readable. false means that another connection was reading: call again.
// On the other databases there is nothing that a client could empty.
func (s *Store) Scrub(ctx context.Context) (bool, error) {
	if s.db.Kind != sqldb.SQLite {
		return true, nil
	}
	var busy, frames, done int
	if err := s.db.QueryRowContext(ctx, `PRAGMA wal_checkpoint(TRUNCATE)`).Scan(&busy, &frames, &done); err != nil {
		return false, fmt.Errorf("sqlkeys: checkpoint: %w", sqldb.Safe(err))
	}
	return busy == 0, nil
}

// Status says whether the database keeps what was committed.
func (s *Store) Status(ctx context.Context) ([]keystore.Finding, error) {
	return s.db.Health(ctx, "encryption.store")
}

// SameServer says whether a database of the application is in the cluster, on
// the server or in the file of the keys. It needs no right.
func (s *Store) SameServer(ctx context.Context, data *sql.DB) (bool, error) {
	other, err := sqldb.Open(ctx, data)
	if err != nil {
		return false, fmt.Errorf("sqlkeys: %w", err)
	}
	same, err := s.db.SameServer(ctx, other)
	if err != nil {
		return false, fmt.Errorf("sqlkeys: %w", err)
	}
	return same, nil
}

var (
	_ keystore.Store    = (*Store)(nil)
	_ keystore.Scrubber = (*Store)(nil)
	_ keystore.Reporter = (*Store)(nil)
	_ keystore.Insider  = (*Store)(nil)
	_ keystore.Locator  = (*Store)(nil)
)
