package jobs

import (
	"context"
	"fmt"

	"github.com/crmguard/crmguard/encryption/streams"
)

// Redaction says what stays of a record of several persons when one of them
// is erased.
type Redaction struct {
	// Edit returns what stays of a value; nil becomes NULL.
	Edit func(column string, plaintext []byte) ([]byte, error)
	// Streams seals what stays of a stream column of the record for its new
	// owner: the whole of it by encryption.SealedTable.MoveStream, or what is left
	// after OpenStream and SealStream, or nothing. It is called once a stream column,
	// before the row changes, and may be called again by the next try: keep the
	// new stream beside the old one (a name with the owner in it does), and
	// remove the old one when Redact has returned. A table with stream columns is
	// refused without it, for the old owner is erased, and with it whatever is
	// still sealed for him.
	Streams func(ctx context.Context, from, to streams.Ref) error
	// BeforeRow and AfterRow run as those of ResealOptions.
	BeforeRow, AfterRow RowHook
}

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
