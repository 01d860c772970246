// Package durabletest has disks for tests of what must survive a crash: one
// that fails where it is told to, and one that forgets what was not flushed.
package durabletest

import (
	"errors"
	"io/fs"
	"os"

	"github.com/crmguard/crmguard/internal/durable"
)

// Ask puts a disk before another one that asks before each step what becomes
// of it: an error is the outcome, and the step is not carried out, except that
// a write still takes the first half and a close closes. Steps are create,
// open, write, truncate, sync, sync folder, close, link, rename, remove, mkdir
// and stat; name is that of the file, of the new one where there are two.
func Ask(ask func(step, name string) error) func(durable.Disk) durable.Disk {
	return func(d durable.Disk) durable.Disk { return asking{d, ask} }
}

type asking struct {
	durable.Disk
	ask func(step, name string) error
}

func (d asking) Open(name string, flag int, mode fs.FileMode) (durable.File, error) {
	step := "open"
	if flag&os.O_CREATE != 0 {
		step = "create"
	}
	if err := d.ask(step, name); err != nil {
		return nil, err
	}
	f, err := d.Disk.Open(name, flag, mode)
	if err != nil {
		return nil, err
	}
	info, err := f.Stat()
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return askingFile{f, d, name, info.IsDir()}, nil
}

func (d asking) Link(from, to string) error {
	if err := d.ask("link", to); err != nil {
		return err
	}
	return d.Disk.Link(from, to)
}

func (d asking) Rename(from, to string) error {
	if err := d.ask("rename", to); err != nil {
		return err
	}
	return d.Disk.Rename(from, to)
}

func (d asking) Remove(name string) error {
	if err := d.ask("remove", name); err != nil {
		return err
	}
	return d.Disk.Remove(name)
}

func (d asking) Mkdir(name string, mode fs.FileMode) error {
	if err := d.ask("mkdir", name); err != nil {
		return err
	}
	return d.Disk.Mkdir(name, mode)
}

func (d asking) Lstat(name string) (fs.FileInfo, error) {
	if err := d.ask("stat", name); err != nil {
		return nil, err
	}
	return d.Disk.Lstat(name)
}

type askingFile struct {
	durable.File
	d      asking
	name   string
	folder bool
}

func (f askingFile) WriteAt(p []byte, off int64) (int, error) {
	if err := f.d.ask("write", f.name); err != nil {
		n, _ := f.File.WriteAt(p[:len(p)/2], off) // a full disk takes a part
		return n, err
	}
	return f.File.WriteAt(p, off)
}

func (f askingFile) Truncate(size int64) error {
	if err := f.d.ask("truncate", f.name); err != nil {
		return err
	}
	return f.File.Truncate(size)
}

func (f askingFile) Sync() error {
	step := "sync"
	if f.folder {
		step = "sync folder"
	}
	if err := f.d.ask(step, f.name); err != nil {
		return err
	}
	return f.File.Sync()
}

func (f askingFile) Close() error {
	return errors.Join(f.d.ask("close", f.name), f.File.Close())
}

func (f askingFile) ReadDir(n int) ([]fs.DirEntry, error) {
	if l, ok := f.File.(durable.Lister); ok {
		return l.ReadDir(n)
	}
	return nil, errors.ErrUnsupported
}

func (f askingFile) Hold(stat func() (fs.FileInfo, error)) error {
	if l, ok := f.File.(durable.Locker); ok {
		return l.Hold(stat)
	}
	return nil
}

func (f askingFile) TryLock() (bool, error) {
	if l, ok := f.File.(durable.Locker); ok {
		return l.TryLock()
	}
	return false, errors.ErrUnsupported
}
