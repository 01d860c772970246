package datastore

import (
	"context"
	"database/sql"
	"errors"
	"iter"
	"time"
)

// Tx is what the desk and its stores use of a transaction: *sql.Tx fits.
type Tx = interface {
	ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error)
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
	QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row
}

// ErrLater is wrapped by a store's error when the erasure is under way but
// not finished: the outcome is then Waiting instead of Partial.
var ErrLater = errors.New("datastore: not finished yet")

// ErrUnreadable is wrapped by an error that [People] yields about one row of
// which nobody can say whose it is: it has no tenant, or its person cannot be
// decoded. Others follow it.
var ErrUnreadable = errors.New("datastore: a row of which nobody can say whose it is")

// ErrShared is wrapped by a store's error where the person is known by something
// that somebody else is known by, too (one e-mail address of two): whose the rows
// are that only it leads to, nobody can tell.
var ErrShared = errors.New("datastore: an identity of the person is that of another one, too")

// ErrShredded is wrapped by the error of whoever opens a sealed value whose key an
// erasure has destroyed: an export says that the value cannot be read any more,
// instead of failing, and by an identity that was sealed so nothing is found.
var ErrShredded = errors.New("datastore: the key of a sealed value was destroyed")

// ErrScope is what a store answers where a [Scope] names no tenant or no person.
var ErrScope = errors.New("datastore: a scope names a tenant and a person")

// Class is the true name of what happened to data.
type Class string

// The classes of a certificate.
const (
	Deleted       Class = "deleted"       // the record is gone
	Shredded      Class = "shredded"      // the bytes stay, their key is destroyed
	Pseudonymised Class = "pseudonymised" // content is gone, the random person id stays
	Redacted      Class = "redacted"      // the record stays without what was about the person
	Kept          Class = "kept"          // stays until a date because of a named obligation
)

// Scope says whose data, and which of it.
type Scope struct {
	Tenant string
	Person string
	// Identities are what the person is known by, by kind ("email", "file"), as
	// the data map declares it: found before anything was erased, for stores that
	// have no other way to the person.
	Identities map[string][]string
	// Aliases are all ids of the person, Person among them, where they were merged:
	// what concerns these alone concerns nobody else. For Export; empty: Person.
	Aliases []string
	// Before leaves alone what was created at or after it. Zero: everything.
	Before time.Time
	// Known reports whether a row is known to have existed at Before although
	// its creation time is unknown or later (a clock that is ahead); nil means
	// that none is.
	Known func(table, key string) bool
	// Now decides which obligations still run.
	Now time.Time
}

// Covers reports whether an erasure in this scope may touch the row.
func (s Scope) Covers(r Row) bool {
	if s.Before.IsZero() || (!r.Created.IsZero() && r.Created.Before(s.Before)) {
		return true
	}
	return s.Known != nil && s.Known(r.Table, r.Key)
}

// Row is one located record. It holds keys, never values.
type Row struct {
	Store   string    // name of the store; filled in by the desk
	Person  string    // whose row it is; filled in by the desk where the store leaves it empty
	Table   string    // table, bucket, index: the store's own word
	Key     string    // primary key, compound keys joined by "/"
	Created time.Time // zero means unknown
	Class   Class     // what an erasure does to it
	Until   time.Time // for Kept
	Because string    // for Kept: the obligation
	Others  bool      // concerns other persons too, who stay
	Points  string    // of a row of somebody else: the columns that point to the person, parted by commas
	Count   int       // records that a row without Key stands for; 0 means 1
	Clean   bool      // stays by the map, and nothing is left to be done to it
}

// And is a row that points to the person as two rows say that are one: it goes where
// one of them goes.
func (r Row) And(more Row) Row {
	switch {
	case r.Points == "":
		r.Points = more.Points
	case more.Points != "" && r.Points != more.Points:
		r.Points += ", " + more.Points
	}
	if more.Class == Deleted {
		r.Class, r.Others = more.Class, more.Others
	}
	return r
}

// Record is one row of an export, with stored values.
type Record struct {
	Table  string
	Schema string // schema id; empty means Table + "/1"
	Key    string
	Owner  string  // key owner of sealed values; empty means the person
	Fields []Field // in order
	Files  []File
}

// Field is one value of a [Record] as stored, in the Go type that a Scan into an
// any gives it (so nil bytes are empty there, and NULL is nil) or that the
// application keeps it in: named types, pointers, sql.Null* and other valuers are
// what they lead to.
type Field struct {
	Name     string
	Value    any
	Sealed   bool   // Value is sealed bytes; the desk opens them with Config.Open
	Withhold string // why the value is left out; Value is nil then
}

// File is an attachment of a [Record].
type File struct {
	Name string // as uploaded; only its extension is used for the path
	Data []byte
}

// Store is one place that holds personal data. Every method is safe to call
// again: an Erase of what is gone is no error.
type Store interface {
	// Name is unique among the stores and never changes.
	Name() string
	// Find locates everything in the scope.
	Find(ctx context.Context, scope Scope) ([]Row, error)
	// Export yields the person's records with their stored values.
	Export(ctx context.Context, scope Scope) iter.Seq2[Record, error]
	// Erase erases what Find locates in the scope, and the rows that were found
	// before, when the erasure was planned at the earliest: what has come to
	// somebody else since stays, where the store can tell.
	Erase(ctx context.Context, scope Scope, found []Row) error
	// Remaining reads back: how many of the rows found before, and how many that
	// a fresh search finds in the scope, still hold what should be gone. A row that
	// is somebody else's by now is none of them.
	Remaining(ctx context.Context, scope Scope, found []Row) (int, error)
}

// People is an optional method of a [Store]: the persons of whom it holds
// anything, in any order. A replay needs at least one store that has it. An
// error ends the iteration, unless it wraps [ErrUnreadable].
type People interface {
	People(ctx context.Context) iter.Seq2[Person, error]
}

// Keeper is an optional method of a [Store] that keeps rows: which of them are
// not there, by their keys. Where a store has it, an outcome is Done only when
// everything is there that its certificate calls kept; where it has not, the
// certificate says so.
type Keeper interface {
	Missing(ctx context.Context, scope Scope, rows []Row) ([]Row, error)
}

// Flusher is an optional method of a [Store]: write out and truncate what the
// database holds back, such as a write-ahead log. It answers an error that
// wraps [ErrLater] while readers are in the way.
type Flusher interface {
	Flush(ctx context.Context) error
}

// Person names one person of one tenant.
type Person struct {
	Tenant, ID string
}
