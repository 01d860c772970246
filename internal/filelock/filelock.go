// Package filelock asks whether a living process holds a file. A lock goes
// with the process that took it, however it ends, so that what a killed one
// left behind is told apart from what is in use.
package filelock

import (
	"errors"
	"os"
)

// ErrSwept means that somebody who clears up came between the making of a
// file and its lock: make another one.
var ErrSwept = errors.New("filelock: the file was cleared away while it was made")

// Hold locks what the caller has just made at name, and proves that it still
// stands there. Where the system has no such locks it does nothing.
func Hold(f *os.File, stat func() (os.FileInfo, error)) error {
	held, err := Try(f)
	if err != nil {
		return nil
	}
	own, err := f.Stat()
	if err != nil {
		return err
	}
	now, err := stat()
	if !held || errors.Is(err, os.ErrNotExist) || (err == nil && !os.SameFile(own, now)) {
		return ErrSwept
	}
	return err
}
