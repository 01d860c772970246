package sqlitesource

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/crmguard/crmguard/backup"
	"github.com/crmguard/crmguard/internal/filelock"
	"github.com/crmguard/crmguard/internal/sqldb"
)

// The sentinels of this package.
var (
	ErrStrip     = errors.New("sqlitesource: a column to strip does not exist or cannot be NULL")
	ErrIntegrity = errors.New("sqlitesource: database is damaged")
)

// Kind is the kind of this source in a manifest.
const Kind = "sqlite"

// Config describes a database to back up.
type Config struct {
	// Name is the source's folder in the snapshot, and File the database
	// file in it: "db" and "crm.db".
	Name, File string
	// DB is the live database.
	DB *sql.DB
	// Strip names, by table, the blind index columns that are set to NULL in
	// the copy, spelt in any case, as in SQL. They must be nullable. A restore
	// rebuilds them.
	Strip map[string][]string
	// Staging is the folder in which the private copy is made; "" means the
	// system's temporary folder. The copy holds what the database holds: name
	// a folder of this machine before which others have no access.
	Staging string
}

// Source is a database to back up. It is a backup.Source.
type Source struct{ cfg Config }

var _ backup.Source = (*Source)(nil)

// New makes a source.
func New(cfg Config) (*Source, error) {
	if cfg.Name == "" || cfg.DB == nil {
		return nil, fmt.Errorf("%w: sqlitesource: Name and DB are required", backup.ErrConfig)
	}
	if cfg.File == "" || strings.ContainsAny(cfg.File, "/\\\x00") || cfg.File == "." || cfg.File == ".." {
		return nil, fmt.Errorf("%w: sqlitesource: File is a plain file name", backup.ErrConfig)
	}
	return &Source{cfg: cfg}, nil
}

// Name returns the source's name.
func (s *Source) Name() string { return s.cfg.Name }

// Kind returns "sqlite".
func (s *Source) Kind() string { return Kind }

// Snapshot copies the database, strips and proves the copy, and writes it.
func (s *Source) Snapshot(ctx context.Context, w *backup.Writer) (err error) {
	if err := isSQLite(ctx, s.cfg.DB); err != nil {
		return err
	}
	if err := removeLeft(s.cfg.Staging, filelock.Try); err != nil {
		return err
	}
	dir, release, err := makeStaging(s.cfg.Staging)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, release()) }()
	if strings.ContainsAny(dir, "?#%") {
		return fmt.Errorf("%w: sqlitesource: Staging must not contain '?', '#' or '%%'", backup.ErrConfig)
	}
	final, stripped, err := s.stage(ctx, dir)
	if err != nil {
		return err
	}
	if err := s.digest(ctx, w, final, stripped); err != nil {
		return err
	}
	f, err := os.Open(final)
	if err != nil {
		return err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	return w.File(s.cfg.File, info, f)
}

// isSQLite asks the database what it is before any statement that only SQLite
// knows.
func isSQLite(ctx context.Context, db *sql.DB) error {
	dialect, err := sqldb.Ask(ctx, db)
	if err != nil {
		return fmt.Errorf("sqlitesource: %w", err)
	}
	if dialect.Kind != sqldb.SQLite {
		return fmt.Errorf("sqlitesource: the database is %s, and this source copies SQLite only: %w", dialect.Kind, errors.ErrUnsupported)
	}
	return nil
}

// stage makes the copy that goes into the snapshot. It returns its path, and
// what was stripped by the names that the database has for it.
func (s *Source) stage(ctx context.Context, dir string) (final string, stripped map[string][]string, err error) {
	first := filepath.Join(dir, liveCopy)
	if err := vacuumInto(ctx, s.cfg.DB, first); err != nil {
		return "", nil, err
	}
	if len(s.cfg.Strip) == 0 {
		return first, nil, nil
	}
	final = filepath.Join(dir, strippedCopy)
	err = s.with(ctx, first, func(db *sql.DB) error {
		// The copy is private and thrown away on any error: no journal.
		for _, pragma := range []string{"journal_mode=OFF", "synchronous=OFF", "secure_delete=ON", "foreign_keys=OFF"} {
			if err := pragmaText(ctx, db, pragma); err != nil {
				return err
			}
		}
		var err error
		if stripped, err = strippable(ctx, db, s.cfg.Strip); err != nil {
			return err
		}
		for table, columns := range stripped {
			if err := strip(ctx, db, table, columns); err != nil {
				return err
			}
		}
		return vacuumInto(ctx, db, final)
	})
	if err != nil {
		return "", nil, err
	}
	// The first copy still held the index columns.
	return final, stripped, os.Remove(first)
}

func vacuumInto(ctx context.Context, db *sql.DB, path string) error {
	if _, err := db.ExecContext(ctx, `VACUUM INTO ?`, path); err != nil {
		return fmt.Errorf("sqlitesource: copy the database: %w", err)
	}
	return os.Chmod(path, 0o600)
}

func pragmaText(ctx context.Context, db *sql.DB, pragma string) error {
	rows, err := db.QueryContext(ctx, "PRAGMA "+pragma)
	if err != nil {
		return fmt.Errorf("sqlitesource: pragma %s: %w", pragma, err)
	}
	defer rows.Close()
	for rows.Next() {
		continue
	}
	return rows.Err()
}

// connector opens a private database through the driver of the live one.
type connector struct {
	driver driver.Driver
	path   string
}

func (c connector) Connect(context.Context) (driver.Conn, error) { return c.driver.Open(c.path) }
func (c connector) Driver() driver.Driver                        { return c.driver }

// with opens the database at path on one connection.
func (s *Source) with(ctx context.Context, path string, do func(db *sql.DB) error) (err error) {
	db := sql.OpenDB(connector{driver: s.cfg.DB.Driver(), path: path})
	defer func() { err = errors.Join(err, db.Close()) }()
	db.SetMaxOpenConns(1)
	if err := db.PingContext(ctx); err != nil {
		return fmt.Errorf("sqlitesource: open the copy: %w", err)
	}
	return do(db)
}

// digest proves the final copy and tells the manifest about its tables.
func (s *Source) digest(ctx context.Context, w *backup.Writer, path string, strip map[string][]string) error {
	return s.with(ctx, path, func(db *sql.DB) error {
		if err := integrity(ctx, db); err != nil {
			return err
		}
		versions, err := engineVersions(ctx, db)
		if err != nil {
			return err
		}
		w.Versions(versions)
		tables, err := listTables(ctx, db)
		if err != nil {
			return err
		}
		for _, t := range tables {
			stripped := strip[t.name]
			if err := provesStripped(ctx, db, t.name, stripped); err != nil {
				return err
			}
			rows, sum, err := t.digest(ctx, db, stripped)
			if err != nil {
				return err
			}
			if err := w.Table(backup.Table{Name: t.name, Rows: rows, Sum: sum, Stripped: stripped}); err != nil {
				return err
			}
		}
		return nil
	})
}

func integrity(ctx context.Context, db *sql.DB) error {
	var verdict string
	if err := db.QueryRowContext(ctx, `PRAGMA integrity_check(1)`).Scan(&verdict); err != nil {
		return fmt.Errorf("%w: %w", ErrIntegrity, err)
	}
	if verdict != "ok" {
		return ErrIntegrity // the verdict's text can quote values
	}
	var free int64
	if err := db.QueryRowContext(ctx, `PRAGMA freelist_count`).Scan(&free); err != nil || free != 0 {
		return fmt.Errorf("%w: the copy has %d free pages", ErrIntegrity, free)
	}
	return nil
}

func engineVersions(ctx context.Context, db *sql.DB) (map[string]string, error) {
	var engine, user, schema string
	err := db.QueryRowContext(ctx, `SELECT sqlite_version(), user_version, schema_version FROM pragma_user_version, pragma_schema_version`).
		Scan(&engine, &user, &schema)
	if err != nil {
		return nil, fmt.Errorf("sqlitesource: versions: %w", err)
	}
	return map[string]string{"sqlite": engine, "user_version": user, "schema_version": schema}, nil
}
