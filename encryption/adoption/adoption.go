package adoption

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"embed"
	"encoding/hex"
	"fmt"
	"io/fs"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/crmguard/crmguard/encryption"
	"github.com/crmguard/crmguard/internal/frame"
	"github.com/crmguard/crmguard/internal/sqldb"
)

//go:embed migrations grants
var files embed.FS

// Migrations returns the numbered migrations, in the folders sqlite, postgres
// and mysql (MariaDB's, too), for goose, golang-migrate, psql or mysql.
func Migrations() fs.FS { return sqldb.Folder(files, "migrations") }

// Grants returns the GRANT statements for the application's role, crm_app in
// them, as postgres.sql and mysql.sql (MariaDB's, too).
func Grants() fs.FS { return sqldb.Folder(files, "grants") }

func schema() sqldb.Schema { return sqldb.Schema{Package: "adoption", Migrations: Migrations()} }

// Install creates the tables of the stages that are missing, in the database of
// the application's rows. It may be called at every start, by any number of
// processes at once.
func Install(ctx context.Context, db *sql.DB) error { return schema().Install(ctx, db) }

// DefaultLease is how long a process trusts the stage that it has read.
const DefaultLease = 5 * time.Second

// Config is what an Adoption needs. DB, Table and Columns are mandatory.
type Config struct {
	// DB is the database of the application's rows. The stage stands in it, so
	// that a database that is put back brings its own stage along.
	DB *sql.DB
	// Table is the declared table. Each adopted column has an SQL name of its own
	// there, beside the column in the clear: {Name: "email", SQL: "email_sealed"}.
	Table *encryption.SealedTable
	// Columns are the columns to adopt. Columns of the table that are not named
	// here are sealed at every stage, as without an adoption.
	Columns []Column
	// Lease is how long a process trusts the stage that it has read, and so what a
	// move waits for: from 100 ms to an hour. The first process that asks for a
	// tenant's stage writes it into the database, for all; 0 is what stands there,
	// and DefaultLease for the first one. Another one than that is refused.
	Lease time.Duration
}

// Column is one adopted column.
type Column struct {
	// Name is the logical name in the definition of the table.
	Name string
	// Plain is the SQL name of the column in the clear: a type of text.
	Plain string
	// Compare is how the application searches the column in the clear, as SQL with
	// {column} and {value} in it: "lower({column}) = lower({value})". "" is
	// "{column} = {value}". It must be true of NULL for no value.
	Compare string
	// Index is the logical name of the index that Lookup asks: one over whole values,
	// such as Find, not one over their domain or last digits. "" is the first one.
	Index string
}

// Adoption leads one table from values in the clear to sealed ones. It is safe
// for concurrent use.
type Adoption struct {
	cfg     Config
	db      *sqldb.DB
	def     encryption.Table
	columns map[string]column // by logical name
	order   []string
	digest  string
	terms   encryption.Config

	mu   sync.Mutex
	held map[string]held  // by tenant
	seen map[string]int64 // the revision that was read last, by tenant

	counted struct{ fallbacks, mismatches, unreadable, otherOwners, inClear, rewound atomic.Int64 }
}

// column is an adopted column with what the definition says of it.
type column struct {
	Column
	sealed  encryption.Column
	indexes []encryption.Index
}

var identifier = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]{0,62}$`)

// Open checks the definition against what is recorded in the database, for each
// tenant. The columns themselves need not be there yet: see SQL. It writes nothing.
func Open(ctx context.Context, cfg Config) (*Adoption, error) {
	if cfg.DB == nil || cfg.Table == nil || len(cfg.Columns) == 0 {
		return nil, fmt.Errorf("%w: Config needs DB, Table and Columns", ErrDefinition)
	}
	if cfg.Lease != 0 && (cfg.Lease < 100*time.Millisecond || cfg.Lease > time.Hour || cfg.Lease%time.Microsecond != 0) {
		return nil, fmt.Errorf("%w: a lease of %v: from 100ms to 1h, in whole microseconds", ErrDefinition, cfg.Lease)
	}
	a := &Adoption{cfg: cfg, def: cfg.Table.Definition(), columns: map[string]column{}, terms: cfg.Table.Terms(), held: map[string]held{}, seen: map[string]int64{}}
	for _, c := range cfg.Columns {
		if err := a.add(c); err != nil {
			return nil, err
		}
	}
	a.digest = a.digestOf()
	db, err := sqldb.Open(ctx, cfg.DB)
	if err != nil {
		return nil, fmt.Errorf("adoption: %w", err)
	}
	a.db = db
	if err := schema().Check(ctx, db); err != nil {
		return nil, err
	}
	rows, err := stages(ctx, db, a.def.Name)
	if err != nil {
		return nil, err
	}
	for _, r := range rows {
		if err := a.agrees(r); err != nil {
			return nil, err
		}
	}
	return a, nil
}

func (a *Adoption) add(c Column) error {
	fail := func(what string) error {
		return fmt.Errorf("%w: %s.%s: %s", ErrDefinition, a.def.Name, c.Name, what)
	}
	if !identifier.MatchString(c.Plain) {
		return fail("Plain is no SQL name")
	}
	if _, twice := a.columns[c.Name]; twice {
		return fail("named twice")
	}
	for _, other := range a.columns {
		if other.Plain == c.Plain {
			return fail("its column in the clear is that of another one")
		}
	}
	if c.Compare == "" {
		c.Compare = "{column} = {value}"
	}
	if strings.Count(c.Compare, "{value}") != 1 || !strings.Contains(c.Compare, "{column}") || strings.ContainsAny(c.Compare, "?$;") {
		return fail("Compare holds {value} once, {column}, and none of ? $ ;")
	}
	for _, sealed := range a.def.Columns {
		if sealed.Name != c.Name {
			if sealed.SQL == c.Plain {
				return fail("Plain is the sealed column of another one")
			}
			continue
		}
		switch {
		case sealed.Stream:
			return fail("a stream is no column of a row")
		case sealed.SQL == c.Plain:
			return fail("the sealed column stands beside the one in the clear: give it an SQL name of its own in the table's definition")
		}
		if c.Index != "" && !slices.ContainsFunc(sealed.Index, func(x encryption.Index) bool { return x.Name == c.Index }) {
			return fail("Index is no logical name of an index over the column")
		}
		a.columns[c.Name] = column{Column: c, sealed: sealed, indexes: sealed.Index}
		a.order = append(a.order, c.Name)
	}
	if _, ok := a.columns[c.Name]; !ok {
		return fail("the table declares no such column")
	}
	return nil
}

// digestDomain begins what the recorded digest of a definition is made of.
const digestDomain = "crmguard/encryption/adoption/definition/1"

// digestOf names all that two processes must agree on while they write the same
// rows. How the application searches in the clear is not among it.
func (a *Adoption) digestOf() string {
	text := frame.Join(digestDomain, a.def.Name, a.def.SQL, a.def.Key, a.def.Owner, a.def.Tenant, strconv.FormatBool(a.def.Shared))
	for _, name := range a.sorted() {
		c := a.columns[name]
		text = frame.Append(text, string(frame.Join(name, c.Plain, c.sealed.SQL, strconv.Itoa(int(c.sealed.Level)), strconv.FormatBool(c.sealed.Text), strconv.Itoa(c.sealed.Pad))))
		for _, x := range c.indexes {
			text = frame.Append(text, string(frame.Join(x.Column, x.Name, strconv.FormatUint(uint64(x.Version), 10), string(x.As), strconv.Itoa(x.Bits))))
		}
	}
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:])
}

// each calls f for the adopted columns in the order of Config.Columns.
func (a *Adoption) each(f func(c column) error) error {
	for _, name := range a.order {
		if err := f(a.columns[name]); err != nil {
			return err
		}
	}
	return nil
}

// others says whether the table has sealed columns that are not adopted.
func (a *Adoption) others() bool {
	for _, c := range a.def.Columns {
		if _, adopted := a.columns[c.Name]; !adopted && !c.Stream {
			return true
		}
	}
	return false
}
