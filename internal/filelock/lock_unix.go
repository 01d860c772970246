//go:build darwin || dragonfly || freebsd || linux || netbsd || openbsd

package filelock

import (
	"errors"
	"os"
	"syscall"
)

var errBusy = errors.New("filelock: somebody holds it")

// Try takes the lock of an open file or folder unless somebody holds it. It
// goes when f is closed. An error says that this file system has no locks.
func Try(f *os.File) (held bool, err error) {
	conn, err := f.SyscallConn()
	if err != nil {
		return false, err
	}
	if controlErr := conn.Control(func(fd uintptr) { err = syscall.Flock(int(fd), syscall.LOCK_EX|syscall.LOCK_NB) }); controlErr != nil {
		return false, controlErr
	}
	if errors.Is(err, syscall.EWOULDBLOCK) {
		return false, nil
	}
	return err == nil, err
}

// Take takes the lock file at path, and makes it where it is missing, unless
// somebody holds it (busy). It goes with the process at the latest. A link in
// its place is an error. It is its owner's alone: whoever may read a file may hold
// its lock for as long as they like.
func Take(path string) (l *Lock, busy bool, err error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0o600)
	if err != nil {
		return nil, false, err
	}
	if info, err := f.Stat(); err == nil && info.Mode().IsRegular() && info.Mode().Perm()&0o077 != 0 {
		_ = f.Chmod(0o600) // another user's stays as it is
	}
	if held, err := Try(f); !held {
		return nil, err == nil, errors.Join(errBusy, err, f.Close())
	}
	return &Lock{file: f}, false, nil
}

// Lock is a lock file that is held.
type Lock struct{ file *os.File }

// Release gives it back.
func (l *Lock) Release() { _ = l.file.Close() }

// Is says whether what was found under a name is the file that is held: one that
// was removed, and maybe made anew, is no lock any more.
func (l *Lock) Is(found os.FileInfo) bool {
	own, err := l.file.Stat()
	return err == nil && found != nil && os.SameFile(own, found)
}
