package main

import (
	"errors"
	"io"
	"path/filepath"

	"github.com/crmguard/crmguard/internal/durable"
)

// Files that must outlive a power cut are written in this file alone, with the
// writer that the library uses itself. An application of its own takes one
// that does the same: another name, flush, rename, flush of the folder.

// unfinished begins the names of files that are being written.
const unfinished = ".new-"

// keep makes a file, or puts it in the place of another one.
func keep(path string, data []byte) error {
	return inFolder(path, func(folder *durable.Folder, name string) error { return folder.Replace(name, data, 0o600) })
}

// keepStream makes a file, which must not exist, of whatever write writes.
func keepStream(path string, write func(io.Writer) error) error {
	return inFolder(path, func(folder *durable.Folder, name string) error {
		file, err := folder.Begin(".", 0o600)
		if err != nil {
			return err
		}
		if err = write(file); err == nil {
			err = file.Create(name)
		}
		return errors.Join(err, file.Discard())
	})
}

// settle makes durable what was moved into a folder, and its own name.
func settle(dir string) error {
	return inFolder(dir, func(folder *durable.Folder, name string) error {
		return errors.Join(folder.Sync(name), folder.Sync("."))
	})
}

func inFolder(path string, do func(folder *durable.Folder, name string) error) error {
	folder, err := durable.Open(filepath.Dir(path), unfinished)
	if err != nil {
		return err
	}
	return errors.Join(do(folder, filepath.Base(path)), folder.Close())
}
