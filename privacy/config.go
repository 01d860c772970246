package privacy

import (
	"context"
	"crypto"
	"crypto/ed25519"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"slices"
	"time"

	"github.com/crmguard/crmguard/internal/sqldb"
	"github.com/crmguard/crmguard/privacy/bundle"
	"github.com/crmguard/crmguard/privacy/datamap"
	"github.com/crmguard/crmguard/privacy/datastore"
	"github.com/crmguard/crmguard/privacy/erasurelog"
	"github.com/crmguard/crmguard/privacy/internal/tables"
	"github.com/crmguard/crmguard/privacy/sqlstore"
)

// Config ties the desk to the application. Everything marked required is
// checked by [Open].
type Config struct {
	// Map is the data map. Required.
	Map *datamap.Map
	// DB is the application's database, which holds the desk's tables: plans
	// and the high-water mark. SQLite, PostgreSQL, MariaDB or MySQL, through any
	// driver. Required.
	DB *sql.DB
	// Ledger is the erasure ledger, kept outside of what backups of DB cover. Required.
	Ledger *erasurelog.Log
	// Database is the store over DB; nil: a sqlstore over DB and Map. It erases
	// first, in one transaction.
	Database datastore.Transactional
	// Redact, EraseOwner, Pseudonym, Scrub and Search are what the store over DB
	// needs where the map says so: see [sqlstore.Config], which has more. Left out
	// where Database is handed in.
	Redact     func(ctx context.Context, r sqlstore.JointRow) (sqlstore.Redaction, error)
	EraseOwner func(ctx context.Context, tenant, owner string) error
	Pseudonym  func(ctx context.Context, tenant string, value []byte) ([]byte, error)
	Scrub      func(ctx context.Context, t sqlstore.ScrubText) (string, error)
	Search     func(ctx context.Context, tenant, table, column string, values []string) (keys []string, err error)
	// Stores are the others, in the order in which they erase: person keys last, so
	// that the others still open what they hold. They find the person by id and
	// by Scope.Identities, which were read before the database erased.
	Stores []datastore.Store
	// Sign signs certificates; an Ed25519 key (a KMS fits). Required.
	Sign crypto.Signer
	// Record writes an audit event in the desk's transaction; nil: no trail.
	// Where the database ends a transaction for the sake of another one, it is
	// called again in the next.
	// Its attributes are id (a fresh UUIDv7, which the certificate names), object
	// ("plan/<id>"), reason, outcome, digest (of a certificate or an export, or
	// the ledger's head) and count; never the person.
	Record func(ctx context.Context, tx datastore.Tx, tenant, action string, attrs ...slog.Attr) error
	// Prepare is called before each transaction in which Record is, and never within
	// one: a trail that needs keys for its events fetches them here. Of package audit:
	// trail.Prepare. nil: nothing to prepare.
	Prepare func(ctx context.Context, tenant string, persons ...string) error
	// Note writes an audit event of its own, for exports: privacy.export before the
	// first byte is given out, which is not when it fails, and privacy.exported
	// behind the last one; nil: no trail.
	Note func(ctx context.Context, tenant, action string, attrs ...slog.Attr) error
	// Open opens a sealed value for an export. person is the key owner: the
	// person, or the owner that a joint record names. Required where the map
	// has sealed columns that are exported. Where an erasure has destroyed the key
	// (encryption.ErrErased), the error wraps datastore.ErrShredded: the export
	// says so then, instead of failing.
	Open func(ctx context.Context, tenant, person, table, column, row string, sealed []byte) (any, error)
	// Controller is who answers for the data, in words for the person: exports say it.
	Controller bundle.Controller
	// TempDir is the folder in which the rows of an export wait, sealed under a key
	// that only the one call has; empty: the system's.
	TempDir string
	// Aliases lists the persons merged into this one, closure included; nil: none.
	Aliases func(ctx context.Context, tenant, person string) ([]string, error)
	// Allow is asked before whatever somebody orders, with the action ("privacy.plan",
	// approve, cancel, execute, void, hold, lift, export, decide, unsuppress,
	// open_anyway) and what it is about: "person/<id>", of void "plan/<id>", of lift
	// "hold/<id>", of the last two "privacy". nil: the application has asked already.
	Allow func(ctx context.Context, action, resource string) error
	// AllowReplay is asked before a replay erases more than max(10, 1 %) of the
	// people; nil: it is refused.
	AllowReplay func(ctx context.Context, erase, people int) error
	// NotCovered lists, for certificates, what no store reaches: server logs,
	// replicas, mail already sent.
	NotCovered []string
	// Delay lies between plan and execution. 0 means 24 hours; [None]: none.
	Delay time.Duration
	// ApprovalLife is how long an approval is good, until the erasure begins. 0
	// means 30 days; [None]: for ever.
	ApprovalLife time.Duration
	// Lease is how long another process may use a key it has cached. 0 means
	// 5 seconds; [None]: no process caches.
	Lease time.Duration
	// Window is the longest life of a key copy, with the delay of the KMS. 0 means 7 days; [None]: no
	// copies.
	Window time.Duration
	// Grace is how long an unreachable ledger is only a warning at boot. 0
	// means 24 hours; [None]: never.
	Grace time.Duration
	// ReplayEvery is how often [Desk.Run] replays: within so long a table that was
	// brought back beside the rest is found. 0 means 24 hours; [None]: never.
	ReplayEvery time.Duration
	// Highest are the highest numbers that others of the application know to have
	// been given out, by schema.table.column: the key store, the audit trail. The
	// gate stays shut while a counter is behind one; nil: the ledger's alone.
	Highest func(ctx context.Context) (map[string]int64, error)
	// PerDay caps the erasures begun in 24 hours. 0 means 100; [None]: no cap.
	PerDay int
	// Now is the clock; nil means time.Now.
	Now func() time.Time
	// Observe receives measurements; nil: silence.
	Observe func(ctx context.Context, name string, value float64, attrs ...slog.Attr)
}

// Format prints the type only, whatever the verb: Sign may be a key in memory.
// A Config in an unexported field of a struct is beyond its reach.
func (c Config) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte("privacy.Config")) }

// LogValue is the type only.
func (c Config) LogValue() slog.Value { return slog.StringValue("privacy.Config") }

// ErrSchema says that the desk's tables are older than this library needs:
// call Install, or apply Migrations.
// Its fields: Package; Have and Want, the versions; Found, what stands elsewhere
// or is missing.
type ErrSchema = sqldb.SchemaError //nolint:errname // every storing package calls it so

// ErrStandby says that the connection leads to a standby or read-only replica,
// which may show what has been erased already: connect to the primary.
var ErrStandby = sqldb.ErrStandby

// ErrConfig is wrapped by every refusal of [Open].
var ErrConfig = errors.New("privacy: configuration")

// Migrations returns the numbered migrations of the desk's tables, in the
// folders sqlite, postgres and mysql (MariaDB's, too), for goose,
// golang-migrate, psql or mysql.
func Migrations() fs.FS { return tables.Migrations() }

// Grants returns the GRANT statements for the application's role, crm_app in
// them, as postgres.sql and mysql.sql (MariaDB's, too): for the desk's own
// tables. sqlstore.Grants lists those for the tables of a map. [Install] and the
// migrations are for the owner of the tables; all else works as that role.
func Grants() fs.FS { return tables.Grants() }

// Install creates the desk's tables in the application's database, or brings
// them up to date. It may be called at every start, by any number of processes
// at once.
func Install(ctx context.Context, db *sql.DB) error { return tables.Schema().Install(ctx, db) }

func (c *Config) validate() error {
	bad := func(text string) error { return fmt.Errorf("%w: %s", ErrConfig, text) }
	switch {
	case c.Map == nil:
		return bad("Map is missing")
	case c.DB == nil:
		return bad("DB is missing")
	case c.Ledger == nil:
		return bad("Ledger is missing")
	case c.Sign == nil:
		return bad("Sign is missing")
	}
	if _, ok := c.Sign.Public().(ed25519.PublicKey); !ok {
		return bad("Sign is no Ed25519 key")
	}
	if err := c.Map.Validate(); err != nil {
		return err
	}
	names := map[string]bool{c.databaseName(): true}
	for _, s := range c.Stores {
		if s == nil {
			return bad("one of Stores is nil")
		}
		if s.Name() == "" || names[s.Name()] {
			return bad("stores need different names")
		}
		if f, ok := datastore.AsFunc(s); ok && f.Erase == nil {
			return bad("store " + s.Name() + " has no Erase")
		}
		names[s.Name()] = true
	}
	if c.Map.Shreds() && !c.mayDestroyKeys() {
		return bad("the map shreds, and no store destroys the key of the person: hand in a Func of class Shredded, or delete or redact instead")
	}
	if c.Open == nil && c.needsOpen() {
		return bad("Open is missing, and the map has sealed columns to export")
	}
	return nil
}

// mayDestroyKeys reports whether a store can be the one that destroys the keys
// of persons: a [datastore.Func] says so, another one may.
func (c *Config) mayDestroyKeys() bool {
	return slices.ContainsFunc(c.Stores, func(s datastore.Store) bool {
		f, ok := datastore.AsFunc(s)
		return !ok || f.Class == datastore.Shredded
	})
}

func (c *Config) needsOpen() bool {
	for _, t := range c.Map.Tables {
		for _, col := range t.Columns {
			if t.Reaches() && col.Sealed && col.Withhold == "" {
				return true
			}
		}
	}
	return false
}

// None is what durations and caps of a [Config] are where there is none: their
// zero is the documented default.
const None = -1

// orDefault reads a duration or a cap; 0 is none.
func orDefault[T ~int | ~int64](set, standard T) T {
	switch {
	case set == 0:
		return standard
	case set < 0:
		return 0
	}
	return set
}

func (c *Config) delay() time.Duration        { return orDefault(c.Delay, 24*time.Hour) }
func (c *Config) approvalLife() time.Duration { return orDefault(c.ApprovalLife, 30*24*time.Hour) }
func (c *Config) lease() time.Duration        { return orDefault(c.Lease, 5*time.Second) }
func (c *Config) window() time.Duration       { return orDefault(c.Window, 7*24*time.Hour) }
func (c *Config) grace() time.Duration        { return orDefault(c.Grace, 24*time.Hour) }
func (c *Config) replayEvery() time.Duration  { return orDefault(c.ReplayEvery, 24*time.Hour) }
func (c *Config) perDay() int                 { return orDefault(c.PerDay, 100) }

// databaseName is the name of the store over DB.
func (c *Config) databaseName() string {
	if c.Database == nil {
		return "database"
	}
	return c.Database.Name()
}

// open makes the store over DB where none was handed in.
func (c *Config) open(ctx context.Context) (datastore.Transactional, error) {
	return sqlstore.Open(ctx, sqlstore.Config{
		DB: c.DB, Map: c.Map, Redact: c.Redact, EraseOwner: c.EraseOwner, Pseudonym: c.Pseudonym, Scrub: c.Scrub, Open: c.Open, Search: c.Search,
	})
}
