package encryption

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

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
