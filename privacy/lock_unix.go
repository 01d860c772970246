//go:build darwin || dragonfly || freebsd || linux || netbsd || openbsd

package privacy

import (
	"errors"
	"os"
	"syscall"
)

// lockFolder takes the lock file, which the kernel frees with the process.
func lockFolder(path string) (release func(), busy bool, err error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, false, err
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		return nil, errors.Is(err, syscall.EWOULDBLOCK), errors.Join(err, f.Close())
	}
	return func() { _ = f.Close() }, false, nil
}
