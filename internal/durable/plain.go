package durable

import (
	"errors"
	"io/fs"
	"os"
	"syscall"
)

// ErrNotPlain means that something else than a plain file lies under a name.
var ErrNotPlain = errors.New("not a plain file")

// OpenPlain opens a plain file, or a link to one, wherever it lies. Whatever
// else lies under the name, such as a pipe, is an error and keeps nobody
// waiting.
func OpenPlain(name string) (*os.File, error) {
	info, err := os.Stat(name) // opening a device may do something to it
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, &fs.PathError{Op: "open", Path: name, Err: ErrNotPlain}
	}
	f, err := os.OpenFile(name, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	if info, err = f.Stat(); err == nil && !info.Mode().IsRegular() { // it was exchanged meanwhile
		err = ErrNotPlain
	}
	if err != nil {
		return nil, &fs.PathError{Op: "open", Path: name, Err: errors.Join(err, f.Close())}
	}
	return f, nil
}
