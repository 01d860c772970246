// Package sqltrail is the database of an audit trail over database/sql.
//
// It installs and checks the tables and hands out transactions; the trail
// itself is [github.com/crmguard/crmguard/audit.Trail]. SQLite for now; the
// columns are such that PostgreSQL and MySQL fit later.
//
// Tables: crmguard_audit_events (leaves, one row an event, never deleted),
// crmguard_audit_tiles and crmguard_audit_state (the tree),
// crmguard_audit_persons (which surrogate is in which event). Two are
// erasable, and only these hold what belongs to a person:
// crmguard_audit_openings (sealed values) and crmguard_audit_surrogates
// (person id to surrogate).
//
// SQLite must be opened with journal_mode(WAL), synchronous(FULL),
// busy_timeout and, before the first row, secure_delete(1): a deleted opening
// otherwise stays on its page.
//
// A Store is safe for concurrent use. It does not close the database.
package sqltrail

import (
	"context"
	"database/sql"
	"embed"
	"errors"
	"io/fs"

	"github.com/crmguard/crmguard/audit"
	"github.com/crmguard/crmguard/internal/sqlschema"
)

//go:embed migrations/*.sql
var migrations embed.FS

// Names of the erasable tables: all that belongs to a person is in them.
const (
	OpeningsTable   = "crmguard_audit_openings"
	SurrogatesTable = "crmguard_audit_surrogates"
)

// Store is a database with the tables of a trail.
type Store struct{ db *sql.DB }

var _ audit.Store = (*Store)(nil)

// Migrations returns the numbered migrations, for goose, atlas or [Install].
func Migrations() fs.FS {
	sub, err := fs.Sub(migrations, "migrations")
	if err != nil {
		return migrations // cannot be: the folder is embedded above
	}
	return sub
}

func set() sqlschema.Set { return sqlschema.Set{Package: "audit", Migrations: Migrations()} }

// Install applies the migrations that are missing; it may be called at every
// start.
func Install(ctx context.Context, db *sql.DB) error { return set().Install(ctx, db) }

// Open checks the tables of db; too old a version is an [audit.ErrSchema].
func Open(ctx context.Context, db *sql.DB) (*Store, error) {
	if db == nil {
		return nil, errors.New("sqltrail: open: no database")
	}
	s := &Store{db: db}
	return s, s.Check(ctx)
}

// Check reports whether the tables are recent enough.
func (s *Store) Check(ctx context.Context) error { return set().Check(ctx, s.db) }

// Begin starts a transaction for writing.
func (s *Store) Begin(ctx context.Context) (*sql.Tx, error) { return s.db.BeginTx(ctx, nil) }

// Bind leaves the placeholders `?` as they are: SQLite's own.
func (s *Store) Bind(query string) string { return query }

// QueryContext reads outside any transaction.
func (s *Store) QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error) {
	return s.db.QueryContext(ctx, query, args...)
}
