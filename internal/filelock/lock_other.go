//go:build !(darwin || dragonfly || freebsd || linux || netbsd || openbsd)

package filelock

import (
	"errors"
	"os"
)

// Try says that there are no locks here.
func Try(*os.File) (held bool, err error) { return false, errors.ErrUnsupported }
