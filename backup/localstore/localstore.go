package localstore

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/crmguard/crmguard/backup"
	"github.com/crmguard/crmguard/internal/durable"
)

// Store is a folder that holds one repository.
type Store struct {
	dir  string
	over func(durable.Disk) durable.Disk // tests put disks there that lose what was not flushed
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
	return &Store{dir: abs}, nil
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
	f, err := durable.Make(s.dir, tmpPrefix, 0o700)
	if err != nil {
		return err
	}
	defer f.Close()
	f.Over(s.over)
	for _, folder := range folders() {
		if err := f.MkdirAll(folder, 0o700); err != nil {
			return err
		}
	}
	return nil
}

// open opens the folder for work on a file of it. A disk that is not mounted
// leaves no folder, or the empty one that it was mounted on: neither may pass
// for an empty repository, nor may one come to be there.
func (s *Store) open(ctx context.Context, name string) (*durable.Folder, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	f, err := durable.Open(s.dir, tmpPrefix)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, s.gone()
	}
	if err != nil {
		return nil, err
	}
	f.Over(s.over)
	signs := folders()
	if top, _, below := strings.Cut(name, "/"); below || slices.Contains(signs, name) {
		signs = []string{top}
	}
	for _, sign := range append(signs, "config") {
		if _, err := f.Lstat(sign); err == nil {
			return f, nil
		} else if !errors.Is(err, fs.ErrNotExist) {
			return nil, errors.Join(err, f.Close())
		}
	}
	return nil, errors.Join(s.gone(), f.Close())
}

func (s *Store) gone() error { return fmt.Errorf("localstore: %s: %w", s.dir, backup.ErrGone) }

// Put creates a file, durably.
func (s *Store) Put(ctx context.Context, name string, data []byte) error {
	if err := validName(name); err != nil {
		return err
	}
	f, err := s.open(ctx, name)
	if err != nil {
		return err
	}
	defer f.Close()
	folder := path.Dir(name)
	if folder == "locks" { // that is how a job begins
		cleanUp(f, ".")
	}
	// Those of Make are flushed already.
	if _, err := f.Lstat(folder); err != nil || !slices.Contains(folders(), folder) {
		if err := f.MkdirAll(folder, 0o700); err != nil {
			return err
		}
	}
	err = f.Create(name, data, 0o400)
	if errors.Is(err, fs.ErrExist) {
		return putAgain(f, name, data)
	}
	if err != nil {
		return fmt.Errorf("localstore: put: %w", err)
	}
	return nil
}

// putAgain makes a repeated Put of equal bytes a success, and as durable as
// the first: whoever asks again may have seen neither.
func putAgain(f *durable.Folder, name string, data []byte) error {
	equal, err := holds(f, name, data)
	if err != nil {
		return err
	}
	if !equal {
		return &fs.PathError{Op: "put", Path: name, Err: fs.ErrExist}
	}
	if err := f.Flush(name); err != nil {
		return err
	}
	return f.Sync(path.Dir(name))
}

func holds(f *durable.Folder, name string, data []byte) (bool, error) {
	info, err := f.Lstat(name)
	if err != nil || !info.Mode().IsRegular() || info.Size() != int64(len(data)) {
		return false, err
	}
	have, err := f.ReadFile(name)
	return bytes.Equal(have, data), err
}

// cleanUp removes what killed processes left in the middle of a Put. What
// stays is sealed, never listed, and costs nothing but its space.
func cleanUp(f *durable.Folder, folder string) {
	f.CleanUp(folder)
	entries, _ := f.ReadDir(folder)
	for _, e := range entries {
		if name := path.Join(folder, e.Name()); e.IsDir() && isLayout(name) {
			cleanUp(f, name)
		}
	}
}

// Read returns at most limit bytes from offset on.
func (s *Store) Read(ctx context.Context, name string, offset, limit int64) ([]byte, error) {
	if err := validName(name); err != nil {
		return nil, err
	}
	if offset < 0 || limit < 0 {
		return nil, &fs.PathError{Op: "read at a bad range", Path: name, Err: fs.ErrInvalid}
	}
	f, err := s.open(ctx, name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	file, err := f.Open(name)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		return nil, err
	}
	data := make([]byte, max(0, min(limit, info.Size()-offset)))
	n, err := file.ReadAt(data, offset)
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
		f, err := s.open(ctx, folder)
		if err != nil {
			yield(backup.Info{}, err)
			return
		}
		defer f.Close()
		list(ctx, f, folder, yield)
	}
}

// list returns false when the caller has had enough.
func list(ctx context.Context, f *durable.Folder, folder string, yield func(backup.Info, error) bool) bool {
	entries, err := f.ReadDir(folder)
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
			if !list(ctx, f, name, yield) {
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
	f, err := s.open(ctx, name)
	if err != nil {
		return err
	}
	defer f.Close()
	return f.Remove(name)
}
