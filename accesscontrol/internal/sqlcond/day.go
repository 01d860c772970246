package sqlcond

import "time"

const dayMilli = int64(24 * time.Hour / time.Millisecond)

// NewDate compares a column of dates with a time, in milliseconds since 1970: a
// date is the midnight, in UTC, with which it begins.
func NewDate(c *Column, op Order, ms int64) Cond {
	since := (ms%dayMilli + dayMilli) % dayMilli // midnight
	switch {
	case since == 0:
	case op == Equal:
		return False
	case op == Unequal:
		return True
	case op == Less:
		op = LessOrEqual
	case op == GreaterOrEqual:
		op = Greater
	}
	return &Comparison{Op: op, Left: Term{Column: c}, Right: Term{Known: IntegerOf(ms - since)}}
}

// IsDate says whether a time, in milliseconds since 1970, is a date.
func IsDate(ms int64) bool { return ms%dayMilli == 0 }

// Turned is the operator with the sides exchanged.
func (o Order) Turned() Order { return turned[o] }
