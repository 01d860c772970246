package roles

import (
	"context"
	"database/sql"
	"embed"
	"fmt"
	"io/fs"
	"time"

	"github.com/crmguard/crmguard/internal/alone"
	"github.com/crmguard/crmguard/internal/sqldb"
)

//go:embed migrations grants
var files embed.FS

// Migrations returns the numbered migrations, in the folders sqlite, postgres
// and mysql (MariaDB's, too), for goose, golang-migrate, psql or mysql.
func Migrations() fs.FS { return sqldb.Folder(files, "migrations") }

// Grants returns the GRANT statements for the application's role, crm_app in
// them, as postgres.sql and mysql.sql (MariaDB's, too). [Install] and the
// migrations are for the owner of the tables; all else works as that role.
func Grants() fs.FS { return sqldb.Folder(files, "grants") }

func schema() sqldb.Schema {
	return sqldb.Schema{Package: "accesscontrol", Migrations: Migrations()}
}

// Install creates the tables that are missing. It may be called at every start,
// by any number of processes at once.
func Install(ctx context.Context, db *sql.DB) error { return schema().Install(ctx, db) }

// DefaultMaxAge is [Options.MaxAge] where that is zero.
const DefaultMaxAge = 5 * time.Second

// Tagger makes and checks keyed tags of a tenant. The tagger of a vault of
// package encryption, for the purpose "seal", is one; [KeysFrom] makes another.
type Tagger interface {
	// Tag returns the tag of data.
	Tag(ctx context.Context, tenant string, data []byte) ([]byte, error)
	// Verify returns nil only for a tag of data.
	Verify(ctx context.Context, tenant string, data, tag []byte) error
}

// KeysFrom returns the tagger that works without package encryption, from 32
// random bytes which stand neither in the database nor in its backups.
func KeysFrom(secret []byte) (Tagger, error) {
	root, err := alone.From(secret)
	if err != nil {
		return nil, fmt.Errorf("roles: keys: %w", err)
	}
	return root.Tagger(alone.PurposeSeal), nil
}

// Options are what [Open] can do without. The zero value is safe.
type Options struct {
	// MaxAge is for how long [Store.Principal] answers from what it has read of a
	// person before: for so long a right may live on that another process has
	// taken away. Zero is DefaultMaxAge; below zero each call reads.
	MaxAge time.Duration
	// Tagger authenticates the rows, so that who can write into the tables, and
	// has no key, gives nobody a role. Nil leaves them as they are; a store with
	// a tagger refuses rows without a tag.
	Tagger Tagger
}

// Store keeps who holds which roles, in SQL. It is safe for concurrent use, and
// of several processes.
type Store struct {
	db     *sqldb.DB
	set    *Set
	tagger Tagger
	cache  cache
	past   past
}

// Open checks the tables and returns the store in them. It writes nothing, and
// leaves db to whoever opened it.
func Open(ctx context.Context, db *sql.DB, set *Set, o Options) (*Store, error) {
	if set == nil {
		return nil, &RequestError{Text: "no roles: hand in what New returns"}
	}
	asked, err := sqldb.Open(ctx, db)
	if err != nil {
		return nil, fmt.Errorf("roles: %w", err)
	}
	if err := schema().Check(ctx, asked); err != nil {
		return nil, err
	}
	age := o.MaxAge
	if age == 0 {
		age = DefaultMaxAge
	}
	return &Store{db: asked.Whole(), set: set, tagger: o.Tagger, cache: cache{age: age}}, nil
}

// change runs f while nobody else changes anything of the tenant: what one may
// give depends on rows of others, and what one may hold on all of one's own.
func (s *Store) change(ctx context.Context, tenant string, f func(c *changing) error) error {
	defer s.cache.forget(tenant) // also where the answer of a commit was lost
	began := false
	err := s.db.Write(ctx, func(tx *sql.Tx) error {
		began = false
		in := sqldb.Insert{Table: "crmguard_accesscontrol_tenant", Columns: []string{"tenant", "changes", "changed"}, Key: []string{"tenant"}}
		if err := s.db.Insert(ctx, tx, in, [][]any{{tenant, 0, 0}}); err != nil {
			return err
		}
		if _, err := tx.ExecContext(ctx, s.db.Bind(`UPDATE crmguard_accesscontrol_tenant SET changes = changes + 1, changed = `+clock(s.db.Kind)+` WHERE tenant = ?`), tenant); err != nil {
			return sqldb.Safe(err)
		}
		began = true
		c := &changing{Store: s, tx: tx, tenant: tenant}
		if err := sqldb.One(ctx, tx, []any{&c.now}, `SELECT `+clock(s.db.Kind)); err != nil {
			return err
		}
		var err error
		if c.defined, err = s.definitions(ctx, tx, tenant); err != nil {
			return err
		}
		return f(c)
	})
	if ended := ctx.Err(); err != nil && ended != nil && !began {
		return fmt.Errorf("roles: the tenant could not be locked before the context ended, and nothing was changed; perhaps another change of it stands still: %w", ended)
	}
	return err
}

// changing is a transaction that holds the lock of a tenant.
type changing struct {
	*Store
	tx      *sql.Tx
	tenant  string
	now     int64 // of the database
	defined definitions
}

// clock is the time of the database in microseconds, when the statement runs.
func clock(kind sqldb.Kind) string {
	switch kind {
	case sqldb.SQLite: // in the process: that of the host
		return `CAST((julianday('now') - 2440587.5) * 86400000000 AS INTEGER)`
	case sqldb.Postgres:
		return `CAST(extract(epoch FROM clock_timestamp()) * 1000000 AS bigint)`
	case sqldb.MariaDB, sqldb.MySQL:
	}
	return `TIMESTAMPDIFF(MICROSECOND, '1970-01-01', UTC_TIMESTAMP(6))`
}
