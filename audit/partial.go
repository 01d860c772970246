package audit

import (
	"errors"
	"fmt"
)

// ErrPartial is wrapped by a [PartialError].
var ErrPartial = errors.New("audit: the answer is not whole")

// PartialError says what the entries of a [Trail.History] before it lack, in the
// words of [Found], which [Trail.Find] returns with each page.
type PartialError struct {
	Pending, Behind, Damaged, Unmapped int64
}

// Error counts what is missing.
func (e *PartialError) Error() string {
	return fmt.Sprintf("%v: %d events wait unread, %d are not found yet, %d cannot be read, and %d surrogates are nobody's", ErrPartial, e.Pending, e.Behind, e.Damaged, e.Unmapped)
}

// Unwrap makes errors.Is(err, ErrPartial) true.
func (e *PartialError) Unwrap() error { return ErrPartial }

func (e *PartialError) add(f *Found) {
	e.Pending, e.Damaged = e.Pending+f.Pending, e.Damaged+f.Damaged
	e.Behind, e.Unmapped = max(e.Behind, f.Behind), max(e.Unmapped, f.Unmapped)
}
