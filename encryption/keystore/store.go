// Package keystore is the seam between a vault and whatever keeps its keys:
// what a store has to do, the rows that it keeps, and how it is changed. Who
// writes a store for another database implements Store and has encryptiontest.Run
// judge it; applications take sqlkeys and need nothing of this package.
//
// A store never sees a key in the clear. It does not interpret what it is given:
// rows have a primary key, a state row has a sequence, and the rest is bytes,
// text and numbers that come back as they were written. Its errors may be of any
// kind; the vault wraps them in encryption.ErrStore.
package keystore

import (
	"context"
	"database/sql"
	"time"

	"github.com/crmguard/crmguard/internal/health"
)

// Store keeps keysets, key versions, owners, wrapped person keys, aliases
// and index versions. It never sees a key in the clear. The sub-package
// sqlkeys is one; encryptiontest.Run judges others.
//
// There are two ways to change it. Create makes keys of new owners, many at a
// time. Update does everything else, alone: while it runs there is neither
// another Update nor a Create, so each Create lies wholly before or wholly
// after each Update. Every Update raises the sequence and writes a random mark
// beside it into the history of the store; whoever sees that mark sees every
// key that was created before it.
type Store interface {
	// State reads the state row: one indexed read, called once a lease.
	State(ctx context.Context) (State, error)
	// Tenant returns keysets, key versions and index versions of one tenant;
	// "" names the installation, which has only keysets.
	Tenant(ctx context.Context, tenant string) (Rows, error)
	// Owners returns, in one query, the owner rows, the key rows of every
	// key version and the aliases (of which the owner is the merged part): each
	// kind for itself, whatever the other two have of an owner. A key whose owner
	// row, or whose key version, is lost must be found by an erasure all the same.
	// Unknown owners are left out.
	Owners(ctx context.Context, tenant string, owners []string) (Rows, error)
	// Create runs f in one transaction that runs beside others of its kind and
	// beside no Update. Its Write takes owners that are live, and keys, and
	// leaves what is there already under their primary key as it is, also what
	// another Create has put there meanwhile: whoever wants to know which key it
	// became reads it after Create has returned. Neither sequence nor mark
	// change, and no Update waits for ever because Creates keep coming.
	Create(ctx context.Context, f func(Tx) error) error
	// Update runs f in one transaction, alone, after raising the sequence and
	// drawing its mark. Nothing is changed, the sequence included, when f fails
	// or writes nothing.
	Update(ctx context.Context, f func(Tx) error) (State, error)
	// Snapshot runs f over one unchanging view; Write is refused there.
	Snapshot(ctx context.Context, f func(Tx) error) error
}

// Tx is the inside of a transaction of a Store.
type Tx interface {
	// State returns the state row as this transaction sees it, in Update with
	// the sequence and the mark that its changes will have.
	State(ctx context.Context) (State, error)
	// Tenant is Store.Tenant inside the transaction.
	Tenant(ctx context.Context, tenant string) (Rows, error)
	// Owners is Store.Owners inside the transaction.
	Owners(ctx context.Context, tenant string, owners []string) (Rows, error)
	// Merged returns the aliases that point to the owner.
	Merged(ctx context.Context, tenant, owner string) ([]AliasRow, error)
	// Page returns rows of one kind in the order of their primary key, by bytes.
	Page(ctx context.Context, page Page) (Rows, error)
	// Write removes and puts rows; a put replaces the row of the same primary
	// key. A change that narrows moves the barrier to the sequence of this Update,
	// State.Taken too unless it Keeps, State.Returned if it Returns, and makes
	// Change.Narrowed of its mark the mark's Narrows, which was NarrowsNothing. In
	// Create it is narrower (Store.Create).
	Write(ctx context.Context, change Change) error
}

// Scrubber is the optional part of a Store whose engine keeps deleted
// bytes for a while (SQLite's write-ahead log). Erase calls it; false means
// that deleted bytes may still stand in the files because others were reading.
type Scrubber interface {
	Scrub(ctx context.Context) (bool, error)
}

// Insider is the optional part of a Store that can read the keys in a transaction
// on the application's rows, where both are in one pool of connections: a pool of
// one has no second connection to ask.
type Insider interface {
	// Inside returns nil where the transaction is of another pool.
	Inside(db *sql.DB, tx *sql.Tx) Tx
}

// Finding is what a [Reporter] has looked at. All packages have this one type;
// encryption.Finding describes it.
type Finding = health.Finding

// Reporter is the optional part of a Store that knows how safely its
// database keeps what was committed. Its findings join those of the vault.
type Reporter interface {
	Status(ctx context.Context) ([]Finding, error)
}

// Locator is the optional part of a Store that knows whether a database of the
// application shares its fate: one server, cluster or file, so that whatever
// copies the data's bytes copies the keys'. The vault alarms about it.
type Locator interface {
	SameServer(ctx context.Context, data *sql.DB) (bool, error)
}

// State is the single state row of a key store.
type State struct {
	Store    string // random id of the store, "" while it is empty
	Epoch    int64  // raised when the closing of an epoch begins
	Sequence int64  // of the last Update
	Mark     string // that the last Update drew, 16 random bytes in base64url: tells its sequence from the same number of another history
	Barrier  int64  // sequence of the last change that narrows: caches are dropped when it moves
	Taken    int64  // of them the last that does not Keep: what was in a copy before, and is gone, may have been meant to go
	Returned int64  // of them the last that brought lost rows back: what was counted before did not open them
	KEK      string // name of the KEK for new keysets
	// Retiring names the KEKs that go once the epoch is closed; it is empty
	// except while an epoch is being closed.
	Retiring []string

	// The lease is the store's, so that no process grants itself more than an
	// erasure in another one waits for. All three are 0 while the store is empty.

	Lease      time.Duration // how long a process trusts what it has read
	LeaseWait  time.Duration // how long an erasure waits: longer than Lease only while a lease is being shortened
	LeaseSince int64         // sequence of the Update that set Lease

	// LongestTransaction is the longest one that a process was opened with: what
	// waits for others waits for that. 0 says that none was opened yet.
	LongestTransaction time.Duration
}
