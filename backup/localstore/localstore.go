package localstore

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"github.com/google/uuid"

	"github.com/crmguard/crmguard/backup"
	"github.com/crmguard/crmguard/internal/filelock"
)

// Store is a folder that holds one repository.
type Store struct {
	dir  string
	disk func(root *os.Root) disk // replaced by tests that lose what was not flushed
}

var (
	_ backup.Store = (*Store)(nil)
	_ backup.Maker = (*Store)(nil)
)

// tmpPrefix marks files that are being written.
const tmpPrefix = "tmp-"

// Open names the folder and touches nothing. backup.Create makes it; that it
// is missing is an error everywhere else.
func Open(dir string) (*Store, error) {
	if dir == "" {
		return nil, errors.New("localstore: an empty folder name")
	}
	abs, err := filepath.Abs(dir)
	if err != nil {
		return nil, fmt.Errorf("localstore: %w", err)
	}
	return &Store{dir: abs, disk: func(root *os.Root) disk { return osDisk{root} }}, nil
}

// Name returns the folder's path.
func (s *Store) Name() string { return s.dir }

func validName(name string) error {
	if !fs.ValidPath(name) || name == "." || strings.HasPrefix(path.Base(name), tmpPrefix) {
		return fmt.Errorf("localstore: bad name %q: %w", name, fs.ErrInvalid)
	}
	return nil
}

// folders of a repository; restic expects them from the beginning.
func folders() []string { return []string{"data", "index", "keys", "locks", "snapshots"} }

// Make makes the folder and those that every repository has.
func (s *Store) Make(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	root, err := makeRoot(s.dir)
	if err != nil {
		return err
	}
	defer root.Close()
	d := s.disk(root)
	for _, folder := range folders() {
		if err := makeFolder(d, folder); err != nil {
			return err
		}
	}
	return d.syncFolder(".")
}

// makeRoot makes a folder and those above it, each durable in its parent.
func makeRoot(dir string) (*os.Root, error) {
	root, err := os.OpenRoot(dir)
	if parent := filepath.Dir(dir); errors.Is(err, fs.ErrNotExist) && parent != dir {
		above, err := makeRoot(parent)
		if err != nil {
			return nil, err
		}
		defer above.Close()
		if err := makeFolder(osDisk{above}, filepath.Base(dir)); err != nil {
			return nil, err
		}
		return os.OpenRoot(dir)
	}
	return root, err
}

// open opens the folder for work on a file of it. A disk that is not mounted
// leaves no folder, or the empty one that it was mounted on: neither may pass
// for an empty repository, nor may one come to be there.
func (s *Store) open(ctx context.Context, name string) (*os.Root, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	root, err := os.OpenRoot(s.dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, s.gone()
	}
	if err != nil {
		return nil, err
	}
	signs := folders()
	if top, _, below := strings.Cut(name, "/"); below || slices.Contains(signs, name) {
		signs = []string{top}
	}
	for _, sign := range append(signs, "config") {
		if _, err := root.Lstat(sign); err == nil {
			return root, nil
		} else if !errors.Is(err, fs.ErrNotExist) {
			return nil, errors.Join(err, root.Close())
		}
	}
	return nil, errors.Join(s.gone(), root.Close())
}

func (s *Store) gone() error { return fmt.Errorf("localstore: %s: %w", s.dir, backup.ErrGone) }

// Put creates a file, durably.
func (s *Store) Put(ctx context.Context, name string, data []byte) error {
	if err := validName(name); err != nil {
		return err
	}
	root, err := s.open(ctx, name)
	if err != nil {
		return err
	}
	defer root.Close()
	if path.Dir(name) == "locks" { // that is how a job begins
		sweep(root, ".")
	}
	return put(s.disk(root), name, data)
}

func put(d disk, name string, data []byte) error {
	folder := path.Dir(name)
	if err := makeFolder(d, folder); err != nil {
		return err
	}
	if d.exists(name) {
		return putAgain(d, name, data)
	}
	temp, f, err := createTemp(d, folder)
	if err != nil {
		return fmt.Errorf("localstore: put %s: %w", name, err)
	}
	defer func() { _ = d.remove(temp) }() // what stays is never listed, and goes with the next job
	_, err = f.Write(data)
	if err = errors.Join(err, f.Sync()); err == nil {
		err = publish(d, temp, name)
	}
	if err = errors.Join(err, f.Close()); errors.Is(err, fs.ErrExist) {
		return putAgain(d, name, data)
	} else if err != nil {
		return fmt.Errorf("localstore: put %s: %w", name, err)
	}
	return d.syncFolder(folder)
}

// createTemp makes the file to write into, and holds its lock until it is
// closed.
func createTemp(d disk, folder string) (name string, f file, err error) {
	for {
		name = path.Join(folder, tmpPrefix+uuid.NewString())
		if f, err = d.create(name); !errors.Is(err, filelock.ErrSwept) {
			return name, f, err
		}
	}
}

// publish gives a written file its name, which must be free.
func publish(d disk, temp, name string) error {
	err := d.link(temp, name)
	if err == nil || errors.Is(err, fs.ErrExist) {
		return err
	}
	// File systems without links: the name was free a moment ago.
	return d.rename(temp, name)
}

// putAgain makes a repeated Put of equal bytes a success, and as durable as
// the first: whoever asks again may have seen neither.
func putAgain(d disk, name string, data []byte) error {
	equal, err := d.holds(name, data)
	if err != nil {
		return err
	}
	if !equal {
		return &fs.PathError{Op: "put", Path: name, Err: fs.ErrExist}
	}
	return d.syncFolder(path.Dir(name))
}

// makeFolder makes a folder and those above it, each durable in its parent.
func makeFolder(d disk, folder string) error {
	if folder == "." || d.exists(folder) {
		return nil
	}
	parent := path.Dir(folder)
	if err := makeFolder(d, parent); err != nil {
		return err
	}
	if err := d.mkdir(folder); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return d.syncFolder(parent)
}

// Read returns at most limit bytes from offset on.
func (s *Store) Read(ctx context.Context, name string, offset, limit int64) ([]byte, error) {
	if err := validName(name); err != nil {
		return nil, err
	}
	if offset < 0 || limit < 0 {
		return nil, &fs.PathError{Op: "read at a bad range", Path: name, Err: fs.ErrInvalid}
	}
	root, err := s.open(ctx, name)
	if err != nil {
		return nil, err
	}
	defer root.Close()
	f, err := root.OpenFile(filepath.FromSlash(name), os.O_RDONLY|syscall.O_NONBLOCK, 0) // a pipe in the place of a file must not block
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, &fs.PathError{Op: "read", Path: name, Err: fs.ErrInvalid}
	}
	data := make([]byte, max(0, min(limit, info.Size()-offset)))
	n, err := f.ReadAt(data, offset)
	if errors.Is(err, io.EOF) {
		err = nil
	}
	return data[:n], err
}

// List yields the files below a folder.
func (s *Store) List(ctx context.Context, folder string) iter.Seq2[backup.Info, error] {
	return func(yield func(backup.Info, error) bool) {
		if folder == "" {
			folder = "."
		} else if err := validName(folder); err != nil {
			yield(backup.Info{}, err)
			return
		}
		root, err := s.open(ctx, folder)
		if err != nil {
			yield(backup.Info{}, err)
			return
		}
		defer root.Close()
		list(ctx, root, folder, yield)
	}
}

// list returns false when the caller has had enough.
func list(ctx context.Context, root *os.Root, folder string, yield func(backup.Info, error) bool) bool {
	entries, err := readFolder(root, folder)
	if errors.Is(err, fs.ErrNotExist) {
		return true
	}
	if err = errors.Join(err, ctx.Err()); err != nil {
		yield(backup.Info{}, err)
		return false
	}
	for _, e := range entries {
		name := path.Join(folder, e.Name())
		if e.IsDir() && isLayout(name) {
			if !list(ctx, root, name, yield) {
				return false
			}
			continue
		}
		if strings.HasPrefix(e.Name(), tmpPrefix) {
			continue
		}
		info, err := e.Info()
		if errors.Is(err, fs.ErrNotExist) {
			continue // deleted meanwhile
		}
		if err != nil {
			yield(backup.Info{}, err)
			return false
		}
		if !yield(backup.Info{Name: name, Size: info.Size(), Type: info.Mode().Type()}, nil) {
			return false
		}
	}
	return true
}

func readFolder(root *os.Root, folder string) ([]fs.DirEntry, error) {
	f, err := root.Open(filepath.FromSlash(folder))
	if err != nil {
		return nil, err
	}
	entries, err := f.ReadDir(-1)
	return entries, errors.Join(err, f.Close())
}

// isLayout says whether a folder is one of restic's layout: those at the top,
// and below data one for each first byte of a hash.
func isLayout(folder string) bool {
	parent, name := path.Split(folder)
	if parent == "data/" {
		_, err := hex.DecodeString(name)
		return err == nil && len(name) == 2
	}
	return parent == "" && slices.Contains(folders(), name)
}

// Delete removes a file.
func (s *Store) Delete(ctx context.Context, name string) error {
	if err := validName(name); err != nil {
		return err
	}
	root, err := s.open(ctx, name)
	if err != nil {
		return err
	}
	defer root.Close()
	d := s.disk(root)
	if err := d.remove(name); err != nil {
		return err
	}
	return d.syncFolder(path.Dir(name))
}
