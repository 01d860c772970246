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
	Pending, Behind, Damaged int64
}

// Error counts what is missing.
func (e *PartialError) Error() string {
	return fmt.Sprintf("%v: %d events wait unread, %d are not found yet, and %d cannot be read", ErrPartial, e.Pending, e.Behind, e.Damaged)
}

// Unwrap makes errors.Is(err, ErrPartial) true.
func (e *PartialError) Unwrap() error { return ErrPartial }

func (e *PartialError) add(f *Found) {
	e.Pending, e.Damaged = e.Pending+f.Pending, e.Damaged+f.Damaged
	e.Behind = max(e.Behind, f.Behind)
}
