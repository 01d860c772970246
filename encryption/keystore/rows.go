package keystore

import (
	"cmp"
	"iter"
	"math"
	"time"
)

// KeysetRow is one wrapped Tink keyset. Primary key: tenant, purpose.
type KeysetRow struct {
	Tenant  string   // "" for the installation
	Purpose string   // branch; wrap, seal, log, index, suppression; ledger, manifest
	Epoch   int64    // the epoch in which it was last written
	KEK     string   // name of the KEK that wraps a branch key; "" for the others, which the branch key wraps
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
	Unfit      int64           // see Fit: the number that stands in the place of KeyVersion
}

// Number is what stands in the primary key.
func (r KeyVersionRow) Number() int64 { return cmp.Or(r.Unfit, int64(r.KeyVersion)) }

// Fit splits a number of a table. What is no number of 32 bits was written by
// nobody who keeps to the rules: a row carries it beside its member, which is 0
// then, so that it is found under its primary key, named as damaged, and taken away.
func Fit(n int64) (fits uint32, unfit int64) {
	if n < 0 || n > math.MaxUint32 {
		return 0, n
	}
	return uint32(n), 0
}

// OwnerState is the state of an owner of keys.
type OwnerState string

// The states of an owner.
const (
	Live      OwnerState = "live"      // has keys, or may get them
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
	Unfit      int64  // see Fit: the number that stands in the place of KeyVersion
}

// Number is what stands in the primary key.
func (r KeyRow) Number() int64 { return cmp.Or(r.Unfit, int64(r.KeyVersion)) }

// AliasRow says that a person was merged into another. Primary key: tenant, alias.
type AliasRow struct {
	Tenant string // its tenant
	Alias  string // who was merged
	Owner  string // into whom
}

// IndexState is the state of a version of a blind index.
type IndexState string

// The states of an index version.
const (
	IndexBuilding IndexState = "building" // written by those who know it, not asked
	IndexFencing  IndexState = "fencing"  // who does not know it takes no Writer any more; or it was live, and is asked no more
	IndexFenced   IndexState = "fenced"   // and has none left that could commit, nor a search
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
	// UnfitVersion and UnfitRoot are the numbers that stand in the place of Version
	// and Root; see Fit.
	UnfitVersion, UnfitRoot int64
}

// Fits reports whether both numbers of the row are numbers of 32 bits.
func (r IndexRow) Fits() bool { return r.UnfitVersion == 0 && r.UnfitRoot == 0 }

// Number is the version that stands in the primary key.
func (r IndexRow) Number() int64 { return cmp.Or(r.UnfitVersion, int64(r.Version)) }

// Same reports whether two rows are one version of one index, whatever its state.
// One whose numbers do not fit is none.
func (r IndexRow) Same(other IndexRow) bool {
	return r.Fits() && other.Fits() && r.Table == other.Table && r.Index == other.Index && r.Version == other.Version
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

// After returns the primary key of the last row of kind k, for Page.After.
func (r Rows) After(k Kind) []any {
	switch k {
	case KindKeyset:
		if n := len(r.Keysets); n > 0 {
			return []any{r.Keysets[n-1].Tenant, r.Keysets[n-1].Purpose}
		}
	case KindKeyVersion:
		if n := len(r.KeyVersions); n > 0 {
			return []any{r.KeyVersions[n-1].Tenant, r.KeyVersions[n-1].Number()}
		}
	case KindOwner:
		if n := len(r.Owners); n > 0 {
			return []any{r.Owners[n-1].Tenant, r.Owners[n-1].Owner}
		}
	case KindKey:
		if n := len(r.Keys); n > 0 {
			return []any{r.Keys[n-1].Tenant, r.Keys[n-1].Owner, r.Keys[n-1].Number()}
		}
	case KindAlias:
		if n := len(r.Aliases); n > 0 {
			return []any{r.Aliases[n-1].Tenant, r.Aliases[n-1].Alias}
		}
	case KindIndex:
		if n := len(r.Indexes); n > 0 {
			last := r.Indexes[n-1]
			return []any{last.Tenant, last.Table, last.Index, last.Number()}
		}
	case KindMark:
		if n := len(r.Marks); n > 0 {
			return []any{r.Marks[n-1].Sequence}
		}
	}
	return nil
}

// Each hands out the rows one by one, kind after kind.
func (r Rows) Each() iter.Seq[Rows] {
	return func(yield func(Rows) bool) {
		_ = eachOf(r.Keysets, yield, func(rows []KeysetRow) Rows { return Rows{Keysets: rows} }) &&
			eachOf(r.KeyVersions, yield, func(rows []KeyVersionRow) Rows { return Rows{KeyVersions: rows} }) &&
			eachOf(r.Owners, yield, func(rows []OwnerRow) Rows { return Rows{Owners: rows} }) &&
			eachOf(r.Keys, yield, func(rows []KeyRow) Rows { return Rows{Keys: rows} }) &&
			eachOf(r.Aliases, yield, func(rows []AliasRow) Rows { return Rows{Aliases: rows} }) &&
			eachOf(r.Indexes, yield, func(rows []IndexRow) Rows { return Rows{Indexes: rows} }) &&
			eachOf(r.Marks, yield, func(rows []MarkRow) Rows { return Rows{Marks: rows} })
	}
}

func eachOf[T any](rows []T, yield func(Rows) bool, as func([]T) Rows) bool {
	for i := range rows {
		if !yield(as(rows[i : i+1])) {
			return false
		}
	}
	return true
}

// Append adds the rows of another set.
func (r *Rows) Append(more Rows) {
	r.Keysets, r.KeyVersions, r.Owners = append(r.Keysets, more.Keysets...), append(r.KeyVersions, more.KeyVersions...), append(r.Owners, more.Owners...)
	r.Keys, r.Aliases, r.Indexes, r.Marks = append(r.Keys, more.Keys...), append(r.Aliases, more.Aliases...), append(r.Indexes, more.Indexes...), append(r.Marks, more.Marks...)
}

// Len counts the rows of all kinds.
func (r Rows) Len() int {
	return len(r.Keysets) + len(r.KeyVersions) + len(r.Owners) + len(r.Keys) + len(r.Aliases) + len(r.Indexes) + len(r.Marks)
}
