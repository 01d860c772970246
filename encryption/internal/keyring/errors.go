package keyring

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"
)

// verdictError is a verdict on sealed bytes, in the words of those who seal through a
// func or an interface and know no type of this library: what has no such method
// behind it may open a minute later.
type verdictError string

// Error is the text.
func (e verdictError) Error() string { return string(e) }

// NeverOpens says that the bytes do not open, true: because the person was erased.
func (e verdictError) NeverOpens() bool { return errors.Is(e, ErrErased) }

// The errors that callers of package encryption decide by; it describes them.
var (
	ErrErased     error = verdictError("encryption: erased")
	ErrDestroyed  error = verdictError("encryption: key version destroyed")
	ErrNoKey      error = verdictError("encryption: no key")
	ErrOpen       error = verdictError("encryption: value does not open")
	ErrKEK              = errors.New("encryption: key encryption key")
	ErrKeyset           = errors.New("encryption: keyset refused")
	ErrStore            = errors.New("encryption: key store")
	ErrRewound          = errors.New("encryption: key store is older than what this process has seen")
	ErrEmpty            = errors.New("encryption: key store is empty: at the very first start Create, after a loss RestoreCopy")
	ErrNotEmpty         = errors.New("encryption: key store is not empty: Open it, or hand in an empty one")
	ErrTenant           = errors.New("encryption: tenant")
	ErrID               = errors.New("encryption: id refused: 1 to 255 bytes of UTF-8 without NUL")
	ErrDefinition       = errors.New("encryption: definition")
	ErrIncomplete       = errors.New("encryption: index is not complete")
	ErrLease            = errors.New("encryption: lease has passed")
	ErrMerged           = errors.New("encryption: person was merged into another")
	ErrInUse            = errors.New("encryption: key version is still in use")
	ErrKeyVersion       = errors.New("encryption: key version state")
	ErrRewrap           = errors.New("encryption: epoch")
	ErrCopy             = errors.New("encryption: key copy")
	ErrNotCovered       = errors.New("encryption: key copy does not cover the position")
	ErrStream           = errors.New("encryption: stream does not open")
	ErrTag              = errors.New("encryption: tag does not verify")
	ErrTooLarge         = errors.New("encryption: value is too large for a field")
	ErrDamaged          = errors.New("encryption: rows of the key store are damaged")

	// ErrOwnerLost is ErrDamaged about one owner: keys or a merge are there, and
	// whether the owner lives is not known.
	ErrOwnerLost = fmt.Errorf("%w: there are keys or a merge of the owner, and no owner row, or one in no state", ErrDamaged)
)

// KeyError is the detail behind a sentinel: where it happened, never a value
// and never a person.
type KeyError struct {
	Op         string // "open", "seal", "lookup", …
	Table      string // logical table, or the purpose of a person sealer
	Column     string // logical column or index
	KeyVersion uint32 // key version, 0 when none is known
	Err        error  // the sentinel, or what wraps it
}

// Error names what failed and where.
func (e *KeyError) Error() string {
	text := e.Err.Error()
	if e.Op != "" {
		text += ": " + e.Op
	}
	if e.Table != "" {
		text += " " + e.Table
	}
	if e.Column != "" {
		text += "." + e.Column
	}
	if e.KeyVersion != 0 {
		text += fmt.Sprintf(" (key version %08x)", e.KeyVersion)
	}
	return text + e.remedy()
}

// Unwrap returns the sentinel.
func (e *KeyError) Unwrap() error { return e.Err }

// KEKError names the KEK that did not serve, and the remedy.
type KEKError struct {
	Tenant  string    // "" for the keysets of the installation
	Purpose string    // which keyset
	KEK     string    // its stored name
	Err     error     // what the KEK answered
	Retry   time.Time // until then this is the answer, and the KEK is not asked; zero: it is asked by the next call
	Wraps   bool      // it was to wrap a new keyset (Create, AddTenant, RewrapKeys); otherwise to open one that exists

	remembered bool // the KEK was not asked: this is what it answered before
}

// Error names KEK, reason, keyset and remedy.
func (e *KEKError) Error() string {
	text := fmt.Sprintf("%v %q: %v: it does not open keyset %q of %s: hand in the KEK of that name (was it replaced, or its epoch closed?), or wait for its KMS; nothing was changed", ErrKEK, e.KEK, e.Err, e.Purpose, keysetsOf(e.Tenant))
	if e.Wraps {
		text = fmt.Sprintf("%v %q: %v: it is to wrap the new keyset %q of %s and to open it again: make a KEK of that name, or name another one (Config.NewKEK, Rewrap.KEK); nothing was stored", ErrKEK, e.KEK, e.Err, e.Purpose, keysetsOf(e.Tenant))
	}
	if !e.Retry.IsZero() {
		text += "; it is asked again from " + e.Retry.UTC().Format(time.RFC3339) + " on"
	}
	return text
}

// keysetsOf names whose keysets they are.
func keysetsOf(tenant string) string {
	if tenant == "" {
		return "the installation"
	}
	return fmt.Sprintf("tenant %q", tenant)
}

// Unwrap returns ErrKEK and the cause.
func (e *KEKError) Unwrap() []error { return []error{ErrKEK, e.Err} }

// InUseError names what still needs a key version.
type InUseError struct {
	KeyVersion uint32 // the key version that was to be destroyed
	Count      int    // how many values or snapshots need it
	Where      string // as the holder named it
}

// Error names key version, holder and count.
func (e *InUseError) Error() string {
	return fmt.Sprintf("%v: key version %08x, %d in %s: reseal them (SealedTable.Reseal), or let the snapshots go that hold them", ErrInUse, e.KeyVersion, e.Count, e.Where)
}

// Unwrap returns ErrInUse.
func (e *InUseError) Unwrap() error { return ErrInUse }

// PersonsError says which persons of a call get no key; all others have theirs,
// unless an id was refused (ErrID): then none was made.
type PersonsError struct {
	Persons map[int]error // position in the arguments -> why
}

// Error names the first position and its reason, never a person.
func (e *PersonsError) Error() string {
	if len(e.Persons) == 0 {
		return "encryption: no person was refused"
	}
	first := slices.Min(slices.Collect(maps.Keys(e.Persons)))
	return fmt.Sprintf("encryption: %d persons were refused, the first at position %d: %v", len(e.Persons), first, e.Persons[first])
}

// Unwrap returns the reasons.
func (e *PersonsError) Unwrap() []error { return slices.Collect(maps.Values(e.Persons)) }
