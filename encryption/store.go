package encryption

import (
	"context"
	"crypto/rand"
	"slices"
	"time"

	"github.com/crmguard/crmguard/internal/canon"
)

// KeyStore keeps keysets, key versions, owners, wrapped person keys, aliases
// and index versions. It never sees a key in the clear. The sub-package
// sqlkeys is one; encryptiontest.Run judges others.
//
// There are two ways to change it. Create makes keys of new owners, many at a
// time. Update does everything else, alone: while it runs there is neither
// another Update nor a Create, so each Create lies wholly before or wholly
// after each Update. Every Update raises the sequence and writes a random mark
// beside it into the history of the store; whoever sees that mark sees every
// key that was created before it.
type KeyStore interface {
	// State reads the state row: one indexed read, called once a lease.
	State(ctx context.Context) (StoreState, error)
	// Tenant returns keysets, key versions and index versions of one tenant;
	// "" names the installation, which has only keysets.
	Tenant(ctx context.Context, tenant string) (Rows, error)
	// Owners returns, in one query, the owner rows, the key rows of every
	// key version and the aliases (of which the owner is the merged part).
	// Unknown owners are left out.
	Owners(ctx context.Context, tenant string, owners []string) (Rows, error)
	// Create runs f in one transaction that runs beside others of its kind and
	// beside no Update. Its Write takes owners that are live, and keys, and
	// leaves what is there already under their primary key as it is, also what
	// another Create has put there meanwhile: whoever wants to know which key it
	// became reads it after Create has returned. Neither sequence nor mark
	// change, and no Update waits for ever because Creates keep coming.
	Create(ctx context.Context, f func(KeyTx) error) error
	// Update runs f in one transaction, alone, after raising the sequence and
	// drawing its mark. Nothing is changed, the sequence included, when f fails
	// or writes nothing.
	Update(ctx context.Context, f func(KeyTx) error) (StoreState, error)
	// Snapshot runs f over one unchanging view; Write is refused there.
	Snapshot(ctx context.Context, f func(KeyTx) error) error
}

// KeyTx is the inside of a transaction of a KeyStore.
type KeyTx interface {
	// State returns the state row as this transaction sees it, in Update with
	// the sequence and the mark that its changes will have.
	State(ctx context.Context) (StoreState, error)
	// Tenant is KeyStore.Tenant inside the transaction.
	Tenant(ctx context.Context, tenant string) (Rows, error)
	// Owners is KeyStore.Owners inside the transaction.
	Owners(ctx context.Context, tenant string, owners []string) (Rows, error)
	// Merged returns the aliases that point to the owner.
	Merged(ctx context.Context, tenant, owner string) ([]AliasRow, error)
	// Page returns rows of one kind in the order of their primary key, by bytes.
	Page(ctx context.Context, page Page) (Rows, error)
	// Write removes and puts rows; a put replaces the row of the same primary
	// key. A change that narrows moves the barrier to the sequence of this Update
	// and makes Change.Narrowed of its mark the mark's Narrows, which was
	// NarrowsNothing. In Create it is narrower (KeyStore.Create).
	Write(ctx context.Context, change Change) error
}

// Scrubber is the optional part of a KeyStore whose engine keeps deleted
// bytes for a while (SQLite's write-ahead log). Erase calls it; false means
// that deleted bytes may still stand in the files because others were reading.
type Scrubber interface {
	Scrub(ctx context.Context) (bool, error)
}

// StoreState is the single state row of a key store.
type StoreState struct {
	Store    string // random id of the store, "" while it is empty
	Epoch    int64  // raised when the closing of an epoch begins
	Sequence int64  // of the last Update
	Mark     string // that the last Update drew, 16 random bytes in base64url: tells its sequence from the same number of another history
	Barrier  int64  // sequence of the last change that took something away: caches are dropped when it moves
	KEK      string // name of the KEK for new keysets
	// Retiring names the KEKs that go once the epoch is closed; it is empty
	// except while an epoch is being closed.
	Retiring []string

	// The lease is the store's, so that no process grants itself more than an
	// erasure in another one waits for. All three are 0 while the store is empty.

	Lease      time.Duration // how long a process trusts what it has read
	LeaseWait  time.Duration // how long an erasure waits: longer than Lease only while a lease is being shortened
	LeaseSince int64         // sequence of the Update that set Lease
}

// KeysetRow is one wrapped Tink keyset. Primary key: tenant, purpose.
type KeysetRow struct {
	Tenant  string   // "" for the installation
	Purpose string   // wrap, seal, log, index, suppression; ledger, manifest
	Epoch   int64    // the epoch in which it was last written
	KEK     string   // name of the KEK that wraps it
	Version int64    // raised by every change, compared before it
	Former  []uint32 // key ids it had and must never have again
	Wrapped []byte   // binary Tink EncryptedKeyset
}

// KeyVersionState is the state of a key version.
type KeyVersionState string

// The states of a key version, in their order. One that is not among them, of a
// later version, opens and never seals.
const (
	Active     KeyVersionState = "active"     // seals and opens; one a tenant
	Retired    KeyVersionState = "retired"    // opens, never seals
	Destroying KeyVersionState = "destroying" // about to be destroyed: opens, and may go back to retired
	Deleting   KeyVersionState = "deleting"   // some of its keys are gone: opens the others, and only goes on
	Destroyed  KeyVersionState = "destroyed"  // no key is left; for ever
)

// KeyVersionRow is one key version of a tenant, never deleted. Primary
// key: tenant, key version.
type KeyVersionRow struct {
	Tenant     string          // its tenant
	KeyVersion uint32          // random, the 4 bytes in a field's prefix
	State      KeyVersionState // see KeyVersionState
	Created    time.Time       // microseconds
}

// OwnerState is the state of an owner of keys.
type OwnerState string

// The states of an owner.
const (
	Live      OwnerState = "live"      // has keys, or may get them
	Pending   OwnerState = "pending"   // an erasure waits; opens, seals no more
	Tombstone OwnerState = "tombstone" // erased, for ever and for all key versions
)

// OwnerRow is one owner of keys. Primary key: tenant, owner.
type OwnerRow struct {
	Tenant   string     // its tenant
	Owner    string     // a person, r:<uuid> or t:
	State    OwnerState // see OwnerState
	Sequence int64      // of the Update that gave it this state; of a created owner that of the Update before
}

// KeyRow is one wrapped person key. Primary key: tenant, owner, key version.
type KeyRow struct {
	Tenant     string // its tenant
	Owner      string // whose key
	KeyVersion uint32 // of which key version
	Wrapped    []byte // 65 bytes: Tink prefix, IV, 32 bytes, tag
	Seals      int64  // how many were allotted to processes, at most 2^32; 0 while they count by themselves
}

// AliasRow says that a person was merged into another. Primary key: tenant, alias.
type AliasRow struct {
	Tenant string // its tenant
	Alias  string // who was merged
	Owner  string // into whom
}

// MarkRow is an Update in the history of the store. Primary key: sequence. The
// store writes it at the beginning of each Update; Vault.Position puts it again
// with Position set.
type MarkRow struct {
	Sequence int64     // of the Update
	Mark     string    // 16 random bytes in base64url
	Created  time.Time // microseconds, by the clock of whoever wrote it: for people to read
	Position bool      // a data snapshot or a key copy may name it, so that it is kept for long
	// Narrows is Change.Narrowed of the Update, or NarrowsNothing: whose cached
	// keys it made stale. Key copies do not carry it.
	Narrows string
}

// NewMark draws the mark of an Update.
func NewMark() string {
	mark := make([]byte, markSize)
	_, _ = rand.Read(mark) // never fails: it ends the process where there is no randomness
	return canon.FormatBytes(mark)
}

// IndexState is the state of a version of a blind index.
type IndexState string

// The states of an index version.
const (
	IndexBuilding IndexState = "building" // written by those who know it, not asked
	IndexFencing  IndexState = "fencing"  // who does not know it takes no Writer any more
	IndexFenced   IndexState = "fenced"   // and has none left that could commit
	IndexLive     IndexState = "live"     // no row lacks it: written and asked
	IndexRetiring IndexState = "retiring" // written still, because others may ask it within their lease
	IndexRetired  IndexState = "retired"  // neither written nor asked
)

// IndexRow is one version of a blind index. Primary key: tenant, table,
// index, version.
type IndexRow struct {
	Tenant     string     // its tenant
	Table      string     // logical table
	Index      string     // logical index
	Version    uint32     // from 1
	Root       uint32     // Tink key id of the index root
	Normaliser string     // "email/1"
	Bits       int        // width
	State      IndexState // see IndexState
}

// Rows is a set of rows of a key store.
type Rows struct {
	Keysets     []KeysetRow     // wrapped keysets
	KeyVersions []KeyVersionRow // key versions
	Owners      []OwnerRow      // owners of keys
	Keys        []KeyRow        // wrapped person keys
	Aliases     []AliasRow      // merged persons
	Indexes     []IndexRow      // index versions
	Marks       []MarkRow       // history of the store
}

// Kind names one of the seven kinds of rows.
type Kind string

// The kinds of rows, in the order in which a key copy lists them.
const (
	KindKeyset     Kind = "keyset"
	KindKeyVersion Kind = "generation"
	KindOwner      Kind = "owner"
	KindKey        Kind = "key"
	KindAlias      Kind = "alias"
	KindIndex      Kind = "index"
	KindMark       Kind = "mark"
)

// Page asks for rows of one kind in the order of their primary key.
type Page struct {
	Kind       Kind   // which rows
	Tenant     string // "" is every tenant; marks have none
	KeyVersion uint32 // of keys only; 0 is every key version
	After      []any  // primary key of the last row seen, empty at first
	Limit      int    // how many at most
}

// Change is what one transaction does to a key store. Removals come first.
type Change struct {
	Put     Rows  // replaced or inserted by primary key
	Remove  Rows  // deleted by primary key; other members are ignored
	Narrows bool  // moves the barrier: other processes drop what they have cached of Of
	Of      Scope // whose keys are narrowed; the zero Scope is everyone's. It is written into the mark of the Update
	// Store replaces the state row. A Sequence of 0 keeps the raised one and its
	// mark; another one, of a restored store, takes its mark from the history,
	// and what this Update had written there goes. Barrier and Mark are ignored.
	Store *StoreState
}

// Creates reports whether the change is one that KeyStore.Create takes: owners
// that are live, and keys.
func (c Change) Creates() bool {
	put, gone := c.Put, c.Remove
	others := len(put.Keysets) + len(put.KeyVersions) + len(put.Aliases) + len(put.Indexes) + len(put.Marks) +
		len(gone.Keysets) + len(gone.KeyVersions) + len(gone.Owners) + len(gone.Keys) + len(gone.Aliases) + len(gone.Indexes) + len(gone.Marks)
	dead := slices.ContainsFunc(put.Owners, func(o OwnerRow) bool { return o.State != Live })
	return others == 0 && !dead && !c.Narrows && c.Store == nil
}

// After returns the primary key of the last row of kind k, for Page.After.
func (r Rows) After(k Kind) []any {
	switch k {
	case KindKeyset:
		if n := len(r.Keysets); n > 0 {
			return []any{r.Keysets[n-1].Tenant, r.Keysets[n-1].Purpose}
		}
	case KindKeyVersion:
		if n := len(r.KeyVersions); n > 0 {
			return []any{r.KeyVersions[n-1].Tenant, int64(r.KeyVersions[n-1].KeyVersion)}
		}
	case KindOwner:
		if n := len(r.Owners); n > 0 {
			return []any{r.Owners[n-1].Tenant, r.Owners[n-1].Owner}
		}
	case KindKey:
		if n := len(r.Keys); n > 0 {
			return []any{r.Keys[n-1].Tenant, r.Keys[n-1].Owner, int64(r.Keys[n-1].KeyVersion)}
		}
	case KindAlias:
		if n := len(r.Aliases); n > 0 {
			return []any{r.Aliases[n-1].Tenant, r.Aliases[n-1].Alias}
		}
	case KindIndex:
		if n := len(r.Indexes); n > 0 {
			last := r.Indexes[n-1]
			return []any{last.Tenant, last.Table, last.Index, int64(last.Version)}
		}
	case KindMark:
		if n := len(r.Marks); n > 0 {
			return []any{r.Marks[n-1].Sequence}
		}
	}
	return nil
}
