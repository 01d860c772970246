// Package disk makes changes of a folder durable.
package disk

import (
	"errors"
	"os"
	"runtime"
	"syscall"
)

// SyncFolder makes what was created, renamed and removed in a folder survive
// a power cut, and answers every error of that: whoever gives up something
// older in favour of a new file must not do it after one.
//
// Two answers are no errors, because nothing better can be had there: on
// Windows a folder cannot be flushed, and some file systems (network and FUSE
// mounts) refuse it with EINVAL or ENOTSUP. On those the order in which names
// reach the disk is up to the file system; the content of files is flushed by
// their own Sync.
func SyncFolder(dir string) error {
	if runtime.GOOS == "windows" {
		return nil
	}
	f, err := os.Open(dir)
	if err != nil {
		return err
	}
	err = f.Sync()
	if cannot(err) {
		err = nil
	}
	return errors.Join(err, f.Close())
}

// cannot tells "this file system does not sync folders" from a failure.
func cannot(err error) bool {
	return errors.Is(err, syscall.EINVAL) || errors.Is(err, errors.ErrUnsupported)
}
