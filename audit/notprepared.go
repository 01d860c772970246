package audit

import (
	"errors"
	"fmt"
)

// ErrNotPrepared is wrapped by a [NotPreparedError].
var ErrNotPrepared = errors.New("audit: not prepared: call Prepare before the transaction begins")

// NotPreparedError says that recording found no ticket, or one that has ended.
// Nothing was written, and the transaction is as usable as before. Temporary: roll
// back, call [Trail.Prepare], and begin again.
type NotPreparedError struct {
	Persons int  // how many persons have none
	Tenant  bool // the tenant has none
}

// Error says what is missing, and what to do.
func (e *NotPreparedError) Error() string {
	what := fmt.Sprintf("%d persons", e.Persons)
	if e.Persons == 1 {
		what = "one person"
	}
	switch {
	case e.Tenant && e.Persons > 0:
		what = "the tenant and " + what
	case e.Tenant:
		what = "the tenant"
	}
	return fmt.Sprintf("%v with all persons of the event, and begin it while that holds (Config.Prepared): %s had no ticket", ErrNotPrepared, what)
}

// Unwrap makes errors.Is(err, ErrNotPrepared) true.
func (e *NotPreparedError) Unwrap() error { return ErrNotPrepared }
