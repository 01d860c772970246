package auditlog

import (
	"errors"
	"fmt"
)

// The sentinels of the package; its comment says what to do about each.
var (
	// ErrMalformed is wrapped by every error about bytes (leaf, opening, proof,
	// checkpoint) that are not in their format.
	ErrMalformed = errors.New("auditlog: malformed")
	// ErrTooLarge refuses a leaf above 65,535 bytes and an opening above 16 MiB.
	ErrTooLarge = errors.New("auditlog: larger than the format allows")
	// ErrTampered says that stored bytes do not match what was signed.
	ErrTampered = errors.New("auditlog: log does not match its checkpoint")
)

func malformed(format string, args ...any) error {
	return fmt.Errorf("%w: "+format, append([]any{ErrMalformed}, args...)...)
}
