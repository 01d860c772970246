package filelock

import (
	"errors"
	"os"
	"syscall"
)

// Try says that there are no locks here.
func Try(*os.File) (held bool, err error) { return false, errors.ErrUnsupported }

const sharingViolation = syscall.Errno(32)

// Take opens the lock file at path without sharing it, and makes it where it
// is missing, unless somebody holds it (busy). Windows closes it with the
// process.
func Take(path string) (l *Lock, busy bool, err error) {
	name, err := syscall.UTF16PtrFromString(path)
	if err != nil {
		return nil, false, err
	}
	h, err := syscall.CreateFile(name, syscall.GENERIC_WRITE, 0, nil, syscall.OPEN_ALWAYS, syscall.FILE_ATTRIBUTE_NORMAL, 0)
	if err != nil {
		return nil, errors.Is(err, sharingViolation), err
	}
	return &Lock{handle: h}, false, nil
}

// Lock is a lock file that is held.
type Lock struct{ handle syscall.Handle }

// Release gives it back.
func (l *Lock) Release() { _ = syscall.CloseHandle(l.handle) }

// Is says yes: what is held is not shared, and cannot be removed.
func (l *Lock) Is(found os.FileInfo) bool { return found != nil }
