//go:build !(darwin || dragonfly || freebsd || linux || netbsd || openbsd || windows)

package filelock

import (
	"errors"
	"os"
)

// Try says that there are no locks here.
func Try(*os.File) (held bool, err error) { return false, errors.ErrUnsupported }

// Take refuses: without a lock, nobody knows who else is at work.
func Take(string) (l *Lock, busy bool, err error) { return nil, false, errors.ErrUnsupported }

// Lock is never held here.
type Lock struct{}

// Release does nothing.
func (*Lock) Release() {}

// Is says no.
func (*Lock) Is(os.FileInfo) bool { return false }
