package audit

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strings"

	"github.com/crmguard/crmguard/internal/sqldb"
)

// Failure says what becomes of a business change whose event could not be
// written.
type Failure int

const (
	// FailClosed fails the change with the event: the error of [Trail.Record].
	// It is what every action does that Config.Classes does not name.
	FailClosed Failure = iota
	// FailOpen lets the change go on without its event, which is counted and stands
	// in the log as a gap. What is wrong with the event itself, and what has ended the
	// whole transaction, fails all the same.
	FailOpen
)

// classes are the lines of Config.Classes, the longest first.
type classes []class

type class struct {
	name   string // as it stands in a gap: without the star
	prefix bool
	fails  Failure
}

// newClasses reads Config.Classes. A star alone would let everything go on that
// nobody thought of, and is refused.
func newClasses(table map[string]Failure) (out classes, err error) {
	for _, key := range slices.Sorted(maps.Keys(table)) {
		name := strings.TrimSuffix(key, "*")
		c := class{name: name, prefix: name != key || strings.HasSuffix(key, "."), fails: table[key]}
		switch {
		case !codes.MatchString(name):
			return nil, invalid("open: Classes: a key is an action such as contact.read, or the beginning of some, such as page. or page.view*")
		case c.fails != FailClosed && c.fails != FailOpen:
			return nil, invalid("open: Classes: a value is neither FailClosed nor FailOpen")
		}
		out = append(out, c)
	}
	slices.SortStableFunc(out, func(a, b class) int { return len(b.name) - len(a.name) })
	for i := 1; i < len(out); i++ {
		if out[i-1].name == out[i].name && out[i-1].prefix == out[i].prefix {
			return nil, invalid("open: Classes: two keys say the same")
		}
	}
	return out, nil
}

// of is the class of an action: the action itself, then the longest beginning.
func (c classes) of(action string) class {
	for _, one := range c {
		if one.name == action && !one.prefix {
			return one
		}
	}
	for _, one := range c {
		if one.prefix && strings.HasPrefix(action, one.name) {
			return one
		}
	}
	return class{name: action}
}

// callers are faults of whoever records: no class lets them pass.
var callers = []error{ErrInvalid, ErrNoTransaction, ErrNotPrepared, ErrTooLarge, ErrConflict, ErrOrigin, ErrNotOpen}

// mayGoOn says whether a transaction whose event was not written can go on
// without it, if its class allows it: the fault is the database's, and the
// transaction is not over. A deadlock, a serialisation failure, a server that
// ends and a context that is done are said to end it, also where a driver lets
// it go on: what they hit was more than this statement.
func mayGoOn(ctx context.Context, err error) bool {
	if ctx.Err() != nil || errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return false
	}
	for _, fault := range callers {
		if errors.Is(err, fault) {
			return false
		}
	}
	var driver *sqldb.DriverError
	if !errors.As(err, &driver) {
		return true
	}
	switch {
	case driver.Code == "mysql 1213", driver.Code == "mysql 1205":
		return false
	case len(driver.Code) == 5:
		class := driver.Code[:2]
		return class != "40" && class != "08" && class != "57"
	}
	return true
}
