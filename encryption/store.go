package encryption

import (
	"context"
	"time"
)

// KeyStore keeps keysets, generations, owners, wrapped person keys, aliases
// and index versions. It never sees a key in the clear. The sub-package
// sqlkeys is one; encryptiontest.Run judges others.
//
// Every change happens inside Update, whose first act is to raise the
// sequence of the store, so that changes are serial and their commit order is
// the order of their sequences.
type KeyStore interface {
	// State reads the state row: one indexed read, called once a lease.
	State(ctx context.Context) (StoreState, error)
	// Tenant returns keysets, generations and index versions of one tenant;
	// "" names the installation, which has only keysets.
	Tenant(ctx context.Context, tenant string) (Rows, error)
	// Owners returns, in one query, the owner rows, the key rows of every
	// generation and the aliases (of which the owner is the merged part).
	// Unknown owners are left out.
	Owners(ctx context.Context, tenant string, owners []string) (Rows, error)
	// Update runs f in one transaction after raising the sequence. Nothing is
	// changed, the sequence included, when f fails or writes nothing.
	Update(ctx context.Context, f func(KeyTx) error) (StoreState, error)
	// Snapshot runs f over one unchanging view; Write is refused there.
	Snapshot(ctx context.Context, f func(KeyTx) error) error
}

// KeyTx is the inside of a transaction of a KeyStore.
type KeyTx interface {
	// State returns the state row as this transaction sees it, in Update with
	// the sequence that its changes will have.
	State(ctx context.Context) (StoreState, error)
	// Tenant is KeyStore.Tenant inside the transaction.
	Tenant(ctx context.Context, tenant string) (Rows, error)
	// Owners is KeyStore.Owners inside the transaction.
	Owners(ctx context.Context, tenant string, owners []string) (Rows, error)
	// Merged returns the aliases that point to the owner.
	Merged(ctx context.Context, tenant, owner string) ([]AliasRow, error)
	// Page returns rows of one kind in the order of their primary key, by bytes.
	Page(ctx context.Context, page Page) (Rows, error)
	// Write removes and puts rows; a put replaces the row of the same primary key.
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
	Sequence int64  // of the last change
	Barrier  int64  // sequence of the last change that took something away: caches are dropped when it moves
	KEK      string // name of the KEK for new keysets
	// Retiring names the KEKs that go once the epoch is closed; it is empty
	// except while an epoch is being closed.
	Retiring []string
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

// GenerationState is the state of a key generation.
type GenerationState string

// The states of a generation, in their order.
const (
	Active     GenerationState = "active"     // seals and opens; one a tenant
	Retired    GenerationState = "retired"    // opens, never seals
	Destroying GenerationState = "destroying" // about to be destroyed
	Destroyed  GenerationState = "destroyed"  // no key is left; for ever
)

// GenerationRow is one key generation of a tenant, never deleted. Primary
// key: tenant, generation.
type GenerationRow struct {
	Tenant     string          // its tenant
	Generation uint32          // random, the 4 bytes in a field's prefix
	State      GenerationState // see GenerationState
	Created    time.Time       // microseconds
}

// OwnerState is the state of an owner of keys.
type OwnerState string

// The states of an owner.
const (
	Live      OwnerState = "live"      // has keys, or may get them
	Pending   OwnerState = "pending"   // an erasure waits; opens, seals no more
	Tombstone OwnerState = "tombstone" // erased, for ever and for all generations
)

// OwnerRow is one owner of keys. Primary key: tenant, owner.
type OwnerRow struct {
	Tenant   string     // its tenant
	Owner    string     // a person, r:<uuid> or t:
	State    OwnerState // see OwnerState
	Sequence int64      // of the change that gave it this state
}

// KeyRow is one wrapped person key. Primary key: tenant, owner, generation.
type KeyRow struct {
	Tenant     string // its tenant
	Owner      string // whose key
	Generation uint32 // of which generation
	Wrapped    []byte // 65 bytes: Tink prefix, IV, 32 bytes, tag
}

// AliasRow says that a person was merged into another. Primary key: tenant, alias.
type AliasRow struct {
	Tenant string // its tenant
	Alias  string // who was merged
	Owner  string // into whom
}

// IndexState is the state of a version of a lookup index.
type IndexState string

// The states of an index version.
const (
	IndexBuilding IndexState = "building" // written, not yet asked
	IndexLive     IndexState = "live"     // written and asked
	IndexRetired  IndexState = "retired"  // neither
)

// IndexRow is one version of a lookup index. Primary key: tenant, table,
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
	Generations []GenerationRow // key generations
	Owners      []OwnerRow      // owners of keys
	Keys        []KeyRow        // wrapped person keys
	Aliases     []AliasRow      // merged persons
	Indexes     []IndexRow      // index versions
}

// Kind names one of the six kinds of rows.
type Kind string

// The kinds of rows, in the order in which a key copy lists them.
const (
	KindKeyset     Kind = "keyset"
	KindGeneration Kind = "generation"
	KindOwner      Kind = "owner"
	KindKey        Kind = "key"
	KindAlias      Kind = "alias"
	KindIndex      Kind = "index"
)

// Page asks for rows of one kind in the order of their primary key.
type Page struct {
	Kind       Kind   // which rows
	Tenant     string // "" is every tenant
	Generation uint32 // of keys only; 0 is every generation
	After      []any  // primary key of the last row seen, empty at first
	Limit      int    // how many at most
}

// Change is what one transaction does to a key store. Removals come first.
type Change struct {
	Put     Rows        // replaced or inserted by primary key
	Remove  Rows        // deleted by primary key; other members are ignored
	Narrows bool        // moves the barrier: other processes drop their caches
	Store   *StoreState // replaces the state row; a Sequence of 0 keeps the raised one, Barrier is ignored
}

// After returns the primary key of the last row of kind k, for Page.After.
func (r Rows) After(k Kind) []any {
	switch k {
	case KindKeyset:
		if n := len(r.Keysets); n > 0 {
			return []any{r.Keysets[n-1].Tenant, r.Keysets[n-1].Purpose}
		}
	case KindGeneration:
		if n := len(r.Generations); n > 0 {
			return []any{r.Generations[n-1].Tenant, int64(r.Generations[n-1].Generation)}
		}
	case KindOwner:
		if n := len(r.Owners); n > 0 {
			return []any{r.Owners[n-1].Tenant, r.Owners[n-1].Owner}
		}
	case KindKey:
		if n := len(r.Keys); n > 0 {
			return []any{r.Keys[n-1].Tenant, r.Keys[n-1].Owner, int64(r.Keys[n-1].Generation)}
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
	}
	return nil
}
