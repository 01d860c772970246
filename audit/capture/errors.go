package capture

import "errors"

// Sentinels to decide by.
var (
	// ErrInvalid says that a table cannot be packed as it was described, or that
	// a Filing lacks what it needs: a [TableError] says what.
	ErrInvalid = errors.New("capture: not as it has to be")
	// ErrRow says that a row of crmguard_audit_captured is none that a trigger
	// of this package writes: somebody else's hand has. Nothing of it is fit for
	// the log; delete it, and report that it was there.
	ErrRow = errors.New("capture: a captured row is none that a trigger has written")
)

// A TableError says which field of which [Table] is wrong, and what to do.
type TableError struct {
	Table string // as Table.Name has it
	Field string
	Why   string
}

// Error is a sentence with the remedy.
func (e *TableError) Error() string {
	table := ""
	if e.Table != "" {
		table = "table " + e.Table + ": "
	}
	return "capture: " + table + e.Field + " " + e.Why
}

// Unwrap makes it an [ErrInvalid].
func (e *TableError) Unwrap() error { return ErrInvalid }
