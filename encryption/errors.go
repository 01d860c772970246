package encryption

import (
	"errors"
	"fmt"
	"slices"
	"strings"

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
	ErrStream = keyring.ErrStream
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

// PersonsError says which persons of a call get no key; all others have theirs,
// unless an id was refused (ErrID): then none was made. Its field:
//
//	Persons map[int]error // position in the arguments -> why
type PersonsError = keyring.PersonsError

// RowsError says which rows OpenAll could not open; all others are open.
type RowsError struct {
	Rows map[int]error // index in the slice -> why
}

// rowReason is what the text of a RowsError says of a sentinel.
type rowReason struct {
	sentinel error
	text     string
}

// rowReasons are counted each for itself, because something else is to be done
// about each.
var rowReasons = []rowReason{
	{ErrErased, "erased (ErrErased)"},
	{ErrOpen, "damaged, moved, or of another owner, row or column than named (ErrOpen)"},
	{ErrNoKey, "without a key in the key store (ErrNoKey)"},
	{ErrDestroyed, "under a destroyed key version (ErrDestroyed)"},
	{ErrStore, "not reached because the key store failed (ErrStore)"},
	{ErrKEK, "not reached because the KEK failed (ErrKEK)"},
	{ErrLease, "not reached before the lease passed (ErrLease)"},
	{ErrDefinition, "with a column that is not declared so (ErrDefinition)"},
}

// Error counts the rows by reason, never with a person.
func (e *RowsError) Error() string {
	counts := map[int]int{}
	for _, err := range e.Rows {
		counts[slices.IndexFunc(rowReasons, func(r rowReason) bool { return errors.Is(err, r.sentinel) })]++
	}
	var reasons []string
	for i, r := range rowReasons {
		if n := counts[i]; n > 0 {
			reasons = append(reasons, fmt.Sprintf("%d %s", n, r.text))
		}
	}
	if n := counts[-1]; n > 0 {
		reasons = append(reasons, fmt.Sprintf("%d for another reason (RowsError.Rows)", n))
	}
	noun := "rows"
	if len(e.Rows) == 1 {
		noun = "row"
	}
	return strings.TrimSuffix(fmt.Sprintf("encryption: %d %s did not open: %s", len(e.Rows), noun, strings.Join(reasons, ", ")), ": ")
}

// Unwrap returns the reasons.
func (e *RowsError) Unwrap() []error {
	out := make([]error, 0, len(e.Rows))
	for _, err := range e.Rows {
		out = append(out, err)
	}
	return out
}
