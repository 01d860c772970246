package disk

import (
	"errors"
	"io"
	"io/fs"
	"os"
)

var errNotPlain = errors.New("not a plain file")

// Open opens a plain file for reading. Whatever else lies under its name, such
// as a pipe, at which opening would wait for ever, is an error.
func Open(name string) (*os.File, error) {
	info, err := os.Stat(name)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, &fs.PathError{Op: "open", Path: name, Err: errNotPlain}
	}
	return os.Open(name)
}

// ReadFile reads a plain file whole, as [Open] opens it.
func ReadFile(name string) ([]byte, error) {
	f, err := Open(name)
	if err != nil {
		return nil, err
	}
	data, err := io.ReadAll(f)
	return data, errors.Join(err, f.Close())
}
