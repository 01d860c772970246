package localstore

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"os"
	"path"
	"path/filepath"
	"strings"

	"github.com/google/uuid"

	"github.com/crmguard/crmguard/backup"
)

// Store is a folder that holds one repository.
type Store struct {
	dir  string
	disk func(root *os.Root) disk // replaced by tests that lose what was not flushed
}

var _ backup.Store = (*Store)(nil)

// tmpPrefix marks files that are being written; restic uses the same.
const tmpPrefix = "tmp-"

// Open names the folder. Nothing is touched before the first Put, which makes
// the folder when it is missing.
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
		return fmt.Errorf("localstore: bad name: %w", fs.ErrInvalid)
	}
	return nil
}

// Put creates a file, durably.
func (s *Store) Put(ctx context.Context, name string, data []byte) error {
	if err := errors.Join(ctx.Err(), validName(name)); err != nil {
		return err
	}
	if err := os.MkdirAll(s.dir, 0o700); err != nil {
		return err
	}
	root, err := os.OpenRoot(s.dir)
	if err != nil {
		return err
	}
	defer root.Close()
	return put(s.disk(root), name, data)
}

// folders of a repository; restic expects them from the beginning.
func folders() []string { return []string{"data", "index", "keys", "locks", "snapshots"} }

func put(d disk, name string, data []byte) error {
	if !strings.Contains(name, "/") {
		for _, folder := range folders() {
			if err := makeFolder(d, folder); err != nil {
				return err
			}
		}
	}
	folder := path.Dir(name)
	if err := makeFolder(d, folder); err != nil {
		return err
	}
	if d.exists(name) {
		return &fs.PathError{Op: "put", Path: name, Err: fs.ErrExist}
	}
	temp := path.Join(folder, tmpPrefix+uuid.NewString())
	f, err := d.create(temp)
	if err != nil {
		return err
	}
	defer func() { _ = d.remove(temp) }() // what stays is never listed
	_, err = f.Write(data)
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	if err := d.link(temp, name); err != nil {
		if errors.Is(err, fs.ErrExist) {
			return err
		}
		// File systems without links: the name was free a moment ago.
		if err := d.rename(temp, name); err != nil {
			return err
		}
	}
	return d.syncFolder(folder)
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
	if err := errors.Join(ctx.Err(), validName(name)); err != nil {
		return nil, err
	}
	if offset < 0 || limit < 0 {
		return nil, fmt.Errorf("localstore: bad range: %w", fs.ErrInvalid)
	}
	root, err := os.OpenRoot(s.dir)
	if err != nil {
		return nil, err
	}
	defer root.Close()
	f, err := root.Open(filepath.FromSlash(name))
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
		if err := errors.Join(ctx.Err(), validName(folder)); err != nil {
			yield(backup.Info{}, err)
			return
		}
		root, err := os.OpenRoot(s.dir)
		if errors.Is(err, fs.ErrNotExist) {
			return
		}
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
	f, err := root.Open(filepath.FromSlash(folder))
	if errors.Is(err, fs.ErrNotExist) {
		return true
	}
	var entries []fs.DirEntry
	if err == nil {
		entries, err = f.ReadDir(-1)
		err = errors.Join(err, f.Close(), ctx.Err())
	}
	if err != nil {
		yield(backup.Info{}, err)
		return false
	}
	for _, e := range entries {
		name := folder + "/" + e.Name()
		if e.IsDir() {
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
		if !yield(backup.Info{Name: name, Size: info.Size()}, nil) {
			return false
		}
	}
	return true
}

// Delete removes a file.
func (s *Store) Delete(ctx context.Context, name string) error {
	if err := errors.Join(ctx.Err(), validName(name)); err != nil {
		return err
	}
	root, err := os.OpenRoot(s.dir)
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
