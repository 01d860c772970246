package encryption

import "fmt"

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
