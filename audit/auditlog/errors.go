package auditlog

import (
	"errors"
	"fmt"

	"golang.org/x/mod/sumdb/note"

	"github.com/crmguard/crmguard/audit/internal/c2sp"
	"github.com/crmguard/crmguard/audit/internal/merkle"
)

// The sentinels of the package; its comment says what to do about each.
var (
	// ErrInvalid is wrapped by every error about what the caller handed in to
	// trust or to read. Permanent: the caller must change.
	ErrInvalid = errors.New("auditlog: invalid")
	// ErrMalformed is wrapped by every error about bytes (leaf, opening,
	// proof, checkpoint) that are not in their format.
	ErrMalformed = errors.New("auditlog: malformed")
	// ErrTooLarge refuses a leaf above 65,535 bytes and an opening above 16 MiB.
	ErrTooLarge = errors.New("auditlog: larger than the format allows")
	// ErrTampered says that stored bytes do not match what was signed.
	ErrTampered = merkle.ErrTampered
	// ErrNotSigned says that a checkpoint bears no signature of this key: it is
	// the wrong verifier key, or a checkpoint of another log. Errors that wrap
	// it wrap ErrTampered too.
	ErrNotSigned = errors.New("auditlog: not signed by this key")
	// ErrForked says that two checkpoints of one log exclude each other.
	ErrForked = errors.New("auditlog: log has forked")
	// ErrRolledBack says that the log is shorter than the kept checkpoint, or
	// than it was seen.
	ErrRolledBack = errors.New("auditlog: log went back")
)

// unsignedError is a checkpoint that this key did not sign.
type unsignedError struct{}

func (unsignedError) Error() string {
	return ErrNotSigned.Error() + ": the wrong verifier key, or a checkpoint of another log (a key that signed before stands in Former)"
}
func (unsignedError) Unwrap() []error { return []error{ErrNotSigned, ErrTampered} }

// signature tells a checkpoint that this key did not sign, and one that ends too
// early, from one whose text or signature was changed.
func signature(err error) error {
	if errors.Is(err, c2sp.ErrShort) || errors.Is(err, c2sp.ErrCrowded) {
		return fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	if _, ok := errors.AsType[*note.UnverifiedNoteError](err); ok {
		return unsignedError{}
	}
	return fmt.Errorf("%w: checkpoint: %w", ErrTampered, err)
}

func invalid(format string, args ...any) error {
	return fmt.Errorf("%w: "+format, append([]any{ErrInvalid}, args...)...)
}

func malformed(format string, args ...any) error {
	return fmt.Errorf("%w: "+format, append([]any{ErrMalformed}, args...)...)
}
