package sqlstore

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"github.com/crmguard/crmguard/internal/sqldb"
	"github.com/crmguard/crmguard/privacy"
	"github.com/crmguard/crmguard/privacy/datamap"
	"github.com/crmguard/crmguard/privacy/datastore"
)

// Config says which database and which map.
type Config struct {
	Name string       // name of the store; empty means "database"
	DB   *sql.DB      // required
	Map  *datamap.Map // required
	// Redact prepares the redaction of a record of several persons, outside of
	// the transaction. Required where the map has joint tables.
	Redact func(ctx context.Context, r JointRow) (Redaction, error)
	// EraseOwner destroys the key of a record owner that a redaction retired;
	// idempotent. Required where a joint table names an Owner column.
	EraseOwner func(ctx context.Context, tenant, owner string) error
}

// JointRow is a record of several persons, of whom one is erased.
type JointRow struct {
	Tenant string
	Person string // who is erased
	Table  string
	Key    string
	Owner  string // key owner as stored; empty where the map names no Owner column
}

// Redaction is a prepared change of one joint record: without what is about
// the erased person, sealed under a new owner whose keys exist already.
type Redaction struct {
	// Apply writes the redacted record. The link of the erased person is
	// removed by the store. Where the database ends the transaction for the sake
	// of another one, it is called again in the next.
	Apply func(ctx context.Context, tx datastore.Tx) error
	// Retire lists key owners to be destroyed once the change has committed:
	// the record's old owner.
	Retire []string
}

// Store is a datastore.Store over one database.
type Store struct {
	cfg       Config
	db        *sqldb.DB
	tables    []datamap.Table     // that lead to persons, children first
	relations map[string]relation // what the catalog says of them; empty on SQLite
	shared    []string            // tables from which a cascade may delete another person's rows
}

func (s *Store) sqlite() bool { return s.db.Kind == sqldb.SQLite }

// DatabaseError says which operation failed on which table.
type DatabaseError struct {
	Op    string
	Table string
	Err   error
}

// Error repeats what the database says of tables, columns, constraints and
// rights, and leaves out what may quote a value. A right that is missing is
// fs.ErrPermission to errors.Is.
func (e *DatabaseError) Error() string {
	cause := sqldb.Cause(e.Err)
	if cause == "" {
		cause = "see its cause, and CheckSchema, which compares the map with the schema"
	}
	return fmt.Sprintf("sqlstore: %s: table %s: database error: %s", e.Op, e.Table, cause)
}

// Unwrap returns the cause. The driver's own error is behind errors.As; its text
// may quote values.
func (e *DatabaseError) Unwrap() error { return e.Err }

func dbError(op, table string, err error) error {
	if err == nil || errors.Is(err, datastore.ErrLater) {
		return err
	}
	return &DatabaseError{op, table, safe(err)}
}

// safe lets errors.Is find what a database's answer means: that a right is
// missing is fs.ErrPermission. What the application has answered stays.
func safe(err error) error {
	if answer, ok := errors.AsType[*sqldb.DriverError](sqldb.Safe(err)); ok && answer.Code != "" {
		return sqldb.Safe(err)
	}
	return err
}

// Open checks map and hand-ins, that the tables are there and can be erased
// from, and that no foreign key deletes what the map keeps (a
// [*CascadeError]). The tables of privacy.Install must be in the same database
// (privacy.ErrSchema). A type that a column gets later is known after the next
// Open.
func Open(ctx context.Context, cfg Config) (*Store, error) {
	if cfg.DB == nil || cfg.Map == nil {
		return nil, errors.New("sqlstore: DB and Map are needed")
	}
	if err := cfg.Map.Validate(); err != nil {
		return nil, err
	}
	if cfg.Name == "" {
		cfg.Name = "database"
	}
	db, err := ask(ctx, cfg.DB)
	if err != nil {
		return nil, err
	}
	if err := (sqldb.Schema{Package: "privacy", Migrations: privacy.Migrations()}).Check(ctx, db); err != nil {
		return nil, fmt.Errorf("sqlstore: %w", err)
	}
	s := &Store{cfg: cfg, db: db}
	for _, t := range cfg.Map.Tables {
		if t.Link != nil && cfg.Redact == nil {
			return nil, fmt.Errorf("sqlstore: table %s is joint: Redact is needed", t.Name)
		}
		if t.Link != nil && t.Link.Owner != "" && cfg.EraseOwner == nil {
			return nil, fmt.Errorf("sqlstore: table %s has key owners: EraseOwner is needed", t.Name)
		}
	}
	s.tables = childrenFirst(cfg.Map)
	if err := s.readRelations(ctx); err != nil {
		return nil, err
	}
	if err := s.checkKept(ctx); err != nil {
		return nil, err
	}
	return s, nil
}

// childrenFirst orders the tables so that a row goes before the row that its
// Ref points to.
func childrenFirst(m *datamap.Map) []datamap.Table {
	var ordered []datamap.Table
	for depth := len(m.Tables); depth > 0; depth-- {
		for _, t := range m.Tables {
			if t.Reaches() && len(m.Path(t)) == depth {
				ordered = append(ordered, t)
			}
		}
	}
	return ordered
}

// ask asks the database what it is.
func ask(ctx context.Context, handle *sql.DB) (*sqldb.DB, error) {
	db, err := sqldb.Open(ctx, handle)
	if errors.Is(err, errors.ErrUnsupported) { // says which database was found
		return nil, fmt.Errorf("sqlstore: open: %w", err)
	}
	return db, dbError("open", "(database)", err)
}

// Name returns the configured name.
func (s *Store) Name() string { return s.cfg.Name }

// Find locates the rows that lead to the person, in every table of the map.
func (s *Store) Find(ctx context.Context, scope datastore.Scope) ([]datastore.Row, error) {
	found, err := s.locateAll(ctx, s.db, scope)
	if err != nil {
		return nil, err
	}
	var rows []datastore.Row
	for _, l := range found {
		if scope.Covers(l.row) {
			rows = append(rows, l.row)
		}
	}
	return rows, nil
}

// Left counts rows that still hold what should be gone: by the keys found
// before, by a fresh search, and key owners not yet destroyed.
func (s *Store) Remaining(ctx context.Context, scope datastore.Scope, found []datastore.Row) (int, error) {
	fresh, err := s.locateAll(ctx, s.db, scope)
	if err != nil {
		return 0, err
	}
	left := map[string]bool{}
	for _, l := range fresh {
		if scope.Covers(l.row) && !l.row.Clean {
			left[l.row.Table+"\x00"+l.row.Key] = true
		}
	}
	for _, row := range found {
		t, ok := s.cfg.Map.Table(row.Table)
		if !ok || row.Others || left[row.Table+"\x00"+row.Key] {
			continue
		}
		still, err := s.byKey(ctx, t, row.Key, scope)
		if err != nil {
			return 0, err
		}
		if still {
			left[row.Table+"\x00"+row.Key] = true
		}
	}
	retired, err := s.retired(ctx, scope.Tenant)
	return len(left) + len(retired), err
}

// Flush truncates SQLite's write-ahead log, which still holds the pages as
// they were. Open readers delay it: the error then wraps datastore.ErrLater.
func (s *Store) Flush(ctx context.Context) error {
	if !s.sqlite() {
		return nil
	}
	var busy, log, done int
	if err := sqldb.One(ctx, s.db, []any{&busy, &log, &done}, `PRAGMA wal_checkpoint(TRUNCATE)`); err != nil {
		return dbError("flush", "(write-ahead log)", err)
	}
	if busy != 0 {
		return fmt.Errorf("sqlstore: flush: readers are in the way of the checkpoint: %w", datastore.ErrLater)
	}
	return nil
}
