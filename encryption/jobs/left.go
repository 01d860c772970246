package jobs

import "fmt"

// Listed bounds the lists of a report. All that is left is handed to the funcs of
// the options, one by one.
const Listed = 100

// Unreadable is a sealed cell that a job over a whole table left as it is,
// because it does not open. It is no error: the job goes on, and names it. As JSON
// it can be kept for whoever decides about it, without the reason.
type Unreadable struct {
	Table  string // logical table
	Key    string // key of the row, as RowText writes it; "" where it has NULL in it (SQLite)
	Column string // logical column
	Digest string // SHA-256 of what is stored, hexadecimal
	Err    error  `json:"-"` // why it does not open: ErrOpen, ErrNoKey, ErrDestroyed, ErrMerged, ErrID
}

// Refused is a row that the database did not let a job change: a trigger that
// objects, a CHECK, a value that is taken, a column that is too short. It is no
// error: the row stays as it was, the job goes on, and names it. It is tried
// again by the next run; until then it needs the key version that it has. So is
// one that PostgreSQL calls locked (55P03), in the way of others (40001) or too slow
// (57014), tried by itself and again, while the same change of no row passes.
type Refused struct {
	Table  string // logical table
	Key    string // key of the row, as RowText writes it
	Column string // as the database names it; "" where it names none
	Code   string // SQLSTATE, "mysql 1644", "sqlite 1811"; "" where the database said nothing, and left or stored something else
	Err    error  `json:"-"` // what the database said, without values
}

// RefusedError says that a job has done everything but rows that the database
// does not let it change.
type RefusedError struct {
	Count int       // how many there are
	Rows  []Refused // the first 100 of them
}

// Error counts the rows, and names the first one and the reason.
func (e *RefusedError) Error() string {
	text := fmt.Sprintf("encryption: the database refuses to change %d rows", e.Count)
	if len(e.Rows) > 0 {
		text += fmt.Sprintf(" of %s, the first with the key %s: %v", e.Rows[0].Table, e.Rows[0].Key, e.Rows[0].Err)
	}
	return text
}

// Unwrap returns the reasons of those that are listed.
func (e *RefusedError) Unwrap() []error {
	out := make([]error, 0, len(e.Rows))
	for _, row := range e.Rows {
		out = append(out, row.Err)
	}
	return out
}
