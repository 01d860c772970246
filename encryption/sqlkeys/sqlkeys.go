// Package sqlkeys keeps the keys of package encryption in a SQL database.
//
// Give it a database of its own: key copies, restores and the erasure of
// keys follow other rules than the data that the keys protect. The database is
// SQLite, through any driver of database/sql; on another one Install fails at
// its first statement.
//
// SQLite must be opened with secure_delete before the first row, because a
// deleted key must not stay in a free page; Open refuses otherwise. A file
// that must exist is opened with mode=rw, so that a lost key file is an error
// and not a new, empty database:
//
//	file:keys.db?mode=rw&_pragma=journal_mode(WAL)&_pragma=synchronous(FULL)&_pragma=busy_timeout(5000)&_pragma=secure_delete(1)
//
// A Store is safe for concurrent use and for several processes. Every change
// raises the one sequence in its own transaction, first, so that changes are
// serial. Errors are those of the driver; ErrSchema and ErrSecureDelete come
// from Open. Stability: settling; tables may change until v0.1.0.
package sqlkeys

import (
	"context"
	"database/sql"
	"embed"
	"errors"
	"fmt"
	"io/fs"

	"github.com/crmguard/crmguard/encryption"
	"github.com/crmguard/crmguard/internal/sqlschema"
)

//go:embed migrations/sqlite/*.sql
var migrations embed.FS

// ErrSchema is returned by Open when the tables are older than the library
// needs: call Install, or apply Migrations.
type ErrSchema = sqlschema.VersionError //nolint:errname // every storing package calls it so

// ErrSecureDelete says that the SQLite connection would leave deleted keys in
// free pages.
var ErrSecureDelete = errors.New("sqlkeys: SQLite is opened without secure_delete: add _pragma=secure_delete(1) to the data source name")

// Migrations returns the numbered migrations for SQLite.
func Migrations() fs.FS {
	sub, err := fs.Sub(migrations, "migrations/sqlite")
	if err != nil {
		return embed.FS{} // cannot be: the folder is embedded
	}
	return sub
}

func schema() sqlschema.Set {
	return sqlschema.Set{Package: "encryption", Migrations: Migrations()}
}

// Install creates the tables that are missing. It may be called at every start.
func Install(ctx context.Context, db *sql.DB) error {
	if err := checkSecureDelete(ctx, db); err != nil {
		return err
	}
	return schema().Install(ctx, db)
}

// Store is a key store in a SQL database.
type Store struct{ db *sql.DB }

// Open checks the tables and returns the store. It writes nothing.
func Open(ctx context.Context, db *sql.DB) (*Store, error) {
	if err := checkSecureDelete(ctx, db); err != nil {
		return nil, err
	}
	if err := schema().Check(ctx, db); err != nil {
		return nil, err
	}
	return &Store{db: db}, nil
}

func checkSecureDelete(ctx context.Context, db *sql.DB) error {
	var on int
	if err := db.QueryRowContext(ctx, `PRAGMA secure_delete`).Scan(&on); err != nil {
		return fmt.Errorf("sqlkeys: read secure_delete: %w", err)
	}
	if on != 1 {
		return ErrSecureDelete
	}
	return nil
}

// State reads the state row.
func (s *Store) State(ctx context.Context) (encryption.StoreState, error) {
	return readState(ctx, s.db)
}

// Tenant returns keysets, generations and index versions of one tenant.
func (s *Store) Tenant(ctx context.Context, tenant string) (encryption.Rows, error) {
	var out encryption.Rows
	// Three statements must see one state.
	err := s.Snapshot(ctx, func(tx encryption.KeyTx) (err error) {
		out, err = tx.Tenant(ctx, tenant)
		return err
	})
	return out, err
}

// Owners returns owner rows, key rows and aliases of the owners in one query.
func (s *Store) Owners(ctx context.Context, tenant string, owners []string) (encryption.Rows, error) {
	return readOwners(ctx, s.db, tenant, owners)
}

var errNothing = errors.New("sqlkeys: nothing was written")

// Update runs f in a transaction that begins by raising the sequence. The
// row lock that this takes makes changes serial.
func (s *Store) Update(ctx context.Context, f func(encryption.KeyTx) error) (encryption.StoreState, error) {
	tx, err := s.db.BeginTx(ctx, nil)
	if err != nil {
		return encryption.StoreState{}, fmt.Errorf("sqlkeys: begin: %w", err)
	}
	state, err := update(ctx, &keyTx{tx: tx, write: true}, f)
	if err != nil {
		rollback := tx.Rollback()
		if errors.Is(err, errNothing) {
			return state, rollback
		}
		return encryption.StoreState{}, errors.Join(err, rollback)
	}
	if err := tx.Commit(); err != nil {
		return encryption.StoreState{}, fmt.Errorf("sqlkeys: commit: %w", err)
	}
	return state, nil
}

func update(ctx context.Context, tx *keyTx, f func(encryption.KeyTx) error) (encryption.StoreState, error) {
	if err := tx.exec(ctx, `UPDATE crmguard_encryption_store SET sequence = sequence + 1 WHERE one = 1`); err != nil {
		return encryption.StoreState{}, err
	}
	if err := f(tx); err != nil {
		return encryption.StoreState{}, err
	}
	state, err := tx.State(ctx)
	if err != nil {
		return state, err
	}
	if !tx.wrote {
		state.Sequence--
		return state, errNothing
	}
	return state, nil
}

// Snapshot runs f over one unchanging view.
func (s *Store) Snapshot(ctx context.Context, f func(encryption.KeyTx) error) error {
	tx, err := s.db.BeginTx(ctx, &sql.TxOptions{ReadOnly: true})
	if err != nil {
		return fmt.Errorf("sqlkeys: begin: %w", err)
	}
	return errors.Join(f(&keyTx{tx: tx}), tx.Rollback())
}

// Scrub empties SQLite's write-ahead log, where deleted keys would otherwise
// stay readable. false means that another connection was reading: call again.
func (s *Store) Scrub(ctx context.Context) (bool, error) {
	var busy, frames, done int
	if err := s.db.QueryRowContext(ctx, `PRAGMA wal_checkpoint(TRUNCATE)`).Scan(&busy, &frames, &done); err != nil {
		return false, fmt.Errorf("sqlkeys: checkpoint: %w", err)
	}
	return busy == 0, nil
}

var (
	_ encryption.KeyStore = (*Store)(nil)
	_ encryption.Scrubber = (*Store)(nil)
)
