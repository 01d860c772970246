package audit

import (
	"errors"
	"fmt"
)

// What does not open was changed, or has no key any more, or the keys are away for
// a minute. The last must never be taken for the first: it would accuse whoever
// holds the database of what a network did. So a sealer says which it is, in a way
// that needs no type of this package.

// errKeyGone says that a person's key went with the person.
var errKeyGone = errors.New("audit: the person's key is gone")

// openError is what an error of Config.Keys about sealed bytes means: ErrKeys where
// it is no verdict on them.
func openError(err error) error {
	var never interface{ NeverOpens() bool }
	switch {
	case !errors.As(err, &never):
		return fmt.Errorf("%w: open: %w", ErrKeys, err)
	case never.NeverOpens():
		return fmt.Errorf("%w: %w", errKeyGone, err)
	}
	return fmt.Errorf("audit: open: %w", err)
}
