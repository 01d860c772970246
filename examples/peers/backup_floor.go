package main

import (
	"archive/tar"
	"errors"
	"io"
	"os"
	"path/filepath"

	"github.com/klauspost/compress/zstd"
)

// tarSaver is the floor of a backup: read, compress on two cores, write, sync.
// It neither encrypts nor finds what is there already.
func tarSaver(source, empty string) saver {
	archive := func(dir string) string { return filepath.Join(dir, "tree.tar.zst") }
	return saver{
		name: "tar and zstd in one file, synced; no encryption", role: floor,
		empty:   empty,
		save:    func(dir string) error { return pack(source, archive(dir)) },
		restore: func(dir, target string) (string, error) { return target, unpack(archive(dir), target) },
	}
}

func pack(source, archive string) (err error) {
	names, err := regular(source)
	if err != nil {
		return err
	}
	file, err := os.Create(archive)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	compressed, err := zstd.NewWriter(file, zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithEncoderConcurrency(2))
	if err != nil {
		return err
	}
	w := tar.NewWriter(compressed)
	for _, name := range names {
		if err := packOne(w, source, name); err != nil {
			return err
		}
	}
	return errors.Join(w.Close(), compressed.Close(), file.Sync())
}

func packOne(w *tar.Writer, source, name string) error {
	file, err := os.Open(filepath.Join(source, filepath.FromSlash(name)))
	if err != nil {
		return err
	}
	defer func() { _ = file.Close() }() // only read
	info, err := file.Stat()
	if err != nil {
		return err
	}
	if err := w.WriteHeader(&tar.Header{Name: name, Size: info.Size(), Mode: 0o600}); err != nil {
		return err
	}
	_, err = io.Copy(w, file)
	return err
}

func unpack(archive, target string) error {
	file, err := os.Open(archive)
	if err != nil {
		return err
	}
	defer func() { _ = file.Close() }() // only read
	plain, err := zstd.NewReader(file)
	if err != nil {
		return err
	}
	defer plain.Close()
	for r := tar.NewReader(plain); ; {
		header, err := r.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		path := filepath.Join(target, filepath.FromSlash(header.Name))
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			return err
		}
		if err := writeFile(path, func(w io.Writer) error {
			_, err := io.Copy(w, r)
			return err
		}); err != nil {
			return err
		}
	}
}
