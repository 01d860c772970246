package privacy

import (
	"context"
	"crypto"
	"crypto/ed25519"
	"database/sql"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"time"

	"github.com/crmguard/crmguard/internal/sqldb"
	"github.com/crmguard/crmguard/privacy/datamap"
	"github.com/crmguard/crmguard/privacy/datastore"
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
	Ledger *Ledger
	// Stores are erased in this order: the database before the person keys, so
	// that joint records can still be opened while they are redacted. Required.
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
	// Note writes an audit event of its own, for exports; nil: no trail.
	Note func(ctx context.Context, tenant, action string, attrs ...slog.Attr) error
	// Open opens a sealed value for an export. person is the key owner: the
	// person, or the owner that a joint record names. Required where the map
	// has sealed columns that are exported.
	Open func(ctx context.Context, tenant, person, table, column, row string, sealed []byte) (any, error)
	// Aliases lists the persons merged into this one, closure included; nil: none.
	Aliases func(ctx context.Context, tenant, person string) ([]string, error)
	// Allow is asked before planning, approving, executing and exporting, with
	// the action ("privacy.export") and the person id; nil: the application
	// has asked already.
	Allow func(ctx context.Context, action, resource string) error
	// AllowReplay is asked before a replay erases more than max(10, 1 %) of the
	// people; nil: it is refused.
	AllowReplay func(ctx context.Context, erase, people int) error
	// NotCovered lists, for certificates, what no store reaches: server logs,
	// replicas, mail already sent.
	NotCovered []string
	// Delay lies between plan and execution. 0 means 24 hours; negative: none.
	Delay time.Duration
	// Lease is how long another process may use a key it has cached. 0 means
	// 5 seconds; negative: no process caches.
	Lease time.Duration
	// Window is the longest life of a key copy, with the delay of the KMS. 0 means 7 days.
	Window time.Duration
	// Grace is how long an unreachable ledger is only a warning at boot. 0
	// means 24 hours; negative: never.
	Grace time.Duration
	// PerDay caps the erasures begun in 24 hours. 0 means 100; negative: no cap.
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

//go:embed migrations grants
var files embed.FS

// Migrations returns the numbered migrations of the desk's tables, in the
// folders sqlite, postgres and mysql (MariaDB's, too), for goose,
// golang-migrate, psql or mysql.
func Migrations() fs.FS { return folder("migrations") }

// Grants returns the GRANT statements for the application's role, crm_app in
// them, as postgres.sql and mysql.sql (MariaDB's, too): for the desk's own
// tables. sqlstore.Grants lists those for the tables of a map. [Install] and the
// migrations are for the owner of the tables; all else works as that role.
func Grants() fs.FS { return folder("grants") }

func folder(name string) fs.FS {
	sub, err := fs.Sub(files, name)
	if err != nil {
		return files // cannot be: the folder is embedded
	}
	return sub
}

func schema() sqldb.Schema { return sqldb.Schema{Package: "privacy", Migrations: Migrations()} }

// Install creates the desk's tables in the application's database, or brings
// them up to date. It may be called at every start, by any number of processes
// at once.
func Install(ctx context.Context, db *sql.DB) error { return schema().Install(ctx, db) }

func (c *Config) validate() error {
	bad := func(text string) error { return fmt.Errorf("%w: %s", ErrConfig, text) }
	switch {
	case c.Map == nil:
		return bad("Map is missing")
	case c.DB == nil:
		return bad("DB is missing")
	case c.Ledger == nil:
		return bad("Ledger is missing")
	case len(c.Stores) == 0:
		return bad("no Stores")
	case c.Sign == nil:
		return bad("Sign is missing")
	}
	if _, ok := c.Sign.Public().(ed25519.PublicKey); !ok {
		return bad("Sign is no Ed25519 key")
	}
	if err := c.Map.Validate(); err != nil {
		return err
	}
	names := map[string]bool{}
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
// of persons: a [Func] says so, and of stores that are none one has the rows.
func (c *Config) mayDestroyKeys() bool {
	unknown := 0
	for _, s := range c.Stores {
		switch f, ok := datastore.AsFunc(s); {
		case !ok:
			unknown++
		case f.Class == datastore.Shredded:
			return true
		}
	}
	return unknown > 1
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

// orDefault reads a duration whose zero means a default and whose negatives
// mean none.
func orDefault(d, standard time.Duration) time.Duration {
	switch {
	case d == 0:
		return standard
	case d < 0:
		return 0
	}
	return d
}

func (c *Config) delay() time.Duration  { return orDefault(c.Delay, 24*time.Hour) }
func (c *Config) lease() time.Duration  { return orDefault(c.Lease, 5*time.Second) }
func (c *Config) window() time.Duration { return orDefault(c.Window, 7*24*time.Hour) }
func (c *Config) grace() time.Duration  { return orDefault(c.Grace, 24*time.Hour) }

func (c *Config) perDay() int {
	if c.PerDay == 0 {
		return 100
	}
	return c.PerDay
}
