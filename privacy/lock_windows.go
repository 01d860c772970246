package privacy

import (
	"errors"
	"syscall"
)

const sharingViolation = syscall.Errno(32)

// lockFolder opens the lock file without sharing it; Windows closes it with
// the process.
func lockFolder(path string) (release func(), busy bool, err error) {
	name, err := syscall.UTF16PtrFromString(path)
	if err != nil {
		return nil, false, err
	}
	h, err := syscall.CreateFile(name, syscall.GENERIC_WRITE, 0, nil, syscall.OPEN_ALWAYS, syscall.FILE_ATTRIBUTE_NORMAL, 0)
	if err != nil {
		return nil, errors.Is(err, sharingViolation), err
	}
	return func() { _ = syscall.CloseHandle(h) }, false, nil
}
