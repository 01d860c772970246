package sqlstore

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/crmguard/crmguard/internal/sqldb"
	"github.com/crmguard/crmguard/privacy/datamap"
	"github.com/crmguard/crmguard/privacy/datastore"
	"github.com/crmguard/crmguard/privacy/internal/catalog"
	"github.com/crmguard/crmguard/privacy/internal/tables"
)

// Config says which database and which map. What it hands in besides is called
// outside of the transaction, but for [Redaction.Apply].
type Config struct {
	Name string       // name of the store; empty means "database"
	DB   *sql.DB      // required
	Map  *datamap.Map // required
	// Redact prepares the redaction of a record of several persons. Required where
	// the map has joint tables.
	Redact func(ctx context.Context, r JointRow) (Redaction, error)
	// EraseOwner destroys the key of a record owner that a redaction retired;
	// idempotent. Required where a joint table names an Owner column.
	EraseOwner func(ctx context.Context, tenant, owner string) error
	// Pseudonym is a keyed function of a value under the tenant's key, such as a MAC
	// of 16 bytes or more: the same for the same value, and nobody without the key
	// finds the value. Required where the map pseudonymises.
	Pseudonym func(ctx context.Context, tenant string, value []byte) ([]byte, error)
	// Scrub takes what is about the person out of a free text. It leaves a text
	// that it has made as it is: by that the read-back knows it. Required where the
	// map scrubs.
	Scrub func(ctx context.Context, t ScrubText) (string, error)
	// Open opens the sealed value of an identity; by one whose key was destroyed
	// (an error that wraps datastore.ErrShredded) nothing is found. Required where
	// the map declares an identity in a sealed column.
	Open func(ctx context.Context, tenant, person, table, column, row string, sealed []byte) (any, error)
	// Search answers the keys of the rows whose sealed column holds one of the
	// values, as Row.Key writes them, each opened and compared. Required where an
	// identity edge is a sealed column. Over blind indexes of package encryption:
	//
	//	known := map[string][]string{table + "." + column + "_idx": values}
	//	for row, err := range vault.FindRows(ctx, db, tenant, known) {
	//		if err != nil {
	//			return nil, err
	//		}
	//		if row.Confirmed {
	//			keys = append(keys, row.Key)
	//		}
	//	}
	Search func(ctx context.Context, tenant, table, column string, values []string) (keys []string, err error)
	// LeaveShared leaves alone what can only be found by an identity that another
	// person holds too, such as a shared mailbox. False refuses such an erasure with
	// a [*SharedIdentityError].
	LeaveShared bool
	// LockWait bounds how long a rehearsal waits for a lock; 0 means 3 seconds.
	LockWait time.Duration
}

// ScrubText is a free text of a person's row.
type ScrubText struct {
	Tenant, Person string
	Table, Column  string // the column with the path of the JSON member
	Key            string
	Text           string
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
	entities  []*entity           // that lead to persons, each behind those that its rows lead over
	relations map[string]relation // what the catalog says of them; empty on SQLite
	shared    []string            // tables from which a cascade may delete another person's rows
	asks      bool                // the application is asked before an erasure
	knows     bool                // identities lead to rows
	pageRows  int                 // how many rows one statement about persons looks at
	roughly   bool                // questions may mean more than they say: only the half for the index is asked
}

var (
	_ datastore.Transactional = (*Store)(nil)
	_ datastore.Numbered      = (*Store)(nil)
	_ datastore.Keeper        = (*Store)(nil)
	_ datastore.People        = (*Store)(nil)
	_ datastore.Flusher       = (*Store)(nil)
)

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
		cause = "see its cause, and package liveschema, which compares the map with the schema"
	}
	return fmt.Sprintf("sqlstore: %s: table %s: database error: %s", e.Op, e.Table, cause)
}

// Unwrap returns the cause. The driver's own error is behind errors.As; its text
// may quote values.
func (e *DatabaseError) Unwrap() error { return e.Err }

func dbError(op, table string, err error) error {
	_, says := errors.AsType[*ValueError](err) // names table and column itself
	if err == nil || says || errors.Is(err, datastore.ErrLater) {
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
	if err := tables.Schema().Check(ctx, db); err != nil {
		return nil, fmt.Errorf("sqlstore: %w", err)
	}
	s := &Store{cfg: cfg, db: db, pageRows: pageRows}
	if err := s.checkHanded(); err != nil {
		return nil, err
	}
	if err := s.readRelations(ctx); err != nil {
		return nil, err
	}
	schema, err := catalog.Read(ctx, db, cfg.Map)
	if err != nil {
		return nil, dbError("open", "(schema)", err)
	}
	s.readEntities(schema)
	if err := s.checkLiterals(ctx); err != nil {
		return nil, err
	}
	if err := s.checkKept(schema); err != nil {
		return nil, err
	}
	return s, nil
}

// checkHanded insists on what the map needs of the application.
func (s *Store) checkHanded() error {
	needs := func(missing bool, table, why, name string) error {
		if missing {
			return fmt.Errorf("sqlstore: table %s %s: Config.%s is needed", table, why, name)
		}
		return nil
	}
	for _, t := range s.cfg.Map.Tables {
		all := []error{
			needs(t.Link != nil && s.cfg.Redact == nil, t.Name, "has a Link", "Redact"),
			needs(t.Link != nil && t.Link.Owner != "" && s.cfg.EraseOwner == nil, t.Name, "has key owners", "EraseOwner"),
		}
		s.asks = s.asks || t.Link != nil
		does := func(action datamap.Action) bool {
			return slices.Contains(slices.Collect(maps.Values(t.Stays())), action)
		}
		all = append(all, needs(does(datamap.Pseudonymise) && s.cfg.Pseudonym == nil, t.Name, "pseudonymises", "Pseudonym"),
			needs(does(datamap.Scrub) && s.cfg.Scrub == nil, t.Name, "scrubs", "Scrub"))
		s.asks = s.asks || does(datamap.Pseudonymise) || does(datamap.Scrub)
		for _, c := range t.Columns {
			all = append(all, needs(c.Identity != "" && c.Sealed && s.cfg.Open == nil, t.Name, "declares a sealed identity", "Open"))
		}
		for _, e := range t.Edges {
			c, _ := t.Column(e.Columns[0])
			s.knows = s.knows || e.Identity != ""
			all = append(all, needs(e.Identity != "" && c.Sealed && s.cfg.Search == nil, t.Name, "is found by a sealed identity", "Search"))
		}
		if err := errors.Join(all...); err != nil {
			return err
		}
	}
	return nil
}

// checkLiterals insists on PostgreSQL that what a redaction writes is a value of
// the column's type; other databases say it when they are written to.
func (s *Store) checkLiterals(ctx context.Context) error {
	if s.db.Kind != sqldb.Postgres {
		return nil
	}
	for _, e := range s.entities {
		for _, c := range e.changes {
			if action := e.Stays()[c.Where()]; c.field.kind == textual || !constant(action, c.Column) {
				continue
			}
			err := sqldb.One(ctx, s.db, []any{new(sql.NullString)}, s.db.Bind("SELECT CAST("+c.field.literal()+" AS text)"), redacted(c.Column))
			if _, refused := sqldb.Refused(err); refused {
				return mapError(e.Name, "column "+c.Name+": what a redaction writes is no value of its type: say one in To, or null")
			}
			if err != nil {
				return dbError("open", e.Name, err)
			}
		}
	}
	return nil
}

// A reference is a foreign key between tables of the map.
type reference struct {
	child, parent string
	columns       []string
	empties       bool // all of them may be NULL
}

func references(schema *catalog.Schema) (keys []reference) {
	for _, f := range schema.Foreign {
		required := slices.ContainsFunc(f.Child.Columns, func(c catalog.Column) bool { return c.NotNull && slices.Contains(f.Columns, c.Name) })
		keys = append(keys, reference{schema.NameOf(f.Child), schema.NameOf(f.Parent), f.Columns, !required})
	}
	return keys
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

// Find locates the rows that lead to the person, and those that point to them, in
// every table of the map. What leads there is asked again from what was found:
// over rows of other tables, and identities, but no further than there is
// anything new.
func (s *Store) Find(ctx context.Context, scope datastore.Scope) ([]datastore.Row, error) {
	rows, err := s.FindAll(ctx, []datastore.Scope{scope})
	for i := range rows {
		rows[i].Person = ""
	}
	return rows, err
}

// FindAll is Find of several persons: one statement a table for all of them.
func (s *Store) FindAll(ctx context.Context, scopes []datastore.Scope) ([]datastore.Row, error) {
	seekers, err := s.resolve(ctx, scopes)
	if err != nil {
		return nil, err
	}
	p := s.preparing()
	p.together = true
	found, err := s.find(ctx, s.db, seekers, p, nil)
	return visible(found, seekers), err
}

// Remaining counts rows that still hold what should be gone: by the keys found
// before, by a fresh search, also of rows that name one that is gone, and key
// owners not yet destroyed. A row that was found before and is somebody else's now
// is not left.
func (s *Store) Remaining(ctx context.Context, scope datastore.Scope, found []datastore.Row) (int, error) {
	seekers, err := s.resolve(ctx, []datastore.Scope{scope})
	if err != nil {
		return 0, err
	}
	retired, err := s.retired(ctx, scope.Tenant)
	if err != nil {
		return 0, err
	}
	if nothing, err := s.nothingLeft(ctx, seekers[0], found); nothing || err != nil {
		return len(retired), err
	}
	there, err := s.byKey(ctx, scope, found)
	if err != nil {
		return 0, err
	}
	p := s.preparing()
	fresh, err := s.find(ctx, s.db, seekers, p, s.goneOf(found, there))
	if err != nil {
		return 0, err
	}
	left, judged := map[rowID]bool{}, map[rowID]bool{}
	for _, l := range fresh {
		judged[l.id()] = true
		if l.covers(scope) && !l.clean {
			left[l.id()] = true
		}
	}
	for _, row := range found {
		l := there[rowID{row.Table, row.Key}]
		if l == nil || row.Others || judged[l.id()] {
			continue
		}
		if row.Class == datastore.Kept && l.e.Keep == nil {
			continue // by what it hangs on, which the search for its own person has looked at
		}
		others, err := s.leadsOn(ctx, l, scope)
		if err == nil && !others {
			err = s.judge(ctx, l, scope, p)
		}
		if err != nil {
			return 0, dbError("left", row.Table, err)
		}
		left[l.id()] = !others && !l.clean
	}
	n := 0
	for _, is := range left {
		if is {
			n++
		}
	}
	return n + len(retired), nil
}
