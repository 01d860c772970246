package adoption

import "fmt"

// NotNullError says that a value in the clear was not taken away, because its column
// is NOT NULL. Up to ReadSealed that is how a table is that was NOT NULL before its
// adoption. No empty text is written in its place: it is a value, which a UNIQUE takes
// once, and a CHECK or the application perhaps not at all.
type NotNullError struct {
	Table  string // logical name
	Column string // in the clear, as the definition has it
}

// Error names the column and the remedies.
func (e *NotNullError) Error() string {
	return fmt.Sprintf("adoption: %s.%s is NOT NULL, so the value stays: delete the row, or drop NOT NULL as Obstacles says, and call again", e.Table, e.Column)
}
