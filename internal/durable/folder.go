package durable

import (
	"errors"
	"io"
	"io/fs"
	"math"
	"os"
	"path"
	"path/filepath"
	"runtime"
	"slices"
	"syscall"
)

// Folder is a directory whose files survive a crash.
type Folder struct {
	disk   Disk
	prefix string // of the names of unfinished files
	close  func() error
}

// On returns a folder on a disk. prefix begins the names of unfinished files:
// a package has one of its own, and none of its finished files begins with it.
func On(disk Disk, prefix string) *Folder {
	return &Folder{disk: disk, prefix: prefix, close: func() error { return nil }}
}

// Open opens a directory, which must be there.
func Open(dir, prefix string) (*Folder, error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, err
	}
	return &Folder{disk: Root(root), prefix: prefix, close: root.Close}, nil
}

// Make opens a directory. Where it is missing, it makes it and those above it,
// each durable in the one above.
func Make(dir, prefix string, mode fs.FileMode) (*Folder, error) {
	f, err := Open(dir, prefix)
	parent := filepath.Dir(dir)
	switch {
	case err == nil:
		if err := f.flushName(parent); err != nil {
			return nil, errors.Join(err, f.Close())
		}
		return f, nil
	case !errors.Is(err, fs.ErrNotExist) || parent == dir:
		return nil, err
	}
	above, err := Make(parent, prefix, mode)
	if err != nil {
		return nil, err
	}
	if err := errors.Join(above.MkdirAll(filepath.Base(dir), mode), above.Close()); err != nil {
		return nil, err
	}
	return Open(dir, prefix)
}

// flushName flushes the name of a directory that shows nothing yet: whoever
// made it may have been killed at that. One in a directory that may not be
// read was made by somebody else.
func (f *Folder) flushName(parent string) error {
	if shown, err := f.shows("."); shown || err != nil {
		return err
	}
	above, err := Open(parent, f.prefix)
	if errors.Is(err, fs.ErrPermission) {
		return nil
	} else if err != nil {
		return err
	}
	err = above.Sync(".")
	if errors.Is(err, fs.ErrPermission) {
		err = nil
	}
	return errors.Join(err, above.Close())
}

// Close gives the directory back.
func (f *Folder) Close() error { return f.close() }

// Over puts another disk between the folder and its own; nil leaves it.
func (f *Folder) Over(wrap func(Disk) Disk) *Folder {
	if wrap != nil {
		f.disk = wrap(f.disk)
	}
	return f
}

// Open opens a plain file for reading. Whatever else lies under the name, such
// as a pipe, is an error and keeps nobody waiting.
func (f *Folder) Open(name string) (File, error) { return f.open(name, os.O_RDONLY) }

func (f *Folder) open(name string, flag int) (File, error) {
	file, err := f.disk.Open(name, flag, 0)
	if err != nil {
		return nil, failed("open", name, err)
	}
	info, err := file.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = ErrNotPlain
	}
	if err != nil {
		_ = file.Close() // only looked at
		return nil, failed("open", name, err)
	}
	return file, nil
}

// ReadFile reads a plain file whole.
func (f *Folder) ReadFile(name string) ([]byte, error) { return f.ReadFirst(name, math.MaxInt64) }

// ReadFirst reads a plain file, and no more of it than its first bytes.
func (f *Folder) ReadFirst(name string, most int64) ([]byte, error) {
	file, err := f.Open(name)
	if err != nil {
		return nil, err
	}
	data, err := io.ReadAll(io.NewSectionReader(file, 0, most))
	return data, errors.Join(failed("read", name, err), failed("close", name, file.Close()))
}

// ReadDir lists a folder, unfinished files too, in no order.
func (f *Folder) ReadDir(dir string) (entries []fs.DirEntry, err error) {
	err = f.look(dir, func(file File) (err error) {
		lister, ok := file.(Lister)
		if !ok {
			return errors.ErrUnsupported
		}
		entries, err = lister.ReadDir(-1)
		return err
	})
	return entries, err
}

// names are some names in a folder. A folder below an [os.Root] asks for each
// of its entries what it is, where no more than the names is wanted, too.
func (f *Folder) names(dir string, n int) (names []string, err error) {
	err = f.look(dir, func(file File) (err error) {
		switch lister := file.(type) {
		case interface {
			Readdirnames(n int) ([]string, error)
		}:
			names, err = lister.Readdirnames(n)
		case Lister:
			var entries []fs.DirEntry
			entries, err = lister.ReadDir(n)
			for _, e := range entries {
				names = append(names, e.Name())
			}
		default:
			err = errors.ErrUnsupported
		}
		return err
	})
	return names, err
}

// look opens a folder for a listing.
func (f *Folder) look(dir string, list func(file File) error) error {
	file, err := f.disk.Open(dir, os.O_RDONLY, 0)
	if err != nil {
		return failed("list", dir, err)
	}
	if err = list(file); errors.Is(err, io.EOF) {
		err = nil
	}
	return errors.Join(failed("list", dir, err), failed("close", dir, file.Close()))
}

// Lstat describes what stands under a name.
func (f *Folder) Lstat(name string) (fs.FileInfo, error) { return f.disk.Lstat(name) }

// Sync makes what was created, renamed and removed in a folder survive a power
// cut, as far as the system can (see the package comment).
func (f *Folder) Sync(dir string) error {
	if runtime.GOOS == "windows" {
		return nil
	}
	file, err := f.disk.Open(dir, os.O_RDONLY, 0)
	if err != nil {
		return failed("sync folder", dir, err)
	}
	err = file.Sync()
	if cannotSync(err) {
		err = nil
	}
	return errors.Join(failed("sync folder", dir, err), failed("close", dir, file.Close()))
}

// cannotSync tells "this file system does not sync folders" from a failure.
func cannotSync(err error) bool {
	return errors.Is(err, syscall.EINVAL) || errors.Is(err, errors.ErrUnsupported)
}

// Flush makes durable what a file holds, whoever wrote it.
func (f *Folder) Flush(name string) error {
	flag := os.O_RDONLY
	if runtime.GOOS == "windows" {
		flag = os.O_RDWR // wanted there
	}
	file, err := f.open(name, flag)
	if err != nil {
		return err
	}
	return errors.Join(failed("sync", name, file.Sync()), failed("close", name, file.Close()))
}

// MkdirAll makes a folder and those above it, each durable in the one above.
func (f *Folder) MkdirAll(dir string, mode fs.FileMode) error {
	if dir == "." {
		return nil
	}
	shown, missing := f.shows(dir)
	if shown {
		return nil
	}
	if missing != nil && !errors.Is(missing, fs.ErrNotExist) {
		return missing
	}
	parent := path.Dir(dir)
	if err := f.MkdirAll(parent, mode); err != nil {
		return err
	}
	if missing != nil {
		if err := f.disk.Mkdir(dir, mode); err != nil && !errors.Is(err, fs.ErrExist) {
			return failed("mkdir", dir, err)
		}
	}
	return f.Sync(parent)
}

// shows says whether a folder has a finished file, or a folder: then its own
// name has been flushed, for nothing gets a name before that. In one that shows
// nothing, whoever made it may have been killed before.
func (f *Folder) shows(dir string) (bool, error) {
	const some = 16 // unfinished files are few
	names, err := f.names(dir, some)
	if err != nil {
		return false, err
	}
	return slices.ContainsFunc(names, func(name string) bool { return !f.unfinished(name) }), nil
}

// Stands says whether a finished file stands under a name. Its folder shows
// something then, so MkdirAll has nothing to do there.
func (f *Folder) Stands(name string) bool {
	_, err := f.Lstat(name)
	return err == nil && !f.unfinished(path.Base(name))
}

// Remove removes a file or an empty folder, durably.
func (f *Folder) Remove(name string) error {
	if err := f.disk.Remove(name); err != nil {
		return failed("remove", name, err)
	}
	return f.Sync(path.Dir(name))
}

// RemoveAll removes files of one folder, all of them that can be removed, and
// flushes once. One that is not there is no error.
func (f *Folder) RemoveAll(dir string, names ...string) error {
	var err error
	for _, name := range names {
		if gone := f.disk.Remove(path.Join(dir, name)); !errors.Is(gone, fs.ErrNotExist) {
			err = errors.Join(err, failed("remove", path.Join(dir, name), gone))
		}
	}
	return errors.Join(err, f.Sync(dir))
}

// failed names the operation and the file as the caller knows them; below a
// root, errors of the system name neither.
func failed(op, name string, err error) error {
	if err == nil {
		return nil
	}
	if e, ok := errors.AsType[*fs.PathError](err); ok {
		err = e.Err
	} else if e, ok := errors.AsType[*os.LinkError](err); ok {
		err = e.Err
	}
	return &fs.PathError{Op: op, Path: name, Err: err}
}
