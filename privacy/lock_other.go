//go:build !(darwin || dragonfly || freebsd || linux || netbsd || openbsd || windows)

package privacy

import "errors"

// lockFolder refuses: without a lock, two processes could write one ledger.
func lockFolder(string) (release func(), busy bool, err error) {
	return nil, false, errors.ErrUnsupported
}
