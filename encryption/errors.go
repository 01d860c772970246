package encryption

import (
	"errors"
	"fmt"

	"github.com/crmguard/crmguard/encryption/internal/keyring"
)

// The errors that callers decide by. The package comment says for each one
// whether it is temporary and what the operator does.
var (
	// ErrErased says that the person, or the owner of the record, was erased.
	ErrErased = keyring.ErrErased
	// ErrDestroyed says that the key version of the value was destroyed.
	ErrDestroyed = keyring.ErrDestroyed
	// ErrNoKey says that the key store has no such key although nobody was
	// erased and the key version exists, or never existed.
	ErrNoKey = keyring.ErrNoKey
	// ErrOpen is the one answer to bytes that do not open: forged, damaged, or
	// sealed for another tenant, owner, table, column or row.
	ErrOpen = keyring.ErrOpen
	// ErrKEK says that a keyset could not be unwrapped or wrapped by the KEK.
	ErrKEK = keyring.ErrKEK
	// ErrKeyset says that a keyset is not what formats.md demands: RAW,
	// CRUNCHY or LEGACY keys, another algorithm, key id 0.
	ErrKeyset = keyring.ErrKeyset
	// ErrStore says that the key store could not be read or written.
	ErrStore = keyring.ErrStore
	// ErrRewound says that the key store went back to an earlier state, or was
	// replaced by another one, while this vault was open.
	ErrRewound = keyring.ErrRewound
	// ErrEmpty says that the key store holds nothing: call Create for a new
	// installation, RestoreCopy after a loss.
	ErrEmpty = keyring.ErrEmpty
	// ErrNotEmpty says that Create or RestoreCopy met a key store in use.
	ErrNotEmpty = keyring.ErrNotEmpty
	// ErrTenant says that the tenant is unknown (AddTenant) or the empty string.
	ErrTenant = keyring.ErrTenant
	// ErrID says that an id is empty, too long, not UTF-8, holds NUL or is
	// reserved, or that a person's has the form of an e-mail address.
	ErrID = keyring.ErrID
	// ErrDefinition says that a table, column or index is not declared so.
	ErrDefinition = keyring.ErrDefinition
	// ErrIncomplete says that an index is not searched yet, because rows without
	// it may exist: the text names the call that is missing.
	ErrIncomplete = keyring.ErrIncomplete
	// ErrLease says that a Writer is older than the lease: take a new one. Or a
	// key came only when its lease was over: call again.
	ErrLease = keyring.ErrLease
	// ErrMerged says that the person was merged into another and seals no more.
	ErrMerged = keyring.ErrMerged
	// ErrInUse says that a key version is still needed.
	ErrInUse = keyring.ErrInUse
	// ErrKeyVersion says that a key version is not in the state the call needs.
	ErrKeyVersion = keyring.ErrKeyVersion
	// ErrRewrap says that an epoch cannot be closed so.
	ErrRewrap = keyring.ErrRewrap
	// ErrCopy says that a key copy is damaged, forged or missing.
	ErrCopy = keyring.ErrCopy
	// ErrNotCovered says that a key copy is older than, or foreign to, a position.
	ErrNotCovered = keyring.ErrNotCovered
	// ErrStream says that a stream does not open, is cut or has another size.
	ErrStream = errors.New("encryption: stream does not open")
	// ErrTag says that a tag does not verify.
	ErrTag = keyring.ErrTag
	// ErrTooLarge says that a field is larger than 16 MiB: use a stream.
	ErrTooLarge = keyring.ErrTooLarge
	// ErrDamaged says that rows of the key store are damaged, lost or put back; a
	// *DamagedError behind it names them.
	ErrDamaged = keyring.ErrDamaged
)

// KeyError is the detail behind a sentinel: where it happened, never a value and
// never a person. Its fields:
//
//	Op         string // "open", "seal", "lookup", …
//	Table      string // logical table, or the purpose of a person sealer
//	Column     string // logical column or index
//	KeyVersion uint32 // key version, 0 when none is known
//	Err        error  // the sentinel, or what wraps it
type KeyError = keyring.KeyError

// KEKError names the KEK that did not serve, and the remedy. Its fields:
//
//	Tenant  string    // "" for the keysets of the installation
//	Purpose string    // which keyset
//	KEK     string    // its stored name
//	Err     error     // what the KEK answered
//	Retry   time.Time // until then this is the answer, and the KEK is not asked; zero: it is asked by the next call
//	Wraps   bool      // it was to wrap a new keyset (Create, AddTenant, RewrapKeys); otherwise to open one that exists
type KEKError = keyring.KEKError

// InUseError names what still needs a key version. Its fields:
//
//	KeyVersion uint32 // the key version that was to be destroyed
//	Count      int    // how many values or snapshots need it
//	Where      string // as the holder named it
type InUseError = keyring.InUseError

// PersonsError says which persons of a call get no key; all others have theirs,
// unless an id was refused (ErrID): then none was made. Its field:
//
//	Persons map[int]error // position in the arguments -> why
type PersonsError = keyring.PersonsError

// RedactedError says that a record was resealed under a new owner but its old
// owner could not be erased yet: EraseRecord(ctx, tenant, Old).
type RedactedError struct {
	Old string // the record owner (no person) that still has keys
	Err error  // why
}

// Error names the remedy.
func (e *RedactedError) Error() string {
	return fmt.Sprintf("encryption: redacted, but the old record owner is not erased yet (EraseRecord): %v", e.Err)
}

// Unwrap returns the cause.
func (e *RedactedError) Unwrap() error { return e.Err }
