package audit

import (
	"context"
	"database/sql"
	"log/slog"
	"time"

	"golang.org/x/mod/sumdb/note"

	"github.com/crmguard/crmguard/audit/capture"
	"github.com/crmguard/crmguard/internal/sqldb"
)

// Tx is the caller's transaction: *sql.Tx, what wraps one, and four lines around
// any other (see the package comment). What has a Commit is taken for a
// transaction, what has a Begin or BeginTx and no Commit is refused, and of what
// has neither PostgreSQL, MariaDB and MySQL are asked; SQLite cannot be, so there
// it is refused.
type Tx = interface {
	ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error)
}

// HandoverTx is the transaction that [Trail.Recorder] takes, in the words of all
// packages that record through a func: types of funcs must be the same to the last
// method. Recording itself asks for no more than a [Tx].
type HandoverTx = interface {
	ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error)
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
	QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row
}

// ErrSchema says that the tables are older than this library needs.
// Its fields: Package; Have and Want, the versions; Found, what stands elsewhere
// or is missing.
type ErrSchema = sqldb.SchemaError //nolint:errname // the name is the same in every package of the library

// Store is the database of a trail; sqltrail has one, and audittest the judge.
// The statements are the trail's own, because those of the caller's transaction
// are: what a store decides is which database, and that its tables are there.
type Store interface {
	// Check reports whether the tables are recent enough.
	Check(ctx context.Context) error
	// DB is the database that holds the tables: SQLite, PostgreSQL, MariaDB or
	// MySQL, which [Open] asks. It is the same one each time, and whoever opened
	// it closes it.
	DB() *sql.DB
}

// Sink is where the log is published; tilesink has a folder.
type Sink interface {
	// ReadFile returns a published file, or an error that is fs.ErrNotExist.
	ReadFile(ctx context.Context, name string) ([]byte, error)
	// WriteFile stores a file atomically; when it returns nil the file
	// survives a power cut. An existing file of that name is replaced.
	WriteFile(ctx context.Context, name string, data []byte) error
	// SwapFile stores a file as WriteFile does, but only where it still holds
	// old (nil: where it is absent; a file without bytes is not). Otherwise
	// nothing changes, and the error is [ErrChanged]. Nobody else's SwapFile
	// comes between the comparison and the write, not in another process
	// either: what does it is a lock that ends with its process, or an object
	// store's conditional write (If-Match with the ETag of what was read as old,
	// If-None-Match: * where old is nil). After another error nobody knows
	// whether it was stored.
	SwapFile(ctx context.Context, name string, old, data []byte) error
}

// Remover is a Sink that can drop files: a folder of partial tiles once the full tile
// is published, and bundles of entries that go with retention ([Trail.Prune]).
type Remover interface {
	// RemoveAll removes a file, or a folder and what it holds; absent is fine.
	RemoveAll(ctx context.Context, name string) error
}

// Sealer seals openings under the key of a person; person "" is the tenant's
// own data, about nobody.
type Sealer interface {
	// Seal encrypts plaintext under the person's key, bound to ad.
	Seal(ctx context.Context, tenant, person string, plaintext, ad []byte) ([]byte, error)
	// Open undoes Seal. An error that has the method NeverOpens() bool, itself or
	// behind it, is a verdict on the bytes: they are not what was sealed, or, where it
	// answers true, the key went with its person. Any other is one of the moment, such
	// as a service that does not answer, and accuses nobody: it is [ErrKeys].
	Open(ctx context.Context, tenant, person string, sealed, ad []byte) ([]byte, error)
}

// Tagger authenticates queued events under a key of the tenant that the
// database administrator does not hold.
type Tagger interface {
	// Tag returns an authentication tag of data.
	Tag(ctx context.Context, tenant string, data []byte) ([]byte, error)
	// Verify returns nil when tag is a tag of data.
	Verify(ctx context.Context, tenant string, data, tag []byte) error
}

// Config says how a trail works. Name, Tenant, Key, Sink and Keys are needed; the
// rest may stay zero.
type Config struct {
	// Name is the log without its counter, "crm.example/audit"; the origin is
	// Name/Recoveries. It holds neither white space nor '+'.
	Name string
	// Recoveries counts the times that a lost or forked log was started anew.
	Recoveries int
	// Tenant is the tenant under which the trail files its own events
	// (recovery).
	Tenant string
	// Key signs checkpoints: the first result of [GenerateKey], which holds the
	// verifier key, too. A secret.
	Key string
	// Signer and Verifier stand in the place of Key where the signing key is in a
	// KMS: the signer's name is the origin, and Verifier its verifier key in the text
	// form of golang.org/x/mod/sumdb/note.
	Signer   note.Signer
	Verifier string
	// Former are verifier keys that signed this log before Key, or sign it beside
	// Key: the published checkpoint and the kept one may bear the signature of any.
	// The first pass with a new Key records an event of kind [auditlog.KindKey].
	Former []string
	// SignAlso sign beside Sign, and stand in Former: the signer before, until all
	// processes and all who verify the log know the new key.
	SignAlso []note.Signer
	// Sink receives the published log.
	Sink Sink
	// Copies receive it as well, each for itself, once it is in Sink; a pass waits
	// for them for Interval at most. One that fails, hangs or is far behind holds
	// up nothing: [Trail.Status] tells of it (audit.copies), and it is filled by
	// itself when it answers again. One that has more entries than Sink, or others,
	// is told of and never written to.
	Copies []Sink
	// Mirror receives what the published log does not hold: sealed openings, and the
	// heads of surrogates, for [Trail.CatchUp]. It is no public folder. A pass waits
	// for it for Interval at most, before it signs; one that fails or hangs holds up no
	// pass and no sale (audit.mirror), but the end of an erasure, and CatchUp. nil: they
	// are lost with the database.
	Mirror Sink
	// Keys seal what events say about persons, and tag what waits: [KeysFile],
	// [KeysFrom], or AuditKeys of a vault of package encryption.
	Keys Keys
	// Fields are the declared field names by object kind ("" for events
	// without an object); other paths are committed.
	Fields map[string][]string
	// PersonKinds are the object kinds whose ids are ids of persons, "contact" for
	// instance: objects of these kinds are named by [PersonRef] and by nothing
	// else, and no other kind is; "person" always is one. nil: [Ref] and PersonRef are
	// believed, a Ref to a person by mistake shows the person's id in the log for ever,
	// and [Trail.Decisions] names no objects but persons.
	PersonKinds []string
	// Captured are the tables whose pack of package capture is applied to this
	// database (PostgreSQL): each pass files what their triggers wrote, behind the
	// events, as entries of kind capture, and [Trail.Status] says which of them are
	// not captured any more. Of several with one kind the first has its objects
	// (capture.Table.Kind). It needs PersonKinds. nil files nothing, whatever stands
	// in crmguard_audit_captured: a table of that name alone lets nobody write into
	// the log.
	Captured []capture.Table
	// StrictValues refuses a value without an encoding with a [ValueError]: for
	// tests of the application. Without it a [auditlog.StandIn] is recorded, so that no sale
	// fails by a value.
	StrictValues bool
	// From says who is at work in a context; what an event or a call says itself
	// counts more. nil: each event names its tenant and its actor.
	From func(ctx context.Context) Caller
	// Allow is asked before anything is shown, once a page ("audit.read"), an export
	// ("audit.export") or a disclosure ("audit.disclose", for the event, and for the
	// person whose value it is): resource is what is asked about, "person/<id>",
	// "<kind>/<id>" of an object, or "audit"; whose tenant it is the context says,
	// because where Config.From names one nothing of another is answered. Its error
	// reaches the caller. A func that records what it decides ([Trail.Watch]) needs the
	// Trail that Open has yet to return: close over a variable that is set then, as the
	// Example of Decisions does. Answer without fetching the row: the history of what
	// was deleted is asked for, too. nil: the application has asked already.
	Allow func(ctx context.Context, action, resource string) error
	// Hold says until when nothing of a tenant may go with retention ([Trail.Prune],
	// [Trail.PruneOpenings]), a legal hold: the zero time where there is none. What it
	// fails for stays. nil: there are no holds.
	Hold func(ctx context.Context, tenant string) (until time.Time, err error)
	// Kept returns the checkpoint kept in another administrative domain, nil
	// bytes if there is none yet; a nil func means that none is kept. It is asked
	// before each signature, and nothing is signed while it fails. What was lost is
	// made anew only with it: see [Trail.Republish].
	Kept func(ctx context.Context) ([]byte, error)
	// KeptEvery is the longest time that passes of the sequencer go without
	// asking Kept while nothing is signed; 0 means ten minutes.
	KeptEvery time.Duration
	// Heads are the other stores that a beat anchors.
	Heads Heads
	// BeatEvery is the longest time between two beats while anything happens;
	// 0 means a minute.
	BeatEvery time.Duration
	// Classes says which actions may go on without their event, by the action or by
	// the beginning of some ("page.", "page.view*"); the longest counts. What is not
	// named here fails with its event.
	Classes map[string]Failure
	// Prepared is how long [Trail.Record] may use what [Trail.Prepare] left in
	// memory: 0 means a minute, the most is ten.
	Prepared time.Duration
	// RetryFor is how long after it got its place an event can be told from
	// another one under its id: 0 means 24 hours, the most is 30 days.
	RetryFor time.Duration
	// Interval is the pause of Run between two passes; 0 means a second.
	Interval time.Duration
	// Now is the clock; nil means time.Now.
	Now func() time.Time
	// Observe receives the figures listed in the package comment; nil is
	// silence.
	Observe func(ctx context.Context, name string, value float64, attrs ...slog.Attr)
}

// Heads are funcs that name the newest state of other stores, so that one
// checkpoint kept outside anchors all of them. Each may be nil.
type Heads struct {
	// Ledger is the head of the erasure ledger; see [HeadOf].
	Ledger func(ctx context.Context) (n int64, hash []byte, err error)
	// Keys is the position of the key store; see [HeadOf].
	Keys func(ctx context.Context) (n int64, hash []byte, err error)
	// Seals is the root over the row seals: an HMAC, never a hash of rows.
	Seals func(ctx context.Context) ([]byte, error)
	// Snapshots is the digest of the list of backup snapshots.
	Snapshots func(ctx context.Context) ([]byte, error)
}
