package durable

import (
	"crypto/sha256"
	"encoding/base32"
	"errors"
	"io/fs"
	"os"
	"path"
	"syscall"
	"time"

	"github.com/crmguard/crmguard/internal/filelock"
)

// Writer is a file that is being written. Whoever has one ends it: with
// Replace or Create and then, whatever they answered, with Discard.
type Writer struct {
	folder *Folder
	file   File   // nil once it is closed
	name   string // under which it is written
	temp   bool   // and which it does not keep
	size   int64
	synced bool
}

// Begin begins a file in a folder, under an unfinished name.
func (f *Folder) Begin(dir string, mode fs.FileMode) (*Writer, error) {
	for {
		name := path.Join(dir, f.unfinishedName())
		file, err := f.make(name, mode)
		switch {
		case errors.Is(err, filelock.ErrSwept):
		case err != nil:
			return nil, failed("create", name, err)
		default:
			return &Writer{folder: f, file: file, name: name, temp: true}, nil
		}
	}
}

// make makes an unfinished file that nobody clears away until it is closed.
func (f *Folder) make(name string, mode fs.FileMode) (File, error) {
	file, err := f.disk.Open(name, os.O_RDWR|os.O_CREATE|os.O_EXCL, mode)
	if err != nil {
		return nil, err
	}
	if l, ok := file.(Locker); ok {
		if err := l.Hold(func() (fs.FileInfo, error) { return f.disk.Lstat(name) }); err != nil {
			_ = file.Close()
			if !errors.Is(err, filelock.ErrSwept) { // then it is not there, or another one is
				_ = f.disk.Remove(name)
			}
			return nil, err
		}
	}
	return file, nil
}

// New begins a file under the name that it keeps, and that must be free. It is
// for folders that count for nothing before something else says so: a crash
// leaves a part of the file. [Writer.Finish] makes it durable but for its name,
// which [Folder.Sync] does for all of a folder at once.
func (f *Folder) New(name string, mode fs.FileMode) (*Writer, error) {
	file, err := f.disk.Open(name, os.O_RDWR|os.O_CREATE|os.O_EXCL, mode)
	if err != nil {
		return nil, failed("create", name, err)
	}
	return &Writer{folder: f, file: file, name: name}, nil
}

// Name is where the file stands now.
func (w *Writer) Name() string { return w.name }

// Write adds to the file.
func (w *Writer) Write(p []byte) (int, error) {
	n, err := w.file.WriteAt(p, w.size)
	w.size += int64(n)
	w.synced = false
	return n, failed("write", w.name, err)
}

// Flush makes durable what the file holds.
func (w *Writer) Flush() error {
	if w.synced {
		return nil
	}
	err := w.file.Sync()
	w.synced = err == nil
	return failed("sync", w.name, err)
}

// Finish flushes and closes a file of [Folder.New].
func (w *Writer) Finish() error { return errors.Join(w.Flush(), w.close()) }

func (w *Writer) close() error {
	if w.file == nil {
		return nil
	}
	err := w.file.Close()
	w.file = nil
	return failed("close", w.name, err)
}

// Replace gives the file its name, also where another file has it. The name is
// in the folder where the file was begun.
func (w *Writer) Replace(name string) error {
	if err := w.Flush(); err != nil {
		return err
	}
	return w.publish("rename", name, w.folder.disk.Rename(w.name, name))
}

// Create gives the file its name, which must be free: fs.ErrExist otherwise.
func (w *Writer) Create(name string) error {
	if err := w.Flush(); err != nil {
		return err
	}
	temp := w.name
	err := w.folder.disk.Link(temp, name)
	if noLinks(err) {
		return w.publish("rename", name, w.folder.claimed(name, func() error { return w.folder.disk.Rename(temp, name) }))
	}
	return w.publish("link", name, err, temp)
}

// publish ends a file that has its name, if err is nil.
func (w *Writer) publish(op, name string, err error, also ...string) error {
	if err != nil {
		return failed(op, name, err)
	}
	w.name, w.temp = name, false
	err = w.close() // until now nobody cleared it away
	for _, temp := range also {
		_ = w.folder.disk.Remove(temp) // what stays goes with the next CleanUp
	}
	return errors.Join(err, w.folder.Sync(path.Dir(name)))
}

// Discard closes the file, and removes it unless it got its name. Where it is
// not there any more, somebody else has removed it: fs.ErrNotExist.
func (w *Writer) Discard() error {
	err := w.close()
	if !w.temp {
		return err
	}
	w.temp = false
	return errors.Join(err, failed("remove", w.name, w.folder.disk.Remove(w.name)))
}

// noLinks says that a file system has no hard links. FAT answers EPERM, on
// Windows "invalid function", which has the same number.
func noLinks(err error) bool {
	return errors.Is(err, syscall.EPERM) || errors.Is(err, syscall.Errno(1)) || errors.Is(err, errors.ErrUnsupported)
}

// claimed calls rename while no other process gives the same name, and when it
// is free.
func (f *Folder) claimed(name string, rename func() error) error {
	const tries, pause = 200, 10 * time.Millisecond
	sum := sha256.Sum256([]byte(path.Base(name)))
	claim := path.Join(path.Dir(name), f.prefix+base32.StdEncoding.EncodeToString(sum[:])[:randomChars])
	for range tries {
		file, err := f.make(claim, 0o600)
		switch {
		case errors.Is(err, fs.ErrExist), errors.Is(err, filelock.ErrSwept):
			if !f.removeLeft(claim) {
				time.Sleep(pause)
			}
			continue
		case err != nil:
			return err
		}
		if _, err = f.disk.Lstat(name); err == nil {
			err = fs.ErrExist
		} else if errors.Is(err, fs.ErrNotExist) {
			err = rename()
		}
		_ = f.disk.Remove(claim) // before others can take it for left
		_ = file.Close()
		return err
	}
	return errClaimed
}

var errClaimed = errors.New("another process keeps giving this name, or left its claim: try again later")

// Near is the folder for work in one of those below it, until done: it is
// looked up once, and not at each step. Names are as ever. Where it cannot be
// opened, the work itself says why.
func (f *Folder) Near(dir string) (near *Folder, done func()) {
	if root, ok := f.disk.(rootDisk); ok && dir != "." {
		if disk, err := root.near(dir); err == nil {
			return &Folder{disk: disk, prefix: f.prefix, close: f.close}, func() { _ = disk.folder.root.Close() } // only looked up
		}
	}
	return f, func() {}
}

// Create makes a file that must not exist: fs.ErrExist otherwise, and what
// stands there stays.
func (f *Folder) Create(name string, data []byte, mode fs.FileMode) error {
	f, done := f.Near(path.Dir(name))
	defer done()
	_, err := f.disk.Lstat(name)
	switch {
	case err == nil:
		return failed("create", name, fs.ErrExist)
	case !errors.Is(err, fs.ErrNotExist):
		return failed("create", name, err)
	}
	return f.write(name, data, mode, (*Writer).Create)
}

// Replace makes a file, also where another one stands.
func (f *Folder) Replace(name string, data []byte, mode fs.FileMode) error {
	f, done := f.Near(path.Dir(name))
	defer done()
	return f.write(name, data, mode, (*Writer).Replace)
}

func (f *Folder) write(name string, data []byte, mode fs.FileMode, end func(*Writer, string) error) error {
	const tries = 3
	for try := 1; ; try++ {
		w, err := f.Begin(path.Dir(name), mode)
		if err != nil {
			return renamed(err, name)
		}
		if _, err = w.Write(data); err == nil {
			err = end(w, name)
		}
		_ = w.Discard() // what stays goes with the next CleanUp
		if err == nil || try == tries || !errors.Is(err, fs.ErrNotExist) {
			return renamed(err, name)
		}
		// Somebody cleared the unfinished file away, who could not see that it
		// is in use.
	}
}

// renamed lets an error name the file that was asked for.
func renamed(err error, name string) error {
	if e, ok := errors.AsType[*fs.PathError](err); ok && e.Op != "sync folder" {
		return failed(e.Op, name, e.Err)
	}
	return err
}

// ErrChanged means that a file is not as it was read.
var ErrChanged = errors.New("durable: the file has changed since it was read")

// Append adds to a file whose first keep bytes stay; seen is its size as it
// was read, and what is behind keep, the rest of a torn write, goes. One writer
// at a time, which the caller sees to. After an error, what was added is cut
// off again: what may not be on disk must not be read.
func (f *Folder) Append(name string, seen, keep int64, data []byte) (err error) {
	file, err := f.open(name, os.O_RDWR)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, failed("close", name, file.Close())) }()
	info, err := file.Stat()
	if err == nil && info.Size() != seen {
		err = ErrChanged
	}
	if err != nil {
		return failed("append", name, err)
	}
	if keep < seen {
		if err := errors.Join(failed("truncate", name, file.Truncate(keep)), failed("sync", name, file.Sync())); err != nil {
			return err
		}
	}
	op := "write"
	_, err = file.WriteAt(data, keep)
	if err == nil {
		op, err = "sync", file.Sync()
	}
	if err != nil {
		return errors.Join(failed(op, name, err), failed("truncate", name, file.Truncate(keep)))
	}
	return nil
}
