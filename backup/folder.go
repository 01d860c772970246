package backup

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"syscall"
)

// Folder is a source of the regular files and folders below a directory. It
// holds nothing open between runs. Symbolic links, devices and sockets are
// refused, because what they stand for is not in the snapshot. A file that
// changes while it is read makes the snapshot impossible: that shows in its
// size, its modification time or its replacement by another file.
func Folder(name, dir string) Source { return &folder{name: name, dir: dir} }

type folder struct{ name, dir string }

func (f *folder) Name() string { return f.name }
func (f *folder) Kind() string { return "folder" }

func (f *folder) Snapshot(ctx context.Context, w *Writer) error {
	root, err := os.OpenRoot(f.dir)
	if err != nil {
		return &SourceError{Source: f.name, Err: fmt.Errorf("its folder, is the disk mounted? %w", withoutPath(err))}
	}
	defer root.Close()
	top, err := root.Stat(".")
	if err != nil {
		return &SourceError{Source: f.name, Err: err}
	}
	files, err := f.scan(ctx, root, w, ".", top, nil)
	if err != nil {
		return err
	}
	slices.Sort(files)
	for _, path := range files {
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := f.file(root, w, path); err != nil {
			return &SourceError{Source: f.name, Path: path, Err: err}
		}
	}
	return nil
}

// scan lists the files below dir, which was listed as info, and stores the
// folders.
func (f *folder) scan(ctx context.Context, root *os.Root, w *Writer, dir string, info fs.FileInfo, files []string) ([]string, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	entries, err := readFolder(root, dir, info)
	if err != nil {
		return nil, &SourceError{Source: f.name, Path: dir, Err: err}
	}
	for _, entry := range entries {
		path := entry.Name()
		if dir != "." {
			path = dir + "/" + path
		}
		switch {
		case entry.Type().IsRegular():
			files = append(files, path)
		case entry.IsDir():
			info, err := entry.Info()
			if err == nil {
				err = w.Dir(path, info)
			}
			if err != nil {
				return nil, &SourceError{Source: f.name, Path: path, Err: changed(err)}
			}
			if files, err = f.scan(ctx, root, w, path, info, files); err != nil {
				return nil, err
			}
		default:
			return nil, &SourceError{Source: f.name, Path: path, Err: errNotRegular}
		}
	}
	return files, nil
}

var errNotRegular = errors.New("an entry is neither a regular file nor a folder")

// open opens an entry that was listed as before, and nothing else that stands
// in its place by now. A pipe does not keep it waiting.
func open(root *os.Root, path string, before fs.FileInfo) (*os.File, fs.FileInfo, error) {
	file, err := root.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, nil, changed(err)
	}
	opened, err := file.Stat()
	if err == nil && (!os.SameFile(before, opened) || before.Mode() != opened.Mode()) {
		err = ErrChanged
	}
	if err != nil {
		return nil, nil, errors.Join(err, file.Close())
	}
	return file, opened, nil
}

func readFolder(root *os.Root, dir string, before fs.FileInfo) ([]fs.DirEntry, error) {
	handle, _, err := open(root, dir, before)
	if err != nil {
		return nil, err
	}
	entries, err := handle.ReadDir(-1)
	return entries, errors.Join(err, handle.Close())
}

func (f *folder) file(root *os.Root, w *Writer, path string) error {
	before, err := root.Lstat(path)
	if err != nil {
		return changed(err)
	}
	if !before.Mode().IsRegular() {
		return errNotRegular
	}
	file, opened, err := open(root, path, before)
	if err != nil {
		return err
	}
	defer file.Close()
	if !sameState(before, opened) {
		return ErrChanged
	}
	if err := w.File(path, opened, file); err != nil {
		return err
	}
	after, err := root.Lstat(path)
	if err != nil {
		return changed(err)
	}
	if !sameState(opened, after) {
		return ErrChanged
	}
	return nil
}

// sameState says whether nothing shows that the file changed in between.
func sameState(a, b fs.FileInfo) bool {
	return os.SameFile(a, b) && a.Size() == b.Size() && a.ModTime().Equal(b.ModTime()) && a.Mode() == b.Mode()
}

// changed takes a file that has gone since it was listed as a change.
func changed(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return errors.Join(ErrChanged, err)
	}
	return err
}
