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
	// in the log as a gap, also where the change is rolled back afterwards. What is
	// wrong with the event itself, and what has ended the whole transaction, fails all
	// the same.
	FailOpen
)

// classes are the lines of Config.Classes, the longest first, and of one length an
// action before a beginning.
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
		if one.name == action || one.prefix && strings.HasPrefix(action, one.name) {
			return one
		}
	}
	return class{name: action}
}

// callers are faults of whoever records: no class lets them pass.
var callers = []error{ErrInvalid, ErrNotPrepared, ErrTooLarge, ErrConflict, ErrOrigin}

// mayBeLost says that a fault is not that of the event, nor that of a caller who
// waits no longer: a class may let it pass.
func mayBeLost(ctx context.Context, err error) bool {
	if ctx.Err() != nil || errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return false
	}
	return !slices.ContainsFunc(callers, func(fault error) bool { return errors.Is(err, fault) })
}

// endsAll says that a fault is of the whole transaction: a deadlock, a
// serialisation failure, a statement that was cancelled, a server that ends. A
// driver may let it go on, but what was hit was more than one statement, and on
// MariaDB all of it is gone.
func endsAll(err error) bool {
	var driver *sqldb.DriverError
	if !errors.As(err, &driver) {
		return false
	}
	switch {
	case driver.Code == "mysql 1213", driver.Code == "mysql 1205":
		return true
	case len(driver.Code) == 5:
		return slices.Contains([]string{"40", "08", "57"}, driver.Code[:2])
	}
	return false
}
