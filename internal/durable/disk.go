package durable

import (
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"runtime"
	"syscall"

	"github.com/crmguard/crmguard/internal/filelock"
)

// Disk is what this package does to a file system, small enough to be replaced
// by one that forgets or fails. Names are slash-separated, below one folder.
type Disk interface {
	// Open opens a file, or a folder for reading, and never waits for whoever
	// is at the other end of a pipe. A file that it makes has exactly the mode.
	Open(name string, flag int, mode fs.FileMode) (File, error)
	Link(from, to string) error
	Rename(from, to string) error
	Remove(name string) error
	Mkdir(name string, mode fs.FileMode) error
	Lstat(name string) (fs.FileInfo, error)
}

// File is an open file or folder of a [Disk].
type File interface {
	io.ReaderAt
	io.WriterAt
	Truncate(size int64) error
	Sync() error
	Stat() (fs.FileInfo, error)
	Close() error
}

// Lister is a [File] that is a folder.
type Lister interface {
	ReadDir(n int) ([]fs.DirEntry, error)
}

// Locker is a [File] whose system tells who holds it. Locks go with the
// process.
type Locker interface {
	// Hold locks a file that was just made, see [filelock.Hold].
	Hold(stat func() (fs.FileInfo, error)) error
	// TryLock is [filelock.Try].
	TryLock() (held bool, err error)
}

// Root returns the disk below an opened directory.
func Root(root *os.Root) Disk { return rootDisk{root} }

type rootDisk struct{ root *os.Root }

func (d rootDisk) Open(name string, flag int, mode fs.FileMode) (File, error) {
	f, err := d.root.OpenFile(filepath.FromSlash(name), flag|syscall.O_NONBLOCK, mode|0o200)
	if err != nil {
		return nil, err
	}
	if flag&os.O_EXCL != 0 && runtime.GOOS != "windows" { // a read-only file cannot be deleted there
		if err := f.Chmod(mode); err != nil { // whatever the umask says
			_ = f.Close()
			_ = d.Remove(name)
			return nil, err
		}
	}
	return rootFile{f}, nil
}

func (d rootDisk) Link(from, to string) error {
	return d.root.Link(filepath.FromSlash(from), filepath.FromSlash(to))
}

func (d rootDisk) Rename(from, to string) error {
	return d.root.Rename(filepath.FromSlash(from), filepath.FromSlash(to))
}

// near returns the same disk with one of its folders open, so that what is done
// in it leads there once and not each time. The folder stays the one that was
// opened, whoever puts another one, or a link, in its place meanwhile. The
// slash and the dot let nothing but a folder be opened: a pipe would keep the
// opener waiting.
func (d rootDisk) near(dir string) (nearDisk, error) {
	sub, err := d.root.OpenRoot(filepath.FromSlash(dir) + string(filepath.Separator) + ".")
	return nearDisk{whole: d, dir: dir, folder: rootDisk{sub}}, err
}

// nearDisk takes the names of the whole disk.
type nearDisk struct {
	whole  rootDisk
	dir    string
	folder rootDisk
}

// at is the disk of a name, and its name there.
func (d nearDisk) at(name string) (rootDisk, string) {
	switch {
	case name == d.dir:
		return d.folder, "."
	case path.Dir(name) == d.dir:
		return d.folder, path.Base(name)
	}
	return d.whole, name
}

// both is the disk of two names.
func (d nearDisk) both(from, to string) (disk rootDisk, nearFrom, nearTo string) {
	one, nearFrom := d.at(from)
	two, nearTo := d.at(to)
	if one != two {
		return d.whole, from, to
	}
	return one, nearFrom, nearTo
}

func (d nearDisk) Open(name string, flag int, mode fs.FileMode) (File, error) {
	disk, name := d.at(name)
	return disk.Open(name, flag, mode)
}

func (d nearDisk) Link(from, to string) error {
	disk, from, to := d.both(from, to)
	return disk.Link(from, to)
}

func (d nearDisk) Rename(from, to string) error {
	disk, from, to := d.both(from, to)
	return disk.Rename(from, to)
}

func (d nearDisk) Remove(name string) error {
	disk, name := d.at(name)
	return disk.Remove(name)
}

func (d nearDisk) Mkdir(name string, mode fs.FileMode) error { return d.whole.Mkdir(name, mode) }

func (d nearDisk) Lstat(name string) (fs.FileInfo, error) {
	disk, name := d.at(name)
	return disk.Lstat(name)
}

func (d rootDisk) Remove(name string) error { return d.root.Remove(filepath.FromSlash(name)) }

func (d rootDisk) Mkdir(name string, mode fs.FileMode) error {
	return d.root.Mkdir(filepath.FromSlash(name), mode)
}

func (d rootDisk) Lstat(name string) (fs.FileInfo, error) {
	return d.root.Lstat(filepath.FromSlash(name))
}

type rootFile struct{ *os.File }

func (f rootFile) Hold(stat func() (fs.FileInfo, error)) error { return filelock.Hold(f.File, stat) }

func (f rootFile) TryLock() (bool, error) { return filelock.Try(f.File) }
