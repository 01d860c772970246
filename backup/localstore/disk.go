package localstore

import (
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"syscall"

	"github.com/crmguard/crmguard/internal/filelock"
)

// disk is what Put does to a file system, small enough to be replaced by one
// that forgets whatever was not flushed.
type disk interface { //nolint:interfacebloat // unexported: what a file system does, in one place
	create(name string) (file, error)             // a new file, mode 0400, locked until it is closed
	holds(name string, data []byte) (bool, error) // whether the file has these bytes; flushed
	link(from, to string) error                   // refuses when to exists
	rename(from, to string) error
	remove(name string) error
	mkdir(name string) error
	exists(name string) bool
	syncFolder(name string) error
}

type file interface {
	io.WriteCloser
	Sync() error
}

type osDisk struct{ root *os.Root }

func (d osDisk) create(name string) (file, error) {
	f, err := d.root.OpenFile(filepath.FromSlash(name), os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return nil, err
	}
	err = filelock.Hold(f, func() (os.FileInfo, error) { return d.root.Lstat(filepath.FromSlash(name)) })
	if err == nil && runtime.GOOS != "windows" { // a read-only file cannot be deleted there
		err = f.Chmod(0o400)
	}
	if err != nil {
		return nil, errors.Join(err, f.Close(), d.remove(name))
	}
	return f, nil
}

func (d osDisk) holds(name string, data []byte) (equal bool, err error) {
	f, err := d.root.OpenFile(filepath.FromSlash(name), os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return false, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	info, err := f.Stat()
	if err != nil || !info.Mode().IsRegular() || info.Size() != int64(len(data)) {
		return false, err
	}
	have := make([]byte, len(data))
	if _, err := io.ReadFull(f, have); err != nil || !bytes.Equal(have, data) {
		return false, err
	}
	if runtime.GOOS == "windows" { // flushing needs the right to write
		return true, nil
	}
	return true, f.Sync()
}

func (d osDisk) link(from, to string) error {
	return d.root.Link(filepath.FromSlash(from), filepath.FromSlash(to))
}

func (d osDisk) rename(from, to string) error {
	return d.root.Rename(filepath.FromSlash(from), filepath.FromSlash(to))
}

func (d osDisk) remove(name string) error { return d.root.Remove(filepath.FromSlash(name)) }

func (d osDisk) mkdir(name string) error { return d.root.Mkdir(filepath.FromSlash(name), 0o700) }

func (d osDisk) exists(name string) bool {
	_, err := d.root.Lstat(filepath.FromSlash(name))
	return err == nil
}

func (d osDisk) syncFolder(name string) error {
	if runtime.GOOS == "windows" {
		return nil
	}
	f, err := d.root.Open(filepath.FromSlash(name))
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}
